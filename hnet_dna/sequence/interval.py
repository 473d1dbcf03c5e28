"""The class `Interval`, the only type of coordinates (0-based, half-open), and set operations on intervals."""

from __future__ import annotations

from bisect import bisect_right
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
        """Return it as genome browsers write it: 1-based, both ends included."""
        return f"{self.contig}:{self.start + 1:,}-{self.end:,}"


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same bases as sorted intervals that neither overlap nor touch."""
    merged: list[Interval] = []
    for interval in sorted(interval for interval in intervals if len(interval)):
        if merged and merged[-1].contig == interval.contig and merged[-1].end >= interval.start:
            end = max(merged[-1].end, interval.end)
            merged[-1] = Interval(interval.contig, merged[-1].start, end)
        else:
            merged.append(interval)
    return merged


def intersection(left: Iterable[Interval], right: Iterable[Interval]) -> list[Interval]:
    """Return the bases that are in both, as sorted intervals that neither overlap nor touch."""
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


def overlapping(intervals: Iterable[Interval], others: Iterable[Interval]) -> list[bool]:
    """Return for each interval, in the given order, whether it shares a base with any of the others."""
    merged = union(others)
    ends = [(other.contig, other.end) for other in merged]
    overlaps = []
    for interval in intervals:
        index = bisect_right(ends, (interval.contig, interval.start))
        near = index < len(merged) and merged[index].contig == interval.contig
        overlaps.append(near and max(merged[index].start, interval.start) < interval.end)
    return overlaps


def difference(left: Iterable[Interval], right: Iterable[Interval]) -> list[Interval]:
    """Return the bases of `left` that are not in `right`, as sorted intervals that neither overlap nor touch."""
    by_contig: dict[str, list[Interval]] = {}
    for interval in union(right):
        by_contig.setdefault(interval.contig, []).append(interval)
    kept: list[Interval] = []
    for interval in union(left):
        start = interval.start
        holes = by_contig.get(interval.contig, [])
        for hole in holes[bisect_right(holes, start, key=lambda h: h.end) :]:
            if hole.start >= interval.end:
                break
            if hole.start > start:
                kept.append(Interval(interval.contig, start, hole.start))
            start = max(start, hole.end)
        if start < interval.end:
            kept.append(Interval(interval.contig, start, interval.end))
    return kept
