"""Panels of a figure that show all mutations of a region: letters scaled by effect, a heat map, boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.explanation.figures.drawing import GREY, LETTERS, letter_patch
from hnet_dna.inference.mutate import MUTANTS, Mutations
from hnet_dna.sequence.codes import LETTER_BITS, to_text

LONGEST = 2000  # bases
_LETTERS = 200  # bases up to which letters are legible


def mutation_panels(mutations: Mutations) -> list[tuple[float, Any, Any]]:
    """Return rows of a figure: height in inches, function that draws, what it draws."""
    rows = 5 if not np.isnan(mutations.llr[:, 4]).all() else 4
    panels: list[tuple[float, Any, Any]] = [(0.9, _draw_effects, mutations), (0.16 * rows + 0.05, _draw_map, mutations)]
    if mutations.boundaries is not None:
        panels.append((0.65, _draw_boundaries, mutations))
    return panels


def _draw_effects(axis: Any, mutations: Mutations) -> None:
    height = np.nan_to_num(-mutations.effect)
    start = mutations.interval.start
    if len(height) <= _LETTERS:
        for offset, letter in enumerate(to_text(mutations.codes & np.uint8(LETTER_BITS))):
            if letter in LETTERS and height[offset]:
                axis.add_patch(letter_patch(letter, start + offset + 0.55, 0.0, 0.9, float(height[offset])))
    else:
        axis.stairs(height, np.arange(start, start + len(height) + 1) + 0.5, fill=True, color=GREY)
    axis.axhline(0, color=GREY, lw=0.6)
    low, high = min(float(height.min(initial=0)), 0.0), max(float(height.max(initial=0)), 0.0)
    margin = 0.05 * (high - low) or 1.0
    axis.set_ylim(low - margin, high + margin)
    axis.set_ylabel("mean loss of\nlog2 p (bits)")


def _draw_map(axis: Any, mutations: Mutations) -> None:
    rows = 5 if not np.isnan(mutations.llr[:, 4]).all() else 4
    values: NDArray[np.float64] = mutations.llr[:, :rows].T.copy()
    shown = values[:4]
    most = float(np.nanpercentile(np.abs(shown), 99)) or 1.0
    if rows == 5:  # the deletions' own mean is what a base costs, see `mutate`
        values[4] -= np.nanmean(values[4])
    start = mutations.interval.start
    image = axis.imshow(
        values,
        aspect="auto",
        cmap="RdBu",
        vmin=-most,
        vmax=most,
        interpolation="nearest",
        extent=(start + 0.5, start + values.shape[1] + 0.5, rows - 0.5, -0.5),
    )
    own = np.flatnonzero((mutations.codes & LETTER_BITS) < 4)
    if values.shape[1] <= _LETTERS:
        axis.plot(start + own + 1, mutations.codes[own] & LETTER_BITS, ls="", marker=".", ms=1.5, color=GREY)
    axis.set_yticks(range(rows), [*MUTANTS[:4], "del."][:rows])
    axis.set_ylabel("changed to")
    axis.tick_params(axis="y", length=0)
    axis.spines[["left", "bottom"]].set_visible(False)
    bar = axis.figure.colorbar(image, ax=axis, pad=0.01, fraction=0.02)
    bar.set_label("log ratio (bits)", size=6)
    bar.ax.tick_params(labelsize=6)


def _draw_boundaries(axis: Any, mutations: Mutations) -> None:
    assert mutations.boundaries is not None
    largest = np.abs(mutations.boundaries.change[:, :, :4]).max(axis=0)
    at = np.flatnonzero(~np.isnan(largest).all(axis=1))
    height = np.zeros(len(largest))
    height[at] = np.nanmax(largest[at], axis=1)
    start = mutations.interval.start
    axis.stairs(height, np.arange(start, start + len(height) + 1) + 0.5, fill=True, color=LETTERS["C"])
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("largest change\nof boundary\nprobability")
