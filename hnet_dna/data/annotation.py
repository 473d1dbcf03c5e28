"""Reads annotation into classes of intervals: BED by its fourth column, GFF3 and GTF by their third.

GFF and GTF count from 1 and include the end; they are converted here and nowhere else. Where genes are given, two
classes are derived: `intergenic`, in no gene, and `intron`, in a gene but in none of its exons (or CDS, where no exons
are given).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hnet_dna.data.genome import Genome, whole
from hnet_dna.data.names import unknown_contig
from hnet_dna.data.regions import read_lines, read_regions
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.interval import Interval, difference, union

_WHOLE_CONTIG = {"region", "chromosome", "scaffold", "contig", "sequence_feature", "biological_region"}
_GFF_COLUMNS = 9


@dataclass(frozen=True)
class Feature:
    """One line of an annotation.

    Attributes:
        kind: third column of GFF3 and GTF, fourth of BED.
        interval: where it lies.
        strand: `+`, `-`, or `.` where there is none.
        phase: bases to pass over until the next codon begins; None where none is given.
        attributes: ninth column of GFF3 and GTF, as it stands; see `hnet_dna.data.genes`.
    """

    kind: str
    interval: Interval
    strand: str = "."
    phase: int | None = None
    attributes: str = ""


def read_annotation(path: Path, genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class; features on contigs that the genome lacks are an error."""
    return classes_of(read_features(path, genome), genome)


def read_features(path: Path, genome: Genome) -> list[Feature]:
    """Return the lines of an annotation in the file's order, without those that cover whole contigs."""
    return list(_bed(path, genome) if _is_bed(path) else _gff(path, genome))


def classes_of(features: Iterable[Feature], genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class, derived classes included."""
    classes: dict[str, list[Interval]] = {}
    for feature in features:
        classes.setdefault(feature.kind, []).append(feature.interval)
    merged = {name: union(intervals) for name, intervals in classes.items()}
    genes = merged.get("gene")
    if genes:
        exons = merged.get("exon") or merged.get("CDS")
        if exons:
            merged["intron"] = difference(genes, exons)
        merged["intergenic"] = difference([whole(contig) for contig in genome.contigs], genes)
    return merged


def _is_bed(path: Path) -> bool:
    return ".bed" in [suffix.lower() for suffix in path.suffixes]


def _bed(path: Path, genome: Genome) -> Iterator[Feature]:
    for region in read_regions(path, genome):
        yield Feature(region.name or "annotated", region.interval)


def _gff(path: Path, genome: Genome) -> Iterator[Feature]:
    lines = read_lines(path, "a GFF3, GTF or BED file")
    for number, line in lines:
        if line.startswith("##FASTA"):
            break
        if line.startswith("#"):
            continue
        fields = line.split("\t")
        where = f"{path}: line {number}"
        if len(fields) < _GFF_COLUMNS - 1:
            raise SequenceError(f"{where}: expected the 9 columns of GFF3 or GTF, separated by tabs, got {len(fields)}")
        contig, kind = fields[0], fields[2]
        try:
            start, end = int(fields[3]) - 1, int(fields[4])
        except ValueError:
            raise SequenceError(
                f"{where}: start and end must be integers, got {fields[3]!r} and {fields[4]!r}"
            ) from None
        if not 0 <= start < end:
            raise SequenceError(f"{where}: expected 1 <= start <= end, got {fields[3]} and {fields[4]}")
        if kind in _WHOLE_CONTIG:
            continue
        if contig not in genome:
            asked = (text.split("\t", 1)[0] for _, text in lines if not text.startswith("#"))
            raise SequenceError(f"{where}: {unknown_contig(contig, genome.contigs, genome.source.name, asked=asked)}")
        length = genome[contig].length
        if end > length:
            raise SequenceError(f"{where}: {contig}:{start + 1:,}-{end:,} ends past the contig ({length:,} bases)")
        strand = fields[6] if fields[6] in ("+", "-") else "."
        phase = int(fields[7]) if fields[7] in ("0", "1", "2") else None
        yield Feature(kind, Interval(contig, start, end), strand, phase, "".join(fields[8:9]).strip())
