"""A mission's words as tokens, one byte each, which fit into a channel of the map.

A word of `VOCABULARY` is its position there, from 1. Any other word is spelled: 128 plus the code
of each of its ASCII characters, then 128. A token 0 ends the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llm4teach.errors import TaskError

# Stored observations hold tokens: only ever append.
_WORDS = (
    ", a the and then to go pick up open put next on in from your you left right front of behind "
    "room object key ball box door goal lava red green blue purple yellow grey "
    "; after get square use must fetch reach avoid unlock matching at end hallway traverse rooms "
    "near find opening"
)
VOCABULARY = tuple(_WORDS.split())
SEPARATOR = ";"  # between a mission and each clause of it that is fulfilled
_TOKEN = {word: token for token, word in enumerate(VOCABULARY, start=1)}
_SPELLED = 128  # the first token of characters, which ends a spelled word
_WORD = re.compile(r"[^\s,;\0]+|[,;]")


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case; commas and semicolons are words, too."""
    return _WORD.findall(text.lower())


def encode_words(words: Sequence[str]) -> bytes:
    """Return the tokens of words; characters beyond ASCII become question marks."""
    tokens = bytearray()
    for word in words:
        if word in _TOKEN:
            tokens.append(_TOKEN[word])
        else:
            tokens += bytes(_SPELLED + code for code in word.encode("ascii", "replace"))
            tokens.append(_SPELLED)
    return bytes(tokens)


def decode_words(tokens: bytes) -> list[str]:
    """Undo `encode_words`; a token 0 ends the text.

    Raises:
        TaskError: these are not the tokens of words.
    """
    words, spelled = [], ""
    for token in tokens.split(b"\0", 1)[0]:
        if token > _SPELLED:
            spelled += chr(token - _SPELLED)
        elif token == _SPELLED:
            words.append(spelled)
            spelled = ""
        elif token <= len(VOCABULARY):
            words.append(VOCABULARY[token - 1])
        else:
            raise TaskError(
                f"an observation's mission has the token {token}, but there are {len(VOCABULARY)} "
                "words; was it stored by a newer version?"
            )
    return words
