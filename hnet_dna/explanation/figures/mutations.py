"""A picture of all mutations of a region: letters scaled by effect, a heat map of the four bases, genes below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hnet_dna.annotation.reader import read_features
from hnet_dna.errors import UsageError
from hnet_dna.explanation.figures.drawing import check_format, need_matplotlib, new_figure, save, style
from hnet_dna.explanation.figures.locus import draw_annotation
from hnet_dna.explanation.figures.mutation_panels import LONGEST, mutation_panels
from hnet_dna.explanation.statistics.locus import Locus, annotation_of
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.mutate import Mutations
from hnet_dna.sequence.interval import Interval


def plot_mutations(
    mutations: Mutations,
    out: str | Path,
    *,
    genome: GenomeLike = "",
    annotation: str | Path | None = None,
    title: str = "",
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
        title: of the picture; the region by default.

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
    save(draw_mutations(mutations, locus, title), Path(out))


def check_plot(path: Path, intervals: Sequence[Interval]) -> None:
    """Raise `UsageError` if there cannot be a picture of this name, or of these regions."""
    check_format(path, "plot")
    need_matplotlib()
    if len(intervals) != 1:
        raise UsageError(f"`plot`: a picture shows one region; there are {len(intervals)}")
    if len(intervals[0]) > LONGEST:
        raise UsageError(f"`plot`: a picture shows at most {LONGEST:,} bases; {intervals[0]} has {len(intervals[0]):,}")


def draw_mutations(mutations: Mutations, locus: Locus | None = None, title: str = "") -> Any:
    """Return a figure, with 1-based positions."""
    interval = mutations.interval
    panels = mutation_panels(mutations) + (draw_annotation(locus) if locus is not None else [])
    heights = [height for height, _, _ in panels]
    with style():
        figure = new_figure(0.75 + sum(height + 0.08 for height in heights))
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[
            :, 0
        ]
        for axis, (_, draw, what) in zip(axes, panels, strict=True):
            draw(axis, what)
        for axis in axes:
            axis.tick_params(axis="x", bottom=axis is axes[-1])
        axes[-1].set_xlim(interval.start + 0.5, interval.end + 0.5)
        axes[-1].xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes[-1].set_xlabel(f"position on {interval.contig} (bases, the first is 1)")
        axes[0].set_title(title or str(interval))
        figure.align_ylabels(list(axes))
    return figure
