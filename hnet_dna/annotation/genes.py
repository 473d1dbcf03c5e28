"""Genes from the lines of an annotation: their extents, complete coding sequences, and sites with a direction.

GFF3 ties lines together by ID and Parent, GTF by transcript_id, older files by names of their own. GTF leaves the stop
codon out of CDS; its stop_codon lines are put back here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from hnet_dna.annotation.attributes import GROUP, attributes, value_of
from hnet_dna.annotation.feature import AFTER_ORIGIN, BEFORE_ORIGIN, CODING, GENES, OUT_OF_ORDER, Feature, coding_kind
from hnet_dna.sequence.interval import Interval, difference, overlapping, union

MIN_INTRON = 4  # bases; shorter gaps between exons are how files write frameshifts
_DEEPEST = 4  # levels of Parent between a part and its gene
_PARTS = {"exon", *CODING, "start_codon", "stop_codon", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr"}  # fmt: skip
# What ties lines together, the surest first: their transcript, their gene, or what they are translated to.
_TRANSCRIPT = ("Parent", "transcript_id", "transcriptId", "Transcript")
_GENE = ("locus_tag", "gene_id", "geneID", "geneId", GROUP)
_PROTEIN = ("protein_id", "proteinId", "CDS")
_OF_EXON = (*_TRANSCRIPT, *_GENE)
_OF_CODING = (*_TRANSCRIPT, "ID", *_GENE, *_PROTEIN)  # GFF3 has one ID for all lines of a coding sequence
_SYMBOL = ("gene", "Gene", "gene_name", "Name", "name")  # may be those of several genes
_CODONS = ("start_codon", "stop_codon")
# Of these keys, values other than the second set mark a coding sequence that is not whole: NCBI's and Prodigal's
# (partial=10), TransDecoder's, Liftoff's, and BGI's (Lack 5'-end).
_PARTIAL = ("partial", "start_range", "end_range", "5_prime_partial", "3_prime_partial", "five_prime_partial",
            "three_prime_partial", "missing_start_codon", "missing_stop_codon", "Lack")  # fmt: skip
_PSEUDO = ("pseudo", "pseudogene")
_NO = {"", "0", "00", "false", "no", "none"}
_PARTIAL_TAGS = {"cds_start_NF", "cds_end_NF"}  # Ensembl's


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
    them. Where some coding sequences have lines of their start and stop codons, those without are not complete. Lines
    that nothing ties to others are left out, since each may be an exon of a longer coding sequence.
    """
    found: dict[Coding, None] = {}
    groups, loose = _coding_groups(features)
    left_out: Counter[str] = Counter({"tied to other lines by no ID, Parent, transcript_id or gene_id": loose})
    marked = {kind for lines in groups for kind in _kinds(lines)}
    for lines in groups:
        missing = [kind for kind in _CODONS if kind in marked - _kinds(lines)]
        coding = _complete(lines)
        if missing and isinstance(coding, Coding):
            coding = f"no {missing[0]} line, which others have"
        if isinstance(coding, str):
            left_out[coding] += 1
        else:
            found[coding] = None
    return list(found), dict(+left_out)


def sites(features: Sequence[Feature], codings: Iterable[Coding]) -> dict[str, list[Site]]:
    """Return sites by kind, sorted, each once.

    start codon, stop codon: first base of each, of complete coding sequences. TSS: first base of a gene. donor: first
    base of an intron; acceptor: first base of the exon after it; introns lie between the exons of one transcript, or
    between the parts of one CDS that has a part in no exon that is tied to a transcript or gene.
    """
    found: dict[str, set[Site]] = {name: set() for name in ("start codon", "stop codon", "TSS", "donor", "acceptor")}
    for coding in codings:
        found["start codon"].add(_first(coding.parts[0], coding.strand))
        found["stop codon"].add(_stop(coding))
    for gene in directed_genes(features):
        found["TSS"].add(_first(gene.interval, gene.strand))
    genes = {value_of(attributes(f.attributes), "ID") for f in features if f.kind in GENES}
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
                found["donor"].add(_first(intron, strand))
                found["acceptor"].add(_first(after, strand))
    return {name: sorted(places) for name, places in found.items()}


def directed_genes(features: Iterable[Feature]) -> list[Feature]:
    """Return the lines of kind `gene` that have a strand; of a gene in several parts the first."""
    return [
        feature
        for feature in features
        if feature.kind == "gene" and feature.strand != "." and not _is_later_part(feature)
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
    lines: dict[tuple[str, str, str], list[Feature]] = {}
    for feature, names in told:
        contig = feature.interval.contig
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
    for (contig, strand, transcript), found in lines.items():
        intervals = [feature.interval for feature in found]
        gene = transcript
        for _ in range(_DEEPEST):  # a miRNA is part of a primary transcript, which is part of a gene
            gene = gene_of.get((contig, gene), gene)
        key = contig, strand, gene
        if _out_of_order(found):
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
    part = value_of(attributes(feature.attributes), "part")
    return bool(part) and part.partition("/")[0] != "1"


def _tie(told: dict[str, tuple[str, ...]], keys: Sequence[str]) -> tuple[str, ...]:
    """Return what a line belongs to by the surest of these keys that it has: one name, or each of its parents."""
    for key in keys:
        values = tuple(filter(None, told.get(key, ())))
        if values:
            return values if key == "Parent" else values[:1]
    return ()


def _groups(features: Iterable[Feature], keys: Sequence[str]) -> tuple[list[list[Feature]], list[Feature]]:
    """Gather the lines that belong together by the surest of these keys that each has, and those that none ties.

    One transcript or gene may have several coding sequences, or chains of exons: lines that differ by ID, unless each
    has an ID of its own, as exons have, and CDS that do not overlap in some files; and CDS that overlap and differ by
    protein.
    """
    tied: dict[tuple[str, str], list[Feature]] = {}
    symbols: dict[tuple[str, str], list[Feature]] = {}
    loose = []
    for feature in features:
        told, contig = attributes(feature.attributes), feature.interval.contig
        names = _tie(told, keys)
        for name in names:
            tied.setdefault((contig, name), []).append(feature)
        if names:
            continue
        if symbol := value_of(told, *_SYMBOL):
            symbols.setdefault((contig, symbol), []).append(feature)
        else:
            loose.append(feature)
    groups: list[list[Feature]] = []
    for found in tied.values():
        once: dict[tuple[Interval, str, str], Feature] = {}  # some files have lines twice
        for line in found:
            told = attributes(line.attributes)
            once.setdefault((line.interval, value_of(told, "ID"), value_of(told, *_PROTEIN)), line)
        lines = list(once.values())
        by_id, by_protein = _by(lines, "ID"), _by(lines, *_PROTEIN)
        overlap = lines[0].kind in CODING and _overlap(lines)
        if len(by_id) > 1 and (overlap or len(by_id) < len(lines)):
            groups += by_id
        elif len(by_protein) > 1 and overlap:
            groups += by_protein
        else:
            groups.append(lines)
    for lines in symbols.values():  # the exons of one gene, or several genes of one name
        if len(lines) == 1:
            groups.append(lines)
        else:
            loose += lines
    return groups, loose


def _by(lines: list[Feature], *keys: str) -> list[list[Feature]]:
    """Part lines by the value of the first of these keys; all together where one has none of them."""
    found: dict[str, list[Feature]] = {}
    for line in lines:
        found.setdefault(value_of(attributes(line.attributes), *keys), []).append(line)
    return [lines] if "" in found else list(found.values())


def _coding_groups(features: Iterable[Feature]) -> tuple[list[list[Feature]], int]:
    """Gather the lines of each coding sequence, codons included, and count those that nothing ties together."""
    features = list(features)
    kind = coding_kind(features)
    groups, loose = _groups((f for f in features if f.kind == kind), _OF_CODING)
    by_name: dict[tuple[str, str], list[list[Feature]]] = {}
    for lines in groups:
        names = {
            name
            for line in lines
            for told in [attributes(line.attributes)]
            for key in _OF_CODING
            for name in told.get(key, ())
        }
        for name in filter(None, names):
            by_name.setdefault((lines[0].interval.contig, name), []).append(lines)
    codons: list[tuple[list[Feature], Feature]] = []
    for feature in features:
        if feature.kind not in _CODONS:
            continue
        told = attributes(feature.attributes)
        for key in _OF_CODING:
            owners = [by_name.get((feature.interval.contig, name), []) for name in told.get(key, ())]
            for found in owners:
                codons += [(g, feature) for g in found if len(found) == 1 or any(_touch(f, feature) for f in g)]
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
    told = [attributes(line.attributes) for line in lines]
    if any(_marked(names, _PARTIAL) or _PARTIAL_TAGS & _tags(names) for names in told):
        return "marked partial"
    if any(_marked(names, _PSEUDO) for names in told):
        return "marked as of a pseudogene"
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


def _marked(told: dict[str, tuple[str, ...]], keys: Iterable[str]) -> bool:
    return any(value.lower() not in _NO for key in keys for value in told.get(key, ()))


def _tags(told: dict[str, tuple[str, ...]]) -> set[str]:
    return {tag for value in told.get("tag", ()) for tag in value.split(",")}


def _out_of_order(lines: Sequence[Feature]) -> bool:
    texts = [line.attributes for line in lines]
    over_the_origin = all(any(mark in text for text in texts) for mark in (BEFORE_ORIGIN, AFTER_ORIGIN))
    return over_the_origin or any(OUT_OF_ORDER in text or "trans-splicing" in text for text in texts)


def _mixed(lines: Sequence[Feature], genes: set[str]) -> bool:
    """Tell whether lines overlap that belong to one gene, by what is known, but maybe not to one transcript."""
    parents = _tie(attributes(lines[0].attributes), _TRANSCRIPT)
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
    """Find the first base of the last codon, which an intron may cut."""
    left = 3
    for part in reversed(coding.parts):
        if len(part) >= left:
            position = part.end - left if coding.strand == "+" else part.start + left - 1
            return Site(part.contig, position, coding.strand)
        left -= len(part)
    raise AssertionError("a coding sequence has two codons or more")
