"""Draws a track along all chromosomes of a genome, one row for each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.explanation.figures.drawing import BLUE, check_format, need_matplotlib, new_figure, save, style

_ROWS = 60  # contigs that are drawn at most
_LEAST = 0.002  # of the longest contig; shorter ones would be a dot
_BINS = 1000  # along the longest contig
_ROMAN = {"I": 1, "V": 5, "X": 10}


def plot_karyotype(track: str | Path, out: str | Path, *, label: str | None = None) -> list[str]:
    """Draw a bigWig along the chromosomes of its genome, as rows of colour; return the contigs that are drawn.

    A summary (`write_summary`) is meant, but any bigWig will do: what is drawn are means over bins of about a
    thousandth of the longest contig. Colours reach from the 2nd to the 98th percentile; bins without a value are grey.
    At most the 60 longest contigs are drawn, and none that would be a dot.

    Args:
        track: a bigWig file.
        out: a picture: .png, .svg or .pdf.
        label: what the values are; the name of the file where None.

    Raises:
        SequenceError: no such file, or one that is not a bigWig.
        UsageError: another ending of `out`, or matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.colors import LinearSegmentedColormap

    source, picture = Path(track), Path(out)
    check_format(picture)
    lengths, rows = _read(source)
    longest = max(lengths.values())
    known = np.concatenate([row[~np.isnan(row)] for row in rows.values()])
    if not len(known):
        raise SequenceError(f"{source}: no values to draw")
    low, high = np.percentile(known, (2, 98))
    colours = LinearSegmentedColormap.from_list("karyotype", ["#F4F8FB", BLUE, "#00223A"]).with_extremes(bad="#BBBBBB")
    with style():
        figure = new_figure(max(1.6, 0.6 + 0.17 * len(rows)))
        axes = figure.subplots()
        for place, (name, values) in enumerate(rows.items()):
            box = (0, lengths[name] / 1e6, place + 0.38, place - 0.38)
            shades: Any = axes.imshow(
                values[None], extent=box, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
            )
        axes.set_xlim(0, longest / 1e6)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Mb")
        figure.colorbar(shades, ax=axes, label=label or source.name, shrink=min(1.0, 4 / len(rows) + 0.3), pad=0.01)
        save(figure, picture)
    return list(rows)


def _read(path: Path) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the lengths of the contigs to draw, and the means of their bins."""
    try:
        import pyBigWig
    except ModuleNotFoundError:
        raise UsageError("reading bigWig needs pyBigWig: pip install pyBigWig") from None
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; expected bigWig")
    try:
        file = pyBigWig.open(str(path))
    except RuntimeError:
        file = None
    if file is None or not file.isBigWig():
        raise SequenceError(f"{path} is not a bigWig file")
    sizes: dict[str, int] = file.chroms()
    longest = max(sizes.values())
    chosen = sorted((n for n in sizes if sizes[n] >= _LEAST * longest), key=lambda n: -sizes[n])[:_ROWS]
    lengths = {name: sizes[name] for name in in_natural_order(chosen)}
    rows = {}
    for name, length in lengths.items():
        bins = max(1, min(length, round(_BINS * length / longest)))
        means = file.stats(name, nBins=bins) if file.header()["nBasesCovered"] else [None]
        rows[name] = np.array([np.nan if mean is None else mean for mean in means], dtype=np.float64)
    return lengths, rows


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Sort names of contigs as people do: chr2 before chr10, chrIX before chrX, and numbers before words."""
    names = list(names)
    bare = [name.removeprefix("chr") for name in names]
    roman = not any(one.isdecimal() for one in bare) and "I" in bare

    def key(name: str) -> tuple[Any, ...]:
        one = name.removeprefix("chr")
        if roman and re.fullmatch("[IVX]+", one):
            values = [_ROMAN[letter] for letter in one]
            return (0, (0, sum(-v if v < max(values[i:]) else v for i, v in enumerate(values)), ""))
        parts = re.findall(r"\d+|\D+", one)
        return (not one.isdecimal(), *((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts))

    return sorted(names, key=key)
