"""Lines along an offset or a distance: the model beside its controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hnet_dna.explanation.figures.controls import BAND, CONTROLS, lines_key, overall_rates
from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE, Figure, figure_of, new_figure, style
from hnet_dna.explanation.statistics.measures import STRANDS
from hnet_dna.explanation.statistics.tables import Table

_FEW = 10  # profiles of fewer sites on a strand are not drawn
_DISTANCE = "maximum distance (bases)"


def profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw boundaries per base around sites, one figure for each stage."""
    for stage in table.values("stage"):
        overall = overall_rates(tables, stage)

        def draw(axis: Any, rows: list[dict[str, Any]], overall: Mapping[str, float] = overall) -> None:
            _with_controls(axis, rows, "offset", overall)
            axis.set_ylim(0)

        few, figure = _around_sites(table.where(stage=stage), "of", "boundaries per base / overall", lines_key(), draw)
        caption = (
            "Boundaries per base at each offset from a site, divided by boundaries per base of all bases in the same "
            f"reading. Blue: this model. {CONTROLS} Offset 0 is the base at which the site begins. n: number of sites. "
            "On the reverse strand, a border just before the site is at offset -1."
        )
        yield figure_of(table, f"Boundaries around sites, stage {stage}", _caption(caption, few, figure), figure)


def bits_profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw bits per base around sites."""

    def draw(axis: Any, rows: list[dict[str, Any]]) -> None:
        at = [row["offset"] for row in rows]
        axis.axhline(0, color=GREY, lw=0.5, ls=":")
        axis.plot(at, [row["untrained_difference"] for row in rows], color=ORANGE, lw=0.9, ls="--")
        axis.plot(at, [row["difference"] for row in rows], color=BLUE, lw=1.2)

    model, _, untrained, _ = lines_key()
    few, figure = _around_sites(table.rows, "bases", "bits per base - overall", [model, untrained], draw)
    caption = (
        "Bits per base at each offset from a site less bits per base of all bases. Blue: this model. Orange: the "
        "untrained model. The model reads along the forward strand, so that it reads a gene on the reverse strand "
        "from its end. n: number of sites."
    )
    yield figure_of(table, "How well bases around sites are predicted", _caption(caption, few, figure), figure)


def _caption(caption: str, few: Sequence[str], figure: Any) -> str:
    """Return a caption that names what is not drawn."""
    if figure is None:
        return f"Nothing is drawn, since no kind of site has {_FEW} sites on a strand in what was read."
    return f"{caption} Not drawn, with fewer than {_FEW} sites: {', '.join(few)}." if few else caption


def _around_sites(
    rows: Sequence[dict[str, Any]],
    count: str,
    label: str,
    key: list[Any],
    draw: Callable[[Any, list[dict[str, Any]]], None],
) -> tuple[list[str], Any]:
    """Draw a row of panels for each kind of site, with a panel for each strand that has enough sites.

    Args:
        rows: of a table with site, strand and offset.
        count: column whose largest value is the number of sites.
        label: of the y axis.
        key: legend.
        draw: draws the rows of one panel.

    Returns:
        The kinds of sites and strands with too few sites to draw, and the figure; None in its place if all have.
    """
    stranded = [row for row in rows if row["strand"] in STRANDS]
    panels: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in stranded:
        panels.setdefault((row["site"], row["strand"]), []).append(row)
    most = {panel: max(row[count] for row in here) for panel, here in panels.items()}
    few = [f"{site} on the {strand} strand (n = {n:,})" for (site, strand), n in most.items() if n < _FEW]
    sites = list(dict.fromkeys(site for (site, _), n in most.items() if n >= _FEW))
    if not sites:
        return few, None
    with style():
        figure = new_figure(0.7 + 1.15 * len(sites))
        grid = figure.subplots(len(sites), 2, sharex=True, sharey="row", squeeze=False)
        for strand, axes in zip(STRANDS, grid.T, strict=True):
            lowest = None
            for axis, site in zip(axes, sites, strict=True):
                n = most.get((site, strand), 0)
                if n < _FEW:
                    axis.remove()
                    continue
                lowest = axis
                axis.set_title(f"{site}, {strand} strand (n = {n:,})")
                axis.axvline(0, color=GREY, lw=0.5, ls=":")
                draw(axis, panels[site, strand])
            if lowest is not None:
                lowest.set_xlabel("offset from the site, in the gene's direction (bases)")
                lowest.tick_params(labelbottom=True)
        figure.supylabel(label, size=8)
        figure.legend(handles=key, ncols=4, loc="outside upper left")
    return few, figure


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


def _by_distance(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Draw `value` beside its controls at evenly spaced distances."""
    _with_controls(axis, [{**row, "place": place} for place, row in enumerate(rows)], "place", None)
    axis.set_xticks(range(len(rows)), [f"{row['distance']}" for row in rows])


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
                    _by_distance(axis, table.where(stage=stage, feature=feature, measure=measure))
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
            _by_distance(axis, table.where(stage=stage))
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
