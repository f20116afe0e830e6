"""The encoder of texts: runs of one to four words, hashed and embedded, then two layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm4teach.student.model.encoder import Encoder
from llm4teach.student.model.maps import is_traced

BUCKETS = 4_096  # of runs of words; two runs in one bucket are one
MAX_WORDS = 192  # of a text that are read: the first ones
RUN = 4  # words at most; what follows from words farther apart is seen, but not their order
_EMBEDDED, _FEATURES = 32, 128
_SPREAD = 2.0  # of a new embedding: most runs are in all texts, and the few others must be seen
_UPPER, _TO_LOWER = (65, 90), 32  # codes of A and Z, and from there to a and z
_SPACE = 32  # and all control characters below it
_MULTIPLIER, _MODULUS, _DROPPED = 2_654_435_761, 1 << 31, 1 << 11


class TextEncoder(Encoder):
    """Finds words in texts of bytes, and adds up what runs of them mean (as fastText does).

    A word is a run of letters and digits, in any case, or a single other character. A number is a
    word like any other: that 7 is more than 6 has to be learned for each.

    Args:
        size: of the texts in bytes, zeros at the end included.
    """

    def __init__(self, size: int) -> None:
        super().__init__(_FEATURES)
        self.words = min(size, MAX_WORDS)
        self.embedding = nn.Embedding(BUCKETS, _EMBEDDED, padding_idx=0)
        nn.init.normal_(self.embedding.weight[1:], std=_SPREAD)
        self.first = nn.Linear(_EMBEDDED, _FEATURES)
        self.second = nn.Linear(_FEATURES, _FEATURES)
        for layer in (self.first, self.second):
            nn.init.orthogonal_(layer.weight, 2**0.5)
            nn.init.zeros_(layer.bias)

    def encode(self, observations: Tensor) -> Tensor:
        """Return the buckets of runs, int16 (N, words, RUN), of texts, uint8 (N, size).

        Zeros stand for runs that do not exist: at the end, and where a run would go beyond it.
        """
        hashes = _word_hashes(observations, self.words)  # (N, words); 0 where there is none
        runs, run = [hashes], hashes
        for length in range(1, RUN):
            last = F.pad(hashes[:, length:], (0, length))
            run = _mixed(run * 31 + last) * (last > 0)
            runs.append(run)
        stacked = torch.stack(runs, 2)
        return ((stacked % (BUCKETS - 1) + 1) * (stacked > 0)).short()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features, float32 (N, 128), of runs, int16 (N, words, RUN)."""
        runs = inputs.long()
        if not is_traced() and len(runs):
            runs = runs[:, : int((runs[:, :, 0] > 0).sum(1).max())]  # the rest is zeros
        runs = runs.flatten(1)  # (N, runs)
        n_runs = (runs > 0).sum(1, keepdim=True).clamp(min=1)
        x = self.embedding(runs).sum(1) / n_runs.sqrt()  # (N, embedded)
        return F.relu(self.second(F.relu(self.first(x))))


def _word_hashes(texts: Tensor, words: int) -> Tensor:
    """Return hashes of the first words, int64 (N, words), above 0; then zeros.

    A word's hash is the sum of those of its trigrams of characters.
    """
    codes = texts.long()  # (N, size)
    codes = codes + _TO_LOWER * ((codes >= _UPPER[0]) & (codes <= _UPPER[1]))
    letters = ((codes >= 97) & (codes <= 122)) | ((codes >= 48) & (codes <= 57)) | (codes > 127)
    continues = letters & F.pad(letters[:, :-1], (1, 0))
    is_start = (codes > _SPACE) & ~continues
    before = F.pad(codes[:, :-1], (1, 0)) * continues
    two_before = F.pad(before[:, :-1], (1, 0)) * continues
    hashes = _mixed(codes + 256 * before + 65_536 * two_before)
    place = is_start.long().cumsum(1)  # of the word, from 1 on; 0: none yet
    is_read = (codes > _SPACE) & (place <= words)
    sums = torch.zeros(codes.shape[0], words + 1, dtype=torch.int64, device=codes.device)
    return sums.scatter_add(1, place * is_read, hashes * is_read)[:, 1:]


def _mixed(codes: Tensor) -> Tensor:
    """Spread codes below 2^31 over 1 … 2^20."""
    return (codes * _MULTIPLIER) % _MODULUS // _DROPPED + 1
