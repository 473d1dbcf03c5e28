"""What networks read: rows of sequences as vectors at each base, of a frozen model or of the letters themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.embedding.levels import LevelReader
from hnet_dna.files import ScratchFolder, reserve
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS, Codes, reverse_complement

_BASES_AT_ONCE = 1 << 13  # of a batch that a model is run on
_ROWS_AT_ONCE = 256
_IN_MEMORY = 1 << 30  # bytes of vectors; more lie in a temporary file


class Inputs(Protocol):
    """Sequences as a network reads them."""

    @property
    def width(self) -> int:
        """Numbers at each base."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Bases of each row, (N,)."""
        ...

    @property
    def letters(self) -> int:
        """First of the four numbers that are the letters beside vectors; -1 if there are none."""
        ...

    @property
    def turns(self) -> bool:
        """Whether a row can also be read as its reverse complement."""
        ...

    def batch(self, rows: NDArray[np.int64], *, turned: bool = False) -> Tensor:
        """Return rows (B, L, width), zeros after the end of shorter ones; `turned` gives their reverse complements."""
        ...


class Letters:
    """The letters themselves, each as four numbers of which one is 1; all are 0 where it is not A, C, G or T."""

    width = 4
    letters = -1
    turns = True

    def __init__(self, sequences: Sequence[Codes]) -> None:
        self._sequences = [codes & np.uint8(LETTER_BITS) for codes in sequences]
        self.lengths = np.array([len(codes) for codes in sequences], dtype=np.int64)

    def batch(self, rows: NDArray[np.int64], *, turned: bool = False) -> Tensor:
        """Return rows; see `Inputs`."""
        letters = np.full((len(rows), int(self.lengths[rows].max())), 4, dtype=np.uint8)
        for place, row in enumerate(rows.tolist()):
            codes = self._sequences[row]
            letters[place, : len(codes)] = reverse_complement(codes) if turned else codes
        return torch.from_numpy((letters[..., None] == np.arange(4)).astype(np.float32))


class FrozenVectors:
    """The vectors of a frozen model at each base, kept in half precision.

    With both strands, the vectors of the two readings stand side by side at each base: the first half has read all
    that is before it, the second half all that comes after.
    """

    def __init__(
        self,
        model: HNetLM,
        level: str,
        strand: str,
        sequences: Sequence[Codes],
        on_bases: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Run the model; `on_bases` is called with the number of bases run since its last call."""
        reader = LevelReader(model, level)
        self.turns = strand == "both"
        self.width = sum(reader.widths) * (2 if self.turns else 1)
        self.letters = reader.letters
        self.lengths = np.array([len(codes) for codes in sequences], dtype=np.int64)
        self._start = np.concatenate(([0], np.cumsum(self.lengths)))
        self._folder: ScratchFolder | None = None
        self._vectors = self._room((int(self._start[-1]), self.width))
        for rows in by_length(self.lengths, _BASES_AT_ONCE, _ROWS_AT_ONCE):
            batch = [sequences[row] for row in rows]
            with torch.inference_mode():
                read = read_bases(reader, batch, strand).cpu().numpy().astype(np.float16)
            for row, vectors in zip(rows, read, strict=True):
                self._vectors[self._start[row] : self._start[row + 1]] = vectors[: self.lengths[row]]
            on_bases(sum(map(len, batch)) * (2 if self.turns else 1))

    def batch(self, rows: NDArray[np.int64], *, turned: bool = False) -> Tensor:
        """Return rows; see `Inputs`."""
        longest = int(self.lengths[rows].max())
        padded = np.zeros((len(rows), longest, self.width), dtype=np.float16)
        for place, row in enumerate(rows.tolist()):
            padded[place, : self.lengths[row]] = self._vectors[self._start[row] : self._start[row + 1]]
        x = torch.from_numpy(padded).float()
        return turn(x, torch.from_numpy(self.lengths[rows])) if turned else x

    def _room(self, shape: tuple[int, int]) -> NDArray[np.float16]:
        size = shape[0] * shape[1] * 2
        if size <= _IN_MEMORY:
            return np.zeros(shape, dtype=np.float16)
        self._folder = ScratchFolder()
        path = self._folder.path / "vectors"
        reserve(path, size)
        return np.memmap(path, dtype=np.float16, mode="r+", shape=shape)


def read_bases(reader: LevelReader, sequences: Sequence[Codes], strand: str) -> Tensor:
    """Return the vectors (B, L, D) of sequences at each base; with both strands, of the two readings side by side."""
    if strand == "+":
        return reader.over_bases(sequences)
    reverse = reader.over_bases([reverse_complement(codes) for codes in sequences])
    if strand == "-":
        return reverse
    lengths = torch.tensor([len(codes) for codes in sequences], device=reverse.device)
    return torch.cat([reader.over_bases(sequences), backwards(reverse, lengths)], dim=-1)


def turn(x: Tensor, lengths: Tensor) -> Tensor:
    """Return what `read_bases` gives for the reverse complements, from what it gives for both strands."""
    forward, reverse = x.chunk(2, dim=-1)
    return backwards(torch.cat([reverse, forward], dim=-1), lengths.to(x.device))


def backwards(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the order of the valid positions of each row (B, L, D); padding stays where it is."""
    place = torch.arange(x.shape[1], device=x.device)
    place = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
    return x.gather(1, place[..., None].expand_as(x))


def by_length(lengths: NDArray[np.int64], bases: int, rows: int) -> list[NDArray[np.int64]]:
    """Return the rows, the longest first, in batches with a limited number of rows, and of bases with padding."""
    batches, order, start = [], np.argsort(-lengths, kind="stable"), 0
    while start < len(order):
        count = max(1, min(rows, bases // max(int(lengths[order[start]]), 1)))
        batches.append(order[start : start + count])
        start += count
    return batches
