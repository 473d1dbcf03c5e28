"""Reads GenBank flat files into the same features that an equivalent GFF3 gives, with Biopython (extra `genbank`).

Joined locations become one feature per part, in the order of transcription. An RNA becomes one feature from end to end
and an `exon` per part, as in NCBI's GFF3. A gene marked /pseudo becomes a `pseudogene`. The phases of all parts follow
from /codon_start.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hnet_dna.annotation.feature import GENES, OUT_OF_ORDER, Feature
from hnet_dna.errors import SequenceError
from hnet_dna.genome.contig_names import unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.plural import counted
from hnet_dna.sequence.interval import Interval

SUFFIXES = (".gb", ".gbk", ".gbff", ".genbank", ".seq")
_KINDS = {"5'UTR": "five_prime_UTR", "3'UTR": "three_prime_UTR"}
_LONGEST = 200  # letters of a Biopython message that are shown
_STRANDS = {1: "+", -1: "-"}


def genbank_features(lines: Iterable[tuple[int, str]], path: Path, genome: Genome) -> Iterator[Feature]:
    """Yield all features but `source` from the numbered lines of a GenBank file, in its order; `path` is for messages.

    A record belongs to the contig that is named like its VERSION, ACCESSION or LOCUS. A genome that lacks this contig,
    or has it at another length, is an error.
    """
    number = 0
    for record in _records(lines, path):
        features = [feature for feature in record.features if feature.type != "source"]
        if not features:
            continue
        contig = _contig(path, genome, record)
        for feature in features:
            number += 1
            yield from _lines(f"{path}: record {record.id}: {feature.type}", genome, contig, feature, number)


class _Text(io.TextIOBase):
    """A file for Biopython to read, made of numbered lines."""

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._lines = iter(lines)
        self.line = 0

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        self.line, text = next(self._lines, (self.line, None))
        return "" if text is None else f"{text}\n"

    def read(self, size: int | None = -1, /) -> str:
        """Read everything, or nothing for a size of 0, which is how Biopython asks whether this is text."""
        return "" if size == 0 else "".join(self)


def _records(lines: Iterable[tuple[int, str]], path: Path) -> Iterator[Any]:
    try:
        from Bio import SeqIO
    except ModuleNotFoundError:
        raise SequenceError(
            f"{path}: reading GenBank needs Biopython; install it with: pip install 'hnet-dna[genbank]', or give GFF3"
        ) from None
    text = _Text(lines)
    parser: Any = SeqIO  # only parts of Biopython are typed
    records = parser.parse(text, "genbank")
    last = None
    while True:
        after = f" after record {last}" if last else ""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")  # gaps in a header do not matter; locations do, and are checked below
            try:
                record = next(records, None)
            except SequenceError:
                raise
            except Exception as error:  # Biopython raises ValueError, AssertionError and others
                raise SequenceError(
                    f"{path}: line {text.line}{after}: not in GenBank format: {_one_line(error)}"
                ) from None
        if record is None:
            break
        last = record.id
        sizes = [w for w in caught if "Expected sequence length" in str(w.message)]
        if sizes:
            raise SequenceError(
                f"{path}: record {record.id}: the lengths of LOCUS line and sequence differ "
                f"({_one_line(sizes[0].message)}); is the file damaged?"
            )
        for feature in record.features:
            if feature.location is None:
                about = [w.message for w in caught if "location" in str(w.message)]
                reason = _one_line(about[0]).partition("; setting")[0] if about else ""
                circle = (
                    "; the LOCUS line of a circular record must say circular" if "spans the origin" in reason else ""
                )
                raise SequenceError(
                    f"{path}: record {record.id}: {feature.type}: the location cannot be read"
                    + (f" ({reason})" if reason else "")
                    + circle
                )
        yield record
    if last is None:
        raise SequenceError(f"{path}: no record in this file; expected a GenBank file, which begins with LOCUS")


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _contig(path: Path, genome: Genome, record: Any) -> str:
    names: list[str] = [record.id, *record.annotations.get("accessions", ()), record.name]
    contig = next((name for name in map(genome.find, names) if name in genome), None)
    if contig is None:
        unknown = unknown_contig(names[0], genome.contigs, genome.source.name, asked=names)
        raise SequenceError(f"{path}: record {record.id}: {unknown}")
    length = genome[contig].length
    if len(record.seq) != length:
        raise SequenceError(
            f"{path}: record {record.id} has {counted(len(record.seq), 'base')}, {contig} in {genome.source.name} has "
            f"{length:,}; is it the same assembly?"
        )
    return contig


def _lines(where: str, genome: Genome, contig: str, feature: Any, number: int) -> Iterator[Feature]:
    """Yield the parts of one feature of Biopython."""
    parts, partial = [], False
    for part in feature.location.parts:
        try:
            start, end = int(part.start), int(part.end)
        except TypeError:
            raise SequenceError(f"{where} {feature.location}: an end is unknown; expected two positions") from None
        partial |= part.ref is not None or "<" in str(part) or ">" in str(part)
        if part.ref is not None or start == end:  # in another record, or between two bases
            continue
        if end > genome[contig].length:
            raise SequenceError(f"{where} {contig}:{start + 1:,}-{end:,} ends past the contig")
        parts.append((Interval(contig, start, end), _STRANDS.get(part.strand, ".")))
    if not parts:
        return
    pseudo = "pseudo" in feature.qualifiers or "pseudogene" in feature.qualifiers
    kind = _KINDS.get(feature.type, feature.type)
    kind = "pseudogene" if kind == "gene" and pseudo else kind
    marks = ";partial=true" * partial + ";pseudo=true" * pseudo
    in_order = _in_order(parts)
    if not in_order:
        marks += f";{OUT_OF_ORDER}"
    name = f"{feature.type}-{number}"
    if kind.endswith("RNA") and in_order:
        whole = Interval(contig, min(i.start for i, _ in parts), max(i.end for i, _ in parts))
        yield Feature(kind, whole, parts[0][1], None, f"ID={name}{marks}")
        kind, owner = "exon", "Parent"
    else:
        owner = "ID"
    before = _codon_start(where, feature) if kind == "CDS" else 0
    for index, (interval, strand) in enumerate(parts, 1):
        numbered = f";part={index}/{len(parts)}" if kind in GENES and len(parts) > 1 else ""
        yield Feature(kind, interval, strand, before % 3 if kind == "CDS" else None, f"{owner}={name}{marks}{numbered}")
        before -= len(interval)


def _in_order(parts: Sequence[tuple[Interval, str]]) -> bool:
    """Return whether parts follow one another on one strand, as those across an origin or trans-spliced do not."""
    return all(
        strand == next_strand and (right.start >= left.start if strand != "-" else right.end <= left.end)
        for (left, strand), (right, next_strand) in pairwise(parts)
    )


def _codon_start(where: str, feature: Any) -> int:
    """Return how many bases come before the first whole codon."""
    (text,) = feature.qualifiers.get("codon_start", ["1"])[:1]
    if text not in ("1", "2", "3"):
        raise SequenceError(f"{where} {feature.location}: /codon_start must be 1, 2 or 3, got {text}")
    return int(text) - 1
