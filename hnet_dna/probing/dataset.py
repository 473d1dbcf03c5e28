"""Labels, and the sequences or vectors that they belong to."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.regions import read_regions
from hnet_dna.embedding.inputs import ID_NAMES, SEQUENCE_NAMES, region_codes, sequence_cell
from hnet_dna.embedding.table import Table
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.contig_names import unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.store import Contig
from hnet_dna.sequence.codes import Codes, checksum_of, from_text, reverse_complement, to_text
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.tables import (
    Rows,
    differing_in_case,
    is_number,
    read_rows,
    require_one_line,
    spelt_differently,
    to_name,
)
from hnet_dna.text import Source

Task = Literal["classification", "regression"]
_LABEL_NAMES = ("label", "labels", "class", "target", "y", "essential", "value")
_GROUP_NAMES = ("group", "contig", "chrom", "chromosome", "chr")
_PART_NAMES = ("split", "part")
_PARTS = {"train": ("train", "training"), "valid": ("valid", "validation", "val", "dev"), "test": ("test",)}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Labelled rows.

    Attributes:
        path: the file of labels.
        ids: (N,) names, all different.
        target: (N,) names of classes (text), or numbers for regression.
        sequences: (N,) text, or None where the file has no sequences.
        groups: (N,) names of groups that no fold may split (contig, gene family), or None.
        columns: names of the file's columns of labels, ids, sequences, groups and parts, where it has them; empty for a
            BED.
        parts: (N,) `train`, `valid` or `test`, where a split is given, or None.
    """

    path: Path
    ids: list[str]
    target: NDArray[np.generic]
    sequences: list[str] | None
    groups: list[str] | None
    columns: dict[str, str]
    parts: list[str] | None = None


def read_labels(
    source: Source,
    task: Task,
    *,
    label: str | None = None,
    id_column: str | None = None,
    sequence: str | None = None,
    group: str | None = None,
    split: str | None = None,
) -> Labels:
    """Read a CSV or TSV file with a header; columns that are not given are found by their usual names.

    Raises:
        SequenceError: a label, id or group is missing, an id occurs twice, two classes are one number (1 and 1.0), a
            sequence has a letter that is not a nucleotide code, or what `read_rows` raises.
        UsageError: a column does not exist.
    """
    rows = read_rows(source)
    columns = {
        "labels": rows.find(label, _LABEL_NAMES, "labels", "label"),
        "ids": _optional(rows, id_column, ID_NAMES, "ids", "id_column"),
        "sequences": _optional(rows, sequence, SEQUENCE_NAMES, "sequences", "sequence"),
        "groups": _optional(rows, group, _GROUP_NAMES, "groups", "group"),
        "parts": _optional(rows, split, _PART_NAMES, "parts", "split"),
    }
    taken = {what: place for what, place in columns.items() if place is not None}
    cells_of: dict[str, list[str]] = {what: [] for what in taken}
    numbers: list[float] = []
    lines: list[int] = []
    for line, cells in rows:
        where = f"{source}: line {line}"
        for what, place in taken.items():
            text = cells[place]
            if what == "sequences":
                text = to_text(sequence_cell(text, where))
            else:
                text = to_name(text, what.removesuffix("s"), where)
            if what == "parts":
                text = _part(text, where)
            cells_of[what].append(text)
        if task == "regression":
            numbers.append(_number(cells_of["labels"][-1], where))
        lines.append(line)
    if not lines:
        raise SequenceError(f"{source}: no row after the header")
    if task == "classification":
        _refuse_one_number(cells_of["labels"], lines, "labels", str(source))
    _refuse_one_number(cells_of.get("groups", []), lines, "groups", str(source))
    ids = cells_of.get("ids", [str(index) for index in range(len(lines))])
    for name, count in Counter(ids).most_common(1):
        if count > 1:
            of = ", ".join(str(line) for line, other in zip(lines, ids, strict=True) if other == name)
            raise SequenceError(f"{source}: id {name} occurs {count} times (lines {of}); ids must be unique")
    return Labels(
        Path(str(source)),
        ids,
        np.array(numbers if task == "regression" else cells_of["labels"]),
        cells_of.get("sequences"),
        cells_of.get("groups"),
        {what: rows.columns[place] for what, place in taken.items()},
        cells_of.get("parts"),
    )


def with_test(labels: Labels, test: Labels) -> Labels:
    """Join labels with those of another file, whose rows become the test part.

    Raises:
        UsageError: the labels have a split of their own.
        SequenceError: the files have other columns, or share an id.
    """
    if labels.parts is not None or test.parts is not None:
        raise UsageError("give `test`, or a column of parts (train, valid, test), not both")
    if (labels.sequences is None) != (test.sequences is None):
        without = labels if labels.sequences is None else test
        raise SequenceError(f"{without.path}: there is no column of sequences, which the other file has")
    numbered = "ids" not in test.columns and "ids" not in labels.columns
    own = [str(len(labels.ids) + index) for index in range(len(test.ids))] if numbered else test.ids
    if twice := sorted(set(labels.ids) & set(own)):
        raise SequenceError(f"{test.path}: id {twice[0]} is also in {labels.path}; ids must be unique")
    if pairs := spelt_differently([*map(str, labels.target), *map(str, test.target)]):
        raise SequenceError(
            f"{test.path}: the labels {pairs[0][0]} and {pairs[0][1]} are one number written in two ways"
        )
    groups = None
    if labels.groups is not None and test.groups is not None:
        groups = labels.groups + test.groups
    return Labels(
        labels.path,
        labels.ids + own,
        np.concatenate([labels.target, test.target]),
        None if labels.sequences is None or test.sequences is None else labels.sequences + test.sequences,
        groups,
        labels.columns,
        ["train"] * len(labels.ids) + ["test"] * len(own),
    )


def parts_by_place(labels: Labels, table: Table, bed: str | Path, genome: Genome | None) -> Labels:
    """Give each row the part of the BED region (column 4: train, valid or test) that the middle of its place lies in.

    Rows outside all regions are left out.

    Raises:
        SequenceError: what `read_regions` raises, a region with another name, or nothing that is left.
    """
    by_contig: dict[str, list[tuple[Interval, str]]] = {}
    for region in read_regions(bed, genome or _ContigsOf(table)):
        part = _part(region.name, f"{bed}: line {region.line}")
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
        _log.info("%s: %s rows lie in none of its regions and are left out", bed, f"{len(parts) - len(kept):,}")
    return replace(
        labels,
        ids=[labels.ids[index] for index in kept],
        target=labels.target[kept],
        sequences=None if labels.sequences is None else [labels.sequences[index] for index in kept],
        groups=None if labels.groups is None else [labels.groups[index] for index in kept],
        parts=[part for part in parts if part is not None],
    )


def _part(text: str, where: str) -> str:
    """Return `train`, `valid` or `test` for the names that these have in use."""
    for part, names in _PARTS.items():
        if text.lower() in names:
            return part
    raise SequenceError(f"{where}: expected train, valid or test as part, got {text!r}")


def match(labels: Labels, table: Table) -> NDArray[np.float32]:
    """Return the vectors (N, D) of the labelled rows, in the labels' order.

    Raises:
        UsageError: a table with a row per chunk.
        SequenceError: an id with no vector, or with several; or labels with a sequence of their own that is not, on
            either strand, the one that its vector was made from.
    """
    path = labels.path
    if table.metadata["per_chunk"]:
        raise UsageError(f"{path}: the table has a row per chunk; labels by id need one with a row per sequence")
    wanted = set(labels.ids)
    twice = [name for name, count in Counter(table.id).items() if count > 1 and name in wanted]
    if twice:
        raise SequenceError(f"{path}: id {twice[0]} has several rows in the table; labels by id need one each")
    place = {name: row for row, name in enumerate(table.id)}
    missing = [name for name in labels.ids if name not in place]
    if "ids" not in labels.columns and not missing and len(place) > len(wanted):
        raise SequenceError(
            f"{path}: there is no column of ids, so rows are matched by their number, but the table has {len(place):,} "
            f"rows and there are {len(wanted):,} labels; which belongs to which is not known without ids"
        )
    if missing:
        shown = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
        raise SequenceError(
            f"{path}: {len(missing):,} of {len(labels.ids):,} labelled ids have no vector: {shown}; the table has "
            f"{', '.join(table.id[:3])} and so on. Embed these too, or leave their rows out of the labels"
        )
    for name, text in zip(labels.ids, labels.sequences or (), strict=False):
        if table.checksum is None:  # of before it was written
            break
        codes = from_text(text)
        if table.checksum[place[name]] not in (checksum_of(codes), checksum_of(reverse_complement(codes))):
            raise SequenceError(
                f"{path}: id {name} has another sequence than the one that its vector in the table was made from; "
                "embed these sequences, or correct the ids"
            )
    return table.vector[[place[name] for name in labels.ids]]


def sequences_of(labels: Labels, table: Table, genome: Genome) -> list[Codes]:
    """Return the bases of labelled rows that are regions of a genome, as their strands read.

    Raises:
        SequenceError: a contig of the table is not in the genome, or has another length or other bases there.
    """
    check_genome(table, genome)
    place = {name: row for row, name in enumerate(table.id)}
    codes_of_rows = []
    for name in labels.ids:
        if name in place:  # `match` reports the others
            row = place[name]
            interval = Interval(table.contig[row], int(table.start[row]), int(table.end[row]))
            codes = region_codes(genome, interval, table.strand[row])
            if table.checksum is not None and checksum_of(codes) != table.checksum[row]:
                raise SequenceError(
                    f"{genome.source.name} has other bases at {interval} than the sequence that row {name} of the "
                    "table was made from; give the genome that the table was made from"
                )
            codes_of_rows.append(codes)
    return codes_of_rows


def check_genome(table: Table, genome: Genome) -> None:
    """Refuse a genome that the table cannot be from, since a contig has another name or length there."""
    for name, length in _lengths(table).items():
        if name not in genome:
            raise unknown_contig(name, genome.contigs, genome.source.name, asked=_lengths(table))
        if length is not None and genome[name].length != length:
            raise SequenceError(
                f"{name} has {genome[name].length:,} bases in {genome.source.name}, and {length:,} in the genome that "
                "the table was made from; give that genome"
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
        raise SequenceError(
            f"{bed}: none of its contigs ({_few(list(by_contig))}) has a row in the table ({_few(bare)})"
        )
    if bare:
        _log.info("%s: no region on %s; every row there is outside", bed, _few(bare))
    if lacking := [contig for contig in by_contig if contig not in set(table.contig)]:
        _log.info("%s: the table has no row on %s; the regions there label nothing", bed, _few(lacking))
    ids = [require_one_line(f"{name}:{index}", "id", "the table") for index, name in enumerate(table.id)]
    return Labels(Path(str(bed)), ids, np.where(inside, "inside", "outside"), None, list(table.contig), {})


class _ContigsOf:
    """The contigs that the rows of a table lie on, for `read_regions` in place of a genome."""

    def __init__(self, table: Table) -> None:
        self.source = Path("the table")  # as messages call it
        self._by_name = {}
        for name, length in _lengths(table).items():
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


def _lengths(table: Table) -> dict[str, int | None]:
    if table.contig_length is None:
        return dict.fromkeys(table.contig)
    return dict(zip(table.contig, table.contig_length.tolist(), strict=True))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" ... ({len(names):,})" if len(names) > 5 else "")


def check_labels(labels: Labels, task: Task, folds: int) -> None:
    """Refuse labels that are all alike, or that cannot be split into folds with every class in each.

    Raises:
        SequenceError: no number of folds is possible.
        UsageError: fewer folds would.
    """
    counts = Counter(map(str, labels.target))
    name, count = min(counts.items(), key=lambda item: item[1])
    if len(counts) < 2:
        raise SequenceError(f"{labels.path}: every label is {name}; at least two different ones are needed")
    if task == "regression":
        what, count = "the file", len(labels.ids)
    else:
        what = f"class {name}"
    if count < 2:
        raise SequenceError(f"{labels.path}: {what} has 1 row; each class needs at least 2, one of them to be held out")
    if count < folds:
        raise UsageError(f"{labels.path}: {what} has {count} rows, fewer than {folds} folds; use `folds` {count}")


def _optional(rows: Rows, wanted: str | None, usual: tuple[str, ...], what: str, parameter: str) -> int | None:
    return rows.find(wanted, usual, what, parameter) if wanted is not None or rows.has(usual) else None


def _refuse_one_number(names: list[str], lines: list[int], what: str, source: str) -> None:
    """Refuse names that are one number (0 and 0.0), and log those that differ only in case."""
    if pairs := spelt_differently(names):
        (one, line), (other, other_line) = ((name, lines[names.index(name)]) for name in pairs[0])
        raise SequenceError(
            f"{source}: the {what} {one} (line {line}) and {other} (line {other_line}) are one number written in two "
            "ways; write it in one way everywhere"
        )
    for one, other in differing_in_case(names):
        _log.info("%s: %s %s and %s differ only in case, and are taken as two", source, what, one, other)


def _number(text: str, where: str) -> float:
    if is_number(text) or text.lower().lstrip("+-") in ("inf", "infinity"):
        if math.isfinite(value := float(text)):
            return value
        raise SequenceError(f"{where}: the label is not finite ({text!r})")
    comma = " (a decimal comma? write a point)" if is_number(text.replace(",", ".")) else ""
    raise SequenceError(f"{where}: expected a number as label, got {text!r}{comma}")
