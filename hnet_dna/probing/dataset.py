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

from hnet_dna.embedding.inputs import ID_NAMES, SEQUENCE_NAMES, region_codes, sequence_cell
from hnet_dna.embedding.table import Table
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.contig_names import unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import Codes, checksum_of, from_text, reverse_complement, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.tables import (
    Rows,
    differing_in_case,
    is_number,
    read_rows,
    spelt_differently,
    to_name,
)
from hnet_dna.text import Source

Task = Literal["classification", "multilabel", "regression"]
_LABEL_NAMES = ("label", "labels", "class", "target", "y", "essential", "value")
_GROUP_NAMES = ("group", "contig", "chrom", "chromosome", "chr")
_PART_NAMES = ("split", "part")
_PARTS = {"train": ("train", "training"), "valid": ("valid", "validation", "val", "dev"), "test": ("test",)}
_BETWEEN = ";"  # names of several labels in one cell
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Labelled rows.

    Attributes:
        path: the file of labels.
        ids: (N,) names, all different.
        target: (N,) names of classes (text), or numbers for regression; (N, K) of 0 and 1 where rows may have several
            labels.
        sequences: (N,) text, or None where the file has no sequences.
        groups: (N,) names of groups that no fold may split (contig, gene family), or None.
        columns: names of the file's columns of labels, ids, sequences, groups and parts, where it has them; empty for a
            BED.
        parts: (N,) `train`, `valid` or `test`, where a split is given, or None.
        names: of the K labels, sorted, where rows may have several; else empty.
    """

    path: Path
    ids: list[str]
    target: NDArray[np.generic]
    sequences: list[str] | None
    groups: list[str] | None
    columns: dict[str, str]
    parts: list[str] | None = None
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> list[str]:
        """Names of the classes or labels, sorted; none of a regression."""
        return list(self.names) if self.names else classes_of(self.target)

    def text(self, target: NDArray[np.generic]) -> list[str]:
        """Return labels, given or predicted, as a table holds them."""
        return several_as_text(target, self.names) if self.names else list(map(str, target))


def classes_of(target: NDArray[np.generic]) -> list[str]:
    """Return the classes among labels, sorted; none of numbers."""
    return sorted(set(map(str, target))) if target.dtype.kind in "UO" else []


def several_as_text(target: NDArray[np.generic], names: Sequence[str]) -> list[str]:
    """Return the names of the labels that each row (N, K) has, as one cell each."""
    return [_BETWEEN.join(name for name, has in zip(names, row, strict=True) if has) for row in target.tolist()]


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

    Rows that may have several labels name them in one cell, as in `promoter;coding`, which is empty where there are
    none; or `label` names several columns, separated by commas, whose cells are 0 or 1.

    Raises:
        SequenceError: a label, id or group is missing, an id occurs twice, two classes are one number (1 and 1.0), a
            sequence has a letter that is not a nucleotide code, or what `read_rows` raises.
        UsageError: a column does not exist.
    """
    rows = read_rows(source)
    several = label.split(",") if task == "multilabel" and label is not None and "," in label else []
    hot = [rows.find(name.strip(), (), "labels", "label") for name in several]
    columns = {
        "labels": hot[0] if hot else rows.find(label, _LABEL_NAMES, "labels", "label"),
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
            elif what == "labels" and hot:
                text = _BETWEEN.join(rows.columns[own] for own in hot if _is_set(cells[own], rows.columns[own], where))
            elif what == "labels" and task == "multilabel" and not text.strip():
                text = ""
            else:
                text = to_name(text, what.removesuffix("s"), where)
            if what == "parts":
                text = part_of(text, where)
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
    labels = Labels(
        Path(str(source)),
        ids,
        np.array(numbers if task == "regression" else cells_of["labels"]),
        cells_of.get("sequences"),
        cells_of.get("groups"),
        {what: rows.columns[place] for what, place in taken.items()} | ({"labels": label or ""} if hot else {}),
        cells_of.get("parts"),
    )
    if task == "multilabel":
        labels = _by_label(labels, [rows.columns[own] for own in hot])
    return labels


def _is_set(cell: str, column: str, where: str) -> bool:
    if cell.strip() not in ("0", "1"):
        raise SequenceError(f"{where}: expected 0 or 1 in column {column}, got {cell!r}")
    return cell.strip() == "1"


def _by_label(labels: Labels, names: Sequence[str] = ()) -> Labels:
    """Return labels whose target is (N, K) in place of the cells that name them."""
    cells = [[name.strip() for name in cell.split(_BETWEEN) if name.strip()] for cell in labels.target.tolist()]
    known = tuple(sorted({*names, *(name for cell in cells for name in cell)}))
    target = np.array([[name in cell for name in known] for cell in cells], dtype=np.int8)
    return replace(labels, target=target.reshape(len(cells), len(known)), names=known)


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
    names = tuple(sorted({*labels.names, *test.names}))
    if names:
        cells = [cell for each in (labels, test) for cell in each.text(each.target)]
        target = _by_label(replace(labels, target=np.array(cells)), names).target
    else:
        target = np.concatenate([labels.target, test.target])
    if pairs := spelt_differently([] if names else [*map(str, labels.target), *map(str, test.target)]):
        raise SequenceError(
            f"{test.path}: the labels {pairs[0][0]} and {pairs[0][1]} are one number written in two ways"
        )
    groups = None
    if labels.groups is not None and test.groups is not None:
        groups = labels.groups + test.groups
    return Labels(
        labels.path,
        labels.ids + own,
        target,
        None if labels.sequences is None or test.sequences is None else labels.sequences + test.sequences,
        groups,
        labels.columns,
        ["train"] * len(labels.ids) + ["test"] * len(own),
        names,
    )


def part_of(text: str, where: str) -> str:
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
            f"{path}: there is no column of ids, so rows are matched by their number, but the table has "
            f"{counted(len(place), 'row')} and there are {counted(len(wanted), 'label')}; which belongs to which is "
            "not known without ids"
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
    for name, length in lengths_of(table).items():
        if name not in genome:
            raise unknown_contig(name, genome.contigs, genome.source.name, asked=lengths_of(table))
        if length is not None and genome[name].length != length:
            raise SequenceError(
                f"{name} has {counted(genome[name].length, 'base')} in {genome.source.name}, and {length:,} in the "
                "genome that the table was made from; give that genome"
            )


def lengths_of(table: Table) -> dict[str, int | None]:
    """Return the lengths of the contigs that the rows of a table lie on, None where it does not say them."""
    if table.contig_length is None:
        return dict.fromkeys(table.contig)
    return dict(zip(table.contig, table.contig_length.tolist(), strict=True))


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many there are."""
    return ", ".join(names[:5]) + (f" ... ({len(names):,})" if len(names) > 5 else "")


def check_labels(labels: Labels, task: Task, folds: int) -> None:
    """Refuse labels that are all alike, or that cannot be split into folds with every class in each.

    Raises:
        SequenceError: no number of folds is possible.
        UsageError: fewer folds would.
    """
    if task == "multilabel":
        _check_several(labels, folds)
        return
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
        raise UsageError(
            f"{labels.path}: {what} has {counted(count, 'row')}, fewer than {folds} folds; use `folds` {count}"
        )


def _check_several(labels: Labels, folds: int) -> None:
    rows = len(labels.ids)
    if not labels.names:
        raise SequenceError(f"{labels.path}: no row has a label")
    if rows < max(folds, 2):
        raise UsageError(f"{labels.path}: {counted(rows, 'row')}, fewer than {folds} folds")
    for name, count in zip(labels.names, labels.target.sum(axis=0).tolist(), strict=True):
        if not 1 < count < rows - 1:
            raise SequenceError(
                f"{labels.path}: {count:,} of {counted(rows, 'row')} have the label {name}; at least 2 rows with it "
                "and 2 without it are needed"
            )


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
