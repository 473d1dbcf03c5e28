"""Draws the figures of docs/hnet.md as SVG: `python pipelines/draw_figures.py docs/figures`.

They explain; nothing in them is measured. The third follows the rule that tests check on real output.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from xml.sax.saxutils import escape

from hnet_dna.files import write_beside

INK, GREY, PALE, BLUE, ORANGE = "#222222", "#666666", "#eeeeee", "#0072B2", "#E69F00"
LETTERS = {"A": "#009E73", "C": "#0072B2", "G": "#D55E00", "T": "#CC79A7"}
CHUNKS = ("#cfe3f2", "#fde7c2", "#d5efe5", "#f3dcea", "#e4e4e4", "#f7d9c8")
SEQUENCE = "ATGGCATTACGTAAGC"
PROBS = (1.0, 0.1, 0.2, 0.8, 0.3, 0.1, 0.7, 0.2, 0.1, 0.4, 0.9, 0.2, 0.6, 0.3, 0.1, 0.2)  # for the eye


class Svg:
    """A drawing on white, so that it reads on pages of any colour."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="Helvetica, Arial, sans-serif" role="img">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, fill: str = PALE, edge: str = "none") -> None:
        """Draw a box with its upper left corner at x, y."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" fill="{fill}" stroke="{edge}"/>'
        )

    def text(
        self, x: float, y: float, text: str, size: int = 13, fill: str = INK, anchor: str = "middle", bold: bool = False
    ) -> None:
        """Write text whose baseline is at y."""
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(text)}</text>"
        )

    def line(self, *points: tuple[float, float], arrow: bool = False, dash: bool = False, stroke: str = GREY) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        more = (' marker-end="url(#tip)"' if arrow else "") + (' stroke-dasharray="4 3"' if dash else "")
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.3"{more}/>')

    def write(self, path: Path) -> None:
        """Write the file."""
        with write_beside(path) as temporary:
            temporary.write_text("\n".join([*self._parts, "</svg>"]) + "\n")


def chunk_numbers(boundary: list[bool]) -> list[int]:
    """Return the number of the chunk that each base lies in."""
    numbers, chunk = [], -1
    for begins in boundary:
        chunk += begins
        numbers.append(chunk)
    return numbers


def stages() -> Svg:
    """Draw one pass through a model with one level of chunks, from bases to the prediction of the next."""
    cell, left, n = 30, 190, len(SEQUENCE)
    svg = Svg(left + cell * n + 60, 560, "An H-Net over 16 bases")
    boundary = [p > 0.5 for p in PROBS]
    chunk = chunk_numbers(boundary)
    starts = [i for i in range(n) if boundary[i]]

    def label(y: float, name: str, note: str) -> None:
        svg.text(left - 22, y, name, anchor="end", bold=True)
        svg.text(left - 22, y + 15, note, size=11, fill=GREY, anchor="end")

    def x(i: float) -> float:
        return left + cell * i

    label(34, "bases", "one position each")
    for i, letter in enumerate(SEQUENCE):
        svg.text(x(i) + cell / 2, 40, letter, size=17, fill=LETTERS[letter], bold=True)
    label(80, "encoder", "Mamba-2, narrow")
    for i in range(n):
        svg.box(x(i) + 9, 66, 12, 34, "#d0d0d0")
    label(150, "router", "p: does a chunk begin?")
    svg.line((x(0), 153), (x(n), 153), dash=True)
    svg.text(x(n) + 6, 157, "0.5", size=11, fill=GREY, anchor="start")
    for i, p in enumerate(PROBS):
        svg.box(x(i) + 8, 180 - 54 * p, 14, 54 * p, ORANGE if boundary[i] else "#c8c8c8")
    label(222, "chunk", "vectors at boundaries")
    for i in starts:
        svg.line((x(i) + 15, 183), (x(i) + 15, 203), arrow=True)
        svg.box(x(i) + 6, 206, 18, 44, CHUNKS[chunk[i]], GREY)
    label(294, "main network", "wide, one step per chunk")
    svg.box(x(0), 272, cell * n, 44, "#dde6ef", BLUE)
    svg.text(x(n / 2), 299, f"{len(starts)} positions instead of {n}", size=14, fill=BLUE)
    for i in starts:
        svg.line((x(i) + 15, 251), (x(i) + 15, 270), arrow=True)
        svg.line((x(i) + 15, 317), (x(i) + 15, 336), arrow=True)
    label(358, "dechunk", "smoothed, to every base")
    for i in range(n):
        svg.box(x(i) + 1, 340, cell - 2, 30, CHUNKS[chunk[i]], "#bbbbbb")
    label(424, "decoder", "Mamba-2, narrow")
    for i in range(n):
        svg.line((x(i) + 15, 371), (x(i) + 15, 406), arrow=True)
        svg.box(x(i) + 9, 410, 12, 34, "#d0d0d0")
    side = x(n) + 40
    svg.line((x(n) - 4, 83), (side, 83), (side, 392), (x(n) - 8, 392), arrow=True)
    svg.text(side - 4, 258, "residual", size=11, fill=GREY, anchor="end")
    label(484, "prediction", "log2 p of the next base")
    for i in range(n):
        svg.line((x(i) + 15, 446), (x(i) + 15, 466), arrow=True)
        after = SEQUENCE[i + 1] if i + 1 < n else "?"
        svg.text(x(i) + 15, 487, after, size=17, fill=LETTERS.get(after, GREY), bold=True)
    for number, i in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else n
        svg.box(x(i) + 1, 520, cell * (end - i) - 2, 14, CHUNKS[number], "#999999")
    label(530, "BED", "chunks tile the sequence")
    return svg


def routing() -> Svg:
    """Draw how an angle between neighbouring vectors becomes a probability."""
    svg = Svg(690, 210, "Boundary probability from the angle between two vectors")
    for column, angle in enumerate((20, 60, 90, 150)):
        middle, base = 90 + 170 * column, 120
        svg.line((middle, base), (middle + 62, base), arrow=True, stroke=BLUE)
        turn = math.radians(angle)
        svg.line((middle, base), (middle + 62 * math.cos(turn), base - 62 * math.sin(turn)), arrow=True, stroke=ORANGE)
        p = (1 - math.cos(turn)) / 2
        svg.text(middle, 150, f"{angle}°", fill=GREY)
        svg.text(middle, 170, f"p = {p:.2f}", bold=True)
        # p of exactly 1/2 does not begin a chunk: p > 1 - p is asked, up to rounding.
        svg.text(middle, 189, "a chunk begins" if p > 0.5 + 1e-9 else "the chunk goes on", size=12, fill=GREY)
    svg.text(
        12,
        22,
        "blue: query of the base before; orange: key of this base; p = (1 - cos) / 2",
        size=12,
        fill=GREY,
        anchor="start",
    )
    return svg


def strands() -> Svg:
    """Draw chunks of both strands over one contig, in the contig's coordinates."""
    text, cell, left = "GATTACACATGC", 44, 120
    length = len(text)
    turned = text[::-1].translate(str.maketrans("ACGT", "TGCA"))
    svg = Svg(left + cell * length + 24, 300, "Chunks of both strands in the coordinates of the contig")
    forward, reverse = [0, 3, 5, 9], [0, 4, 7]  # where chunks begin, as each strand is read

    def x(i: float) -> float:
        return left + cell * i

    svg.text(left - 12, 34, "coordinate", size=12, fill=GREY, anchor="end")
    for i in range(length + 1):
        svg.text(x(i), 34, str(i), size=11, fill=GREY)
    svg.text(left - 12, 66, "+  read", anchor="end", bold=True)
    svg.text(left - 12, 98, "its chunks", size=12, fill=GREY, anchor="end")
    for i, letter in enumerate(text):
        svg.text(x(i) + cell / 2, 67, letter, size=17, fill=LETTERS[letter], bold=True)
    for number, (start, end) in enumerate(zip(forward, [*forward[1:], length], strict=True)):
        svg.box(x(start) + 1, 82, cell * (end - start) - 2, 24, CHUNKS[number], GREY)
        svg.text(x((start + end) / 2), 99, f"[{start}, {end})", size=12)
    svg.line((x(0), 124), (x(length), 124), arrow=True)
    svg.line((x(length), 176), (x(0), 176), arrow=True)
    svg.text(left - 12, 211, "-  read", anchor="end", bold=True)
    svg.text(left - 12, 243, "its chunks", size=12, fill=GREY, anchor="end")
    for j, letter in enumerate(turned):
        svg.text(x(length - 1 - j) + cell / 2, 212, letter, size=17, fill=LETTERS[letter], bold=True)
        svg.text(x(length - 1 - j) + cell / 2, 192, str(j), size=10, fill=GREY)
    for number, (start, end) in enumerate(zip(reverse, [*reverse[1:], length], strict=True)):
        here, there = length - end, length - start
        svg.box(x(here) + 1, 227, cell * (end - start) - 2, 24, CHUNKS[number], GREY)
        svg.text(x((here + there) / 2), 244, f"[{here}, {there})", size=12)
    svg.text(
        x(length / 2), 154, "chunk [s, e) as read from the other end lies at [L - e, L - s) here", size=12, fill=GREY
    )
    svg.text(
        x(length / 2),
        280,
        f"L = {length}; the first chunk of the other strand, [0, 4) there, is [8, 12) here",
        size=12,
        fill=GREY,
    )
    return svg


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (stages, routing, strands):
        draw().write(folder / f"{draw.__name__}.svg")


if __name__ == "__main__":
    main()
