"""Reads the layouts of public benchmarks into labelled sequences, with the train and test parts that they define.

- `genomic-benchmarks`: DATASET/{train,test}/CLASS.csv[.gz] with columns id, region, start, end, strand, and a reference
  genome; or DATASET/{train,test}/CLASS/*.txt with one sequence each. Class names are the labels.
- `nt` (Nucleotide Transformer tasks): DATASET/{train,test}.{fna,fa,fasta}[.gz], the label after the last `|` of a name.
- `gue`: DATASET/{train,dev,test}.csv[.gz] with columns sequence and label; dev may be missing.

Datasets may lie in folders of their own, and are called by their path from the folder of the collection.
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
    """One benchmark: sequences and labels of each part; `valid` is empty where the benchmark has none."""

    name: str
    train: tuple[list[Codes], list[str]]
    test: tuple[list[Codes], list[str]]
    valid: tuple[list[Codes], list[str]] = ([], [])


def read_suite(folder: Path, layout: str, reference: Genome | None = None) -> Iterator[Dataset]:
    """Yield the datasets below a folder (or the folder itself, where it is one), sorted by name."""
    if layout not in LAYOUTS:
        raise UsageError(f"`layout` {layout!r} does not exist. {did_you_mean(layout, LAYOUTS)}")
    if not folder.is_dir():
        raise SequenceError(f"{folder}: no such folder")
    own = _datasets(folder)
    if not own:
        raise SequenceError(f"{folder} holds no dataset of the layout {layout}: no train part beside a test part")
    for place in own:
        train, test = (_part(place, part, layout, reference) for part in _PARTS)
        for part, (sequences, _) in zip(_PARTS, (train, test), strict=True):
            if not sequences:
                raise SequenceError(f"{place}: its {part} part holds no sequence")
        dev = layout == "gue" and _of_part(place, "dev", (".csv",)) is not None
        valid = _part(place, "dev", layout, reference) if dev else ([], [])
        if pairs := spelt_differently([*train[1], *test[1], *valid[1]]):
            raise SequenceError(
                f"{place}: the labels {pairs[0][0]} and {pairs[0][1]} are one number written in two ways; write it in "
                "one way everywhere"
            )
        name = place.name if place == folder else place.relative_to(folder).as_posix()
        yield Dataset(name, train, test, valid)


def _datasets(folder: Path) -> list[Path]:
    """Return the folders at or below one that have a train part beside a test part, sorted."""
    if all(any(path.name.split(".")[0] == part for path in folder.iterdir()) for part in _PARTS):
        return [folder]
    return [dataset for inner in sorted(folder.iterdir()) if inner.is_dir() for dataset in _datasets(inner)]


def _of_part(folder: Path, part: str, kinds: tuple[str, ...]) -> Path | None:
    """Return the file of a part, compressed or not."""
    files = (path for path in sorted(folder.iterdir()) if path.name.split(".")[0] == part)
    return next((path for path in files if any(suffix in kinds for suffix in path.suffixes)), None)


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
                interval = Interval(reference.find(row["region"]), int(row["start"]), int(row["end"]))
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
    path = _of_part(folder, part, _FASTA)
    for name, codes in read_records(path) if path is not None else ():
        if "|" not in name:
            raise SequenceError(f"{path}: record {name} has no label; expected it after the last '|'")
        yield codes, name.rsplit("|", 1)[1]


def _csv(folder: Path, part: str, reference: Genome | None) -> Iterator[tuple[Codes, str]]:
    if (path := _of_part(folder, part, (".csv",))) is None:
        return
    for line, row in _rows(path):
        if "sequence" not in row or "label" not in row:
            raise SequenceError(f"{path}: expected columns sequence and label, got {', '.join(row)}")
        where = f"{path}: line {line}"
        yield sequence_cell(row["sequence"], where), to_name(row["label"], "label", where)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    rows = read_rows(path)
    for line, cells in rows:
        yield line, dict(zip(rows.columns, cells, strict=True))
