"""Sequences to embed, one after the other: FASTA, regions of a genome, or a table with a column of sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hnet_dna.annotation.regions import is_bed, read_regions
from hnet_dna.embedding.embedder import encode
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.fasta import read_records
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import Codes, reverse_complement
from hnet_dna.sequence.interval import Interval
from hnet_dna.tables import is_missing, is_table, read_rows, require_one_line, to_name
from hnet_dna.text import Source, first_line

SEQUENCE_NAMES = ("sequence", "sequences", "seq", "seqs", "dna")
ID_NAMES = ("id", "name", "seq_id", "sequence_id", "locus_tag", "orf")
Kind = Literal["bed", "fasta", "table"]


@dataclass(frozen=True)
class Sequence:
    """One sequence and where it comes from.

    Attributes:
        id: name of the record, region or row.
        codes: nucleotide codes, of a region on strand `-` as that strand reads.
        contig, start, end: its place in a genome; the record itself where it is a whole one.
        contig_length: bases of the whole contig.
        strand: `+` or `-` for a region that says so, else `.`.
    """

    id: str
    codes: Codes
    contig: str
    start: int
    end: int
    contig_length: int
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


def recognise(source: str | Path) -> tuple[Kind | None, Source]:
    """Tell what a file holds by its name, or by its first line where the name has no ending, as those of pipes.

    Returns:
        the kind, None where neither tells, and the source to read on from in place of the one given.
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


def read_sequences(source: str, *, regions: Path | None = None, column: str | None = None) -> Iterator[Sequence]:
    """Yield sequences in the order of their file; `-` is stdin, which may hold FASTA or a table."""
    if regions is not None:
        genome = open_genome(source)
        for region in read_regions(regions, genome):
            place = region.interval
            where = f"{regions}: line {region.line}"
            if region.strand not in ("+", "-", "."):
                raise SequenceError(f"{where}: expected +, - or . as strand (column 6), got {region.strand!r}")
            named = region.name not in ("", ".")
            name = (
                require_one_line(region.name, "name", where) if named else f"{place.contig}:{place.start}-{place.end}"
            )
            codes = region_codes(genome, place, region.strand)
            length = genome[place.contig].length
            yield Sequence(name, codes, place.contig, place.start, place.end, length, region.strand)
        return
    kind, opened = recognise(source)
    if kind == "bed":
        raise UsageError(f"{source}: BED has no sequences; give the genome that it lies on, and the BED as its regions")
    if kind == "table":
        yield from _table(opened, column)
        return
    if column is not None:
        raise UsageError("--sequence belongs to CSV and TSV files")
    for name, codes in read_records(opened):
        yield Sequence(name, codes, name, 0, len(codes), len(codes))


def sequence_cell(text: str, where: str) -> Codes:
    """Return the codes of a cell of a table, none where the cell says that there is no sequence."""
    # NA and NaN are nucleotide letters too, but a table means what R and pandas mean by them.
    return encode("" if is_missing(text) else text, where)


def _table(source: Source, column: str | None) -> Iterator[Sequence]:
    rows = read_rows(source)
    place = rows.find(column, SEQUENCE_NAMES, "sequences", "--sequence")
    id_place = rows.find(None, ID_NAMES, "ids", "--id") if rows.has(ID_NAMES) else None
    number = 0
    for number, (line, cells) in enumerate(rows, start=1):
        where = f"{source}: line {line}"
        name = str(number - 1) if id_place is None else to_name(cells[id_place], "id", where)
        codes = sequence_cell(cells[place], where)
        yield Sequence(name, codes, name, 0, len(codes), len(codes))
    if not number:
        raise SequenceError(f"{source}: no row after the header")
