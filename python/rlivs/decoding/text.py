"""Token ids to text, whole or as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of `ids` without special tokens and without white space around it.

    Without a last character that is incomplete, too: several tokens can make one, and a text may be cut between them.
    """
    return tokenizer.decode(list(ids), skip_special_tokens=True).rstrip("\ufffd").strip()


class TextStream:
    """Turns a stream of token ids into pieces of text, each handed on once it can no longer change.

    Concatenated, the pieces are `decode_text` of all ids.
    """

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._ids: list[int] = []
        self._shown = ""

    def __call__(self, token: int) -> None:
        self._ids.append(token)
        text = decode_text(self._tokenizer, self._ids)
        if len(text) > len(self._shown) and text.startswith(self._shown):
            self._on_text(text[len(self._shown) :])
            self._shown = text
