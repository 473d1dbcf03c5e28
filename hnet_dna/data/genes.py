"""Genes from the lines of an annotation: their extents, complete coding sequences, and sites with a direction.

GFF3 ties lines together by ID and Parent, GTF by transcript_id. GTF leaves the stop codon out of CDS; its stop_codon
lines are put back here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from hnet_dna.data.feature import GENES, Feature
from hnet_dna.sequence.interval import Interval, difference, overlapping, union

MIN_INTRON = 4  # bases; shorter gaps between exons are how files write frameshifts
_DEEPEST = 4  # levels of Parent between a part and its gene
_PARTS = {"exon", "CDS", "start_codon", "stop_codon", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr"}  # fmt: skip
_GTF = re.compile(r'\s*\w+\s+"')
_GTF_PAIR = re.compile(r'(\w+)\s+"([^"]*)"')
_PARTIAL = re.compile(r'\bpartial[= ]"?true\b|\b(?:start|end)_range=|\bcds_(?:start|end)_NF\b')
_PSEUDO = re.compile(r'\bpseudo[= ]"?true\b')
_OUT_OF_ORDER = "exception=parts out of order"  # see hnet_dna.data.genbank
_LATER_PART = re.compile(r"\bpart=(?!1(?:/|;|$))")


@dataclass(frozen=True)
class Coding:
    """A complete coding sequence, from its start codon to its stop codon.

    Attributes:
        parts: its exons in the order of translation; codons run on over them.
        strand: `+` or `-`.
    """

    parts: tuple[Interval, ...]
    strand: str


@dataclass(frozen=True, order=True)
class Site:
    """A base at which something begins.

    Attributes:
        contig: where.
        position: of the base, 0-based.
        strand: `+` or `-`; on `-` it begins towards lower positions.
    """

    contig: str
    position: int
    strand: str

    @property
    def cut(self) -> int:
        """The position after the border between this base and the one before it, in the gene's direction."""
        return self.position + (self.strand == "-")


def coding_sequences(features: Iterable[Feature]) -> tuple[list[Coding], dict[str, int]]:
    """Return complete coding sequences, each once, and how many others were left out for what reason.

    Complete: parts on one strand that do not overlap, not marked partial or as of a pseudogene, a phase of 0 at the
    first base, a length of whole codons, and the phases of all further parts as codons that run on over exons make
    them. CDS lines without ID and Parent stand alone.
    """
    found: dict[Coding, None] = {}
    left_out: Counter[str] = Counter()
    for lines in _coding_groups(features):
        coding = _complete(lines)
        if isinstance(coding, str):
            left_out[coding] += 1
        else:
            found[coding] = None
    return list(found), dict(left_out)


def sites(features: Sequence[Feature], codings: Iterable[Coding]) -> dict[str, list[Site]]:
    """Return sites by kind, sorted, each once.

    start codon, stop codon: first base of each, of complete coding sequences. TSS: first base of a gene. donor: first
    base of an intron; acceptor: first base of the exon after it; introns lie between the exons of one transcript, or
    between the parts of one CDS that has a part in no exon.
    """
    found: dict[str, set[Site]] = {name: set() for name in ("start codon", "stop codon", "TSS", "donor", "acceptor")}
    for coding in codings:
        found["start codon"].add(_first(coding.parts[0], coding.strand))
        found["stop codon"].add(_stop(coding))
    for gene in directed_genes(features):
        found["TSS"].add(_first(gene.interval, gene.strand))
    exons = [feature for feature in features if feature.kind == "exon"]
    bare = difference((f.interval for f in features if f.kind == "CDS"), (exon.interval for exon in exons))
    groups = _coding_groups(features)
    is_bare = iter(overlapping((line.interval for lines in groups for line in lines), bare))
    for lines in [*_groups(exons), *(lines for lines in groups if any(list(islice(is_bare, len(lines)))))]:
        strands = {line.strand for line in lines}
        if len(strands) == 1 and "." not in strands and _OUT_OF_ORDER not in lines[0].attributes:
            (strand,) = strands
            for left, right in pairwise(union(line.interval for line in lines)):
                if right.start - left.end < MIN_INTRON:
                    continue
                intron, after = Interval(left.contig, left.end, right.start), right if strand == "+" else left
                found["donor"].add(_first(intron, strand))
                found["acceptor"].add(_first(after, strand))
    return {name: sorted(places) for name, places in found.items()}


def directed_genes(features: Iterable[Feature]) -> list[Feature]:
    """Return the lines of kind `gene` that have a strand; of a gene in several parts the first."""
    return [
        feature
        for feature in features
        if feature.kind == "gene" and feature.strand != "." and not _LATER_PART.search(feature.attributes)
    ]


def derived_genes(features: Iterable[Feature]) -> list[Feature]:
    """Return genes for an annotation that has no lines for them; none for one that has.

    A transcript reaches from the first to the last base of its lines; a gene is transcripts that overlap or touch, on
    one strand, and name the same gene: by gene_id, else by the Parent of the transcript, else each by itself. Lines
    without a name belong to none.
    """
    told = [(feature, attributes(feature.attributes)) for feature in features]
    if any(feature.kind in GENES for feature, _ in told):
        return []
    gene_of: dict[tuple[str, str], str] = {}
    lines: dict[tuple[str, str, str], list[Interval]] = {}
    for feature, names in told:
        contig = feature.interval.contig
        if _is_transcript(feature.kind):
            transcripts = [names.get("ID") or names.get("transcript_id") or names.get("Parent", "")]
            gene = names.get("gene_id") or names.get("Parent")
        elif feature.kind in _PARTS:
            own = names.get("ID", "") if feature.kind == "CDS" else ""
            transcripts = (names.get("Parent") or names.get("transcript_id") or own).split(",")
            gene = names.get("gene_id")
        else:
            continue
        for transcript in filter(None, transcripts):
            lines.setdefault((contig, feature.strand, transcript), []).append(feature.interval)
            if gene:
                gene_of.setdefault((contig, transcript), gene)
    extents: dict[tuple[str, str, str], list[Interval]] = {}
    for (contig, strand, transcript), found in lines.items():
        extent = Interval(contig, min(i.start for i in found), max(i.end for i in found))
        gene = transcript
        for _ in range(_DEEPEST):  # a miRNA is part of a primary transcript, which is part of a gene
            gene = gene_of.get((contig, gene), gene)
        extents.setdefault((contig, strand, gene), []).append(extent)
    return [Feature("gene", gene, strand) for (_, strand, _), found in extents.items() for gene in union(found)]


def attributes(text: str) -> dict[str, str]:
    """Read the ninth column of GFF3 or GTF; of names that occur twice, the last."""
    if _GTF.match(text):
        return dict(_GTF_PAIR.findall(text))
    pairs = (item.partition("=") for item in text.split(";") if "=" in item)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _is_transcript(kind: str) -> bool:
    return kind.endswith(("RNA", "transcript"))


def _groups(features: Iterable[Feature]) -> list[list[Feature]]:
    """Gather lines by transcript: each Parent of GFF3, the transcript_id of GTF; without either, by ID or alone."""
    groups: dict[tuple[str, str], list[Feature]] = {}
    for number, feature in enumerate(features):
        told = attributes(feature.attributes)
        names = told.get("Parent") or told.get("transcript_id") or told.get("ID") or f"\n{number}"
        for name in names.split(",") if "Parent" in told else [names]:
            groups.setdefault((feature.interval.contig, name), []).append(feature)
    return list(groups.values())


def _coding_groups(features: Iterable[Feature]) -> list[list[Feature]]:
    """Gather the CDS lines, and stop codons, of each coding sequence."""
    groups = []
    for lines in _groups(f for f in features if f.kind in ("CDS", "stop_codon")):
        if not any(line.kind == "CDS" for line in lines):
            continue
        by_id: dict[str, list[Feature]] = {}
        for line in lines:
            if line.kind == "CDS":
                by_id.setdefault(attributes(line.attributes).get("ID", ""), []).append(line)
        # One transcript may have several coding sequences, told apart by ID; but some files give every line of one
        # coding sequence an ID of its own. Such lines do not overlap.
        every_line_its_own = all(len(own) == 1 for own in by_id.values())
        if len(by_id) == 1 or (every_line_its_own and not _overlap(lines)):
            groups.append(lines)
        else:
            groups += list(by_id.values())
    return groups


def _complete(lines: list[Feature]) -> Coding | str:
    """Return a coding sequence, or why it is not complete."""
    strands = {line.strand for line in lines}
    if len(strands) > 1 or "." in strands:
        return "strand unknown or mixed"
    if any(_PARTIAL.search(line.attributes) for line in lines):
        return "marked partial"
    if any(_PSEUDO.search(line.attributes) for line in lines):
        return "marked as of a pseudogene"
    if any(_OUT_OF_ORDER in line.attributes for line in lines):
        return "parts out of order"
    (strand,) = strands
    coding = [line for line in lines if line.kind == "CDS"]
    if _overlap(coding):
        return "parts overlap"
    intervals = [line.interval for line in coding]
    # Parts that touch are joined, so that a stop codon line becomes the end of its exon.
    parts = union([*intervals, *difference((f.interval for f in lines if f.kind == "stop_codon"), intervals)])
    if strand == "-":
        parts.reverse()
    before, offset = {}, 0
    for part in parts:
        before[part] = offset
        offset += len(part)
    if offset % 3 or offset < 6:
        return "not a whole number of codons"
    for line in coding:
        part = next(p for p in parts if p.start <= line.interval.start and line.interval.end <= p.end)
        inside = line.interval.start - part.start if strand == "+" else part.end - line.interval.end
        if line.phase is not None and line.phase != -(before[part] + inside) % 3:
            return "phases do not follow from one another, or begin inside a codon"
    return Coding(tuple(parts), strand)


def _overlap(lines: Iterable[Feature]) -> bool:
    intervals = sorted(line.interval for line in lines if line.kind == "CDS")
    return any(left.contig == right.contig and right.start < left.end for left, right in pairwise(intervals))


def _first(interval: Interval, strand: str) -> Site:
    return Site(interval.contig, interval.start if strand == "+" else interval.end - 1, strand)


def _stop(coding: Coding) -> Site:
    """Find the first base of the last codon, which an intron may cut."""
    left = 3
    for part in reversed(coding.parts):
        if len(part) >= left:
            position = part.end - left if coding.strand == "+" else part.start + left - 1
            return Site(part.contig, position, coding.strand)
        left -= len(part)
    raise AssertionError("a coding sequence has two codons or more")
