"""Lines along an offset or a distance: the model beside its controls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hnet_dna.explanation.figures.controls import BAND, CONTROLS, lines_key, overall_rates
from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE, Figure, figure_of, new_figure, style
from hnet_dna.explanation.statistics.tables import Table

_FEW = 10  # profiles of fewer sites on a strand are not drawn
_OFFSET = "offset from the site, in the gene's direction (bases)"
_DISTANCE = "maximum distance (bases)"


def profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw boundaries per base around sites, one figure for each stage."""
    for stage in table.values("stage"):
        overall = overall_rates(tables, stage)
        sites = _enough(table.where(stage=stage), "of")
        if not sites:
            continue
        with style():
            figure = new_figure(0.7 + 1.15 * len(sites))
            grid = figure.subplots(len(sites), 2, sharex=True, sharey="row", squeeze=False)
            for axes, site in zip(grid, sites, strict=True):
                for axis, strand in zip(axes, "+-", strict=True):
                    rows = table.where(stage=stage, site=site, strand=strand)
                    if _count(axis, rows, "of", f"{site}, {strand} strand") >= _FEW:
                        _with_controls(axis, rows, "offset", overall)
                    axis.set_ylim(0)
            for axis in grid[-1]:
                axis.set_xlabel(_OFFSET)
            figure.supylabel("boundaries per base / overall", size=8)
            figure.legend(handles=lines_key(), ncols=4, loc="outside upper left")
        yield figure_of(
            table,
            f"Boundaries around sites, stage {stage}",
            "Boundaries per base at each offset from a site, divided by boundaries per base of all bases in the same "
            f"reading. Blue: this model. {CONTROLS} Offset 0 is the base at which the site begins. n: number of sites; "
            f"profiles of fewer than {_FEW} are not drawn. On the reverse strand, a border just before the site is at "
            "offset -1.",
            figure,
        )


def _enough(rows: Sequence[dict[str, Any]], count: str) -> list[str]:
    """Return the kinds of sites of which a strand has enough, in order of appearance."""
    return list(dict.fromkeys(row["site"] for row in rows if row["strand"] in ("+", "-") and row[count] >= _FEW))


def _count(axis: Any, rows: list[dict[str, Any]], column: str, title: str) -> int:
    """Give a profile its title, and return its number of sites."""
    count = max((row[column] for row in rows), default=0)
    axis.set_title(f"{title} (n = {count:,})")
    axis.axvline(0, color=GREY, lw=0.5, ls=":")
    return int(count)


def _with_controls(axis: Any, rows: list[dict[str, Any]], x: str, overall: Mapping[str, float] | None) -> None:
    """Draw `value` along a column beside its controls, each divided by its own overall value if that is given."""
    over = overall or {"rate": 1.0, "untrained": 1.0, "shuffled": 1.0}
    rows = sorted(rows, key=lambda row: float(row[x]))
    at = [row[x] for row in rows]

    def column(name: str, divisor: str) -> Any:
        return np.array([row[name] for row in rows], dtype=float) / (over[divisor] or math.nan)

    axis.fill_between(at, column("shifted_low", "rate"), column("shifted_high", "rate"), color=BAND, lw=0)
    for name, colour, line in (("untrained", ORANGE, "--"), ("shuffled", GREEN, "-.")):
        if rows and name in rows[0]:
            axis.plot(at, column(name, name), color=colour, lw=0.9, ls=line)
    axis.plot(at, column("value", "rate"), color=BLUE, lw=1.2, marker="o" if len(at) < 8 else "", ms=3)


def edges(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw precision and recall of boundaries at edges of features, one figure for each stage."""
    for stage in table.values("stage"):
        features = [f for f in table.values("feature") if any(r["of"] for r in table.where(stage=stage, feature=f))]
        if not features:
            continue
        with style():
            figure = new_figure(3.0)
            grid = figure.subplots(2, len(features), sharex=True, sharey="row", squeeze=False)
            for axes, measure in zip(grid, ("precision", "recall"), strict=True):
                for axis, feature in zip(axes, features, strict=True):
                    rows = table.where(stage=stage, feature=feature, measure=measure)
                    numbered = [{**row, "place": place} for place, row in enumerate(rows)]
                    _with_controls(axis, numbered, "place", None)
                    axis.set_xticks(range(len(rows)), [f"{row['distance']}" for row in rows])
                    axis.set_ylim(0)
                axes[0].set_ylabel(measure)
            for axis, feature in zip(grid[0], features, strict=True):
                axis.set_title(feature)
            figure.supxlabel(_DISTANCE, size=8)
            figure.legend(handles=lines_key(), ncols=4, loc="outside upper left")
        yield figure_of(
            table,
            f"Boundaries at edges of features, stage {stage}",
            "Precision: share of boundaries with an edge within this distance. Recall: share of edges with a boundary "
            f"within it. Blue: this model. {CONTROLS} The untrained and the shuffled reading have other numbers of "
            "boundaries, and more boundaries give more recall by themselves: compare with the grey band first.",
            figure,
        )


def strands(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw the share of boundaries on which both strands agree."""
    stages = table.values("stage")
    with style():
        figure = new_figure(2.0)
        for axis, stage in zip(figure.subplots(1, len(stages), sharey=True, squeeze=False)[0], stages, strict=True):
            rows = [{**row, "place": place} for place, row in enumerate(table.where(stage=stage))]
            _with_controls(axis, rows, "place", None)
            axis.set_xticks(range(len(rows)), [f"{row['distance']}" for row in rows])
            axis.set_title(f"stage {stage}")
            axis.set_xlabel(_DISTANCE)
            axis.set_ylim(0, 1.02)
            axis.set_ylabel("share of boundaries")
        figure.legend(handles=lines_key()[:2], ncols=2, loc="outside upper left")
    yield figure_of(
        table,
        "Boundaries that both strands agree on",
        "Share of boundaries of the forward reading with a boundary of the reverse strand's reading within this "
        "distance. "
        "Blue: this model. Grey: 95 % of circular shifts.",
        figure,
    )


def bits_profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw bits per base around sites."""
    sites = _enough(table.rows, "bases")
    if not sites:
        return
    with style():
        figure = new_figure(0.7 + 1.15 * len(sites))
        grid = figure.subplots(len(sites), 2, sharex=True, sharey="row", squeeze=False)
        for axes, site in zip(grid, sites, strict=True):
            for axis, strand in zip(axes, "+-", strict=True):
                rows = table.where(site=site, strand=strand)
                axis.axhline(0, color=GREY, lw=0.5, ls=":")
                if _count(axis, rows, "bases", f"{site}, {strand} strand") < _FEW:
                    continue
                at = [row["offset"] for row in rows]
                axis.plot(at, [row["untrained_difference"] for row in rows], color=ORANGE, lw=0.9, ls="--")
                axis.plot(at, [row["difference"] for row in rows], color=BLUE, lw=1.2)
        for axis in grid[-1]:
            axis.set_xlabel(_OFFSET)
        figure.supylabel("bits per base - overall", size=8)
        key = lines_key()
        figure.legend(handles=[key[0], key[2]], ncols=2, loc="outside upper left")
    yield figure_of(
        table,
        "How well bases around sites are predicted",
        "Bits per base at each distance from a site less bits per base of all bases. Blue: this model. Orange: the "
        "untrained model. The model reads along the forward strand, so that it reads a gene on the reverse strand from "
        f"its end. n: number of sites; profiles of fewer than {_FEW} are not drawn.",
        figure,
    )
