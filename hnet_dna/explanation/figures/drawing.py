"""The style of figures, and how they become files: fit for print and for readers with colour-vision deficiency."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnet_dna.errors import UsageError
from hnet_dna.explanation.statistics.tables import Table
from hnet_dna.files import write_beside
from hnet_dna.genome.genome import Genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

# Okabe and Ito (2008). They differ in lightness too, so that they can be distinguished in print without colour.
BLUE, PALE, ORANGE, GREEN, RED, GREY = "#0072B2", "#9CC4DE", "#E69F00", "#009E73", "#D55E00", "#666666"
LETTERS = {"A": GREEN, "C": BLUE, "G": ORANGE, "T": RED}
WIDTH = 7.2  # inches: a page's text, or two columns of a journal
FORMATS = ("png", "svg", "pdf")
_RC: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,  # a `$` in a name is not a formula
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "hnet-dna",
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Figure:
    """A picture of a table.

    Attributes:
        table: name of the table that it shows.
        title: what it shows.
        caption: how to read it.
        svg: the picture; empty where there is nothing to draw, as the caption then says.
    """

    table: str
    title: str
    caption: str
    svg: str


def figure_of(table: Table, title: str, caption: str, drawn: Any) -> Figure:
    """Return a figure of a table from what matplotlib drew; `drawn` is None where there was nothing to draw."""
    return Figure(table.name, title, caption, "" if drawn is None else svg(drawn))


def need_matplotlib(instead: str = "") -> None:
    """Raise `UsageError`, which says how to install it, if matplotlib is missing.

    Args:
        instead: ends the message, with what else the caller can do.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UsageError(f"drawing needs matplotlib: pip install 'hnet-dna[plot]'{instead}") from None


@contextmanager
def style() -> Iterator[None]:
    """Draw in this package's style inside the block."""
    need_matplotlib()
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def new_figure(height: float, **options: Any) -> Any:
    """Return an empty figure of the usual width that pyplot does not know; height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), **options)


def source_title(interval: Interval, genome: Genome, model: HNetLM) -> str:
    """Return the title of a picture of a region: where it lies, in which genome, and which model read it."""
    return f"{interval}  ({genome.source.name}, model {Path(model.name_or_path).name or 'in memory'})"


def check_format(path: Path, parameter: str = "out", others: tuple[str, ...] = ()) -> None:
    """Raise `UsageError` if the ending of a file name is neither one of `FORMATS` nor of others that are named."""
    endings = [*others, *(f".{form}" for form in FORMATS)]
    if path.suffix.lower() not in endings:
        raise UsageError(f"`{parameter}` {path}: expected a name that ends in {', '.join(endings)}")


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format that the ending of the file names; the same figure gives the same bytes."""
    check_format(path)
    kind = path.suffix.lstrip(".").lower()
    with style(), write_beside(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=_UNDATED[kind])


def svg(figure: Any) -> str:
    """Return a figure as SVG."""
    stream = io.StringIO()
    with style():
        figure.savefig(stream, format="svg", metadata=_UNDATED["svg"])
    return stream.getvalue()


_UNDATED: dict[str, dict[str, str | None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def letter_patch(letter: str, left: float, bottom: float, width: float, height: float) -> Any:
    """Return the letter of a base in its colour, stretched to fill a box."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    fit = Affine2D().translate(-box.x0, -box.y0).scale(width / box.width, height / box.height).translate(left, bottom)
    return PathPatch(fit.transform_path(path), color=LETTERS[letter], lw=0)
