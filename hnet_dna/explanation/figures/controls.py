"""How this model and its controls look in figures: colours, legends, captions, and the rates that are divided by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnet_dna.explanation.figures.drawing import BLUE, GREEN, ORANGE
from hnet_dna.explanation.statistics.tables import Table

BAND = "#D9D9D9"
CONTROLS = "Grey: 95 % of circular shifts. Orange: the untrained model. Green: this model on shuffled sequence."


def overall_rates(tables: Mapping[str, Table], stage: int) -> dict[str, float]:
    """Return boundaries per base of all bases: of the model, of the untrained one, and on shuffled sequence."""
    (row,) = tables["classes"].where(stage=stage, group="all")
    return {name: float(row[name]) for name in ("rate", "untrained", "shuffled")}


def marks_key(band: bool, controls: int) -> list[Any]:
    """Return the legend of marks: the model, the shifts if there is a band, and the first of both other controls."""
    from matplotlib.lines import Line2D

    names = (("untrained", ORANGE, "D"), ("shuffled sequence", GREEN, "s"))
    return [
        Line2D([], [], color=BLUE, marker="o", ms=4, lw=1.4, label="this model, 95 %"),
        *([_band_key()] if band else []),
        *(Line2D([], [], color=c, marker=mark, ms=3.6, lw=0, label=name) for name, c, mark in names[:controls]),
    ]


def lines_key() -> list[Any]:
    """Return the legend of lines: the model, the shifts, the untrained model, shuffled sequence."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=BLUE, lw=1.2, label="this model"),
        _band_key(),
        Line2D([], [], color=ORANGE, lw=0.9, ls="--", label="untrained"),
        Line2D([], [], color=GREEN, lw=0.9, ls="-.", label="shuffled sequence"),
    ]


def _band_key() -> Any:
    from matplotlib.patches import Patch

    return Patch(color=BAND, label="circular shifts, 95 %")
