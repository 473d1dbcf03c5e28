"""What is known of each base of a genome: regions of a BED file, or the values of a bigWig, in windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import format_suffix, read_regions
from hnet_dna.data.split import split_genome
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.probing.dataset import Labels, Task
from hnet_dna.probing.folds import TRAIN, VALID, Folds
from hnet_dna.sequence.codes import Codes, is_acgt
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.bigwig import pybigwig

_BIGWIG = (".bw", ".bigwig")
_UNNAMED = "inside"
_JUDGED = 200_000  # bases held out that metrics are computed on, at most


@dataclass(frozen=True)
class BaseTargets:
    """Windows of a genome, and what is known of their bases.

    Attributes:
        path: the BED file or bigWig.
        task: `multilabel` (BED) or `regression` (bigWig).
        names: of the K labels, sorted; empty for regression.
        windows: (N,) places.
        sequences: (N,) their bases.
        target: (N, L, K) float32: 1 inside a region of that name and 0 outside, or (N, L, 1) values; NaN where nothing
            is known, at letters other than A, C, G and T, and after the end of shorter windows.
        part: (N,) `TRAIN`, `VALID`, or 0 where it is held out.
        rule: how they were split, in words.
    """

    path: Path
    task: Task
    names: tuple[str, ...]
    windows: list[Interval]
    sequences: list[Codes]
    target: NDArray[np.float32]
    part: NDArray[np.int64]
    rule: str

    def rows(self, part: int) -> NDArray[np.int64]:
        """Return the numbers of the windows of a part."""
        return np.flatnonzero(self.part == part)

    def judged(self, seed: int) -> tuple[NDArray[np.int64], Labels, Folds]:
        """Return the windows to judge by, and each of their known bases as a row; windows are its groups."""
        drawn = np.random.default_rng(seed).permutation(self.rows(0))
        bases = np.cumsum([len(self.sequences[row]) for row in drawn])
        rows = np.sort(drawn[: max(1, int(np.searchsorted(bases, _JUDGED)))])
        known = ~np.isnan(self.target[rows]).all(axis=2)
        window, place = np.nonzero(known)
        target = self.target[rows][known]
        at = [self.windows[row] for row in rows]
        ids = [f"{at[w].contig}:{at[w].start + p}" for w, p in zip(window.tolist(), place.tolist(), strict=True)]
        labels = Labels(
            self.path, ids, target.astype(np.int8) if self.names else target[:, 0], None, None, {}, None, self.names
        )
        counts = {name: len(self.rows(part)) for name, part in (("train", TRAIN), ("valid", VALID), ("test", 0))}
        sizes = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        rule = f"{self.rule} ({sizes} windows)"
        return rows, labels, Folds(np.zeros(len(ids), dtype=np.int64), window, rule, 0)


def is_bigwig(path: str | Path) -> bool:
    """Return whether a file is bigWig by its name."""
    return format_suffix(Path(path)) in _BIGWIG


def read_base_targets(
    path: str | Path, genome: Genome, *, split: str = "", regions: str = "", window: int = 512
) -> BaseTargets:
    """Read what is known of each base of a genome, split as `pretrain` splits it.

    Raises:
        SequenceError: what `read_regions` or `split_genome` raises, or nothing is known of a part.
    """
    parts = split_genome(genome, split=split, regions=regions)
    windows, sequences, part = [], [], []
    check_window(window)
    for number, intervals in ((TRAIN, parts.train), (VALID, parts.valid), (0, parts.held_out)):
        if number == VALID and not parts.test:
            continue  # what validates is all that is held out
        for interval in _windows(intervals, window):
            codes = genome.codes(interval)
            if is_acgt(codes).any():
                windows.append(interval)
                sequences.append(codes)
                part.append(number)
    if VALID not in part:  # a genome too small for a part of its own
        trained = [row for row, number in enumerate(part) if number == TRAIN]
        for row in trained[len(trained) - len(trained) // 10 - 1 :]:
            part[row] = VALID
    names, fill = _of_bigwig(path) if is_bigwig(path) else _of_bed(path, genome)
    target = np.full((len(windows), window, len(names) or 1), np.nan, dtype=np.float32)
    for row, (interval, codes) in enumerate(zip(windows, sequences, strict=True)):
        own = target[row, : len(codes)]
        fill(interval, own)
        own[~is_acgt(codes)] = np.nan
    found = BaseTargets(
        Path(path),
        "multilabel" if names else "regression",
        names,
        windows,
        sequences,
        target,
        np.array(part),
        parts.rule,
    )
    for number, what in ((TRAIN, "train"), (0, "held-out")):
        known = target[found.rows(number)]
        known = known[~np.isnan(known).all(axis=2)]
        if not len(known):
            raise SequenceError(f"{path}: nothing is known of any {what} base ({parts.rule})")
        for column, name in enumerate(names):
            if len(np.unique(known[:, column])) < 2:
                raise SequenceError(
                    f"{path}: {'all' if known[0, column] else 'no'} {what} bases lie in {name} ({parts.rule}); choose "
                    "another `split`"
                )
        if not names and float(known.std()) == 0.0:
            raise SequenceError(f"{path}: all {what} bases have the value {known[0, 0]:g} ({parts.rule})")
    return found


def _windows(intervals: Sequence[Interval], window: int) -> Iterator[Interval]:
    for whole in intervals:
        for start in range(whole.start, whole.end, window):
            yield Interval(whole.contig, start, min(start + window, whole.end))


def _of_bed(path: str | Path, genome: Genome) -> tuple[tuple[str, ...], Any]:
    regions = read_regions(path, genome)
    names = tuple(sorted({region.name or _UNNAMED for region in regions}))
    place = {name: column for column, name in enumerate(names)}
    by_contig: dict[str, list[tuple[int, int, int]]] = {}
    for region in regions:
        at = region.interval
        by_contig.setdefault(at.contig, []).append((at.start, at.end, place[region.name or _UNNAMED]))
    sorted_by: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for contig, own in by_contig.items():
        table = np.array(sorted(own))
        sorted_by[contig] = (table, np.maximum.accumulate(table[:, 1]))

    def fill(interval: Interval, own: NDArray[np.float32]) -> None:
        own[:] = 0.0
        if interval.contig not in sorted_by:
            return
        table, reach = sorted_by[interval.contig]
        first = int(np.searchsorted(reach, interval.start, side="right"))
        last = int(np.searchsorted(table[:, 0], interval.end))
        for start, end, column in table[first:last].tolist():
            own[max(start - interval.start, 0) : max(end - interval.start, 0), column] = 1.0

    return names, fill


def _of_bigwig(path: str | Path) -> tuple[tuple[str, ...], Any]:
    try:
        file: Any = pybigwig().open(str(path))
    except RuntimeError as error:
        raise SequenceError(f"{path}: no bigWig that can be read ({error})") from None
    lengths = file.chroms()

    def fill(interval: Interval, own: NDArray[np.float32]) -> None:
        end = min(interval.end, lengths.get(interval.contig, 0))
        if end > interval.start:
            values = file.values(interval.contig, interval.start, end, numpy=True)
            own[: end - interval.start, 0] = np.where(np.isfinite(values), values, np.nan)

    return (), fill


def check_window(window: int) -> None:
    """Refuse windows that hold too little."""
    if window < 16:
        raise UsageError(f"`window`: expected 16 bases or more, got {window}")
