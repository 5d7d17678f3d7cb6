"""A line typed while other things are printed: keys are read one at a time, and the view shows the line."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

END_OF_INPUT = "\x04"  # Ctrl-D


class LineEditor:
    """Characters in, lines out; `text` is what has been typed of the next one."""

    def __init__(self) -> None:
        self.text = ""
        self._in_escape = False

    def press(self, key: str) -> str | None:
        """Take one character. The finished line after Return, else None."""
        if self._in_escape:  # arrows and the like are a sequence that ends with a letter or ~
            self._in_escape = not (key.isalpha() or key == "~")
        elif key == "\x1b":
            self._in_escape = True
        elif key in "\r\n":
            line, self.text = self.text, ""
            return line
        elif key in "\x7f\b":
            self.text = self.text[:-1]
        elif key == "\x15":  # Ctrl-U
            self.text = ""
        elif key.isprintable():
            self.text += key
        return None


@contextmanager
def key_by_key() -> Iterator[None]:
    """The terminal hands every key on at once, without showing it; Ctrl-C still interrupts."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def read_keys(on_key: Callable[[str], None]) -> None:
    """Hand on characters until the end of input (Ctrl-D)."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        data = os.read(sys.stdin.fileno(), 64)
        for character in decoder.decode(data):
            if character == END_OF_INPUT:
                return
            on_key(character)
        if not data:
            return
