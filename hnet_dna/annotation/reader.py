"""Reads annotation files into features, and features into classes of intervals.

The class of a feature is its kind: the fourth column of BED, the third of GFF3 and GTF, the feature key of GenBank.
Where there are genes, two classes are derived: `intergenic` is in no gene; `intron` is in a gene that has exons or CDS,
but outside these. A contig without any feature counts as not annotated, rather than as intergenic. GFF and GTF count
from 1 and include the end; they are converted here and nowhere else.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, compress, islice
from pathlib import Path
from urllib.parse import unquote

from hnet_dna.annotation.attributes import attributes, value_of
from hnet_dna.annotation.feature import AFTER_ORIGIN, BEFORE_ORIGIN, GENES, OUT_OF_ORDER, coding_kind
from hnet_dna.annotation.feature import Feature as Feature
from hnet_dna.annotation.genbank import SUFFIXES, genbank_features
from hnet_dna.annotation.regions import coordinates, format_suffix, is_setting, regions_of
from hnet_dna.errors import SequenceError
from hnet_dna.genome.assemblies import assemblies, recognise
from hnet_dna.genome.contig_names import same_contig, unknown_contig
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.plural import counted
from hnet_dna.sequence.interval import Interval, difference, overlapping, union
from hnet_dna.text import numbered_lines

_log = logging.getLogger(__name__)
_WHOLE_CONTIG = {"region", "chromosome", "scaffold", "contig", "sequence_feature", "biological_region"}
_GFF_COLUMNS = 9
_GFF_SUFFIXES = (".gff", ".gff3", ".gff2", ".gtf", ".gvf")
_EXPECTED = "a GFF3, GTF, GenBank or BED file"
# Comments of GFF3, and of Prodigal, that give the lengths of contigs.
_DECLARED = re.compile(
    r"##sequence-region\s+(\S+)\s+(\d+)\s+(\d+)|# Sequence Data: (?=.*\bseqlen=(\d+))(?=.*\bseqhdr=\"?([^\s\";]+))"
)
_BUILD = re.compile(r"(?:#!|##)genome-build\s(?P<build>.*)|##description:.*\bgenome \((?P<gencode>[^)]*)\)")


def read_annotation(path: Path, genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class, as `classes_of` does for what `read_features` returns."""
    return classes_of(read_features(path, genome), genome)


def read_features(path: Path, genome: Genome) -> list[Feature]:
    """Return the features of an annotation in the file's order, except those that describe whole contigs.

    The format follows from the name of the file or, as for a pipe, from the first line. The file is read once,
    from start to end.

    An annotation is usually of a whole assembly, and the genome may be a part of it. Lines on contigs that the genome
    lacks are therefore left out, and logged, as long as other lines are on contigs that it has. A contig that the
    genome has under another name is an error.

    A line of GFF3 that crosses the origin of a contig marked Is_circular becomes two, in the order of transcription.

    Raises:
        SequenceError: a line that is malformed or does not fit this genome, or a file that cannot be read.
    """
    lines = numbered_lines(path, _EXPECTED)
    suffix = format_suffix(path)
    if suffix not in (*SUFFIXES, *_GFF_SUFFIXES, ".bed"):
        suffix, lines = _sniff(lines)
    if suffix in SUFFIXES:
        return list(genbank_features(lines, path, genome))
    if suffix == ".bed":
        return [Feature(region.name or "annotated", region.interval) for region in regions_of(lines, path, genome)]
    return _gff(lines, path, genome)


def classes_of(features: Sequence[Feature], genome: Genome) -> dict[str, list[Interval]]:
    """Return disjoint sorted intervals by class, derived classes included."""
    classes: dict[str, list[Interval]] = {}
    for feature in features:
        classes.setdefault(feature.kind, []).append(feature.interval)
    merged = {name: union(intervals) for name, intervals in classes.items()}
    genes = [feature for feature in features if feature.kind in GENES]
    if genes:
        # Both kinds, since some files have exons only for RNAs, and only CDS for other genes.
        kinds = ("exon", coding_kind(features))
        parts = [feature for feature in features if feature.kind in kinds]
        if parts:
            merged["intron"] = difference(_holding(genes, parts), (part.interval for part in parts))
        annotated = {feature.interval.contig for feature in features}
        contigs = [whole(contig) for contig in genome.contigs if contig.name in annotated]
        merged["intergenic"] = difference(contigs, (gene.interval for gene in genes))
    return merged


def _holding(genes: Sequence[Feature], parts: Sequence[Feature]) -> list[Interval]:
    """Return the genes that share a base with a part on their strand; the structure of other genes is unknown."""
    held: list[Interval] = []
    for strand in ("+", "-", "."):
        there = [gene.interval for gene in genes if gene.strand == strand]
        holds = overlapping(there, (part.interval for part in parts if part.strand == strand))
        held += compress(there, holds)
    return held


def _sniff(lines: Iterator[tuple[int, str]]) -> tuple[str, Iterator[tuple[int, str]]]:
    """Return the suffix of the format that lines are in, judged by the first that is not a comment, and all lines."""
    seen = []
    for number, line in lines:
        seen.append((number, line))
        if line.strip() and not line.startswith("#") and not is_setting(line):
            break
    else:
        line = ""
    fields = line.split("\t") if "\t" in line else line.split()
    bed = len(fields) >= 3 and fields[1].isdecimal() and fields[2].isdecimal()
    suffix = ".gb" if line.startswith("LOCUS ") else ".bed" if bed else ".gff"
    return suffix, chain(seen, lines)


def _gff(lines: Iterable[tuple[int, str]], path: Path, genome: Genome) -> list[Feature]:
    features: list[Feature] = []
    past_the_end: list[tuple[int, str]] = []  # index in `features`, place in the file
    circles: set[str] = set()
    elsewhere: Counter[str] = Counter()
    first_elsewhere = ""
    shorter: list[str] = []
    lines = iter(lines)
    for number, line in lines:
        where = f"{path}: line {number}"
        if line.startswith(("##FASTA", ">")):
            break
        if line.startswith("#"):
            shorter += _declared(line, where, genome)
            continue
        if not line.strip() or is_setting(line):
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < _GFF_COLUMNS - 1:
            raise SequenceError(f"{where}: expected the 9 columns of GFF3 or GTF, separated by tabs, got {len(fields)}")
        contig, kind, column_9 = fields[0], fields[2], "".join(fields[8:9])
        if contig not in genome and unquote(contig) in genome:
            contig = unquote(contig)
        contig = genome.find(contig)
        start, end = coordinates(fields[3], fields[4], where)
        if not 1 <= start <= end:
            raise SequenceError(f"{where}: expected 1 <= start <= end, got {fields[3]} and {fields[4]}")
        if "Is_circular" in column_9 and value_of(attributes(column_9), "Is_circular").lower() == "true":
            circles.add(contig)
        if kind in _WHOLE_CONTIG:
            if contig in genome and end > genome[contig].length:
                raise _past_the_end(where, Interval(contig, start - 1, end), genome)
            continue
        if contig not in genome:
            if contig not in elsewhere and same_contig(contig, genome.contigs):
                raise _unknown(where, [contig], genome, lines)
            first_elsewhere = first_elsewhere or where
            elsewhere[contig] += 1
            continue
        if column_9.count('"') % 2 and "=" not in column_9.partition('"')[0]:
            raise SequenceError(f"{where}: a quotation mark in column 9 is not closed: {column_9[:60]}")
        if end > genome[contig].length:
            past_the_end.append((len(features), where))
        strand = fields[6] if fields[6] in ("+", "-") else "."
        phase = int(fields[7]) if fields[7] in ("0", "1", "2") else None
        features.append(Feature(kind, Interval(contig, start - 1, end), strand, phase, column_9))
    if elsewhere and not features:
        raise _unknown(first_elsewhere, list(elsewhere), genome, ())
    for index, where in reversed(past_the_end):
        features[index : index + 1] = _over_the_origin(features[index], where, genome, circles)
    if circles:
        features = [_marked(feature, genome) if feature.interval.contig in circles else feature for feature in features]
    if elsewhere:
        names = ", ".join(islice(elsewhere, 3)) + (" ..." if len(elsewhere) > 3 else "")
        count, lacking = counted(elsewhere.total(), "line"), genome.source.name
        _log.info("%s: %s left out, on contigs that %s lacks: %s", path.name, count, lacking, names)
    if shorter:
        message = "%s: contigs that are longer in %s: %s, such as %s. Is it the same assembly?"
        _log.warning(message, path.name, genome.source.name, f"{len(shorter):,}", shorter[0])
    return features


def _declared(line: str, where: str, genome: Genome) -> list[str]:
    """Compare what a comment says about the assembly with the genome.

    Returns:
        A description of a contig that is shorter in the file, which may cover only a part of it; at most one.

    Raises:
        SequenceError: a contig is longer in the file, or file and genome are of two known assemblies.
    """
    if match := _DECLARED.match(line):
        name, start, end = match[1] or match[5], int(match[2] or 1), int(match[3] or match[4])
        name = genome.find(name if name in genome else unquote(name))
        if name not in genome:
            return []
        length = genome[name].length
        if end > length:
            raise SequenceError(
                f"{where}: {name} has {counted(end, 'base')} by this line, {length:,} in {genome.source.name}; is "
                "it the same assembly?"
            )
        return [f"{name} ({counted(end, 'base')} here, {length:,} there)"] if start == 1 and end < length else []
    if match := _BUILD.match(line):
        build = (match["build"] or match["gencode"]).strip()
        words = {re.sub(r"\.p\d+$", "", word).lower() for word in build.split()}
        named = [a for a in assemblies() if words & {name.lower() for name in (a.name, a.assembly, *a.other_names)}]
        ours = recognise(genome.contigs) if named else None
        if ours is not None and ours.assembly not in named:
            message = f"{where}: the genome build is {build}, but {genome.source.name} is {ours.assembly.assembly}"
            if max(ours.by_m5, ours.by_length) > 1:
                raise SequenceError(f"{message}; use an annotation of this assembly")
            _log.warning("%s, judged by one contig that both assemblies may share", message)
    return []


def _over_the_origin(feature: Feature, where: str, genome: Genome, circles: set[str]) -> list[Feature]:
    """Return the two parts of a feature that crosses the origin of a circular contig, in the order of transcription."""
    place = feature.interval
    length = genome[place.contig].length
    if place.contig not in circles or len(place) > length:
        raise _past_the_end(where, place, genome)
    start, end = place.start % length, place.start % length + len(place)
    parts = [Interval(place.contig, start, min(end, length)), Interval(place.contig, 0, max(end - length, 0))]
    parts = [part for part in (parts if feature.strand != "-" else reversed(parts)) if len(part)]
    lines, before = [], feature.phase
    for number, part in enumerate(parts, 1):
        marked = f"{feature.attributes.rstrip('; ')};{OUT_OF_ORDER};part={number}/{len(parts)}"
        lines.append(replace(feature, interval=part, phase=before, attributes=marked))
        before = None if before is None else (before - len(part)) % 3
    return lines


def _marked(feature: Feature, genome: Genome) -> Feature:
    """Mark a line of a circular contig that touches the origin; two that do so may be one feature that crosses it."""
    place = feature.interval
    marks = [BEFORE_ORIGIN] * (place.end == genome[place.contig].length) + [AFTER_ORIGIN] * (place.start == 0)
    return replace(feature, attributes=";".join([feature.attributes.rstrip("; "), *marks])) if marks else feature


def _past_the_end(where: str, place: Interval, genome: Genome) -> SequenceError:
    return SequenceError(
        f"{where}: {place} ends past the contig ({counted(genome[place.contig].length, 'base')}); is it the same "
        f"assembly as {genome.source.name}? A circular contig needs a line with Is_circular=true"
    )


def _unknown(where: str, names: Sequence[str], genome: Genome, rest: Iterable[tuple[int, str]]) -> SequenceError:
    asked = (line.split("\t", 1)[0] for _, line in rest if "\t" in line and not line.startswith("#"))
    return SequenceError(
        f"{where}: {unknown_contig(names[0], genome.contigs, genome.source.name, asked=[*names, *asked])}"
    )
