"""Sequences to embed, one after the other: FASTA, regions of a genome, or a table with a column of sequences."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hnet_dna.data.fasta import read_records
from hnet_dna.data.fetch import open_genome
from hnet_dna.data.genome import Genome
from hnet_dna.data.regions import read_regions
from hnet_dna.embedding.embedder import encode
from hnet_dna.errors import SequenceError, UsageError, did_you_mean
from hnet_dna.sequence.codes import Codes, reverse_complement
from hnet_dna.sequence.interval import Interval

_TABLES = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
SEQUENCE_NAMES = ("sequence", "sequences", "seq", "seqs", "dna")
ID_NAMES = ("id", "name", "seq_id", "sequence_id", "locus_tag", "orf")
_SHOWN = 20  # letters of a column's name in messages


@dataclass(frozen=True)
class Sequence:
    """One sequence and where it comes from.

    Attributes:
        id: name of the record, region or row.
        codes: nucleotide codes, of a region on strand `-` as that strand reads.
        contig, start, end: its place in a genome; the record itself where it is a whole one.
        strand: `+` or `-` for a region that says so, else `.`.
    """

    id: str
    codes: Codes
    contig: str
    start: int
    end: int
    strand: str = "."

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where a part of `codes` lies in the contig."""
        if self.strand == "-":
            return self.end - end, self.end - start
        return self.start + start, self.start + end


def region_codes(genome: Genome, interval: Interval, strand: str) -> Codes:
    """Return the codes of an interval as its strand reads: reverse-complemented for `-`."""
    codes = genome.codes(interval)
    return reverse_complement(codes) if strand == "-" else codes


def read_sequences(source: str, *, regions: Path | None = None, column: str | None = None) -> Iterator[Sequence]:
    """Yield sequences in the order of their file; `-` reads FASTA from stdin."""
    if regions is not None:
        genome = open_genome(source)
        for region in read_regions(regions, genome):
            place = region.interval
            if region.strand not in ("+", "-", "."):
                raise SequenceError(
                    f"{regions}: line {region.line}: expected +, - or . as strand (column 6), got {region.strand!r}"
                )
            name = region.name or f"{place.contig}:{place.start}-{place.end}"
            codes = region_codes(genome, place, region.strand)
            yield Sequence(name, codes, place.contig, place.start, place.end, region.strand)
    elif Path(source).suffix.lower() in _TABLES:
        yield from _table(Path(source), column)
    else:
        if column is not None:
            raise UsageError("--sequence belongs to CSV and TSV files")
        for name, codes in read_records(source):
            yield Sequence(name, codes, name, 0, len(codes))


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV or TSV file with a header, and their line numbers."""
    try:
        file = path.open(newline="", encoding="utf-8-sig")
    except FileNotFoundError:
        raise SequenceError(f"{path}: no such file; expected CSV or TSV") from None
    except IsADirectoryError:
        raise SequenceError(f"{path} is a directory; expected CSV or TSV") from None
    with file:
        csv.field_size_limit(sys.maxsize)
        delimiter = _TABLES.get(path.suffix.lower(), ",")
        reader = csv.DictReader(file, delimiter=delimiter)
        try:
            if not reader.fieldnames:
                raise SequenceError(f"{path} is empty; expected a header line and rows")
            if reader.fieldnames[0].startswith(">"):
                raise SequenceError(f"{path}: this looks like FASTA; expected CSV or TSV with a header line")
            if len(reader.fieldnames) == 1:
                for other, name in _SEPARATORS.items():
                    if other in reader.fieldnames[0]:
                        raise SequenceError(
                            f"{path}: the columns are separated by {name}; expected {_SEPARATORS[delimiter]} (CSV has "
                            "commas; TSV, named .tsv or .txt, has tabs)"
                        )
            for row in reader:
                if None in row or None in row.values():
                    raise SequenceError(
                        f"{path}: line {reader.line_num}: expected {len(reader.fieldnames)} columns, as the header has"
                    )
                yield reader.line_num, row
        except UnicodeDecodeError:
            raise SequenceError(f"{path} is not text; expected CSV or TSV") from None


def find_column(
    path: Path, columns: list[str], wanted: str | None, usual: tuple[str, ...], what: str, option: str
) -> str:
    """Return the column that is asked for by `option`, or the first one with a usual name.

    Raises:
        UsageError: where the one asked for does not exist.
        SequenceError: where none has a usual name.
    """
    if wanted in columns:
        return wanted
    # A file without a header has its first row here, with a whole sequence perhaps.
    shown = [column if len(column) <= _SHOWN else column[:_SHOWN] + "..." for column in columns]
    if wanted is not None:
        raise UsageError(f"{path}: no column {wanted!r}. {did_you_mean(wanted, shown)}")
    for column in columns:
        if column.lower() in usual:
            return column
    names = ", ".join(shown[:8]) + (", and more" if len(shown) > 8 else "")
    raise SequenceError(
        f"{path}: no column of {what} among {names}; name it by {option} COLUMN, or is the header line missing?"
    )


def _table(path: Path, column: str | None) -> Iterator[Sequence]:
    names: tuple[str, str | None] | None = None
    for number, (line, row) in enumerate(read_rows(path)):
        if names is None:
            columns = list(row)
            ids = [c for c in columns if c.lower() in ID_NAMES]
            sequences = find_column(path, columns, column, SEQUENCE_NAMES, "sequences", "--sequence")
            names = sequences, ids[0] if ids else None
        name = row[names[1]] if names[1] else str(number)
        codes = encode(row[names[0]], f"{path}: line {line}")
        yield Sequence(name, codes, name, 0, len(codes))
