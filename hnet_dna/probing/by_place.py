"""Rows that are labelled, or parted, by where they lie in a genome."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from hnet_dna.annotation.regions import read_regions
from hnet_dna.embedding.table import Table
from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.store import Contig
from hnet_dna.plural import counted
from hnet_dna.probing.dataset import Labels, check_genome, few, lengths_of, part_of
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.tables import require_one_line
from hnet_dna.text import Source

_log = logging.getLogger(__name__)


def parts_by_place(labels: Labels, table: Table, bed: str | Path, genome: Genome | None) -> Labels:
    """Give each row the part of the BED region (column 4: train, valid or test) that the middle of its place lies in.

    Rows outside all regions are left out.

    Raises:
        SequenceError: what `read_regions` raises, a region with another name, or nothing that is left.
    """
    by_contig: dict[str, list[tuple[Interval, str]]] = {}
    for region in read_regions(bed, genome or _ContigsOf(table)):
        part = part_of(region.name, f"{bed}: line {region.line}")
        by_contig.setdefault(region.interval.contig, []).append((region.interval, part))
    place = {name: row for row, name in enumerate(table.id)}
    parts: list[str | None] = []
    for index, name in enumerate(labels.ids):
        row = index if len(labels.ids) == len(table.id) and name not in place else place.get(name, -1)
        if row < 0:
            parts.append(None)
            continue
        middle = (int(table.start[row]) + int(table.end[row])) // 2
        inside = [part for at, part in by_contig.get(table.contig[row], ()) if at.start <= middle < at.end]
        parts.append(inside[0] if inside else None)
    kept = [index for index, part in enumerate(parts) if part is not None]
    if not kept:
        raise SequenceError(f"{bed}: no labelled row lies in any of its regions")
    if len(kept) < len(parts):
        _log.info("%s: %s in none of its regions left out", bed, counted(len(parts) - len(kept), "row"))
    return replace(
        labels,
        ids=[labels.ids[index] for index in kept],
        target=labels.target[kept],
        sequences=None if labels.sequences is None else [labels.sequences[index] for index in kept],
        groups=None if labels.groups is None else [labels.groups[index] for index in kept],
        parts=[part for part in parts if part is not None],
    )


def labels_of_chunks(bed: Source, table: Table, genome: Genome | None = None) -> Labels:
    """Label each row of a table by whether the middle of its place lies in a region of a BED file.

    Args:
        bed: regions, all of them inside contigs of the genome, or of the table where no genome is given.
        table: vectors of chunks or regions.
        genome: the genome that the table was made from. It may have contigs that the table lacks.

    Raises:
        SequenceError: what `read_regions` or `check_genome` raises, or the table lacks its contigs' lengths.
    """
    if genome is not None:
        check_genome(table, genome)
    regions = read_regions(bed, genome or _ContigsOf(table))
    by_contig: dict[str, list[Interval]] = {}
    for interval in union(region.interval for region in regions):
        by_contig.setdefault(interval.contig, []).append(interval)
    inside = np.zeros(len(table.id), dtype=bool)
    middle = (table.start + table.end) // 2
    contigs = np.array(table.contig)
    bare = []
    for contig in dict.fromkeys(table.contig):
        rows = np.flatnonzero(contigs == contig)
        if contig not in by_contig:
            bare.append(contig)
            continue
        starts, ends = np.array([(i.start, i.end) for i in by_contig[contig]]).T
        last = np.searchsorted(starts, middle[rows], side="right") - 1
        inside[rows] = (last >= 0) & (middle[rows] < ends[last])
    if len(bare) == len(set(table.contig)):
        raise SequenceError(f"{bed}: none of its contigs ({few(list(by_contig))}) has a row in the table ({few(bare)})")
    if bare:
        _log.info("%s: no region on %s; every row there is outside", bed, few(bare))
    if lacking := [contig for contig in by_contig if contig not in set(table.contig)]:
        _log.info("%s: the table has no row on %s; the regions there label nothing", bed, few(lacking))
    ids = [require_one_line(f"{name}:{index}", "id", "the table") for index, name in enumerate(table.id)]
    return Labels(Path(str(bed)), ids, np.where(inside, "inside", "outside"), None, list(table.contig), {})


class _ContigsOf:
    """The contigs that the rows of a table lie on, for `read_regions` in place of a genome."""

    def __init__(self, table: Table) -> None:
        self.source = Path("the table")  # as messages call it
        self._by_name = {}
        for name, length in lengths_of(table).items():
            if length is None:
                raise SequenceError(
                    "the table does not say how long its contigs are, since an older version made it; give the genome "
                    "that it was made from, or embed again"
                )
            self._by_name[name] = Contig(name, 0, length, "", 0, 0, 0, 0, ())
        self.contigs = tuple(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Contig:
        return self._by_name[name]

    def find(self, name: str) -> str:
        return name
