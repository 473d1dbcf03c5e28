"""One row for each class of bases or codon position: the model with its interval, beside its controls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hnet_dna.explanation.figures.controls import BAND, CONTROLS, marks_key, overall_rates
from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE, Figure, figure_of, new_figure, style
from hnet_dna.explanation.statistics.tables import Table
from hnet_dna.plural import counted

_MOST = 40  # rows in a figure


def rates(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw boundaries per base of `classes` or `codons`, one figure for each stage."""
    for stage in table.values("stage"):
        overall = overall_rates(tables, stage)
        rows = []
        for row in table.where(stage=stage):
            label = f"codon {row['codon_position']}, {row['strand']}" if table.name == "codons" else row["class"]
            if row["bases"] and not math.isnan(row["enrichment"]) and row.get("group") != "all":
                band = (row["shifted_low"] / overall["rate"], row["shifted_high"] / overall["rate"])
                ends = (row["enrichment_low"], row["enrichment_high"])
                controls = (row["untrained_enrichment"], row["shuffled_enrichment"])
                rows.append(_Row(f"{label}  ({row['bases']:,})", row["enrichment"], ends, band, controls))
        if not rows:
            continue
        rows.sort(key=lambda r: r.value) if table.name == "classes" else rows.reverse()
        rows, left_out = _extremes(rows)
        what = "each codon position" if table.name == "codons" else "each class of bases"
        yield figure_of(
            table,
            f"Boundaries in {what}, stage {stage}",
            "Boundaries per base, divided by boundaries per base of all bases, on a log2 scale. "
            f"Blue: this model with its 95 % interval (blocks of 10 kb resampled). {CONTROLS} In parentheses: bases. "
            "1 is the overall density. An effect counts as learned only where blue lies beyond all three controls."
            + (f" {counted(left_out, 'class', 'classes')} nearest to 1 are left out." if left_out else ""),
            _forest(rows, "boundaries per base / overall"),
        )


def _extremes(rows: list[_Row]) -> tuple[list[_Row], int]:
    """Return the first and the last of sorted rows, `_MOST` in all, and how many between them are left out."""
    left_out = max(len(rows) - _MOST, 0)
    return (rows[: _MOST // 2] + rows[-_MOST // 2 :] if left_out else rows), left_out


@dataclass(frozen=True)
class _Row:
    label: str
    value: float
    ends: tuple[float, float]
    band: tuple[float, float] | None
    controls: tuple[float, ...]  # untrained, shuffled


def _forest(rows: list[_Row], label: str, *, ratio: bool = True, reference: float = 1.0) -> Any:
    known = [x for r in rows for x in (r.value, *r.ends, *(r.band or ()), *r.controls) if not math.isnan(x)]
    if ratio:
        # A class without a boundary has a ratio of 0, which is drawn at the edge.
        low = max(min([0.8, *(x for x in known if x > 0)]) / 1.1, 1 / 32)
        high = min(max([*known, 1.25]) * 1.1, 32.0)
    else:
        room = 0.05 * (max(known) - min(known) or 1.0)
        low, high = min(known) - room, max(known) + room
    with style():
        figure = new_figure(0.8 + 0.17 * len(rows))
        axis = figure.subplots()
        for y, row in enumerate(rows):
            if row.band is not None and not any(map(math.isnan, row.band)):
                left, right = np.clip(row.band, low, high)
                axis.barh(y, right - left, left=left, height=0.7, color=BAND, lw=0)
            if not any(map(math.isnan, row.ends)):
                axis.plot(np.clip(row.ends, low, high), [y, y], color=BLUE, lw=1.4)
            for value, colour, mark in zip(row.controls, (ORANGE, GREEN), "Ds", strict=False):
                if not math.isnan(value):
                    axis.plot(min(max(value, low), high), y, mark, color=colour, ms=3.6, mec="white", mew=0.3)
            axis.plot(min(max(row.value, low), high), y, "o", color=BLUE, ms=4.2, mec="white", mew=0.4)
        axis.axvline(reference, color=GREY, lw=0.6, ls=":")
        if ratio:
            from matplotlib.ticker import NullFormatter

            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            if high / low < 4:  # powers of 2 would give too few marks
                ticks = [t for t in (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2) if low <= t <= high]
                axis.set_xticks(ticks)
        axis.set_xlim(low, high)
        axis.set_yticks(range(len(rows)), [row.label for row in rows])
        axis.set_ylim(-0.7, len(rows) - 0.3)
        axis.set_xlabel(label)
        figure.legend(
            handles=marks_key(any(r.band for r in rows), len(rows[0].controls)), ncols=4, loc="outside upper left"
        )
    return figure


def bits(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw bits per base of classes and codon positions."""
    rows = [
        _Row(
            f"{_class(row)}  ({row['bases']:,})",
            row["difference"],
            (row["difference_low"], row["difference_high"]),
            None,
            (row["untrained_difference"],),
        )
        for row in table.rows
        if row["group"] != "all" and not math.isnan(row["difference"])
    ]
    if not rows:
        return
    rows.sort(key=lambda row: -row.value)
    rows, left_out = _extremes(rows)
    yield figure_of(
        table,
        "How well each class of bases is predicted",
        "Bits per base of a class less bits per base of all bases; below 0, its bases are predicted better than most. "
        "Blue: this model with its 95 % interval. Orange: the untrained model. In parentheses: bases."
        + (f" {counted(left_out, 'class', 'classes')} nearest to 0 are left out." if left_out else ""),
        _forest(rows, "bits per base - overall", ratio=False, reference=0.0),
    )


def _class(row: Mapping[str, Any]) -> str:
    """Return the name of a class of bases; of codon positions as in the figure of codons."""
    name = str(row["class"])
    return f"codon {name[1:]}, {name[0]}" if row["group"] == "codon position" else name
