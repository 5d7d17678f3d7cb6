"""Token ids to text, whole or as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def decode_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of `ids` without special tokens and without white space around it."""
    return tokenizer.decode(list(ids), skip_special_tokens=True).strip()


class TextStream:
    """Turns a stream of token ids into pieces of text, each handed on once it can no longer change.

    A piece is held back while it ends in an incomplete character (several tokens can make one). Concatenated,
    the pieces after `close()` are `decode_text` of all ids.
    """

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._ids: list[int] = []
        self._shown = ""

    def __call__(self, token: int) -> None:
        self._ids.append(token)
        text = decode_text(self._tokenizer, self._ids)
        if not text.endswith("\ufffd"):
            self._show(text)

    def close(self) -> None:
        self._show(decode_text(self._tokenizer, self._ids))

    def _show(self, text: str) -> None:
        if len(text) > len(self._shown) and text.startswith(self._shown):
            self._on_text(text[len(self._shown) :])
            self._shown = text
