"""How edits of the sequence change boundaries and bits, beside an untrained model and k-mers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hnet_dna.explanation.figures.drawing import BLUE, GREEN, GREY, ORANGE, Figure, figure_of, new_figure, style
from hnet_dna.explanation.statistics.tables import Table

_CAPTION = (
    "Boundaries kept: share of boundaries at untouched borders that are boundaries after the edits too, with random "
    "edits (top) and after a single edit (middle). Blue: this model, 95 % interval (windows resampled). Orange: "
    "the untrained model. Green: adjacent k-mers. Dotted: the share that would be kept if this model's boundaries lay "
    "anywhere. Bits per base added: increase on unedited bases when the bases around them are edited."
)
_SEGMENTATIONS = (("model", "this model, 95 %", BLUE, "-", "o"), ("untrained", "untrained", ORANGE, "--", "D"),
                  ("k-mers", "k-mers", GREEN, "-.", "s"))  # fmt: skip


def robustness(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw a figure for each stage, with a column for each kind of edit."""
    for stage in table.values("stage"):
        title = f"How edits change boundaries and bits, stage {stage}"
        yield figure_of(table, title, _CAPTION, _draw(table, stage))


def _draw(table: Table, stage: int) -> Any:
    edits, rows = table.values("edit"), table.where(stage=stage)
    many, single = ([r for r in rows if (r["rate"] == "single") is one] for one in (False, True))
    kept, cost = ("kept", "low", "high"), ("bits_added", "bits_added_low", "bits_added_high")
    panels = [
        (many, "rate", kept, "boundaries kept", "bases edited (%)"),
        (single, "within", kept, "boundaries kept", "maximum distance after a single edit (bases)"),
        (many, "rate", cost, "bits per base added", "bases edited (%)"),
    ]
    panels = [panel for panel in panels if panel[0]]
    with style():
        figure = new_figure(0.6 + 1.35 * len(panels))
        grid = figure.subplots(len(panels), len(edits), sharey="row", squeeze=False)
        for axes, (shown, x, columns, what, along) in zip(grid, panels, strict=True):
            places = list(dict.fromkeys(row[x] for row in shown))
            for axis, edit in zip(axes, edits, strict=True):
                _lines(axis, [row for row in shown if row["edit"] == edit], x, places, columns)
                axis.set_xticks(range(len(places)), [f"{100 * at:g}" if x == "rate" else f"{at:g}" for at in places])
                if columns is kept:
                    axis.set_ylim(-0.03, 1.05)
            axes[0].set_ylabel(what)
            axes[len(edits) // 2].set_xlabel(along)
        for axis, edit in zip(grid[0], edits, strict=True):
            axis.set_title(f"{edit}s")
        figure.legend(handles=_key(), ncols=4, loc="outside upper left")
    return figure


def _lines(
    axis: Any, rows: Sequence[dict[str, Any]], x: str, places: Sequence[float], columns: tuple[str, str, str]
) -> None:
    value, low, high = columns
    for name, _, colour, line, mark in _SEGMENTATIONS:
        here = [row for row in rows if row["segmentation"] == name and not math.isnan(row[value])]
        at = [places.index(row[x]) for row in here]
        if name == "model":
            axis.fill_between(at, [r[low] for r in here], [r[high] for r in here], color=BLUE, alpha=0.25, lw=0)
            if value == "kept":
                axis.plot(at, [row["kept_by_chance"] for row in here], color=GREY, lw=0.8, ls=":")
        axis.plot(at, [row[value] for row in here], color=colour, lw=1.0, ls=line, marker=mark, ms=3)


def _key() -> list[Any]:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=colour, lw=1.0, ls=line, marker=mark, ms=3, label=label)
        for _, label, colour, line, mark in _SEGMENTATIONS
    ]
    return [*lines, Line2D([], [], color=GREY, lw=0.8, ls=":", label="by chance")]
