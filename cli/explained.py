"""What `hnet-dna explain` prints of a report: boundaries by class, and boundaries kept under edits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from . import show, tables

if TYPE_CHECKING:
    from hnet_dna.explanation.report import Report

# Classes that are printed where they exist, with enough bases to say something; classes.tsv has all.
_SHOWN = ("all", "CDS", "exon", "intron", "five_prime_UTR", "three_prime_UTR", "UTR", "five_prime_utr",
          "three_prime_utr", "intergenic", "promoter window", "soft-masked", "homopolymer",
          "microsatellite", "tandem repeat")  # fmt: skip


def print_report(report: Report) -> None:
    """Print two tables for each stage, and how many genes and coding sequences were used."""
    for stage in report.summary["stages"]:
        tables.print_table(_rates(report, stage))
        tables.print_table(_kept(report, stage["stage"]))
    if derived := report.summary["genes"]["derived"]:
        genes = show.counted(derived, "gene")
        show.results.print(f"{genes} derived from transcripts: the annotation has no lines for genes", soft_wrap=True)
    codings = report.summary["coding_sequences"]
    left_out = sum(codings["left_out"].values())
    show.results.print(
        f"{show.counted(codings['complete'], 'complete coding sequence')} in the annotation"
        + (f", {show.counted(left_out, 'other')} left out" if left_out else ""),
        soft_wrap=True,
    )


def _rates(report: Report, stage: dict[str, Any]) -> Table:
    from hnet_dna.explanation.statistics.columns import NOT_JUDGED
    from hnet_dna.explanation.statistics.findings import FEWEST

    number, per_chunk = stage["stage"], stage["bases_per_chunk"]
    title = f"Stage {number}: " + (f"{per_chunk:.2f} bases per chunk" if per_chunk else "no boundary")
    table = Table(title=title)
    table.add_column("class")
    table.add_column("verdict")
    for column in (
        "bases",
        "rate %",
        "x overall",
        "95 %",
        "x shifted",
        "p",
        "untrained x",
        "shuffled x",
    ):
        table.add_column(column, justify="right")
    classes, codons = report.tables["classes"].where(stage=number), report.tables["codons"].where(stage=number)
    rows = [(row["class"], row) for row in classes if row["class"] in _SHOWN and row["group"] != "repeats"]
    rows += [(f"codon position {row['codon_position']}, {row['strand']}", row) for row in codons]
    for name, row in rows:
        if not row["bases"] or row["bases"] < FEWEST * (per_chunk or 0):
            continue
        low, high = (_number(row[f"enrichment_{end}"]) for end in ("low", "high"))
        table.add_row(
            name,
            "" if row["verdict"] == NOT_JUDGED else row["verdict"],
            f"{row['bases']:,}",
            _number(100 * row["rate"]),
            _number(row["enrichment"]),
            "-" if low == "-" else f"{low}-{high}",
            _number(row["over_shifted"]),
            "-" if math.isnan(row["p"]) else f"{row['p']:.3f}",
            _number(row["untrained_enrichment"]),
            _number(row["shuffled_enrichment"]),
        )
    return table


def _kept(report: Report, stage: int) -> Table:
    """Build the table of boundaries kept under edits: at a rate of 1 %, and within 64 bases after a single one."""
    kinds = ("substitution", "insertion", "deletion")
    edits: dict[tuple[float | str, str], str] = {("single", kind): f"one {kind}" for kind in kinds}
    edits |= {(0.01, kind): f"{kind}s at 1 % of the bases" for kind in kinds}
    kept = {
        (row["segmentation"], row["edit"], row["rate"]): row["kept"]
        for row in report.tables["robustness"].where(stage=stage)
        if math.isnan(row["within"]) or row["within"] == 64
    }
    table = Table(title=f"Stage {stage}: % of boundaries kept")
    table.add_column("edits")
    names = list(dict.fromkeys(name for name, _, _ in kept))
    for name in names:
        table.add_column(name, justify="right")
    for (rate, kind), edit in edits.items():
        table.add_row(edit, *(_number(100 * kept[name, kind, rate]) for name in names))
    return table


def _number(content: float) -> str:
    return "-" if math.isnan(content) else f"{content:.2f}"
