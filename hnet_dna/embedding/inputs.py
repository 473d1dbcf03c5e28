"""Sequences to embed: from FASTA, from a table, from regions of a genome, or from what a Python program holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from hnet_dna.annotation.regions import is_bed, read_regions
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.fasta import read_records
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.progress import is_small
from hnet_dna.sequence.codes import Codes, reverse_complement
from hnet_dna.sequence.coerce import SequenceLike, as_codes, name_of
from hnet_dna.sequence.interval import Interval
from hnet_dna.tables import is_missing, is_table, read_rows, require_one_line, to_name
from hnet_dna.text import Source, first_line

SEQUENCE_NAMES = ("sequence", "sequences", "seq", "seqs", "dna")
ID_NAMES = ("id", "name", "seq_id", "sequence_id", "locus_tag", "orf")
Kind = Literal["bed", "fasta", "table"]
SequencesLike: TypeAlias = Mapping[str, SequenceLike] | Iterable[Any] | Genome
"""Sequences in memory: text, `Bio.Seq`, `SeqRecord` or codes in a list or mapping, `pyfaidx.Fasta`, or `Genome`."""
# What only single sequences have: those of Biopython, and sequences and records of pyfaidx.
_OF_SINGLE_ONES = ("reverse_complement", "seq", "long_name")


@dataclass(frozen=True)
class Sequence:
    """One sequence and where it comes from.

    Attributes:
        id: name of the record, region or row.
        codes: (L,) nucleotide codes; a region on strand `-` is reverse-complemented.
        contig, start, end: its place in a genome, 0-based half-open; a whole record is its own contig.
        contig_length: bases of the whole contig.
        strand: `+` or `-` for a region whose BED line says so, else `.`.
    """

    id: str
    codes: Codes
    contig: str
    start: int
    end: int
    contig_length: int
    strand: str = "."

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return the start and end in the contig of a part of `codes`."""
        if self.strand == "-":
            return self.end - end, self.end - start
        return self.start + start, self.start + end


def region_codes(genome: Genome, interval: Interval, strand: str) -> Codes:
    """Return the codes of an interval as its strand reads: reverse-complemented for `-`."""
    codes = genome.codes(interval)
    return reverse_complement(codes) if strand == "-" else codes


def recognise(source: str | Path) -> tuple[Kind | None, Source]:
    """Tell what a file holds by the ending of its name, or by its first line where there is none, as with pipes.

    Returns:
        The kind, None if neither shows it, and the source to read from in place of the one given.
    """
    if is_bed(Path(source)):
        return "bed", source
    if is_table(source):
        return "table", source
    if Path(source).suffix:
        return None, source
    line, opened = first_line(source, "FASTA, or CSV or TSV with a header line")
    cells = line.split("\t") if "\t" in line else line.split()
    if line.startswith(">"):
        return "fasta", opened
    if cells[:1] in (["track"], ["browser"]) or [cell.isdecimal() for cell in cells[1:3]] == [True, True]:
        return "bed", opened
    if "\t" in line or "," in line or line.strip('"').lower() in SEQUENCE_NAMES:
        return "table", opened
    return None, opened


def named_sequences(sequences: SequencesLike) -> Iterator[tuple[str | None, SequenceLike]]:
    """Yield the sequences that a Python program holds, each with its name, None where it has none.

    Raises:
        TypeError: a single sequence in place of several.
    """
    if _is_single(sequences):
        raise TypeError(f"sequences: expected several sequences, got one {type(sequences).__name__}; write [sequence]")
    if isinstance(sequences, Genome):
        yield from ((contig.name, sequences.codes(whole(contig))) for contig in sequences.contigs)
    elif isinstance(sequences, Mapping):
        yield from sequences.items()
    else:
        for sequence in sequences:  # those of a pyfaidx.Fasta are its records
            yield name_of(sequence), sequence


def read_sequences(source: str | Path | SequencesLike, column: str | None = None) -> Iterator[Sequence]:
    """Yield sequences in the order of their source.

    Args:
        source: a FASTA, CSV or TSV file, `-` for stdin, which may hold either, or sequences in memory as
            `hnet_dna.embed` takes them. Those without a name are named by their number from 0.
        column: of sequences in a CSV or TSV file, where it has not one of the usual names.

    Raises:
        SequenceError: what `read_records` and `read_rows` raise, or a letter that is not a nucleotide code.
        UsageError: a BED file, or a column of something else than a table.
    """
    if isinstance(source, str | Path):
        yield from _of_file(str(source), column)
        return
    if column is not None:
        raise UsageError("`sequence` names a column of a CSV or TSV file; the sequences given are in memory")
    for number, (given, sequence) in enumerate(named_sequences(source)):
        name = str(number) if given is None else require_one_line(given, "name", "the sequences given")
        yield _whole(name, as_codes(sequence, name))


def read_regions_of(genome: Genome, bed: str | Path) -> Iterator[Sequence]:
    """Yield the regions of a BED file, each as its strand reads.

    Raises:
        SequenceError: what `read_regions` raises, or a strand other than +, - and `.`.
    """
    for region in read_regions(bed, genome):
        place = region.interval
        where = f"{bed}: line {region.line}"
        if region.strand not in ("+", "-", "."):
            raise SequenceError(f"{where}: expected +, - or . as strand (column 6), got {region.strand!r}")
        name = f"{place.contig}:{place.start}-{place.end}"
        if region.name not in ("", "."):
            name = require_one_line(region.name, "name", where)
        codes = region_codes(genome, place, region.strand)
        length = genome[place.contig].length
        yield Sequence(name, codes, place.contig, place.start, place.end, length, region.strand)


def count_sequences(source: str | Path | SequencesLike, column: str | None = None) -> int | None:
    """Return how many sequences a source has, None if counting them would take long or would use them up."""
    if isinstance(source, str | Path):
        return sum(1 for _ in read_sequences(source, column)) if is_small(source) else None
    return len(source) if isinstance(source, Sized) else None


def sequence_cell(text: str, where: str) -> Codes:
    """Return the codes of a cell of a table, none where the cell says that there is no sequence."""
    # NA and NaN are nucleotide letters too, but in a table they mean what R and pandas mean by them.
    return as_codes("" if is_missing(text) else text, where)


def _of_file(source: str, column: str | None) -> Iterator[Sequence]:
    kind, opened = recognise(source)
    if kind == "bed":
        raise UsageError(f"{source}: BED has no sequences; give the genome that it lies on, and the BED as `regions`")
    if kind == "table":
        yield from _of_table(opened, column)
        return
    if column is not None:
        raise UsageError(f"{source}: `sequence` names a column of a CSV or TSV file, and this is neither")
    for name, codes in read_records(opened):
        yield _whole(name, codes)


def _of_table(source: Source, column: str | None) -> Iterator[Sequence]:
    rows = read_rows(source)
    place = rows.find(column, SEQUENCE_NAMES, "sequences", "sequence")
    id_place = rows.find(None, ID_NAMES, "ids", "id_column") if rows.has(ID_NAMES) else None
    number = 0
    for number, (line, cells) in enumerate(rows, start=1):
        where = f"{source}: line {line}"
        name = str(number - 1) if id_place is None else to_name(cells[id_place], "id", where)
        yield _whole(name, sequence_cell(cells[place], where))
    if not number:
        raise SequenceError(f"{source}: no row after the header")


def _whole(name: str, codes: Codes) -> Sequence:
    return Sequence(name, codes, name, 0, len(codes), len(codes))


def _is_single(sequences: object) -> bool:
    if isinstance(sequences, np.ndarray):
        return sequences.ndim == 1 and sequences.dtype == np.uint8  # codes
    return isinstance(sequences, str | bytes) or any(hasattr(sequences, name) for name in _OF_SINGLE_ONES)


def batches(
    sequences: Iterable[Sequence], most: int, most_bases: int, *, first: int | None = None
) -> Iterator[list[Sequence]]:
    """Gather up to `most` sequences, fewer where they are long; at first `first`, and then twice as many each time."""
    batch: list[Sequence] = []
    limit, bases = first or most, 0
    for sequence in sequences:
        batch.append(sequence)
        bases += len(sequence.codes)
        if len(batch) == limit or bases > most_bases:
            yield batch
            batch, bases, limit = [], 0, min(2 * limit, most)
    if batch:
        yield batch
