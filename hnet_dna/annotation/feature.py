"""One line of an annotation, whatever format it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hnet_dna.sequence.interval import Interval

# Kinds of lines that are genes as a whole: NCBI's, and those that Ensembl tells apart.
GENES = ("gene", "ncRNA_gene", "pseudogene")
# Kinds of lines that are parts of coding sequences.
CODING = ("coding_exon", "CDS")
# What readers add to the attributes of a feature whose parts do not follow one another along a strand: one over the
# origin of a circle, or trans-spliced.
OUT_OF_ORDER = "exception=parts out of order"
# What they add to lines of a circle that end or begin at its origin; a feature that has lines of both is over it.
BEFORE_ORIGIN, AFTER_ORIGIN = "origin=after this", "origin=before this"


@dataclass(frozen=True)
class Feature:
    """One line of an annotation; one part of a feature of GenBank's.

    Attributes:
        kind: third column of GFF3 and GTF, fourth of BED, key of GenBank.
        interval: where it lies.
        strand: `+`, `-`, or `.` where there is none.
        phase: bases to pass over until the next codon begins; None where none is given.
        attributes: ninth column of GFF3 and GTF, as it stands, or GFF3's for GenBank; see
            `hnet_dna.annotation.attributes`.
    """

    kind: str
    interval: Interval
    strand: str = "."
    phase: int | None = None
    attributes: str = ""


def coding_kind(features: Sequence[Feature]) -> str:
    """Return the kind of the lines that are the parts of coding sequences.

    It is CDS, but in WormBase's GFF2, which has a CDS from end to end and a coding_exon for each part.
    """
    return next((kind for kind in CODING if any(feature.kind == kind for feature in features)), "CDS")
