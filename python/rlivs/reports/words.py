"""Captions as words: do two say the same, and how much is new."""

import difflib
import re


def words(text: str) -> list[str]:
    """The words of `text`, case folded, without punctuation."""
    return re.findall(r"\w+", text.casefold())


def same_words(text: str, expected: str) -> bool:
    """Whether both have the same words in the same order."""
    return words(text) == words(expected)


def novelty(caption: str, previous: str | None) -> float:
    """Share of the caption's distinct words that the previous caption lacks, 0..1; 1 for the first caption."""
    current = set(words(caption))
    if previous is None or not current:
        return 1.0 if current else 0.0
    return len(current - set(words(previous))) / len(current)


def differing_pieces(text: str, expected: str) -> list[tuple[str, bool]]:
    """`expected` cut into pieces, each with whether `text` lacks it; the pieces joined give `expected`."""
    tokens = re.findall(r"\w+|\W+", expected)
    folded = [token.casefold() for token in tokens]
    own = [token.casefold() for token in re.findall(r"\w+|\W+", text)]
    pieces: list[tuple[str, bool]] = []
    for tag, _, _, start, stop in difflib.SequenceMatcher(None, own, folded, autojunk=False).get_opcodes():
        if start < stop:
            pieces.append(("".join(tokens[start:stop]), tag != "equal"))
    return pieces
