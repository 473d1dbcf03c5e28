"""Figures of a report's tables; each says in its title, axes and caption what a stranger needs to read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hnet_dna.explanation.drawing import BLUE, GREEN, GREY, ORANGE, letter_patch, new_figure, style, svg
from hnet_dna.explanation.edits_figure import EDITS, draw_edits
from hnet_dna.explanation.table import Table

_MOST = 40  # rows that a figure shows
_FEW = 10  # sites on a strand of which no profile is drawn
_BAND = "#D9D9D9"
_WORDS = 12
_SIDES = "Grey: 95 % of circular shifts. Orange: the untrained model. Green: this model on shuffled sequence."


@dataclass(frozen=True)
class Figure:
    """A picture of a table.

    Attributes:
        table: name of the table that it shows.
        title: what it shows.
        caption: how to read it.
        svg: the picture.
    """

    table: str
    title: str
    caption: str
    svg: str


def figures(tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw each table that there is a picture for; tables that are absent, or empty, have none."""
    for name, draw in _DRAWN.items():
        if name in tables and tables[name].rows:
            yield from draw(tables[name], tables)


def _figure(table: Table, title: str, caption: str, drawn: Any) -> Figure:
    return Figure(table.name, title, caption, svg(drawn))


# Classes and codon positions: one row each, the model beside its controls.


def _rates(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        overall = _overall(tables, stage)
        rows = []
        for row in table.where(stage=stage):
            label = f"codon {row['codon_position']}, {row['strand']}" if table.name == "codons" else row["class"]
            if row["bases"] and not math.isnan(row["enrichment"]) and row.get("group") != "all":
                band = (row["shifted_low"] / overall["rate"], row["shifted_high"] / overall["rate"])
                ends = (row["enrichment_low"], row["enrichment_high"])
                controls = (row["untrained_enrichment"], row["shuffled_enrichment"])
                rows.append(_Row(f"{label}  ({row['bases']:,})", row["enrichment"], ends, band, controls))
        if not rows:
            continue
        rows.sort(key=lambda r: r.value) if table.name == "classes" else rows.reverse()
        left_out = max(len(rows) - _MOST, 0)
        if left_out:  # from the middle, where least is to be seen
            rows = rows[: _MOST // 2] + rows[-_MOST // 2 :]
        what = "each codon position" if table.name == "codons" else "each class of bases"
        yield _figure(
            table,
            f"Boundaries in {what}, stage {stage}",
            "Boundaries per base over boundaries per base of all bases, on a doubling scale; 1 is as dense as overall. "
            f"Blue: this model with its 95 % interval (blocks of 10 kb resampled). {_SIDES} In brackets: bases. "
            "An effect counts as learned only where blue lies beyond all three."
            + (f" {left_out} classes nearest to 1 are left out." if left_out else ""),
            _forest(rows, "boundaries per base / overall"),
        )


@dataclass(frozen=True)
class _Row:
    label: str
    value: float
    ends: tuple[float, float]
    band: tuple[float, float] | None
    controls: tuple[float, ...]  # untrained, shuffled


def _forest(rows: list[_Row], label: str, *, ratio: bool = True, reference: float = 1.0) -> Any:
    known = [x for r in rows for x in (r.value, *r.ends, *(r.band or ()), *r.controls) if not math.isnan(x)]
    if ratio:
        # A class without a boundary has a ratio of 0, which stands at the edge.
        low = max(min([0.8, *(x for x in known if x > 0)]) / 1.1, 1 / 32)
        high = min(max([*known, 1.25]) * 1.1, 32.0)
    else:
        room = 0.05 * (max(known) - min(known) or 1.0)
        low, high = min(known) - room, max(known) + room
    with style():
        figure = new_figure(0.8 + 0.17 * len(rows))
        axis = figure.subplots()
        for y, row in enumerate(rows):
            if row.band is not None and not any(map(math.isnan, row.band)):
                left, right = np.clip(row.band, low, high)
                axis.barh(y, right - left, left=left, height=0.7, color=_BAND, lw=0)
            if not any(map(math.isnan, row.ends)):
                axis.plot(np.clip(row.ends, low, high), [y, y], color=BLUE, lw=1.4)
            for value, colour, mark in zip(row.controls, (ORANGE, GREEN), "Ds", strict=False):
                if not math.isnan(value):
                    axis.plot(min(max(value, low), high), y, mark, color=colour, ms=3.6, mec="white", mew=0.3)
            axis.plot(min(max(row.value, low), high), y, "o", color=BLUE, ms=4.2, mec="white", mew=0.4)
        axis.axvline(reference, color=GREY, lw=0.6, ls=":")
        if ratio:
            from matplotlib.ticker import NullFormatter

            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            if high / low < 4:  # doublings alone would be too few marks
                ticks = [t for t in (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2) if low <= t <= high]
                axis.set_xticks(ticks)
        axis.set_xlim(low, high)
        axis.set_yticks(range(len(rows)), [row.label for row in rows])
        axis.set_ylim(-0.7, len(rows) - 0.3)
        axis.set_xlabel(label)
        figure.legend(handles=_key(any(r.band for r in rows), len(rows[0].controls)), ncols=4, loc="outside upper left")
    return figure


def _key(band: bool, controls: int) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: list[Any] = [Line2D([], [], color=BLUE, marker="o", ms=4, lw=1.4, label="this model, 95 %")]
    if band:
        found.append(Patch(color=_BAND, label="circular shifts, 95 %"))
    marks = (("untrained", ORANGE, "D"), ("shuffled sequence", GREEN, "s"))
    for name, colour, mark in marks[:controls]:
        found.append(Line2D([], [], color=colour, marker=mark, ms=3.6, lw=0, label=name))
    return found


def _overall(tables: Mapping[str, Table], stage: int) -> dict[str, float]:
    """Return boundaries per base of all bases: of the model, the untrained one, and on shuffled sequence."""
    (row,) = tables["classes"].where(stage=stage, group="all")
    return {name: float(row[name]) for name in ("rate", "untrained", "shuffled")}


# Lines along an offset or a distance, the model beside its controls.


def _profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        overall = _overall(tables, stage)
        sites = _enough(table.where(stage=stage), "of")
        if not sites:
            continue
        with style():
            figure = new_figure(0.7 + 1.15 * len(sites))
            grid = figure.subplots(len(sites), 2, sharex=True, sharey="row", squeeze=False)
            for axes, site in zip(grid, sites, strict=True):
                for axis, strand in zip(axes, "+-", strict=True):
                    rows = table.where(stage=stage, site=site, strand=strand)
                    if _count(axis, rows, "of", f"{site}, {strand} strand") >= _FEW:
                        _with_controls(axis, rows, "offset", overall)
                    axis.set_ylim(0)
            for axis in grid[-1]:
                axis.set_xlabel("offset from the site, in the gene's direction (bases)")
            figure.supylabel("boundaries per base / overall", size=8)
            figure.legend(handles=_lines_key(), ncols=4, loc="outside upper left")
        yield _figure(
            table,
            f"Boundaries around sites, stage {stage}",
            "Boundaries per base at each distance from a site, over those of all bases; each reading is divided by its "
            f"own overall density. Blue: this model. {_SIDES} Offset 0 is the base at which the site begins. n: sites; "
            f"fewer than {_FEW} are not drawn. On the reverse strand a border just before the site shows at offset -1.",
            figure,
        )


def _enough(rows: Sequence[dict[str, Any]], count: str) -> list[str]:
    """Return the sites with enough of them on a strand, in order of appearance."""
    return list(dict.fromkeys(row["site"] for row in rows if row["strand"] in ("+", "-") and row[count] >= _FEW))


def _count(axis: Any, rows: list[dict[str, Any]], column: str, title: str) -> int:
    """Head a profile, and return how many sites it is of."""
    count = max((row[column] for row in rows), default=0)
    axis.set_title(f"{title} (n = {count:,})")
    axis.axvline(0, color=GREY, lw=0.5, ls=":")
    return int(count)


def _with_controls(axis: Any, rows: list[dict[str, Any]], x: str, overall: Mapping[str, float] | None) -> None:
    """Draw `value` along a column beside its controls, each over its own overall value where that is given."""
    over = overall or {"rate": 1.0, "untrained": 1.0, "shuffled": 1.0}
    rows = sorted(rows, key=lambda row: float(row[x]))
    at = [row[x] for row in rows]

    def column(name: str, divisor: str) -> Any:
        return np.array([row[name] for row in rows], dtype=float) / (over[divisor] or math.nan)

    axis.fill_between(at, column("shifted_low", "rate"), column("shifted_high", "rate"), color=_BAND, lw=0)
    for name, colour, line in (("untrained", ORANGE, "--"), ("shuffled", GREEN, "-.")):
        if rows and name in rows[0]:
            axis.plot(at, column(name, name), color=colour, lw=0.9, ls=line)
    axis.plot(at, column("value", "rate"), color=BLUE, lw=1.2, marker="o" if len(at) < 8 else "", ms=3)


def _lines_key() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=BLUE, lw=1.2, label="this model"),
        Patch(color=_BAND, label="circular shifts, 95 %"),
        Line2D([], [], color=ORANGE, lw=0.9, ls="--", label="untrained"),
        Line2D([], [], color=GREEN, lw=0.9, ls="-.", label="shuffled sequence"),
    ]


def _edges(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        features = [f for f in table.values("feature") if any(r["of"] for r in table.where(stage=stage, feature=f))]
        if not features:
            continue
        with style():
            figure = new_figure(3.0)
            grid = figure.subplots(2, len(features), sharex=True, sharey="row", squeeze=False)
            for axes, measure in zip(grid, ("precision", "recall"), strict=True):
                for axis, feature in zip(axes, features, strict=True):
                    rows = table.where(stage=stage, feature=feature, measure=measure)
                    numbered = [{**row, "place": place} for place, row in enumerate(rows)]
                    _with_controls(axis, numbered, "place", None)
                    axis.set_xticks(range(len(rows)), [f"{row['distance']}" for row in rows])
                    axis.set_ylim(0)
                axes[0].set_ylabel(measure)
            for axis, feature in zip(grid[0], features, strict=True):
                axis.set_title(feature)
            figure.supxlabel("at most so many bases apart", size=8)
            figure.legend(handles=_lines_key(), ncols=4, loc="outside upper left")
        yield _figure(
            table,
            f"Boundaries at edges of features, stage {stage}",
            "Precision: share of boundaries with an edge so near. Recall: share of edges with a boundary so near. "
            f"Blue: this model. {_SIDES} Untrained and shuffled readings have other numbers of boundaries, and more "
            "boundaries alone give more recall: compare with the grey band first.",
            figure,
        )


def _strands(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    stages = table.values("stage")
    with style():
        figure = new_figure(2.0)
        for axis, stage in zip(figure.subplots(1, len(stages), sharey=True, squeeze=False)[0], stages, strict=True):
            rows = [{**row, "place": place} for place, row in enumerate(table.where(stage=stage))]
            _with_controls(axis, rows, "place", None)
            axis.set_xticks(range(len(rows)), [f"{row['distance']}" for row in rows])
            axis.set_title(f"stage {stage}")
            axis.set_xlabel("at most so many bases apart")
            axis.set_ylim(0, 1.02)
            axis.set_ylabel("share of boundaries")
        figure.legend(handles=_lines_key()[:2], ncols=2, loc="outside upper left")
    yield _figure(
        table,
        "Boundaries that both strands agree on",
        "Share of boundaries of the forward reading with a boundary of the reverse strand's reading so near. "
        "Blue: this model. Grey: 95 % of circular shifts.",
        figure,
    )


# Chunks, words, letters.


def _chunks(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    stages = table.values("stage")
    with style():
        figure = new_figure(1.9)
        for axis, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
            rows = sorted(table.where(stage=stage), key=lambda row: int(row["length"]))
            length = np.array([row["length"] for row in rows])
            share = np.array([row["share"] for row in rows])
            shown = np.cumsum(share) - share < 0.995
            axis.bar(length[shown], 100 * share[shown], width=0.9, color=BLUE, lw=0)
            axis.set_title(f"stage {stage}")
            axis.set_xlabel("length of a chunk (bases)")
            axis.set_ylabel("% of chunks")
    yield _figure(
        table,
        "How long chunks are",
        "Share of chunks of each length, whole chunks alone. The longest 0.5 % are not drawn.",
        figure,
    )


def _kmers(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        rows = sorted(table.where(stage=stage), key=lambda row: -row["log_odds"])
        sides = (("most often cut", rows[:_WORDS]), ("least often cut", rows[-_WORDS:][::-1]))
        with style():
            figure = new_figure(2.5)
            for axis, (title, shown) in zip(figure.subplots(1, 2), sides, strict=True):
                words = [f"{row['kmer'][:3]}|{row['kmer'][3:]}" for row in shown]
                colours = [BLUE if row["log_odds"] > 0 else ORANGE for row in shown]
                axis.barh(range(len(shown)), [row["log_odds"] for row in shown], color=colours, height=0.75)
                axis.set_yticks(range(len(shown)), words, family="monospace")
                axis.invert_yaxis()
                axis.axvline(0, color=GREY, lw=0.6)
                axis.set_title(title)
                axis.set_xlabel("log2 odds of a boundary / in all words")
        yield _figure(
            table,
            f"Words with most and fewest boundaries, stage {stage}",
            "The odds that a boundary (|) lies in the middle of each 6-mer over the odds in all 6-mers; +1 is twice, "
            "-1 half. Words with fewer than 20 occurrences are not ranked. The table has each word's odds by shifts "
            "and by the untrained model too, and p_of_all, which allows for having picked the farthest of all words.",
            figure,
        )


def _logo(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        rows = [row for row in table.where(stage=stage) if not math.isnan(row["bits"])]
        if not rows:
            continue
        with style():
            figure = new_figure(1.9)
            axis = figure.subplots()
            for row in rows:
                height = 0.0
                for letter in sorted("ACGT", key=lambda one: float(row[one])):
                    axis.add_patch(letter_patch(letter, row["offset"] - 0.46, height, 0.92, row[letter] * row["bits"]))
                    height += row[letter] * row["bits"]
            edges = [row["offset"] - 0.5 for row in rows] + [rows[-1]["offset"] + 0.5]
            axis.stairs([row["untrained"] for row in rows], edges, baseline=None, color=ORANGE, lw=1)
            axis.axvline(-0.5, color=GREY, lw=0.6, ls=":")
            axis.set_xlim(min(r["offset"] for r in rows) - 0.6, max(r["offset"] for r in rows) + 0.6)
            axis.set_ylim(0, 1.08 * max(max(r["bits"], r["untrained"]) for r in rows) or 1)
            axis.set_xlabel("offset from the first base of a chunk (bases)")
            axis.set_ylabel("bits")
            axis.set_xticks([row["offset"] for row in rows][::2])
        yield _figure(
            table,
            f"Letters around boundaries, stage {stage}",
            "Height of a column: relative entropy of the letters there against those of all bases read; within a "
            "column, each letter by its share. A chunk begins at offset 0, right of the dotted line. Orange: height of "
            "the columns at the untrained model's boundaries.",
            figure,
        )


# Bits per base.


def _bits(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    rows = [
        _Row(
            f"{_class(row)}  ({row['bases']:,})",
            row["difference"],
            (row["difference_low"], row["difference_high"]),
            None,
            (row["untrained_difference"],),
        )
        for row in table.rows
        if row["group"] != "all" and not math.isnan(row["difference"])
    ]
    if not rows:
        return
    rows.sort(key=lambda row: -row.value)
    left_out = max(len(rows) - _MOST, 0)
    if left_out:
        rows = rows[: _MOST // 2] + rows[-_MOST // 2 :]
    yield _figure(
        table,
        "How well each class of bases is predicted",
        "Bits per base of a class less bits per base of all bases: below 0, its bases are easier to predict than most. "
        "Blue: this model with its 95 % interval. Orange: the untrained model. In brackets: bases."
        + (f" {left_out} classes nearest to 0 are left out." if left_out else ""),
        _forest(rows, "bits per base - overall", ratio=False, reference=0.0),
    )


def _class(row: Mapping[str, Any]) -> str:
    """Return the name of a class of bases; of codon positions as in the figure of codons."""
    name = str(row["class"])
    return f"codon {name[1:]}, {name[0]}" if row["group"] == "codon position" else name


def _bits_profiles(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    sites = _enough(table.rows, "bases")
    if not sites:
        return
    with style():
        figure = new_figure(0.7 + 1.15 * len(sites))
        grid = figure.subplots(len(sites), 2, sharex=True, sharey="row", squeeze=False)
        for axes, site in zip(grid, sites, strict=True):
            for axis, strand in zip(axes, "+-", strict=True):
                rows = table.where(site=site, strand=strand)
                axis.axhline(0, color=GREY, lw=0.5, ls=":")
                if _count(axis, rows, "bases", f"{site}, {strand} strand") < _FEW:
                    continue
                at = [row["offset"] for row in rows]
                axis.plot(at, [row["untrained_difference"] for row in rows], color=ORANGE, lw=0.9, ls="--")
                axis.plot(at, [row["difference"] for row in rows], color=BLUE, lw=1.2)
        for axis in grid[-1]:
            axis.set_xlabel("offset from the site, in the gene's direction (bases)")
        figure.supylabel("bits per base - overall", size=8)
        key = _lines_key()
        figure.legend(handles=[key[0], key[2]], ncols=2, loc="outside upper left")
    yield _figure(
        table,
        "How well bases around sites are predicted",
        "Bits per base at each distance from a site less bits per base of all bases. Blue: this model. Orange: the "
        "untrained model. The model reads the forward strand, so that on the reverse strand it meets a gene's end "
        f"first. n: sites; fewer than {_FEW} are not drawn.",
        figure,
    )


def _robustness(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    for stage in table.values("stage"):
        yield _figure(table, f"What edits do to boundaries and bits, stage {stage}", EDITS, draw_edits(table, stage))


_DRAWN: dict[str, Callable[[Table, Mapping[str, Table]], Iterator[Figure]]] = {
    "classes": _rates,
    "codons": _rates,
    "profiles": _profiles,
    "edges": _edges,
    "bits": _bits,
    "bits_profiles": _bits_profiles,
    "robustness": _robustness,
    "chunks": _chunks,
    "strands": _strands,
    "kmers": _kmers,
    "logo": _logo,
}
