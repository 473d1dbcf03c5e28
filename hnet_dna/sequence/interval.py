"""The one coordinate type: 0-based, half-open. Files that count otherwise are converted where they are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Interval:
    """Bases [start, end) of a contig, 0-based."""

    contig: str
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"{self.contig}:{self.start}-{self.end}: expected 0 <= start <= end (0-based, half-open)")

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        """As genome browsers write it: 1-based, both ends included."""
        return f"{self.contig}:{self.start + 1:,}-{self.end:,}"


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same bases as sorted intervals that neither overlap nor touch."""
    merged: list[Interval] = []
    for interval in sorted(intervals):
        if merged and merged[-1].contig == interval.contig and merged[-1].end >= interval.start:
            end = max(merged[-1].end, interval.end)
            merged[-1] = Interval(interval.contig, merged[-1].start, end)
        else:
            merged.append(interval)
    return merged


def intersection(left: Iterable[Interval], right: Iterable[Interval]) -> list[Interval]:
    """Return the bases that lie in both, as sorted intervals that neither overlap nor touch."""
    ours, theirs = union(left), union(right)
    common: list[Interval] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        a, b = ours[i], theirs[j]
        if a.contig == b.contig:
            start, end = max(a.start, b.start), min(a.end, b.end)
            if start < end:
                common.append(Interval(a.contig, start, end))
        if (a.contig, a.end) <= (b.contig, b.end):
            i += 1
        else:
            j += 1
    return union(common)
