"""Reads the layouts of public benchmarks into labelled sequences, with the train and test parts that they define.

- `genomic-benchmarks`: DATASET/{train,test}/CLASS.csv[.gz] with columns id, region, start, end, strand, and a reference
  genome; or DATASET/{train,test}/CLASS/*.txt with one sequence each. Class names are the labels.
- `nt` (Nucleotide Transformer tasks): DATASET/{train,test}.{fna,fa,fasta}[.gz], the label after the last `|` of a name.
- `gue`: DATASET/{train,test}.csv with columns sequence and label (dev.csv is left to the user).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hnet_dna.embedding.inputs import region_codes, sequence_cell
from hnet_dna.errors import SequenceError, UsageError, did_you_mean
from hnet_dna.genome.fasta import read_records
from hnet_dna.genome.genome import Genome
from hnet_dna.sequence.codes import Codes
from hnet_dna.sequence.coerce import as_codes
from hnet_dna.sequence.interval import Interval
from hnet_dna.tables import read_rows, spelt_differently, to_name
from hnet_dna.text import numbered_lines

LAYOUTS = ("genomic-benchmarks", "nt", "gue")
_PARTS = ("train", "test")
_FASTA = (".fna", ".fa", ".fasta")


@dataclass(frozen=True)
class Dataset:
    """One benchmark: sequences and labels of each part."""

    name: str
    train: tuple[list[Codes], list[str]]
    test: tuple[list[Codes], list[str]]


def read_suite(folder: Path, layout: str, reference: Genome | None = None) -> Iterator[Dataset]:
    """Yield the datasets below a folder (or the folder itself, where it is one), sorted by name."""
    if layout not in LAYOUTS:
        raise UsageError(f"`layout` {layout!r} does not exist. {did_you_mean(layout, LAYOUTS)}")
    if not folder.is_dir():
        raise SequenceError(f"{folder}: no such folder")
    own = [folder] if _is_dataset(folder) else sorted(p for p in folder.iterdir() if p.is_dir() and _is_dataset(p))
    if not own:
        raise SequenceError(f"{folder} holds no dataset of the layout {layout}: no train part beside a test part")
    for place in own:
        train, test = (_part(place, part, layout, reference) for part in _PARTS)
        for part, (sequences, _) in zip(_PARTS, (train, test), strict=True):
            if not sequences:
                raise SequenceError(f"{place}: its {part} part holds no sequence")
        if pairs := spelt_differently([*train[1], *test[1]]):
            raise SequenceError(
                f"{place}: the labels {pairs[0][0]} and {pairs[0][1]} are one number written in two ways; write it in "
                "one way everywhere"
            )
        yield Dataset(place.name, train, test)


def _is_dataset(folder: Path) -> bool:
    return all(any(path.name.split(".")[0] == part for path in folder.iterdir()) for part in _PARTS)


def _part(folder: Path, part: str, layout: str, reference: Genome | None) -> tuple[list[Codes], list[str]]:
    rows = {"genomic-benchmarks": _classes, "nt": _fasta, "gue": _csv}[layout](folder, part, reference)
    sequences, labels = [], []
    for codes, label in rows:
        sequences.append(codes)
        labels.append(label)
    return sequences, labels


def _classes(folder: Path, part: str, reference: Genome | None) -> Iterator[tuple[Codes, str]]:
    for place in sorted((folder / part).iterdir()):
        if place.is_dir():
            for text in sorted(place.glob("*.txt")):
                lines = numbered_lines(text, "a sequence")
                yield as_codes("".join(line.strip() for _, line in lines), str(text)), place.name
            continue
        label = place.name.split(".")[0]
        if reference is None:
            raise UsageError(f"{place}: intervals need the reference genome")
        for line, row in _rows(place):
            where = f"{place}: line {line}"
            try:
                interval = Interval(row["region"], int(row["start"]), int(row["end"]))
            except (KeyError, ValueError) as error:
                raise SequenceError(f"{where}: expected region, start and end ({error})") from None
            if (strand := row.get("strand", "+")) not in ("+", "-", "."):
                raise SequenceError(f"{where}: expected +, - or . as strand, got {strand!r}")
            try:
                codes = region_codes(reference, interval, strand)
            except SequenceError as error:
                raise SequenceError(f"{where}: {error}") from None
            yield codes, label


def _fasta(folder: Path, part: str, reference: Genome | None) -> Iterator[tuple[Codes, str]]:
    for path in sorted(folder.iterdir()):
        if path.name.split(".")[0] == part and any(suffix in _FASTA for suffix in path.suffixes):
            for name, codes in read_records(path):
                if "|" not in name:
                    raise SequenceError(f"{path}: record {name} has no label; expected it after the last '|'")
                yield codes, name.rsplit("|", 1)[1]


def _csv(folder: Path, part: str, reference: Genome | None) -> Iterator[tuple[Codes, str]]:
    path = folder / f"{part}.csv"
    for line, row in _rows(path):
        if "sequence" not in row or "label" not in row:
            raise SequenceError(f"{path}: expected columns sequence and label, got {', '.join(row)}")
        where = f"{path}: line {line}"
        yield sequence_cell(row["sequence"], where), to_name(row["label"], "label", where)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = read_rows(path)
    for line, cells in rows:
        yield line, dict(zip(rows.columns, cells, strict=True))
