"""The class `Feature`: one line of an annotation, whatever format it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hnet_dna.annotation.attributes import GROUP, Values, attributes, value_of
from hnet_dna.sequence.interval import Interval

# Kinds of features that are whole genes: NCBI has the first, Ensembl distinguishes all three.
GENES = ("gene", "ncRNA_gene", "pseudogene")
# Kinds of features that are transposons, in NCBI's GFF3, GenBank files, and the annotations of model organisms.
TRANSPOSONS = (
    "mobile_genetic_element", "mobile_element", "transposable_element", "transposable_element_gene",
    "natural_transposable_element", "transposon", "retrotransposon", "LTR_retrotransposon", "non_LTR_retrotransposon",
    "LINE_element", "SINE_element", "terminal_inverted_repeat_element", "MITE", "helitron", "insertion_sequence",
    "long_terminal_repeat",
)  # fmt: skip
# Kinds of features that are parts of coding sequences.
CODING = ("coding_exon", "CDS")
# What readers add to the attributes of a feature whose parts do not follow one another along a strand: it is
# trans-spliced, or crosses the origin of a circular contig.
OUT_OF_ORDER = "exception=parts out of order"
# What they add on circular contigs to lines that end or begin at the origin; a feature with both kinds crosses it.
BEFORE_ORIGIN, AFTER_ORIGIN = "origin=after this", "origin=before this"


# Attributes that name a feature, by its kind; the first that a line has is taken.
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(GENES, ("Name", "gene_name", "gene", "gene_id", "ID", "locus_tag", "name", GROUP)),
    **dict.fromkeys(TRANSPOSONS, ("mobile_element_type", "mobile_element", "Name", "name", "rpt_family")),
}


@dataclass(frozen=True)
class Feature:
    """One line of an annotation, or one part of a GenBank feature.

    Attributes:
        kind: third column of GFF3 and GTF, fourth column of BED, feature key of GenBank.
        interval: where it lies.
        strand: `+`, `-`, or `.` if there is none.
        phase: bases before the next codon begins; None if the file does not say.
        attributes: ninth column of GFF3 and GTF as it stands; for GenBank, what GFF3 would have.
    """

    kind: str
    interval: Interval
    strand: str = "."
    phase: int | None = None
    attributes: str = ""

    @property
    def name(self) -> str:
        """What the line calls a gene or a transposon; empty where it gives no name, and for other kinds of features."""
        return value_of(self.values, *_NAMES.get(self.kind, ()))

    @property
    def values(self) -> Values:
        """The values of each attribute, by its key."""
        return attributes(self.attributes)


def coding_kind(features: Sequence[Feature]) -> str:
    """Return the kind of features that are the parts of coding sequences.

    It is CDS except in GFF2 from WormBase, which has a CDS from end to end and a coding_exon for each part.
    """
    return next((kind for kind in CODING if any(feature.kind == kind for feature in features)), "CDS")
