"""Noticing a text that has begun to loop."""

from __future__ import annotations


class RepetitionGuard:
    """Ends a text whose last tokens are one unit over and over, which greedy decoding never leaves again.

    A loop is a unit of at most `longest_unit` tokens that stands at least `repeats` times in a row and covers at least
    `min_tokens` tokens. After a loop `looped` is True and `kept` is the length of the text with the unit once.
    """

    def __init__(self, repeats: int = 4, longest_unit: int = 64, min_tokens: int = 32) -> None:
        self._repeats = repeats
        self._longest_unit = longest_unit
        self._min_tokens = min_tokens
        self.start()

    def start(self) -> None:
        """Begin a new text."""
        self._ids: list[int] = []
        # how many of the last tokens equal the token `unit` places before them, for each length of unit
        self._matches = [0] * (self._longest_unit + 1)
        self.looped = False
        self.kept = 0

    def add(self, token: int) -> bool:
        """Take the next token of the text; True once it loops."""
        self._ids.append(token)
        count = len(self._ids)
        for unit in range(1, min(self._longest_unit, count - 1) + 1):
            if self._ids[-1 - unit] != token:
                self._matches[unit] = 0
                continue
            self._matches[unit] += 1
            matches = self._matches[unit]
            if matches >= (self._repeats - 1) * unit and matches + unit >= self._min_tokens:
                self.looped, self.kept = True, count - matches
                return True
        return False
