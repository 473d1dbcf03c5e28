"""Labels, and the sequences or vectors that they belong to."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hnet_dna.data.genome import Genome
from hnet_dna.data.text import numbered_lines
from hnet_dna.embedding.inputs import ID_NAMES, SEQUENCE_NAMES, find_column, read_rows, region_codes
from hnet_dna.embedding.table import Table
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.sequence.codes import Codes
from hnet_dna.sequence.interval import Interval

Task = Literal["classification", "regression"]
_LABEL_NAMES = ("label", "labels", "class", "target", "y", "essential", "value")
_GROUP_NAMES = ("group", "contig", "chrom", "chromosome", "chr")


@dataclass(frozen=True)
class Labels:
    """A labelled set.

    Attributes:
        path: the file of labels.
        ids: of each row, all different.
        target: (N,) class names (text), or numbers for regression.
        sequences: text of each row, or None where the file has none.
        groups: what must not be split between folds (contig, gene family), or None.
        columns: the file's columns of labels, ids, sequences and groups, as far as it has them; none of a BED.
    """

    path: Path
    ids: list[str]
    target: NDArray[np.generic]
    sequences: list[str] | None
    groups: list[str] | None
    columns: dict[str, str]


def read_labels(
    path: Path,
    task: Task,
    *,
    label: str | None = None,
    id_column: str | None = None,
    sequence: str | None = None,
    group: str | None = None,
) -> Labels:
    """Read a CSV or TSV file with a header; columns are found by their usual names where they are not named."""
    rows = list(read_rows(path))
    if not rows:
        raise SequenceError(f"{path}: no row after the header")
    columns = list(rows[0][1])
    label = find_column(path, columns, label, _LABEL_NAMES, "labels", "--label")
    id_column = _optional(path, columns, id_column, ID_NAMES, "ids", "--id")
    sequence = _optional(path, columns, sequence, SEQUENCE_NAMES, "sequences", "--sequence")
    group = _optional(path, columns, group, _GROUP_NAMES, "groups", "--group")
    target: list[str | float] = []
    for line, row in rows:
        text = row[label].strip()
        if not text or text.lower() in ("nan", "na", "null", "none"):
            raise SequenceError(
                f"{path}: line {line}: the label is missing ({row[label]!r}); remove the row or fill it in"
            )
        target.append(text if task == "classification" else _number(path, line, text))
    ids = [row[id_column] for _, row in rows] if id_column else [str(index) for index in range(len(rows))]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise SequenceError(f"{path}: id {twice[0]} occurs {Counter(ids)[twice[0]]} times; ids must be unique")
    taken = {"labels": label, "ids": id_column, "sequences": sequence, "groups": group}
    return Labels(
        path,
        ids,
        np.array(target),
        [row[sequence] for _, row in rows] if sequence else None,
        [row[group] for _, row in rows] if group else None,
        {what: column for what, column in taken.items() if column},
    )


def match(labels: Labels, table: Table) -> NDArray[np.float32]:
    """Return the vectors (N, D) of the labelled rows, in the labels' order."""
    path = labels.path
    if table.metadata["per_chunk"]:
        raise UsageError(f"{path}: the table has a row per chunk; labels by id need one made without --per-chunk")
    wanted = set(labels.ids)
    twice = [name for name, count in Counter(table.id).items() if count > 1 and name in wanted]
    if twice:
        raise SequenceError(f"{path}: id {twice[0]} has several rows in the table; labels by id need one each")
    place = {name: row for row, name in enumerate(table.id)}
    missing = [name for name in labels.ids if name not in place]
    if missing:
        shown = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
        raise SequenceError(
            f"{path}: {len(missing):,} of {len(labels.ids):,} labelled ids have no vector: {shown}; the table has "
            f"{', '.join(table.id[:3])} and so on. Embed these too, or leave their rows out of the labels"
        )
    return table.vector[[place[name] for name in labels.ids]]


def sequences_of(labels: Labels, table: Table, genome: Genome) -> list[Codes]:
    """Return the bases of labelled rows that are regions of a genome, as their strands read."""
    place = {name: row for row, name in enumerate(table.id)}
    found = []
    for name in labels.ids:
        if name in place:  # `match` reports those that are not
            row = place[name]
            interval = Interval(table.contig[row], int(table.start[row]), int(table.end[row]))
            found.append(region_codes(genome, interval, table.strand[row]))
    return found


def labels_of_chunks(bed: Path, table: Table) -> Labels:
    """Label each row of a table by whether the middle of its place lies in a region of a BED file."""
    by_contig: dict[str, list[tuple[int, int]]] = {}
    for number, line in numbered_lines(bed, "a BED file"):
        fields = line.split()
        if not fields or line.startswith("#") or fields[0] in ("track", "browser"):
            continue
        if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()):
            raise SequenceError(f"{bed}: line {number}: expected contig, start and end")
        by_contig.setdefault(fields[0], []).append((int(fields[1]), int(fields[2])))
    if not set(by_contig) & set(table.contig):
        raise SequenceError(
            f"{bed}: none of its contigs ({', '.join(list(by_contig)[:3])}) is in the table "
            f"({', '.join(list(dict.fromkeys(table.contig))[:3])})"
        )
    inside = np.zeros(len(table.id), dtype=bool)
    middle = (table.start + table.end) // 2
    contigs = np.array(table.contig)
    for contig, regions in by_contig.items():
        rows = np.flatnonzero(contigs == contig)
        starts, ends = np.sort([s for s, _ in regions]), np.sort([e for _, e in regions])
        # As many regions have begun as have ended where none is open.
        opened = np.searchsorted(starts, middle[rows], side="right")
        inside[rows] = opened > np.searchsorted(ends, middle[rows], side="right")
    ids = [f"{name}:{index}" for index, name in enumerate(table.id)]
    return Labels(bed, ids, np.where(inside, "inside", "outside"), None, list(table.contig), {})


def check_labels(labels: Labels, task: Task, folds: int) -> None:
    """Refuse a set that teaches nothing, or that cannot be split into folds with every class in each.

    Raises:
        SequenceError: where no number of folds would do.
        UsageError: where fewer would.
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
        raise UsageError(f"{labels.path}: {what} has {count} rows, fewer than {folds} folds; use --folds {count}")


def _optional(
    path: Path, columns: list[str], wanted: str | None, usual: tuple[str, ...], what: str, option: str
) -> str | None:
    if wanted is None and not any(column.lower() in usual for column in columns):
        return None
    return find_column(path, columns, wanted, usual, what, option)


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SequenceError(f"{path}: line {line}: expected a number as label, got {text!r}") from None
    if not math.isfinite(value):
        raise SequenceError(f"{path}: line {line}: the label is not finite ({text!r})")
    return value
