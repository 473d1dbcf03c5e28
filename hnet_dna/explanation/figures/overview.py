"""The first picture of a report: where in a codon chunks begin, and in which classes of bases more or fewer begin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hnet_dna.explanation.figures.controls import overall_rates
from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE, PALE, Figure, figure_of, new_figure, style
from hnet_dna.explanation.statistics.findings import Finding
from hnet_dna.explanation.statistics.tables import Table

_BARS = 10  # classes that are shown
_FARTHEST = 16.0  # where bars end: a class without a boundary would have none
_ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


def overview(tables: Mapping[str, Table], findings: Sequence[Finding], stage: int) -> Figure | None:
    """Draw what the chunks of a stage are; None where there is nothing to draw.

    Args:
        tables: of the report.
        findings: as `judge` returns them.
        stage: 0 outermost.
    """
    wheels = codon_rates(tables, stage)
    bars = [f for f in findings if f.stage == stage and f.table == "classes" and f.verdict != "too little"]
    bars = sorted(sorted(bars, key=_distance, reverse=True)[:_BARS], key=lambda f: f.enrichment)
    table = tables.get("classes")
    if table is None or not (wheels or bars):
        return None
    parts = []
    if wheels:
        parts.append(
            "Wheels: how often a chunk begins at each base of a codon, in genes of either strand; dashed: at any base. "
            "Three equal wedges would mean that chunks do not follow codons."
        )
    if bars:
        parts.append(
            "Bars: boundaries per base in a class of bases, divided by those in all bases. The marks are controls: a "
            "network that was not trained, and this model on shuffled sequence; one at the edge lies beyond it. A dark "
            "bar goes beyond both, and beyond chance: the model has learned it. Of a pale one, a control does as much."
        )
    with style():
        figure = new_figure(3.8)
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5)) if wheels and bars else (figure, figure)
        if wheels:
            overall = overall_rates(tables, stage)["rate"]
            axes = left.subplots(2 if bars else 1, 1 if bars else 2, subplot_kw={"projection": "polar"})
            most = max(*(rate for rates in wheels.values() for rate in rates.values()), overall)
            for axis, (strand, rates) in zip(axes, sorted(wheels.items()), strict=False):
                _wheel(axis, rates, overall, most, f"genes of the {strand} strand")
            for axis in axes[len(wheels) :]:
                axis.set_visible(False)
        if bars:
            _bars(right.subplots(), bars)
    return figure_of(table, f"What the chunks are, stage {stage}", " ".join(parts), figure)


def codon_rates(tables: Mapping[str, Table], stage: int) -> dict[str, dict[int, float]]:
    """Return boundaries per base of each codon position, by strand; a strand of which one is unknown is left out."""
    if "codons" not in tables:
        return {}
    found: dict[str, dict[int, float]] = {}
    for row in tables["codons"].where(stage=stage):
        if row["bases"] and not math.isnan(row["rate"]):
            found.setdefault(row["strand"], {})[int(row["codon_position"])] = row["rate"]
    return {strand: rates for strand, rates in found.items() if len(rates) == 3}


def _distance(finding: Finding) -> float:
    return abs(math.log2(min(max(finding.enrichment, 1 / _FARTHEST), _FARTHEST)))


def _wheel(axis: Any, rates: Mapping[int, float], overall: float, most: float, title: str) -> None:
    third = 2 * math.pi / 3
    axis.set_theta_zero_location("N")
    axis.set_theta_direction(-1)
    for position, rate in rates.items():
        middle = (position - 0.5) * third
        axis.bar(middle, rate, width=third, color=BLUE, edgecolor="white", lw=1.5)
        below = position == 2
        text = f"{_ORDINALS[position]} base{' ' if below else chr(10)}{100 * rate:.0f} %"
        far = (1.25 if below else 1.5) * most
        axis.text(middle, far, text, ha="center", va="center", fontsize=7, in_layout=below)
    ring = [2 * math.pi * step / 60 for step in range(61)]
    axis.plot(ring, [overall] * len(ring), color=GREY, lw=0.8, ls="--")
    axis.set_ylim(0, 1.2 * most)
    axis.set_axis_off()
    axis.set_title(title, loc="center", pad=2)


def _bars(axis: Any, bars: Sequence[Finding]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    values = [min(max(bar.enrichment, 1 / _FARTHEST), _FARTHEST) for bar in bars]
    low, high = min(0.7, *values) / 1.1, max(1.4, *values) * 1.1
    for y, (bar, value) in enumerate(zip(bars, values, strict=True)):
        colour = BLUE if bar.verdict == "stands out" else PALE
        axis.barh(y, value - 1, left=1, height=0.7, color=colour, lw=0)
        for control, mark_colour, mark in ((bar.untrained, ORANGE, "D"), (bar.shuffled, GREEN, "s")):
            axis.plot(
                min(max(control, low), high), y, mark, color=mark_colour, ms=4, mec="white", mew=0.5, clip_on=False
            )
    axis.set_xscale("log", base=2)
    axis.set_xlim(low, high)
    ticks = [1.0, 1.5, 1 / 1.5] if high / low < 4 else [2.0**power for power in range(-4, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.set_xticks(ticks, [f"{tick:g} x" if tick >= 1 else f"1/{1 / tick:g} x" for tick in ticks])
    axis.minorticks_off()
    axis.axvline(1, color=GREY, lw=0.8)
    axis.set_yticks(range(len(bars)), [bar.name.replace("_", " ") for bar in bars])
    axis.set_ylim(-0.6, len(bars) - 0.4)
    axis.set_xlabel("boundaries per base, to those of all bases")
    axis.legend(
        handles=[
            Patch(color=BLUE, label="this model: learned"),
            Patch(color=PALE, label="a control does as much"),
            Line2D([], [], color=ORANGE, marker="D", ls="", ms=4, label="untrained"),
            Line2D([], [], color=GREEN, marker="s", ls="", ms=4, label="shuffled sequence"),
        ],
        ncols=2,
        loc="lower center",
        bbox_to_anchor=(0.4, 1.0),
    )
