"""Bits per base by contig, by repeats and by annotation, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hnet_dna.inference.streams import Part
from hnet_dna.sequence.codes import SOFT_MASK, is_acgt
from hnet_dna.sequence.interval import Interval

BLOCK = 10_000  # bases that the bootstrap keeps together, since neighbouring bases are not independent
_RESAMPLES = 1000
ALL = "all"
GENOME = "genome"


@dataclass(frozen=True)
class ClassBits:
    """Bits per base over one class of bases.

    Attributes:
        group: what it is a class of: all, genome, contig, repeats, words, or annotation.
        name: of the class.
        bases: bases A, C, G, T in it.
        bits_per_base: of each model, by its name.
        low, high: 95 % block-bootstrap interval of the first model, NaN over fewer than two blocks.
    """

    group: str
    name: str
    bases: int
    bits_per_base: dict[str, float]
    low: float
    high: float


class Breakdown:
    """Adds bits up by class, block by block, in float64."""

    def __init__(self, models: Sequence[str], annotation: Mapping[str, Sequence[Interval]] | None = None) -> None:
        """Prepare for the bits of these models; the first is the one that gets intervals."""
        self._models = tuple(models)
        self._annotation: dict[str, dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
        for name, intervals in (annotation or {}).items():
            by_contig: dict[str, list[Interval]] = {}
            for interval in intervals:
                by_contig.setdefault(interval.contig, []).append(interval)
            self._annotation[name] = {
                contig: (np.array([i.start for i in those]), np.array([i.end for i in those]))
                for contig, those in by_contig.items()
            }
        self._sums: dict[tuple[str, str], dict[tuple[str, int], NDArray[np.float64]]] = {}

    def add(
        self,
        part: Part,
        bits: Mapping[str, NDArray[np.float64]],
        genome: str = "",
        marked: Mapping[tuple[str, str], NDArray[np.bool_]] | None = None,
    ) -> None:
        """Add consecutive bases and the bits (L,) that each model spends on them.

        Args:
            part: the bases.
            bits: of each model.
            genome: name of the genome, where there are several.
            marked: bases (L,) of further classes, by their group and name.
        """
        if genome:
            part = Part(f"{genome}:{part.contig}", part.start, part.codes, part.first, part.last)
        known = is_acgt(part.codes)
        masked = (part.codes & SOFT_MASK) > 0
        table = np.stack([known.astype(np.float64), *(bits[name] for name in self._models)])
        self._add(part, (ALL, ALL), table, known)
        if genome:
            self._add(part, (GENOME, genome), table, known)
        self._add(part, ("contig", part.contig), table, known)
        self._add(part, ("repeats", "soft-masked"), table, known & masked)
        self._add(part, ("repeats", "unique"), table, known & ~masked)
        for (group, name), bases in (marked or {}).items():
            self._add(part, (group, name), table, known & bases)
        for name, contigs in self._annotation.items():
            starts, ends = contigs.get(part.contig, (np.zeros(0, dtype=np.int64),) * 2)
            inside = np.zeros(len(part.codes), dtype=bool)
            first = int(np.searchsorted(ends, part.start, side="right"))
            last = int(np.searchsorted(starts, part.end))
            for start, end in zip(starts[first:last].tolist(), ends[first:last].tolist(), strict=True):
                inside[max(start - part.start, 0) : end - part.start] = True
            self._add(part, ("annotation", name), table, known & inside)

    def results(self) -> list[ClassBits]:
        """Return all classes that have bases, the whole first."""
        classes = []
        for (group, name), blocks in self._sums.items():
            if not blocks:
                continue
            sums = np.stack(list(blocks.values()))
            bases, *bits = sums.sum(axis=0).tolist()
            low, high = _interval(sums[:, 0], sums[:, 1])
            each = {model: total / bases for model, total in zip(self._models, bits, strict=True)}
            classes.append(ClassBits(group, name, int(bases), each, low, high))
        return classes

    def _add(self, part: Part, key: tuple[str, str], table: NDArray[np.float64], chosen: NDArray[np.bool_]) -> None:
        blocks = self._sums.setdefault(key, {})
        if not chosen.any():
            return
        start = part.start
        while start < part.end:
            end = min(part.end, (start // BLOCK + 1) * BLOCK)
            here = slice(start - part.start, end - part.start)
            total = table[:, here][:, chosen[here]].sum(axis=1)
            if total[0]:
                block = (part.contig, start // BLOCK)
                blocks[block] = blocks[block] + total if block in blocks else total
            start = end


def resampled(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw the blocks of sums (blocks, columns) with replacement and add them up, again and again.

    Returns:
        (resamples, columns). The draws depend only on the number of blocks, so that columns stay together.
    """
    random = np.random.default_rng(0)
    totals = np.empty((_RESAMPLES, sums.shape[1]))
    for index in range(_RESAMPLES):
        totals[index] = sums[random.integers(0, len(sums), size=len(sums))].sum(axis=0)
    return totals


def _interval(bases: NDArray[np.float64], bits: NDArray[np.float64]) -> tuple[float, float]:
    """Resample blocks and return the 2.5th and 97.5th percentiles of bits per base."""
    if len(bases) < 2:
        return float("nan"), float("nan")
    totals = resampled(np.stack([bases, bits], axis=1))
    low, high = np.percentile(totals[:, 1] / totals[:, 0], [2.5, 97.5])
    return float(low), float(high)
