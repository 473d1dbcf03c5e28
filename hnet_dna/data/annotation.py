"""Reads annotation into classes of intervals: BED by its fourth column, GFF3 and GTF by their third, GenBank by key.

GFF and GTF count from 1 and include the end; they are converted here and nowhere else. Where genes are given, two
classes are derived: `intergenic`, in no gene, and `intron`, in a gene that has exons or CDS but in none of these. A
contig without a line is not annotated, rather than intergenic.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from pathlib import Path

from hnet_dna.data.feature import GENES
from hnet_dna.data.feature import Feature as Feature
from hnet_dna.data.genbank import SUFFIXES, read_genbank
from hnet_dna.data.genome import Genome, whole
from hnet_dna.data.names import same_contig, unknown_contig
from hnet_dna.data.regions import read_lines, read_regions
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.interval import Interval, difference, overlapping, union

_log = logging.getLogger(__name__)
_WHOLE_CONTIG = {"region", "chromosome", "scaffold", "contig", "sequence_feature", "biological_region"}
_COMPRESSED = {".gz", ".bgz"}
_GFF_COLUMNS = 9


def read_annotation(path: Path, genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class; see `read_features` for contigs that the genome lacks."""
    return classes_of(read_features(path, genome), genome)


def read_features(path: Path, genome: Genome) -> list[Feature]:
    """Return the lines of an annotation in the file's order, without those that cover whole contigs.

    GFF3 and GTF are mostly of a whole assembly, and a FASTA may be a part of it: lines on contigs that it lacks are
    left out, and a note says how many, if others are on contigs that it has. A contig that it has by another name is
    an error.
    """
    suffix = next((s for s in map(str.lower, reversed(path.suffixes)) if s not in _COMPRESSED), "")
    if suffix in SUFFIXES:
        return list(read_genbank(path, genome))
    return list(_bed(path, genome) if suffix == ".bed" else _gff(path, genome))


def classes_of(features: Sequence[Feature], genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class, derived classes included."""
    classes: dict[str, list[Interval]] = {}
    for feature in features:
        classes.setdefault(feature.kind, []).append(feature.interval)
    merged = {name: union(intervals) for name, intervals in classes.items()}
    genes = [feature for feature in features if feature.kind in GENES]
    if genes:
        # Both kinds: some files give exons of RNAs alone and nothing but CDS for other genes.
        parts = [feature for feature in features if feature.kind in ("exon", "CDS")]
        if parts:
            merged["intron"] = difference(_holding(genes, parts), (part.interval for part in parts))
        annotated = {feature.interval.contig for feature in features}
        contigs = [whole(contig) for contig in genome.contigs if contig.name in annotated]
        merged["intergenic"] = difference(contigs, (gene.interval for gene in genes))
    return merged


def _holding(genes: Sequence[Feature], parts: Sequence[Feature]) -> list[Interval]:
    """Return the genes that share a base with a part on their strand; of others the structure is unknown."""
    held: list[Interval] = []
    for strand in ("+", "-", "."):
        there = [gene.interval for gene in genes if gene.strand == strand]
        holds = overlapping(there, (part.interval for part in parts if part.strand == strand))
        held += compress(there, holds)
    return held


def _bed(path: Path, genome: Genome) -> Iterator[Feature]:
    for region in read_regions(path, genome):
        yield Feature(region.name or "annotated", region.interval)


def _gff(path: Path, genome: Genome) -> Iterator[Feature]:
    lines = read_lines(path, "a GFF3, GTF, GenBank or BED file")
    elsewhere: Counter[str] = Counter()
    first_elsewhere, found = "", False
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
            if contig not in elsewhere and same_contig(contig, genome.contigs):
                raise SequenceError(f"{where}: {_unknown(contig, genome, lines)}")
            first_elsewhere = first_elsewhere or where
            elsewhere[contig] += 1
            continue
        found = True
        length = genome[contig].length
        if end > length:
            raise SequenceError(f"{where}: {contig}:{start + 1:,}-{end:,} ends past the contig ({length:,} bases)")
        strand = fields[6] if fields[6] in ("+", "-") else "."
        phase = int(fields[7]) if fields[7] in ("0", "1", "2") else None
        yield Feature(kind, Interval(contig, start, end), strand, phase, "".join(fields[8:9]).strip())
    if elsewhere and not found:
        raise SequenceError(f"{first_elsewhere}: {_unknown(next(iter(elsewhere)), genome, lines)}")
    if elsewhere:
        names = ", ".join(islice(elsewhere, 3)) + (" ..." if len(elsewhere) > 3 else "")
        count, lacking = f"{elsewhere.total():,}", genome.source.name
        _log.info("%s: %s lines left out, on contigs that %s lacks: %s", path.name, count, lacking, names)


def _unknown(contig: str, genome: Genome, lines: Sequence[tuple[int, str]]) -> SequenceError:
    asked = (text.split("\t", 1)[0] for _, text in lines if not text.startswith("#"))
    return unknown_contig(contig, genome.contigs, genome.source.name, asked=asked)
