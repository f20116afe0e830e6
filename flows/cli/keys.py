"""Single keys from a terminal, without waiting for Enter."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}


@contextmanager
def single_keys() -> Iterator[None]:
    """Let `read_key` see each key at once, and the terminal be as before at the end."""
    import termios  # not on Windows
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def read_key() -> str:
    """Wait for a key: a character, or left, right, up, down, escape; "" at the end of input."""
    # Straight from the terminal: the buffer of sys.stdin would hide the rest of an arrow's code.
    data = os.read(sys.stdin.fileno(), 8).decode(errors="ignore")
    if data.startswith("\x1b["):
        return _ARROWS.get(data[2:3], "")
    return "escape" if data == "\x1b" else data[:1]
