"""Genes from the features of an annotation: their extents, complete coding sequences, and sites with a direction.

GFF3 links features by ID and Parent, GTF by transcript_id, older files by other names. GTF leaves the stop codon out
of CDS; it is added back here from the stop_codon lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from hnet_dna.annotation.attributes import GROUP, Values, value_of
from hnet_dna.annotation.feature import AFTER_ORIGIN, BEFORE_ORIGIN, CODING, GENES, OUT_OF_ORDER, Feature, coding_kind
from hnet_dna.sequence.interval import Interval, difference, overlapping, union

MIN_INTRON = 4  # bases; files use shorter gaps between exons for frameshifts
_DEEPEST = 4  # levels of Parent between an exon and its gene
_PARTS = {"exon", *CODING, "start_codon", "stop_codon", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr"}  # fmt: skip
# What links features, the most specific first: their transcript, their gene, or the protein they code for.
_TRANSCRIPT = ("Parent", "transcript_id", "transcriptId", "Transcript")
_GENE = ("locus_tag", "gene_id", "geneID", "geneId", GROUP)
_PROTEIN = ("protein_id", "proteinId", "CDS")
_OF_EXON = (*_TRANSCRIPT, *_GENE)
_OF_CODING = (*_TRANSCRIPT, "ID", *_GENE, *_PROTEIN)  # all parts of a coding sequence have one ID in GFF3
_SYMBOL = ("gene", "Gene", "gene_name", "Name", "name")  # several genes may share one
_CODONS = ("start_codon", "stop_codon")
# Keys that mark an incomplete coding sequence unless their value is in `_NO`: those of NCBI and Prodigal (partial=10),
# TransDecoder, Liftoff and BGI (Lack 5'-end).
_PARTIAL = ("partial", "start_range", "end_range", "5_prime_partial", "3_prime_partial", "five_prime_partial",
            "three_prime_partial", "missing_start_codon", "missing_stop_codon", "Lack")  # fmt: skip
_PSEUDO = ("pseudo", "pseudogene")
_NO = {"", "0", "00", "false", "no", "none"}
_PARTIAL_TAGS = {"cds_start_NF", "cds_end_NF"}  # Ensembl's


@dataclass(frozen=True)
class Coding:
    """A complete coding sequence, from its start codon to its stop codon.

    Attributes:
        parts: its exons in the order of translation; a codon may span two of them.
        strand: `+` or `-`.
    """

    parts: tuple[Interval, ...]
    strand: str


@dataclass(frozen=True, order=True)
class Site:
    """The first base of a codon, gene, intron or exon, and its strand.

    Attributes:
        contig: its name.
        position: of the base, 0-based.
        strand: `+` or `-`; what begins here runs to lower positions on `-`.
    """

    contig: str
    position: int
    strand: str

    @property
    def cut(self) -> int:
        """The position to the right of the border between this base and its predecessor on the strand."""
        return self.position + (self.strand == "-")


def coding_sequences(features: Iterable[Feature]) -> tuple[list[Coding], dict[str, int]]:
    """Return complete coding sequences, each once, and the number of others for each reason to leave them out.

    A coding sequence is complete if its parts lie on one strand and do not overlap, if it is not marked as partial or
    as a pseudogene, if it has a whole number of codons, and if its phases are 0 at the first base and consistent
    afterwards. Where some coding sequences of a file have start_codon and stop_codon lines, those without them are not
    complete. Features that nothing links to others are left out, since each may be one exon of a longer coding
    sequence.
    """
    complete: dict[Coding, None] = {}
    groups, loose = _coding_groups(features)
    left_out: Counter[str] = Counter({"without ID, Parent, transcript_id or gene_id": loose})
    marked = {kind for lines in groups for kind in _kinds(lines)}
    for lines in groups:
        missing = [kind for kind in _CODONS if kind in marked - _kinds(lines)]
        coding = _complete(lines)
        if missing and isinstance(coding, Coding):
            coding = f"no {missing[0]} line, which others have"
        if isinstance(coding, str):
            left_out[coding] += 1
        else:
            complete[coding] = None
    return list(complete), dict(+left_out)


def sites(features: Sequence[Feature], codings: Iterable[Coding]) -> dict[str, list[Site]]:
    """Return sites by kind, sorted, each once.

    start codon, stop codon: first base of each, in complete coding sequences. TSS: first base of a gene. donor: first
    base of an intron. acceptor: first base of the exon after it. Introns lie between the exons of a transcript. Where a
    CDS has a part outside all exons that belong to a transcript or gene, introns lie between its parts as well.
    """
    sites_of: dict[str, set[Site]] = {name: set() for name in ("start codon", "stop codon", "TSS", "donor", "acceptor")}
    for coding in codings:
        sites_of["start codon"].add(_first(coding.parts[0], coding.strand))
        sites_of["stop codon"].add(_stop(coding))
    for gene in directed_genes(features):
        sites_of["TSS"].add(_first(gene.interval, gene.strand))
    genes = {value_of(f.values, "ID") for f in features if f.kind in GENES}
    transcripts, _ = _groups((f for f in features if f.kind == "exon"), _OF_EXON)
    codings_too, _ = _coding_groups(features)
    parts = [[line for line in lines if line.kind not in _CODONS] for lines in codings_too]
    bare = difference((f.interval for lines in parts for f in lines), (f.interval for t in transcripts for f in t))
    is_bare = iter(overlapping((line.interval for lines in parts for line in lines), bare))
    for lines in [*transcripts, *(lines for lines in parts if any(list(islice(is_bare, len(lines)))))]:
        strands = {line.strand for line in lines}
        if len(strands) == 1 and "." not in strands and not _out_of_order(lines) and not _mixed(lines, genes):
            (strand,) = strands
            for left, right in pairwise(union(line.interval for line in lines)):
                if right.start - left.end < MIN_INTRON:
                    continue
                intron, after = Interval(left.contig, left.end, right.start), right if strand == "+" else left
                sites_of["donor"].add(_first(intron, strand))
                sites_of["acceptor"].add(_first(after, strand))
    return {name: sorted(places) for name, places in sites_of.items()}


def directed_genes(features: Iterable[Feature]) -> list[Feature]:
    """Return the features of kind `gene` that have a strand, and only the first part of a gene in several parts."""
    return [
        feature
        for feature in features
        if feature.kind == "gene" and feature.strand != "." and not _is_later_part(feature)
    ]


def derived_genes(features: Iterable[Feature]) -> list[Feature]:
    """Derive genes for an annotation without gene features; return none for an annotation that has some.

    A transcript reaches from the first to the last base of its features. A gene consists of transcripts on one strand
    that overlap or touch and name the same gene, by gene_id or else by the Parent of the transcript. A transcript that
    names none is a gene of its own. Features without any name are left out.
    """
    features = list(features)
    if any(feature.kind in GENES for feature in features):
        return []
    gene_of: dict[tuple[str, str], str] = {}
    lines: dict[tuple[str, str, str], list[Feature]] = {}
    for feature in features:
        names, contig = feature.values, feature.interval.contig
        if _is_transcript(feature.kind):
            transcripts: tuple[str, ...] = (value_of(names, "ID", *_TRANSCRIPT[1:], "Parent", GROUP),)
            gene = value_of(names, *_GENE[:-1], "Parent")
        elif feature.kind in _PARTS:
            transcripts = _tie(names, _OF_CODING if feature.kind in CODING else _OF_EXON)
            gene = value_of(names, *_GENE)
        else:
            continue
        for transcript in filter(None, transcripts):
            lines.setdefault((contig, feature.strand, transcript), []).append(feature)
            if gene:
                gene_of.setdefault((contig, transcript), gene)
    extents: dict[tuple[str, str, str], list[Interval]] = {}
    circling: set[tuple[str, str, str]] = set()
    for (contig, strand, transcript), members in lines.items():
        intervals = [feature.interval for feature in members]
        gene = transcript
        for _ in range(_DEEPEST):  # a miRNA is part of a primary transcript, which is part of a gene
            gene = gene_of.get((contig, gene), gene)
        key = contig, strand, gene
        if _out_of_order(members):
            circling.add(key)
        else:
            intervals = [Interval(contig, min(i.start for i in intervals), max(i.end for i in intervals))]
        extents.setdefault(key, []).extend(intervals)
    genes = []
    for key, intervals in extents.items():
        parts = union(intervals)
        if key in circling:  # a gene over the origin begins at the end of the contig, on the strand that runs up
            parts = parts[::-1] if key[1] == "+" else parts
        marks = [f"part={i}/{len(parts)}" if key in circling else "" for i in range(1, len(parts) + 1)]
        genes += [Feature("gene", part, key[1], None, mark) for part, mark in zip(parts, marks, strict=True)]
    return genes


def _is_transcript(kind: str) -> bool:
    return kind.endswith(("RNA", "transcript"))


def _is_later_part(feature: Feature) -> bool:
    part = value_of(feature.values, "part")
    return bool(part) and part.partition("/")[0] != "1"


def _tie(values: Values, keys: Sequence[str]) -> tuple[str, ...]:
    """Return what a feature belongs to by the first of these keys that it has: one name, or all its parents."""
    for key in keys:
        names = tuple(filter(None, values.get(key, ())))
        if names:
            return names if key == "Parent" else names[:1]
    return ()


def _groups(features: Iterable[Feature], keys: Sequence[str]) -> tuple[list[list[Feature]], list[Feature]]:
    """Group features by the first of these keys that each has; return the groups, and features that belong to none.

    One transcript or gene may have several coding sequences, or chains of exons. They are distinguished by ID, unless
    every feature has an ID of its own, as exons do, and in some files CDS that do not overlap. CDS that overlap are
    also distinguished by protein.
    """
    tied: dict[tuple[str, str], list[Feature]] = {}
    symbols: dict[tuple[str, str], list[Feature]] = {}
    loose = []
    for feature in features:
        contig = feature.interval.contig
        names = _tie(feature.values, keys)
        for name in names:
            tied.setdefault((contig, name), []).append(feature)
        if names:
            continue
        if symbol := value_of(feature.values, *_SYMBOL):
            symbols.setdefault((contig, symbol), []).append(feature)
        else:
            loose.append(feature)
    groups: list[list[Feature]] = []
    for members in tied.values():
        once: dict[tuple[Interval, str, str], Feature] = {}  # some files repeat lines
        for line in members:
            once.setdefault((line.interval, value_of(line.values, "ID"), value_of(line.values, *_PROTEIN)), line)
        lines = list(once.values())
        by_id, by_protein = _by(lines, "ID"), _by(lines, *_PROTEIN)
        overlap = lines[0].kind in CODING and _overlap(lines)
        if len(by_id) > 1 and (overlap or len(by_id) < len(lines)):
            groups += by_id
        elif len(by_protein) > 1 and overlap:
            groups += by_protein
        else:
            groups.append(lines)
    for lines in symbols.values():  # exons of one gene, or of several genes of one name
        if len(lines) == 1:
            groups.append(lines)
        else:
            loose += lines
    return groups, loose


def _by(lines: list[Feature], *keys: str) -> list[list[Feature]]:
    """Split lines by the value of the first of these keys; keep them together where a line has none of them."""
    by_value: dict[str, list[Feature]] = {}
    for line in lines:
        by_value.setdefault(value_of(line.values, *keys), []).append(line)
    return [lines] if "" in by_value else list(by_value.values())


def _coding_groups(features: Iterable[Feature]) -> tuple[list[list[Feature]], int]:
    """Group the lines of each coding sequence, start and stop codons included; count the lines without a group."""
    features = list(features)
    kind = coding_kind(features)
    groups, loose = _groups((f for f in features if f.kind == kind), _OF_CODING)
    by_name: dict[tuple[str, str], list[list[Feature]]] = {}
    for lines in groups:
        names = {name for line in lines for key in _OF_CODING for name in line.values.get(key, ())}
        for name in filter(None, names):
            by_name.setdefault((lines[0].interval.contig, name), []).append(lines)
    codons: list[tuple[list[Feature], Feature]] = []
    for feature in features:
        if feature.kind not in _CODONS:
            continue
        for key in _OF_CODING:
            owners = [by_name.get((feature.interval.contig, name), []) for name in feature.values.get(key, ())]
            for groups_there in owners:
                codons += [
                    (g, feature) for g in groups_there if len(groups_there) == 1 or any(_touch(f, feature) for f in g)
                ]
            if any(owners):
                break
    for lines, codon in codons:
        lines.append(codon)
    return groups, len(loose)


def _complete(lines: list[Feature]) -> Coding | str:
    """Return a coding sequence, or why it is not complete."""
    strands = {line.strand for line in lines}
    if len(strands) > 1 or "." in strands:
        return "strand unknown or mixed"
    if any(_marked(line.values, _PARTIAL) or _PARTIAL_TAGS & _tags(line.values) for line in lines):
        return "marked partial"
    if any(_marked(line.values, _PSEUDO) for line in lines):
        return "marked as a pseudogene"
    if _out_of_order(lines):
        return "parts out of order"
    (strand,) = strands
    coding = [line for line in lines if line.kind not in _CODONS]
    if _overlap(coding):
        return "parts overlap"
    if any(sum(map(len, union(line.interval for line in lines if line.kind == kind))) > 3 for kind in _CODONS):
        return "several start or stop codons"
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


def _kinds(lines: Iterable[Feature]) -> set[str]:
    return {line.kind for line in lines}


def _marked(values: Values, keys: Iterable[str]) -> bool:
    return any(value.lower() not in _NO for key in keys for value in values.get(key, ()))


def _tags(values: Values) -> set[str]:
    return {tag for value in values.get("tag", ()) for tag in value.split(",")}


def _out_of_order(lines: Sequence[Feature]) -> bool:
    texts = [line.attributes for line in lines]
    over_the_origin = all(any(mark in text for text in texts) for mark in (BEFORE_ORIGIN, AFTER_ORIGIN))
    return over_the_origin or any(OUT_OF_ORDER in text or "trans-splicing" in text for text in texts)


def _mixed(lines: Sequence[Feature], genes: set[str]) -> bool:
    """Return whether lines overlap that are known to share a gene, but perhaps not a transcript."""
    parents = _tie(lines[0].values, _TRANSCRIPT)
    return (not parents or not genes.isdisjoint(parents)) and _overlap(lines)


def _overlap(lines: Iterable[Feature]) -> bool:
    intervals = sorted({line.interval for line in lines})
    return any(left.contig == right.contig and right.start < left.end for left, right in pairwise(intervals))


def _touch(left: Feature, right: Feature) -> bool:
    one, other = left.interval, right.interval
    return left.strand == right.strand and one.start <= other.end and other.start <= one.end


def _first(interval: Interval, strand: str) -> Site:
    return Site(interval.contig, interval.start if strand == "+" else interval.end - 1, strand)


def _stop(coding: Coding) -> Site:
    """Find the first base of the last codon, which an intron may split."""
    left = 3
    for part in reversed(coding.parts):
        if len(part) >= left:
            position = part.end - left if coding.strand == "+" else part.start + left - 1
            return Site(part.contig, position, coding.strand)
        left -= len(part)
    raise AssertionError("a coding sequence has two codons or more")
