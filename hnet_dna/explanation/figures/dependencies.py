"""A picture of which base depends on which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hnet_dna.errors import UsageError
from hnet_dna.explanation.figures.drawing import check_format, need_matplotlib, new_figure, save, style
from hnet_dna.genome.genome import Genome
from hnet_dna.inference.dependencies import Dependencies, check_region
from hnet_dna.sequence.interval import Interval


def plot_dependencies(dependencies: Dependencies, out: str | Path, *, title: str = "") -> None:
    """Draw the matrix of dependencies: a row for each changed base, a column for each base whose prediction changes.

    What lies above the diagonal was read on the + strand, what lies below it on the - strand. The scale ends at the
    99.5th percentile of what is drawn.

    Args:
        dependencies: as the function of this name returns them.
        out: the picture; the name ends in .png, .svg or .pdf.
        title: of the picture; the region by default.

    Raises:
        UsageError: another ending, or matplotlib is missing.
    """
    check_format(Path(out))
    need_matplotlib()
    save(draw_dependencies(dependencies, title), Path(out))


def check_dependencies(paths: Sequence[Path], intervals: Sequence[Interval], genome: Genome) -> None:
    """Raise an error if dependencies of these regions cannot be found, or not be written to these files."""
    if len(intervals) != 1:
        raise UsageError(f"`dependencies` are of one region; there are {len(intervals)}")
    check_region(genome, intervals[0])
    for path in paths:
        if path.suffix.lower() != ".npz":
            check_format(path, "dependencies", (".npz",))
            need_matplotlib()


def write_dependencies(dependencies: Dependencies, paths: Sequence[Path], title: str = "") -> None:
    """Write each file as its name says: .npz, or a picture."""
    for path in paths:
        if path.suffix.lower() == ".npz":
            dependencies.save(path)
        else:
            plot_dependencies(dependencies, path, title=title)


def draw_dependencies(dependencies: Dependencies, title: str = "") -> Any:
    """Return a figure, with 1-based positions."""
    interval, matrix = dependencies.interval, dependencies.matrix
    off_diagonal = matrix[~np.eye(len(matrix), dtype=bool) & ~np.isnan(matrix)]
    most = float(np.percentile(off_diagonal, 99.5)) if len(off_diagonal) else 1.0
    edges = interval.start + 0.5, interval.end + 0.5
    with style():
        figure = new_figure(6.0)
        axis = figure.subplots()
        image = axis.imshow(
            matrix, cmap="Blues", vmin=0, vmax=most or 1.0, interpolation="nearest", extent=(*edges, *edges[::-1])
        )
        position = f"position on {interval.contig} (bases, the first is 1)"
        axis.set_xlabel(f"predicted base: {position}")
        axis.set_ylabel(f"changed base: {position}")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axis.set_title(f"{title or interval}\nabove the diagonal on the + strand, below it on the - strand")
        bar = figure.colorbar(image, ax=axis, fraction=0.046, pad=0.02)
        bar.set_label("largest change of log2 odds (bits)")
    return figure
