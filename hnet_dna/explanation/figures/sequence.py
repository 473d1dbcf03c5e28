"""Chunk lengths, and the sequence at boundaries: words and letters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from hnet_dna.explanation.figures.drawing import (
    BLUE,
    GREY,
    ORANGE,
    Figure,
    figure_of,
    letter_patch,
    new_figure,
    style,
)
from hnet_dna.explanation.statistics.tables import Table

_WORDS = 12  # words on each side


def chunks(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw the distribution of chunk lengths."""
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
            axis.set_xlabel("chunk length (bases)")
            axis.set_ylabel("% of chunks")
    yield figure_of(
        table,
        "Chunk lengths",
        "Share of whole chunks that have each length. The longest 0.5 % are not drawn.",
        figure,
    )


def kmers(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw the words with the most and the fewest boundaries, one figure for each stage."""
    for stage in table.values("stage"):
        rows = sorted(table.where(stage=stage), key=lambda row: -row["log_odds"])
        sides = (("most boundaries", rows[:_WORDS]), ("fewest boundaries", rows[-_WORDS:][::-1]))
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
                axis.set_xlabel("log2 (odds of a boundary / odds in all words)")
        yield figure_of(
            table,
            f"Words with the most and the fewest boundaries, stage {stage}",
            "The odds that a boundary (|) lies in the middle of each 6-mer, divided by the odds in all 6-mers (log2): "
            "+1 is twice, -1 is half. Words with fewer than 20 occurrences are not ranked. The table also has the log "
            "odds for shifted boundaries and for the untrained model, and p_of_all, which corrects for picking "
            "the most extreme words.",
            figure,
        )


def logo(table: Table, tables: Mapping[str, Table]) -> Iterator[Figure]:
    """Draw a logo of the letters around boundaries, one figure for each stage."""
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
        yield figure_of(
            table,
            f"Letters around boundaries, stage {stage}",
            "The height of a column is the relative entropy of its letters against those of all bases read; each "
            "letter has its share of the column. A chunk begins at offset 0, right of the dotted line. Orange: height "
            "of the columns at the untrained model's boundaries.",
            figure,
        )
