"""Missions as words: what the words around a thing's name say of it.

No grammar is involved. A word matches what MiniGrid calls by it: a color, a kind, a rough place.
What that means, such as "the first thing" or "what to put it next to", is learned from the words
around it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.envs.minigrid.words import VOCABULARY
from llm4teach.student.model.maps import COLORS
from llm4teach.student.model.raw_maps import FIRST_KIND, KINDS, LAST_KIND, NAMED, THINGS

LONGEST = 64  # words that are read
TOKENS = 256
ROLES = 32  # features of what a mission says of a thing
_OBJECT = ("door", "key", "ball", "box")  # what MiniGrid calls an object
_SIDES = {"behind": (0, 1, 2), "front": (6, 7, 8), "left": (0, 3, 6), "right": (2, 5, 8)}
_EMBEDDING = 32


class Reading(NamedTuple):
    """What M missions say."""

    named: Tensor  # of each thing, rough place and NOTHING (zeros), float32 (M, NAMED, ROLES)
    whole: Tensor  # altogether, float32 (M, ROLES)


class WordReader(nn.Module):
    """Reads missions from their tokens.

    A word is read with those before and after it, near ones and all. Its features go to what it
    names: a kind, with the color before it, if there is one, to such things; a color before no kind
    to all things of this color; a side to what lies there. Colors have one embedding: as on maps,
    their names mean nothing but which things they match.
    """

    names: Tensor
    lexicon: Tensor

    def __init__(self) -> None:
        super().__init__()
        names, lexicon = _lexicon()
        self.register_buffer("names", names, persistent=False)  # (TOKENS,)
        self.register_buffer("lexicon", lexicon, persistent=False)
        self.embedding = nn.Parameter(torch.empty(TOKENS, _EMBEDDING))
        self.context = nn.Linear(_EMBEDDING, 5 * _EMBEDDING, bias=False)
        self.bias = nn.Parameter(torch.zeros(_EMBEDDING))
        self.of_named = nn.Linear(_EMBEDDING, ROLES, bias=False)
        self.of_all = nn.Linear(_EMBEDDING, ROLES)
        nn.init.normal_(self.embedding, std=0.5)
        nn.init.normal_(self.context.weight, std=(5 * _EMBEDDING) ** -0.5)

    def forward(self, tokens: Tensor) -> Reading:
        """Read missions, uint8 (M, words), each ended by 0."""
        tokens = tokens.long()
        is_word = (tokens > 0)[..., None]  # (M, L, 1)
        table = self.context(self.embedding[self.names])  # (TOKENS, 5 D)
        parts = F.embedding(tokens, table) * is_word  # (M, L, 5 D): of itself, of others' contexts
        parts = (
            parts.view(*tokens.shape, 5, _EMBEDDING).transpose(1, 2).flatten(1, 2)
        )  # (M, 5 L, D)
        words = _around(tokens.shape[1], tokens.device) @ parts  # (M, L, D)
        words = F.relu(words + self.bias) * is_word
        named = self._named(tokens).mT @ self.of_named(words)  # (M, NAMED, ROLES)
        return Reading(named, (F.relu(self.of_all(words)) * is_word).amax(1))

    def _named(self, tokens: Tensor) -> Tensor:
        """Which things and rough places each word names, float32 (M, L, NAMED), 1 or 0."""
        kinds, colors, rest = self.lexicon[tokens].tensor_split([KINDS, KINDS + COLORS], 2)
        before = F.pad(colors, (0, 0, 1, 0))[:, :-1]  # color of the word before, (M, L, COLORS)
        before = before + (before.sum(2, keepdim=True) == 0)  # where there is none, any
        after = F.pad(kinds, (0, 0, 0, 1))[:, 1:]  # kind of the word after, (M, L, KINDS)
        alone = colors * (after.sum(2, keepdim=True) == 0)
        things = kinds[..., None] * before[:, :, None] + alone[:, :, None]  # (…, KINDS, COLORS)
        return torch.cat([things.flatten(2), rest], 2)


def _around(length: int, device: torch.device) -> Tensor:
    """Weights of words in each word's context, float32 (length, 5 length).

    Of itself, all before it, all after it, and of both with weights that halve from word to word.
    """
    index = torch.arange(length, device=device)
    apart = (index[:, None] - index).float()
    near = 0.5 ** (apart.abs() - 1)
    before, after = (apart > 0).float(), (apart < 0).float()
    return torch.cat([(apart == 0).float(), before / 4, after / 4, before * near, after * near], 1)


def _lexicon() -> tuple[Tensor, Tensor]:
    """The embedding of each token, and what it names: (TOKENS,), (TOKENS, KINDS + COLORS + …)."""
    names = torch.arange(TOKENS)
    kinds, colors = torch.zeros(TOKENS, KINDS), torch.zeros(TOKENS, COLORS)
    rest = torch.zeros(TOKENS, NAMED - THINGS)  # rough places; nothing
    for token, word in enumerate(VOCABULARY, start=1):
        if word in COLOR_TO_IDX:
            colors[token, COLOR_TO_IDX[word]] = 1
            names[token] = 1 + min(map(VOCABULARY.index, COLOR_TO_IDX))
        for kind in _OBJECT if word == "object" else (word,):
            code = OBJECT_TO_IDX.get(kind, 0)
            if FIRST_KIND <= code <= LAST_KIND:
                kinds[token, code - FIRST_KIND] = 1
        rest[token, list(_SIDES.get(word, ()))] = 1
    return names, torch.cat([kinds, colors, rest], 1)
