"""The one coordinate type: 0-based, half-open. Files that count otherwise are converted where they are read."""

from __future__ import annotations

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
