"""The tables of a report: which there are, and for each column its name, type, unit and meaning.

This is the one declaration of them. The report is written and read by it, and the page and docs/explain.md show its
titles and meanings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Type = Literal["integer", "number", "text", "number or text"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: in the header of the file.
        meaning: a phrase for the reader.
        unit: of its values; empty for counts, names and ratios.
        type: of its values; a number is NaN where it is unknown, `NA` in the file.
    """

    name: str
    meaning: str
    unit: str = ""
    type: Type = "number"


@dataclass(frozen=True)
class Layout:
    """One table of a report.

    Attributes:
        name: of its file, without `.tsv`.
        title: its heading on the page.
        row: what one row is for.
        columns: in the order of the file.
        shown: names of the columns that the page shows, in its order; all of them where empty.
    """

    name: str
    title: str
    row: str
    columns: tuple[Column, ...]
    shown: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)


def _integer(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, meaning, unit, "integer")


def _text(name: str, meaning: str) -> Column:
    return Column(name, meaning, type="text")


def _interval(of: str, names: tuple[str, str], how: str, unit: str = "") -> tuple[Column, Column]:
    low, high = names
    return (Column(low, f"lower end of the 95 % interval of {of} ({how})", unit), Column(high, "its upper end", unit))


_BLOCKS = "1,000 bootstrap resamples of blocks of 10 kb; NA in fewer than two blocks"
_PER_BASE, _BITS = "boundaries per base", "bits per base"
_STAGE = _integer("stage", "chunking stage; 0 is the outermost")
_CLASS = (_text("group", "where the class comes from"), _text("class", "class of bases"))
_SITE = (_text("site", "kind of site"), _text("strand", "`+`, `-` or `both`"),
         _integer("offset", "distance from the site in the gene's direction", "bases"))  # fmt: skip
_BASES = _integer("bases", "bases that count", "bases")
_COUNTS = (
    _integer("hits", "boundaries, or edges, that meet the condition"),
    _integer("of", "boundaries, edges or bases that could have met it"),
    Column("value", "`hits` / `of`"),
)
_OVER_SHIFTED = Column("over_shifted", "observed value / `shifted`")
_P = Column("p", "(1 + shifts at least as far from their mean as the observed value) / (1 + shifts), two-sided")


def _shifted(unit: str = "") -> tuple[Column, ...]:
    return (
        Column("shifted", "mean over random circular shifts of the boundaries", unit),
        Column("shifted_low", "2.5th percentile over the shifts", unit),
        Column("shifted_high", "97.5th percentile over the shifts", unit),
    )


_CONTROLS = (
    Column("untrained", "the same value for a freshly initialised model of the same shape (seed 0)"),
    Column("shuffled", "the same value for this model on shuffled sequence, at the same coordinates"),
)
_RATES = (
    _BASES,
    _integer("boundaries", "boundaries on these bases"),
    Column("rate", "`boundaries` / `bases`", _PER_BASE),
    *_interval("`rate`", ("low", "high"), _BLOCKS, _PER_BASE),
    Column("rate_outside", "rate of all other bases", _PER_BASE),
    Column("enrichment", "`rate` / rate of all bases"),
    *_interval("`enrichment`", ("enrichment_low", "enrichment_high"), "from the same resamples"),
    *_shifted(_PER_BASE),
    _OVER_SHIFTED,
    _P,
    replace(_CONTROLS[0], unit=_PER_BASE),
    Column("untrained_enrichment", "`enrichment` for the untrained model"),
    replace(_CONTROLS[1], unit=_PER_BASE),
    Column("shuffled_enrichment", "`enrichment` on shuffled sequence"),
    _text("verdict", "whether the class stands out against all three controls, or else which of them does as much"),
)
_OF_BITS = (
    replace(_BASES, meaning="bases A, C, G and T that count"),
    Column("bits_per_base", "mean of -log2 of the probability that the model gave the base", _BITS),
)
_DIFFERENCE = Column("difference", "`bits_per_base` less that of all bases", _BITS)
_UNTRAINED_BITS = (
    Column("untrained", "`bits_per_base` of the untrained model", _BITS),
    Column("untrained_difference", "`difference` of the untrained model", _BITS),
)
NOT_JUDGED = "not judged"  # a verdict on all bases, and on classes that have none
_SHOWN_RATES = ("verdict", "enrichment", "enrichment_low", "enrichment_high", "p", "untrained_enrichment",
                "shuffled_enrichment", "over_shifted", "bases", "boundaries", "rate")  # fmt: skip

# In the order of the page.
_LAYOUTS = (
    Layout(
        "classes",
        "Classes of bases",
        "class of bases",
        (_STAGE, *_CLASS, *_RATES),
        ("stage", "class", *_SHOWN_RATES, "group"),
    ),
    Layout(
        "codons",
        "Codon positions",
        "strand and codon position",
        (
            _STAGE,
            _text("strand", "strand of the coding sequence"),
            _integer("codon_position", "1 is the first base of a codon in the gene's direction"),
            *_RATES,
        ),
        ("stage", "strand", "codon_position", *_SHOWN_RATES),
    ),
    Layout(
        "profiles",
        "Around sites",
        "site, strand and offset from -50 to 50",
        (_STAGE, *_SITE, *_COUNTS, *_shifted(), _OVER_SHIFTED, _P, *_CONTROLS),
    ),
    Layout(
        "edges",
        "Edges of features",
        "feature, measure and distance",
        (
            _STAGE,
            _text("feature", "kind of feature or site"),
            _text("measure", "`precision`: boundaries near an edge; `recall`: edges near a boundary"),
            _integer("distance", "greatest distance that counts as near", "bases"),
            *_COUNTS,
            *_shifted(),
            _OVER_SHIFTED,
            _P,
            *_CONTROLS,
        ),
    ),
    Layout(
        "bits",
        "Bits per base",
        "class of bases, or codon position",
        (
            *_CLASS,
            *_OF_BITS,
            *_interval("`bits_per_base`", ("low", "high"), _BLOCKS, _BITS),
            _DIFFERENCE,
            *_interval("`difference`", ("difference_low", "difference_high"), "from the same resamples", _BITS),
            *_UNTRAINED_BITS,
        ),
    ),
    Layout(
        "bits_profiles",
        "Bits per base around sites",
        "site, strand and offset from -50 to 50",
        (
            *_SITE,
            *_OF_BITS,
            *_interval("`bits_per_base`", ("low", "high"), "1.96 standard errors over sites", _BITS),
            _DIFFERENCE,
            *_UNTRAINED_BITS,
        ),
    ),
    Layout(
        "robustness",
        "Robustness",
        "segmentation, edit, rate and bases after the edit",
        (
            _STAGE,
            _text("segmentation", "`model`, `untrained` or `k-mers`"),
            _text("edit", "`substitution`, `insertion` or `deletion`"),
            Column("rate", "probability of an edit at each base; `single` for one edit", type="number or text"),
            Column("within", "bases after a single edit in which borders are compared; NA where all are", "bases"),
            _integer("edits", "edits made"),
            _integer("borders", "borders between bases that no edit touched"),
            _integer("boundaries", "boundaries on these borders before the edit"),
            Column("kept", "share of these boundaries that are boundaries after the edit too"),
            *_interval("`kept`", ("low", "high"), "1,000 bootstrap resamples of windows"),
            Column("kept_by_chance", "boundaries after the edit / `borders`: `kept` if they lay anywhere"),
            Column("gained", "boundaries after the edit that were not there before / `boundaries`"),
            Column("bits_per_base", "on unedited bases, read with the edits; NA for k-mers", _BITS),
            Column("bits_clean", "on the same bases, read without the edits", _BITS),
            Column("bits_added", "`bits_per_base` less `bits_clean`", _BITS),
            *_interval("`bits_added`", ("bits_added_low", "bits_added_high"), "from the same resamples", _BITS),
        ),
    ),
    Layout(
        "chunks",
        "Chunk lengths",
        "chunk length",
        (
            _STAGE,
            _integer("length", "bases from one boundary to the next one of its stretch", "bases"),
            _integer("chunks", "whole chunks of this length"),
            Column("share", "of all whole chunks"),
        ),
    ),
    Layout(
        "strands",
        "Both strands",
        "distance",
        (
            _STAGE,
            _integer("distance", "greatest distance to a boundary of the reverse strand's reading", "bases"),
            *_COUNTS,
            *_shifted(),
            _OVER_SHIFTED,
            _P,
        ),
    ),
    Layout(
        "kmers",
        "Words",
        "6-mer",
        (
            _STAGE,
            _integer("rank", "1 to 50 from the highest log odds, -1 to -50 from the lowest"),
            _text("kmer", "the word; a boundary lies between its third and fourth base"),
            _integer("boundaries", "occurrences with a boundary in the middle"),
            _integer("count", "all occurrences"),
            Column("log_odds", "log2 of the odds of a boundary in this word over those in all words", "bits"),
            *_shifted("bits"),
            _P,
            Column("p_of_all", "`p` against the word that is farthest off in each shift (max-T)"),
            Column("untrained", "`log_odds` for the untrained model", "bits"),
        ),
    ),
    Layout(
        "logo",
        "Letters around boundaries",
        "offset from -10 to 10",
        (
            _STAGE,
            _integer("offset", "distance from the first base of a chunk", "bases"),
            *(Column(letter, f"share of {letter}") for letter in "ACGT"),
            _integer("boundaries", "boundaries whose base at this offset is A, C, G or T"),
            Column("bits", "relative entropy of the letters against those of all bases read", "bits"),
            Column("untrained", "`bits` at the untrained model's boundaries", "bits"),
        ),
    ),
)
TABLES: dict[str, Layout] = {layout.name: layout for layout in _LAYOUTS}
