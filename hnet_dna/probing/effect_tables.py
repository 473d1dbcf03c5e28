"""Reads tables of measured effects of variants, of four kinds, into rows that a model can score.

* Amino acids: a deep mutational scan, one row for each residue and new amino acid (`gene`, `chrom`, `cds_start`,
  `cds_end`, `strand`, `residue`, `ref_aa`, `alt_aa`, and a value). A CDS of several exons has as many starts and ends,
  with commas between them, rising.
* Bases: `chrom`, `pos` (from 1) or `start` (from 0), `ref`, `alt`, and a value; also as Parquet, as TraitGym has them.
* VCF: the value is a field of INFO.
* Sequences: `sequence` and a value. All are as long as each other; they are variants of the place of the genome where
  their consensus stands, once, on either strand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.inference.variants import reason_to_skip
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import from_text, reverse_complement, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.tables import Rows, is_missing, is_number, read_rows
from hnet_dna.text import raw_lines

VALUES = ("score", "value", "effect", "label", "mean_bin", "dms_score", "fitness")
BASES = "TCAG"
AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODONS = [a + b + c for a in BASES for b in BASES for c in BASES]
TRANSLATION = dict(zip(CODONS, AMINO_ACIDS, strict=True))


@dataclass(frozen=True)
class Effect:
    """One measured effect.

    Attributes:
        line: of the table.
        group: gene, or the name of the table.
        interval: the bases that are replaced.
        ref: what stands there, on the forward strand.
        alts: what replaces it, on the forward strand: one, or for amino acids all codons, those with the fewest changed
            bases first.
        value: what was measured.
        amino_acids: old and new, where the row is about amino acids.
        codons: the old and the first new codon on the gene's strand, where the row is about amino acids.
    """

    line: int
    group: str
    interval: Interval
    ref: str
    alts: tuple[str, ...]
    value: float
    amino_acids: tuple[str, str] | None = None
    codons: tuple[str, str] | None = None

    @property
    def substitutions(self) -> int:
        """Bases in which the first of the alternatives differs."""
        alt = self.alts[0]
        differing = sum(a != b for a, b in zip(self.ref, alt, strict=False))
        return differing + abs(len(self.ref) - len(alt))


def turned(text: str) -> str:
    """Return the reverse complement."""
    return to_text(reverse_complement(from_text(text)))


def read_effects(path: str | Path, genome: Genome, value: str | None = None) -> list[Effect]:
    """Return the measured effects of a table or a VCF, in its order; rows without a value are left out.

    Args:
        path: CSV, TSV or VCF, plain or gzip; or Parquet.
        genome: what the places belong to.
        value: name of the column, or of the field of INFO; by default one with a usual name.

    Raises:
        SequenceError: a row does not agree with the genome, or is not an effect; or no row has a value.
    """
    if Path(path).name.lower().removesuffix(".gz").removesuffix(".bgz").endswith(".vcf"):
        effects = list(_of_vcf(path, genome, value))
    else:
        rows = _parquet_rows(Path(path)) if Path(path).suffix.lower() == ".parquet" else read_rows(path)
        values = rows.find(value, VALUES, "values", "value")
        if rows.has(("residue",)):
            effects = list(_of_residues(rows, values, genome))
        elif rows.has(("sequence",)):
            effects = _of_sequences(rows, values, genome)
        else:
            effects = list(_of_bases(rows, values, genome))
    if not effects:
        raise SequenceError(f"{path}: no row has a value")
    return effects


def _number(text: str, where: str) -> float | None:
    if is_missing(text):
        return None
    if text in ("True", "False"):
        return float(text == "True")
    if not is_number(text):
        raise SequenceError(f"{where}: the value should be a number, got {text!r}")
    return float(text)


def _whole(text: str, what: str, where: str) -> int:
    if not text.isdigit():
        raise SequenceError(f"{where}: {what} should be a whole number, got {text!r}")
    return int(text)


def _of_residues(rows: Rows, values: int, genome: Genome) -> Iterator[Effect]:
    names = ("gene", "chrom", "cds_start", "cds_end", "strand", "residue", "ref_aa", "alt_aa")
    place = {name: rows.find(None, (name,), f"{name} of a residue", name) for name in names}
    for line, cells in rows:
        where = f"{rows.source}: line {line}"
        measured = _number(cells[values], where)
        if measured is None:
            continue
        cell = {name: cells[index] for name, index in place.items()}
        residue = _whole(cell["residue"], "residue", where)
        bases = _coding_bases(cell["cds_start"], cell["cds_end"], where)
        if not 1 <= residue <= len(bases) // 3:
            raise SequenceError(f"{where}: residue {residue} lies outside of the CDS, {bases[0]} to {bases[-1] + 1}")
        forward = cell["strand"] == "+"
        first = 3 * (residue - 1) if forward else len(bases) - 3 * residue
        interval = Interval(genome.find(cell["chrom"]), bases[first], bases[first + 2] + 1)
        ref = to_text(genome.codes(interval)).upper()
        places = [base - interval.start for base in bases[first : first + 3]]  # an intron may lie between them
        codon = "".join(ref[place] for place in places)
        codon = codon if forward else turned(codon)
        if TRANSLATION.get(codon) != cell["ref_aa"]:
            raise SequenceError(
                f"{where}: residue {residue} is {codon} in {genome.source.name}, which does not stand for "
                f"{cell['ref_aa']}; is it the same assembly, and are all exons of the CDS named?"
            )
        codons = [one for one in CODONS if TRANSLATION[one] == cell["alt_aa"] and one != codon]
        if not codons:
            raise SequenceError(f"{where}: there is no other codon of {cell['alt_aa']!r}; expected a letter or *")
        codons.sort(key=lambda one: (sum(a != b for a, b in zip(one, codon, strict=True)), one))
        alts = tuple(_with_letters(ref, places, one if forward else turned(one)) for one in codons)
        amino_acids = cell["ref_aa"], cell["alt_aa"]
        yield Effect(line, cell["gene"], interval, ref, alts, measured, amino_acids, (codon, codons[0]))


def _coding_bases(starts: str, ends: str, where: str) -> list[int]:
    """Return the bases of a CDS from the starts and ends of its exons, with commas between them."""
    exons = [
        [_whole(one, name, where) for one in text.strip(",").split(",")]
        for name, text in (("cds_start", starts), ("cds_end", ends))
    ]
    edges = [edge for exon in zip(*exons, strict=False) for edge in exon]
    if len(exons[0]) != len(exons[1]) or edges != sorted(set(edges)):
        raise SequenceError(f"{where}: the exons from {starts} to {ends} should have as many starts as ends, rising")
    return [base for start, end in zip(*exons, strict=True) for base in range(start, end)]


def _with_letters(text: str, places: Sequence[int], letters: str) -> str:
    """Return a text that has other letters at some places."""
    changed = list(text)
    for place, letter in zip(places, letters, strict=True):
        changed[place] = letter
    return "".join(changed)


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise SequenceError(f"{path}: not a Parquet file that can be read ({str(error).splitlines()[0]})") from None
    cells = zip(*columns.values(), strict=True)
    records = (["" if cell is None else str(cell) for cell in row] for row in cells)
    return Rows(str(path), tuple(columns), enumerate(records, start=1))


def _of_bases(rows: Rows, values: int, genome: Genome) -> Iterator[Effect]:
    chrom, ref, alt = (rows.find(None, (name, f"{name}_allele"), name, name) for name in ("chrom", "ref", "alt"))
    zero_based = rows.has(("start",))
    at = rows.find(None, ("start",) if zero_based else ("pos", "position"), "positions", "pos")
    group = rows.find(None, ("gene",), "gene", "gene") if rows.has(("gene",)) else None
    for line, cells in rows:
        where = f"{rows.source}: line {line}"
        measured = _number(cells[values], where)
        if measured is None:
            continue
        start = _whole(cells[at], "the position", where) - (not zero_based)
        name = Path(rows.source).name if group is None else cells[group]
        place = _place(genome.find(cells[chrom]), start, cells[ref], cells[alt], where)
        yield _checked(Effect(line, name, *place, measured), genome, where)


def _place(chrom: str, start: int, ref: str, alt: str, where: str) -> tuple[Interval, str, tuple[str, ...]]:
    if start < 0:
        raise SequenceError(f"{where}: the position lies before the contig")
    if reason := reason_to_skip(ref, alt):
        raise SequenceError(f"{where}: {ref} to {alt} cannot be scored ({reason})")
    return Interval(chrom, start, start + len(ref)), ref.upper(), (alt.upper(),)


def _checked(effect: Effect, genome: Genome, where: str) -> Effect:
    here = to_text(genome.codes(effect.interval)).upper()
    if here != effect.ref:
        raise SequenceError(f"{where}: {genome.source.name} has {here} at {effect.interval}, not {effect.ref}")
    return effect


def _of_vcf(path: str | Path, genome: Genome, value: str | None) -> Iterator[Effect]:
    if value is None:
        raise UsageError("`value`: name the field of INFO that holds the labels of a VCF")
    name = Path(path).name
    for number, raw in enumerate(raw_lines(str(path), "a VCF file"), start=1):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line or line.startswith("#"):
            continue
        where, cells = f"{path}: line {number}", line.split("\t")
        if len(cells) < 8:
            raise SequenceError(f"{where}: expected 8 columns with tabs between them, got {len(cells)}")
        info = dict(field.partition("=")[::2] for field in cells[7].split(";"))
        alts, values = cells[4].split(","), info.get(value, "").split(",")
        for index, alt in enumerate(alts):
            text = values[index if len(values) == len(alts) else 0]
            measured = _number(text, where)
            if measured is not None:
                start = _whole(cells[1], "POS", where) - 1
                place = _place(genome.find(cells[0]), start, cells[3], alt, where)
                yield _checked(Effect(number, name, *place, measured), genome, where)


def _of_sequences(rows: Rows, values: int, genome: Genome) -> list[Effect]:
    column = rows.find(None, ("sequence",), "sequences", "sequence")
    read: list[tuple[int, str, float]] = []
    for line, cells in rows:
        where = f"{rows.source}: line {line}"
        measured = _number(cells[values], where)
        sequence = cells[column].upper()
        if measured is None:
            continue
        if set(sequence) - set("ACGT"):
            raise SequenceError(f"{where}: the sequence has other letters than A, C, G and T")
        if read and len(sequence) != len(read[0][1]):
            raise SequenceError(
                f"{where}: expected {counted(len(read[0][1]), 'base')} as in the first row, got {len(sequence)}"
            )
        read.append((line, sequence, measured))
    if not read:
        return []
    interval, strand = _native_place([sequence for _, sequence, _ in read], genome, rows.source)
    ref, name = to_text(genome.codes(interval)).upper(), Path(rows.source).name
    return [
        Effect(line, name, interval, ref, (sequence if strand == "+" else turned(sequence),), measured)
        for line, sequence, measured in read
        if (sequence if strand == "+" else turned(sequence)) != ref
    ]


def _native_place(sequences: Sequence[str], genome: Genome, source: str) -> tuple[Interval, str]:
    """Return where the most frequent letters of the sequences stand in the genome."""
    codes = np.stack([from_text(sequence) for sequence in sequences])
    counts = np.stack([(codes == letter).sum(axis=0) for letter in range(4)])
    consensus = counts.argmax(axis=0).astype(np.uint8)
    places = []
    for strand, pattern in (("+", consensus), ("-", reverse_complement(consensus))):
        text = to_text(pattern)
        for contig in genome.contigs:
            bases = to_text(genome.codes(whole(contig))).upper()
            at = bases.find(text)
            while at >= 0:
                places.append((Interval(contig.name, at, at + len(text)), strand))
                at = bases.find(text, at + 1)
    if len(places) != 1:
        raise SequenceError(
            f"{source}: the most frequent letters of the sequences should stand once in {genome.source.name}, which is "
            f"where they are scored; they stand there {len(places)} times"
        )
    return places[0]
