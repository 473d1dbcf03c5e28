"""A picture of all mutations of a region: letters scaled by effect, a heat map of the four bases, genes below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.reader import read_features
from hnet_dna.errors import UsageError
from hnet_dna.explanation.figures.drawing import (
    GREY,
    LETTERS,
    check_format,
    letter_patch,
    need_matplotlib,
    new_figure,
    save,
    style,
)
from hnet_dna.explanation.figures.locus import draw_annotation
from hnet_dna.explanation.statistics.locus import Locus, annotation_of
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.mutate import MUTANTS, Mutations
from hnet_dna.sequence.codes import LETTER_BITS, to_text
from hnet_dna.sequence.interval import Interval

LONGEST = 2000  # bases
_LETTERS = 200  # bases up to which letters are legible


def plot_mutations(
    mutations: Mutations, out: str | Path, *, genome: GenomeLike = "", annotation: str | Path | None = None
) -> None:
    """Draw all mutations of a region of at most 2,000 bases.

    Above, the height of a base is the mean loss of likelihood when one of the three others replaces it; below the line
    is a base that the model would rather see replaced. The heat map shows the ratio of each replacement, red where it
    is less likely than the reference. Below it is the largest change of a boundary's probability by a substitution.

    Args:
        mutations: as `mutate` yields them.
        out: the picture; the name ends in .png, .svg or .pdf.
        genome: what the annotation belongs to.
        annotation: GFF3, GTF, GenBank or BED file, drawn below.

    Raises:
        UsageError: more than 2,000 bases, another ending, or matplotlib is missing.
    """
    check_plot(Path(out), [mutations.interval])
    locus = None
    if annotation is not None:
        opened = open_genome(genome)
        of_genome = annotation_of(mutations.interval, opened, read_features(Path(annotation), opened))
        length = opened[mutations.interval.contig].length
        locus = Locus(mutations.interval, length, mutations.codes, np.zeros(0), (), *of_genome)
    save(draw_mutations(mutations, locus), Path(out))


def check_plot(path: Path, intervals: Sequence[Interval]) -> None:
    """Raise `UsageError` if there cannot be a picture of this name, or of these regions."""
    check_format(path, "plot")
    need_matplotlib()
    if len(intervals) != 1:
        raise UsageError(f"`plot`: a picture shows one region; there are {len(intervals)}")
    if len(intervals[0]) > LONGEST:
        raise UsageError(f"`plot`: a picture shows at most {LONGEST:,} bases; {intervals[0]} has {len(intervals[0]):,}")


def draw_mutations(mutations: Mutations, locus: Locus | None = None) -> Any:
    """Return a figure, with 1-based positions."""
    interval = mutations.interval
    rows = 5 if not np.isnan(mutations.llr[:, 4]).all() else 4
    panels: list[tuple[float, Any]] = [(0.9, _draw_effects), (0.16 * rows + 0.05, _draw_map)]
    if mutations.boundaries is not None:
        panels.append((0.5, _draw_boundaries))
    below = draw_annotation(locus) if locus is not None else []
    heights = [height for height, _ in panels] + [height for height, _, _ in below]
    with style():
        figure = new_figure(0.75 + sum(height + 0.08 for height in heights))
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[
            :, 0
        ]
        for axis, (_, draw) in zip(axes, panels, strict=False):
            draw(axis, mutations)
        for axis, (_, draw, what) in zip(axes[len(panels) :], below, strict=True):
            draw(axis, what)
        for axis in axes:
            axis.tick_params(axis="x", bottom=axis is axes[-1])
        axes[-1].set_xlim(interval.start + 0.5, interval.end + 0.5)
        axes[-1].xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes[-1].set_xlabel(f"position on {interval.contig} (bases, the first is 1)")
        axes[0].set_title(f"{interval}")
        figure.align_ylabels(list(axes))
    return figure


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
    axis.set_ylabel("mean loss\n(bits)")


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
    axis.tick_params(axis="y", length=0)
    axis.spines[["left", "bottom"]].set_visible(False)
    bar = axis.figure.colorbar(image, ax=axis, pad=0.01, fraction=0.02)
    bar.set_label("ratio (bits)", size=6)
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
    axis.set_ylabel("largest\nchange of a\nboundary")
