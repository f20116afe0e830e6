"""A command's standard streams: closed, not UTF-8, without a width, or with no reader."""

from __future__ import annotations

import codecs
import os
import select
import sys
import unicodedata

from llm4teach.errors import LLM4TeachError

_ERRORS = "llm4teach.degrade"  # name of the handler for characters that a terminal cannot show
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
_ASCII = {
    **dict.fromkeys("–—−‐‑‒―━─═", "-"),
    **dict.fromkeys("│║┃", "|"),
    **dict.fromkeys("‘’‚‛′", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **{"…": "...", "•": "*", "·": ".", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "≠": "!="},
    **{"→": "->", "←": "<-", "↑": "^", "↓": "v", "▲": "^", "▼": "v", "◀": "<", "▶": ">"},
    **{"◁": "<", "▷": ">", "▁": "_", "、": ","},
    **{"█": "#", "▓": "%", "▒": "+", "░": ":", "□": "O", "◎": "G", "ß": "ss", "€": "EUR"},
}


def prepare_streams() -> None:
    """Let this process write wherever it was started.

    A closed stream becomes the null device: its descriptor would go to the next file that is
    opened. Characters that a stream's encoding lacks are replaced by similar ones.
    """
    for name, number in _NUMBERS.items():
        if getattr(sys, name) is None:
            _open_null(number)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    codecs.register_error(_ERRORS, _degrade)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_ERRORS)
    if os.environ.get("COLUMNS") == "0":  # of a terminal that does not tell its size
        del os.environ["COLUMNS"]


def flush_stdout() -> None:
    """Write what is left, so that what fails is reported rather than ignored at the exit.

    Raises:
        BrokenPipeError: nobody reads it any more.
        LLM4TeachError: the disk is full, or the like.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise LLM4TeachError(f"cannot write the output: {error.strerror}") from None


def is_unread() -> bool:
    """Whether the reader of stdout or stderr has gone."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard_output() -> None:
    """Let nothing that is still in stdout's buffer fail at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _NUMBERS["stdout"])


def _open_null(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _degrade(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks by similar ASCII characters of about the same width."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_similar, error.object[error.start : error.end])), error.end


def _similar(character: str) -> str:
    if character in _ASCII:
        return _ASCII[character]
    if unicodedata.name(character, "").startswith("BOX DRAWINGS"):
        return "+"
    if unicodedata.combining(character):
        return ""
    simple = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    is_wide = unicodedata.east_asian_width(character) in "WF"
    return simple or ("??" if is_wide else "?")
