"""Words of a genome and how often each base followed them, as a table that lies small in a file and is read fast.

A word of k letters is a number in base 4, its first letter counting most. Its key is that number, or, where it has more
than 40 bits (k > 20), a hash of it of 40 bits, which a million words share with a strange word once in a million.

| buffer   | shape       | holds                                                                                  |
|----------|-------------|----------------------------------------------------------------------------------------|
| `starts` | (2^h + 1,)  | int32: where the keys of each value of their h high bits begin, h at most 16           |
| `low`    | (W, bytes)  | uint8: the low bits of each key, keys rising                                           |
| `counts` | (W, 2)      | uint8: the four bases' counts, 4 bits each: exact below 8, then the power of two below |
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.errors import CheckpointError

_KEY_BITS, _HIGH_BITS = 40, 16
_ODD = 0x9E3779B97F4A7C15 - (1 << 64)  # Knuth's multiplier for 64 bits, as a signed integer
_LEVELS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 512, 1024)
ROUNDED = 8  # counts from here on stand for all up to the next level


def _unpack(table: WordTable, _: object) -> None:
    table.unpack()  # a function of the module, so that a model can be sent to other processes


class WordTable(nn.Module):
    """Counts of the next base after each known word of k letters; without words until `fill` or weights give some."""

    starts: Tensor
    low: Tensor
    counts: Tensor
    keys: Tensor
    levels: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self._bits = min(2 * k, _KEY_BITS)
        self._high = min(_HIGH_BITS, self._bits)
        self.register_buffer("starts", torch.zeros((1 << self._high) + 1, dtype=torch.int32))
        self.register_buffer("low", torch.zeros(0, -(-(self._bits - self._high) // 8), dtype=torch.uint8))
        self.register_buffer("counts", torch.zeros(0, 2, dtype=torch.uint8))
        # What is computed from the three, for reading.
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64), persistent=False)
        self.register_buffer("levels", torch.tensor(_LEVELS), persistent=False)
        self.register_load_state_dict_post_hook(_unpack)  # type: ignore[no-untyped-call]

    def fill(self, numbers: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Hold the words of these numbers (W,), each once, and their counts (W, 4)."""
        key: NDArray[np.int64] = self.key(numbers)
        key, first = np.unique(key, return_index=True)  # of words with one hash, the first stays
        shift = self._bits - self._high
        starts = np.searchsorted(key >> shift, np.arange((1 << self._high) + 1))
        low = ((key & ((1 << shift) - 1))[:, None] >> 8 * np.arange(self.low.shape[1])) & 255
        level = np.searchsorted(_LEVELS, counts[first], side="right") - 1
        device = self.starts.device
        self.starts = torch.from_numpy(starts.astype(np.int32)).to(device)
        self.low = torch.from_numpy(low.astype(np.uint8)).to(device)
        self.counts = torch.from_numpy((level[:, 0::2] | level[:, 1::2] << 4).astype(np.uint8)).to(device)
        self.unpack()

    def resize(self, words: int) -> None:
        """Make room for this many words, whose weights are about to be loaded."""
        self.low = self.low.new_zeros(words, self.low.shape[1])
        self.counts = self.counts.new_zeros(words, 2)

    def unpack(self) -> None:
        """Compute what is read from what is stored."""
        shift = self._bits - self._high
        sizes = self.starts.diff().long()
        if int(self.starts[0]) or int(self.starts[-1]) != len(self.low) or bool((sizes < 0).any()):
            raise CheckpointError(f"the words of {self.k} letters are damaged: starts does not fit low")
        high = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        places = 8 * torch.arange(self.low.shape[1], device=sizes.device)
        self.keys = (high << shift) + (self.low.long() << places).sum(dim=1)

    def key(self, number: Any) -> Any:
        """Return the keys of words given as numbers, int64 in a tensor or an array."""
        if 2 * self.k <= _KEY_BITS:
            return number
        return ((number * _ODD) >> (64 - _KEY_BITS)) & ((1 << _KEY_BITS) - 1)

    def forward(self, number: Tensor) -> Tensor:
        """Return the counts (..., 4) after words (...) given as numbers, int64; 0 after words that are not known."""
        if not len(self.keys):
            return number.new_zeros(*number.shape, 4)
        key = self.key(number)
        place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        counts: Tensor = self._counts(self.counts[place]) * (self.keys[place] == key)[..., None]
        return counts

    def all_counts(self) -> Tensor:
        """Return the counts (W, 4) of all words, in the order of `keys`."""
        return self._counts(self.counts)

    def _counts(self, packed: Tensor) -> Tensor:
        level = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2)
        return self.levels[level.long()]

    @staticmethod
    def most_bytes(k: int, most: int) -> int:
        """Return how many bytes words of k letters can take in the model's file, if at most this many are kept."""
        bits = min(2 * k, _KEY_BITS)
        high = min(bits, _HIGH_BITS)
        words: int = min(most, 4**k)
        return 4 * ((1 << high) + 1) + words * (-(-(bits - high) // 8) + 2)
