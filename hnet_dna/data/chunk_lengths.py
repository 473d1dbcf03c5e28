"""How many bases per chunk are aimed at along a genome, where it is not the same everywhere."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import Region, read_regions, refuse_overlap
from hnet_dna.errors import ConfigError, SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.interval import Interval, intersection, union

_MOST = 255  # aims beside the first; the number of one travels as a byte beside each base
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ChunkLengths:
    """Bases per chunk that are aimed at along the genomes of a mixture.

    Attributes:
        aims: (C,) different numbers of bases per chunk; the first one serves where the others do not.
        places: for each genome, and for each aim but the first, where it serves.
    """

    aims: tuple[float, ...]
    places: tuple[tuple[tuple[Interval, ...], ...], ...]

    def along(self, genome: int, interval: Interval) -> NDArray[np.uint8]:
        """Return the number of the aim of each base of an interval, (L,)."""
        numbers = np.zeros(len(interval), dtype=np.uint8)
        starts, ends, aims = self._sorted[genome].get(interval.contig, (_NONE, _NONE, _NONE))
        first, last = np.searchsorted(ends, interval.start, side="right"), np.searchsorted(starts, interval.end)
        for start, end, aim in zip(starts[first:last], ends[first:last], aims[first:last], strict=True):
            numbers[max(start - interval.start, 0) : end - interval.start] = aim
        return numbers

    def mean(self, genome: int, segments: Sequence[Interval]) -> float:
        """Return the mean bases per chunk of segments in which all aims are met."""
        bases = sum(map(len, segments))
        chunks, rest = 0.0, bases
        for aim, places in zip(self.aims[1:], self.places[genome], strict=True):
            inside = sum(map(len, intersection(places, segments)))
            chunks, rest = chunks + inside / aim, rest - inside
        return bases / (chunks + rest / self.aims[0])

    def digest(self, genome: int) -> str:
        """Return a checksum of what is aimed at along a genome."""
        digest = hashlib.sha256()
        for aim, places in zip(self.aims[1:], self.places[genome], strict=True):
            digest.update("".join(f"{aim} {place}\n" for place in places).encode())
        return digest.hexdigest()

    @cached_property
    def _sorted(self) -> list[dict[str, tuple[NDArray[np.int64], ...]]]:
        """Starts, ends and numbers of aims on each contig of each genome."""
        genomes = []
        for of_aims in self.places:
            rows: dict[str, list[tuple[int, int, int]]] = {}
            for number, places in enumerate(of_aims, start=1):
                for place in places:
                    rows.setdefault(place.contig, []).append((place.start, place.end, number))
            genomes.append({name: tuple(np.array(sorted(of), dtype=np.int64).T) for name, of in rows.items()})
        return genomes


def read_chunk_lengths(files: Sequence[str], genomes: Sequence[Genome], elsewhere: float) -> ChunkLengths | None:
    """Read a BED file for each genome, whose fourth column is the number of bases per chunk aimed at.

    Args:
        files: one for each genome; empty for none.
        genomes: what they are of.
        elsewhere: bases per chunk outside of their regions.

    Returns:
        The lengths; None where there is no file.

    Raises:
        SequenceError: a line is not a region of the genome, its column 4 is not a number above 1, or two regions that
            overlap have different ones.
        ConfigError: there are too many different ones.
    """
    if not any(files):
        return None
    read = [_read(Path(file), genome) if file else {} for file, genome in zip(files, genomes, strict=True)]
    aims = sorted({aim for of_genome in read for aim in of_genome} - {elsewhere})
    if len(aims) > _MOST:
        raise ConfigError(
            f"{', '.join(filter(None, files))}: {len(aims):,} different numbers of bases per chunk; {_MOST} is the most"
        )
    places = tuple(tuple(tuple(of_genome.get(aim, ())) for aim in aims) for of_genome in read)
    return ChunkLengths((elsewhere, *aims), places)


def _read(path: Path, genome: Genome) -> dict[float, list[Interval]]:
    regions: dict[float, list[Region]] = {}
    for region in read_regions(path, genome):
        regions.setdefault(_aim(region, path), []).append(region)
    refuse_overlap(path, {str(aim): of_aim for aim, of_aim in regions.items()}, "number of bases per chunk")
    return {aim: union(region.interval for region in of_aim) for aim, of_aim in regions.items()}


def _aim(region: Region, path: Path) -> float:
    try:
        aim = float(region.name)
    except ValueError:
        aim = math.nan
    if not 1 < aim < math.inf:
        raise SequenceError(
            f"{path}: line {region.line}: column 4 must be the bases per chunk to aim at, a number above 1, got "
            f"{region.name!r}"
        )
    return aim
