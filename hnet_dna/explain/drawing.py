"""How figures look, and how they become files: for print, and told apart by people who see colours otherwise."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hnet_dna.errors import UsageError
from hnet_dna.files import write_beside

# Okabe and Ito (2008); they differ in lightness too, so that they hold in grey.
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
    "text.parse_math": False,  # a `$` in a name is no formula
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "hnet-dna",
    "figure.constrained_layout.use": True,
}


def need_matplotlib(instead: str = "") -> None:
    """Refuse to go on without matplotlib, and say how to get it."""
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
    """Return a figure of the usual width that no window and no global list knows; height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), **options)


def check_format(path: Path) -> None:
    """Refuse a file name whose ending is none of `FORMATS`."""
    if path.suffix.lstrip(".").lower() not in FORMATS:
        raise UsageError(f"--out {path}: expected a name that ends in {', '.join('.' + f for f in FORMATS)}")


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format of the file's ending; the same figure gives the same bytes."""
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
    """Return a base's letter, in its colour, stretched to fill a box."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
    box = path.get_extents()
    fit = Affine2D().translate(-box.x0, -box.y0).scale(width / box.width, height / box.height).translate(left, bottom)
    return PathPatch(fit.transform_path(path), color=LETTERS[letter], lw=0)
