"""A picture of a locus: letters, genes, chunks by stage, boundary probability and bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnet_dna.annotation.reader import Feature, read_features
from hnet_dna.annotation.regions import parse_region
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.explanation.figures.drawing import (
    BLUE,
    GREY,
    LETTERS,
    ORANGE,
    PALE,
    check_format,
    need_matplotlib,
    new_figure,
    save,
    source_title,
    style,
)
from hnet_dna.explanation.figures.mutation_panels import LONGEST, mutation_panels
from hnet_dna.explanation.statistics.locus import Locus, StageTrack, read_locus
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.load import load_model
from hnet_dna.inference.mutate import mutate
from hnet_dna.inference.stream import log_windows
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.sequence.codes import is_acgt, to_text
from hnet_dna.sequence.interval import Interval

_LETTERS = 150  # bases up to which letters are legible
_BINS = 600  # bars, side by side, that the eye can separate
_BOXES = 700  # chunks that are drawn as boxes
_LANES = 8  # rows of genes, or of other features
# In inches: the height of a lane, the width of an axis, the width of a letter of a label.
_LANE, _AXIS_INCHES, _LETTER_INCHES = 0.19, 6.0, 0.062
_LABEL_POINTS = 6.5
# Classes that the row of genes shows.
_OF_GENES = {"mRNA", "transcript", "exon", "CDS", "intron", "start_codon", "stop_codon"}


def plot_locus(
    region: str | Interval,
    genome: GenomeLike,
    model: str | Path | HNetLM,
    out: str | Path,
    *,
    annotation: str | Path | None = None,
    mutations: bool = False,
) -> Locus:
    """Draw a locus: letters, genes, chunks by stage, boundary probability and bits per base.

    Chunks, probability and bits are those of the forward reading, which begins up to 4,096 bases before the region.

    Args:
        region: `contig:start-end`, 1-based with both ends included, or an interval (0-based, half-open).
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        out: picture to write; the name ends in .png, .svg or .pdf.
        annotation: GFF3, GTF, GenBank or BED file with genes and other features.
        mutations: also draw what `mutate` says of every substitution, for at most 2,000 bases.

    Returns:
        What was drawn.

    Raises:
        UsageError: the region cannot be read as one or has over 2,000,000 bases, the name of the picture has
            another ending, or matplotlib is missing.
        SequenceError: the region is not in the genome or has no A, C, G or T, or an input is damaged.
        CheckpointError: there is no such model.

    Example:
        >>> from hnet_dna import plot_locus
        >>> locus = plot_locus("chrXV:107,201-107,330", "yeast", "five-genomes", "locus.svg")
        >>> locus.bits.shape
        (130,)
    """
    out = Path(out)
    check_format(out)
    need_matplotlib()
    opened = open_genome(genome)
    interval = parse_region(region, opened) if isinstance(region, str) else region
    if mutations and len(interval) > LONGEST:
        raise UsageError(f"`mutations`: a picture shows those of at most {LONGEST:,} bases; {interval} has more")
    if not is_acgt(opened.codes(interval)).any():
        raise SequenceError(f"{opened.source}: {interval} has no A, C, G or T, so that there is nothing to draw")
    features = read_features(Path(annotation), opened) if annotation else []
    loaded = load_model(model)
    log_windows(loaded)
    locus = read_locus(loaded, opened, interval, features)
    found = list(mutate(interval, opened, loaded)) if mutations else []
    panels = [panel for piece in found for panel in mutation_panels(piece)]
    save(draw_locus(locus, source_title(interval, opened, loaded), panels), out)
    return locus


def draw_locus(locus: Locus, title: str, more: Sequence[tuple[float, Any, Any]] = ()) -> Any:
    """Return a figure of a locus, with 1-based positions; `more` are rows of it like those of `mutation_panels`.

    Where there are more than `_BINS` bases, lines show means over bins; where there are more than `_BOXES` chunks, a
    line shows their mean length.
    """
    rows: list[tuple[float, Any, Any]] = []  # height in inches, function that draws, what it draws
    if len(locus.interval) <= _LETTERS:
        rows.append((0.16, _draw_letters, locus))
    rows += draw_annotation(locus)
    for number, track in enumerate(locus.stages):
        boxes = len(track.start) <= _BOXES
        rows.append((0.2 if boxes else 0.6, _draw_chunks if boxes else _draw_lengths, (number, track, locus)))
    rows += [(0.8, _draw_prob, (number, track, locus)) for number, track in enumerate(locus.stages)]
    rows.append((0.8, _draw_bits, locus))
    rows += more
    with style():
        figure = new_figure(0.75 + sum(height + 0.08 for height, _, _ in rows))
        axes = figure.subplots(
            len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [height for height, _, _ in rows]}
        )[:, 0]
        for axis, (_, draw, what) in zip(axes, rows, strict=True):
            draw(axis, what)
            axis.tick_params(axis="x", bottom=axis is axes[-1])
        last = axes[-1]
        last.set_xlim(locus.interval.start + 0.5, locus.interval.end + 0.5)
        last.xaxis.set_major_locator(_whole_numbers())
        last.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        last.set_xlabel(f"position on {locus.interval.contig} (bases, the first is 1)")
        axes[0].set_title(title)
        figure.align_ylabels(list(axes))
    return figure


def draw_annotation(locus: Locus) -> list[tuple[float, Any, Any]]:
    """Return rows of a figure with genes and other features: height in inches, function that draws, what it draws."""
    genes = _lanes([_Box(f.interval, _with_strand(f), f.strand) for f in locus.genes], locus)
    others = _lanes(
        [_Box(i, kind, ".") for kind, parts in locus.others.items() if kind not in _OF_GENES for i in parts], locus
    )
    rows = [(_LANE * len(genes), _draw_genes, (genes, locus)), (_LANE * len(others), _draw_others, (others, locus))]
    return [row for row in rows if row[0]]


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=7, integer=True)


def _bare(axis: Any, label: str) -> None:
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_yticks([])
    axis.set_ylabel(label, rotation=0, ha="right", va="center")


def _draw_letters(axis: Any, locus: Locus) -> None:
    size = min(8.0, 72 * _AXIS_INCHES / len(locus.interval) * 1.5)
    for offset, letter in enumerate(to_text(locus.codes)):
        axis.text(
            locus.interval.start + offset + 1,
            0.5,
            letter,
            color=LETTERS.get(letter.upper(), GREY),
            ha="center",
            va="center",
            size=size,
            family="monospace",
            weight="bold",
            in_layout=False,
        )
    axis.set_ylim(0, 1)
    _bare(axis, "+ strand")


@dataclass(frozen=True, order=True)
class _Box:
    interval: Interval
    label: str
    strand: str


@dataclass(frozen=True)
class _Lanes:
    """Boxes that do not overlap, lane by lane, and the number of boxes for which there was no lane."""

    lanes: list[list[_Box]]
    left_out: int

    def __len__(self) -> int:
        return len(self.lanes) + (self.left_out > 0)


def _with_strand(gene: Feature) -> str:
    name = gene.name or "gene"
    return {"+": f"{name} >", "-": f"< {name}"}.get(gene.strand, name)


def _lanes(boxes: Iterable[_Box], locus: Locus) -> _Lanes:
    """Put each box into the first of `_LANES` lanes with room for the box and for its label, which may be wider."""
    per_letter = len(locus.interval) / _AXIS_INCHES * _LETTER_INCHES
    lanes: list[list[_Box]] = []
    taken: list[float] = []
    left_out = 0
    for box in sorted(boxes):
        width = per_letter * (len(box.label) + 1)
        start = _label_start(box, locus, width)
        end = max(min(box.interval.end, locus.interval.end), start + width)
        lane = next((i for i, until in enumerate(taken) if until <= start), len(lanes))
        if lane == _LANES:
            left_out += 1
            continue
        if lane == len(lanes):
            lanes.append([])
            taken.append(0.0)
        lanes[lane].append(box)
        taken[lane] = end
    return _Lanes(lanes, left_out)


def _label_start(box: _Box, locus: Locus, width: float) -> float:
    """Begin a label where its box begins, or further left if it would run out of the picture."""
    return max(min(max(box.interval.start, locus.interval.start), locus.interval.end - width), locus.interval.start)


def _draw_genes(axis: Any, what: tuple[_Lanes, Locus]) -> None:
    """Draw each gene as boxes for its exons (or CDS), joined by a line, with an arrow head at its end."""
    lanes, locus = what
    whole = locus.interval
    head = len(whole) / _AXIS_INCHES * 0.09
    exons = locus.others.get("exon") or locus.others.get("CDS") or ()
    for lane, boxes in enumerate(lanes.lanes):
        for box in boxes:
            gene = box.interval
            start, end = max(gene.start, whole.start), min(gene.end, whole.end)
            parts = [(max(i.start, start), min(i.end, end)) for i in exons]
            parts = [(left, right) for left, right in parts if left < right] or [(start, end)]
            axis.plot([start + 0.5, end + 0.5], [lane, lane], color=ORANGE, lw=0.9, solid_capstyle="butt")
            for left, right in parts:
                # The head is at the end of the gene; a gene that continues outside the picture has none.
                to = {"+": ">" if right == gene.end else "", "-": "<" if left == gene.start else ""}
                axis.fill(*_arrow(left + 0.5, right + 0.5, lane, head, to.get(box.strand, "")), color=ORANGE, lw=0)
    _labels(axis, lanes, locus, "genes", style="italic")


def _draw_others(axis: Any, what: tuple[_Lanes, Locus]) -> None:
    lanes, locus = what
    for lane, boxes in enumerate(lanes.lanes):
        for box in boxes:
            axis.barh(lane, len(box.interval), left=box.interval.start + 0.5, height=0.3, color=GREY, lw=0)
    _labels(axis, lanes, locus, "other features")


def _labels(axis: Any, lanes: _Lanes, locus: Locus, name: str, **options: Any) -> None:
    per_letter = len(locus.interval) / _AXIS_INCHES * _LETTER_INCHES
    for lane, boxes in enumerate(lanes.lanes):
        for box in boxes:
            start = _label_start(box, locus, per_letter * (len(box.label) + 1))
            axis.text(start + 0.5, lane - 0.27, box.label, va="bottom", size=_LABEL_POINTS, **options)
    if lanes.left_out:
        note = f"{lanes.left_out:,} more overlap these"
        axis.text(locus.interval.start + 0.5, len(lanes) - 1, note, va="center", size=_LABEL_POINTS, color=GREY)
    axis.set_ylim(len(lanes) - 0.5, -0.9)
    _bare(axis, name)


def _arrow(left: float, right: float, lane: int, head: float, to: str) -> tuple[list[float], list[float]]:
    """Return x and y of the corners of a box with an arrow head at one end (`to` is `>` or `<`) or none."""
    top, bottom, head = lane - 0.24, lane + 0.24, min(head, right - left)
    if to == ">":
        return [left, right - head, right, right - head, left], [top, top, lane, bottom, bottom]
    if to == "<":
        return [left, left + head, right, right, left + head], [lane, top, top, bottom, bottom]
    return [left, right, right, left], [top, top, bottom, bottom]


def _draw_chunks(axis: Any, what: tuple[int, StageTrack, Locus]) -> None:
    """Draw chunks as boxes, alternately dark and light."""
    number, track, _ = what
    boxes = list(zip((track.start + 0.5).tolist(), (track.end - track.start).tolist(), strict=True))
    for turn, colour in enumerate((BLUE, PALE)):
        axis.broken_barh(
            boxes[turn::2], (0, 1), facecolor=colour, edgecolor="white", lw=0.3 if len(boxes) < _BOXES / 4 else 0
        ).set_in_layout(False)
    axis.set_ylim(0, 1)
    _bare(axis, f"chunks, stage {number}")


def _draw_lengths(axis: Any, what: tuple[int, StageTrack, Locus]) -> None:
    number, track, locus = what
    size = -(-len(locus.interval) // (_BINS // 3))
    edges = np.arange(locus.interval.start, locus.interval.end + size, size)
    count = np.histogram(track.start, edges)[0].astype(float)
    width = np.minimum(edges[1:], locus.interval.end) - edges[:-1]
    length = np.divide(width, count, out=np.full(len(count), np.nan), where=count > 0)
    axis.stairs(length, np.minimum(edges, locus.interval.end) + 0.5, baseline=None, color=BLUE, lw=0.8)
    axis.set_ylim(0)
    axis.set_ylabel(f"bases per chunk\nstage {number}\nin {counted(size, 'base')}")


def _draw_prob(axis: Any, what: tuple[int, StageTrack, Locus]) -> None:
    number, track, locus = what
    begins = np.zeros(len(locus.interval), dtype=bool)
    begins[track.start[track.start >= locus.interval.start] - locus.interval.start] = True
    binned = _values(axis, track.prob.astype(np.float64), locus, np.where(begins, BLUE, PALE).tolist())
    if not binned:
        axis.axhline(0.5, color=GREY, lw=0.6, ls=":")
        axis.set_ylim(0, 1)
        axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel(f"boundary\nprobability\nstage {number}{binned}")


def _draw_bits(axis: Any, locus: Locus) -> None:
    binned = _values(axis, locus.bits, locus, ["#444444"] * len(locus.bits))
    if not binned:
        axis.axhline(2, color=GREY, lw=0.6, ls=":")
        axis.set_ylim(0, max(2.2, axis.get_ylim()[1]))
    axis.set_ylabel(f"bits\nper base{binned}")


def _bars(axis: Any, centre: NDArray[np.int64], height: NDArray[np.float64], colours: list[str]) -> None:
    """Draw bars as one collection, since `Axes.bar` takes ten times as long."""
    from matplotlib.collections import PolyCollection

    left, right, zero = centre - 0.45, centre + 0.45, np.zeros(len(centre))
    corners = [(left, zero), (left, height), (right, height), (right, zero)]
    outlines: Any = np.stack([np.stack(corner, axis=1) for corner in corners], axis=1)
    bars = PolyCollection(outlines, facecolors=colours, linewidths=0)
    bars.set_in_layout(False)
    axis.add_collection(bars, autolim=False)
    axis.set_ylim(0, 1.05 * float(height.max(initial=0.0)) or 1.0)


def _values(axis: Any, values: NDArray[np.float64], locus: Locus, colours: list[str]) -> str:
    """Draw a bar for each base, or a line of means over bins; return what to add to the label."""
    start, length = locus.interval.start, len(values)
    if length <= _BINS:
        _bars(axis, start + 1 + np.arange(length), np.nan_to_num(values), colours)
        return ""
    size = -(-length // _BINS)
    table = np.full((-(-length // size), size), np.nan)
    table.ravel()[:length] = values
    known = (~np.isnan(table)).sum(axis=1)
    means = np.divide(np.nansum(table, axis=1), known, out=np.full(len(table), np.nan), where=known > 0)
    edges = np.minimum(start + size * np.arange(len(table) + 1), locus.interval.end) + 0.5
    axis.stairs(means, edges, baseline=None, color=colours[0] if colours[0] != PALE else BLUE, lw=0.6)
    return f"\nmean of {size:,}"
