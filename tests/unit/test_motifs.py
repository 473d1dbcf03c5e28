"""Repeats, and letters around boundaries, read off sequences in which they are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import random_dna, write_fasta

from hnet_dna.explanation.statistics.axis import Axis, Positions
from hnet_dna.explanation.statistics.motifs import Words, homopolymers, logo, microsatellites, tandem_repeats
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval


def test_tandem_repeats(tmp_path: Path) -> None:
    unit, longest, beyond = random_dna(20, 4), random_dna(50, 5), random_dna(51, 6)
    planted = {
        "four copies of 4": "ACGG" * 4,
        "two copies and a half of 20": unit * 2 + unit[:10],
        "two copies of 50": longest * 2,
        # None: a unit too long, one copy and most of another, 11 bases beyond the first copy, and what is simpler.
        "two copies of 51": beyond * 2,
        "less than two": "ACGTTGCATCGAATCC" + "ACGTTGCATCGAA",
        "11 bases more": "CATG" + "CATGCATGCAT",
        "a microsatellite": "AC" * 12,
    }
    text = "N" + "N".join(planted.values())  # N, so that none goes on by chance
    axis = Axis([Interval("c", 0, len(text))])
    codes = axis.codes(open_genome(write_fasta(tmp_path / "g.fa", {"c": text})))
    start = int(axis.offset[0]) - 1
    actual = [text[s - start : e - start] for s, e in tandem_repeats(axis, codes).tolist()]
    assert actual == list(planted.values())[:3]


def test_repeats_words_and_logo(tmp_path: Path) -> None:
    text = "CGAAAAAAGTCTCTCTCTCTCTAAGACGACGACGACGACTTTTTTTTTTTTTTGCA"
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))
    axis = Axis([Interval("c", 0, len(text))])
    codes = axis.codes(genome)
    start = int(axis.offset[0]) - 1

    def of(intervals: Positions) -> list[str]:
        return [text[s - start : e - start] for s, e in intervals.tolist()]

    assert of(homopolymers(axis, codes)) == ["AAAAAA", "T" * 14]
    assert of(microsatellites(axis, codes)) == ["TCTCTCTCTCTCT", "GACGACGACGACGAC"]
    assert of(tandem_repeats(axis, codes)) == []
    whole = Axis([Interval("c", 0, 3001)])
    text = random_dna(3001, 3)
    codes = whole.codes(open_genome(write_fasta(tmp_path / "h.fa", {"c": text})))
    at = [i for i in range(3, 2990) if text[i - 1 : i + 1] == "GC"]
    positions = whole.place("c", np.array(at))
    actual = logo(whole, codes, positions)
    assert dict(zip(actual.offset.tolist(), actual.count.tolist(), strict=True))[0] == [0, len(at), 0, 0]
    assert actual.bits[actual.offset == 0][0] == pytest.approx(-np.log2(actual.background[1]))
    assert dict(zip(actual.offset.tolist(), actual.count.tolist(), strict=True))[-1] == [0, 0, len(at), 0]
    assert Words(whole, codes).listed(positions) == []  # none of 4,096 words occurs 20 times
    repeated = "ACGTTGCATT" * 300
    codes = whole.codes(open_genome(write_fasta(tmp_path / "i.fa", {"c": "A" + repeated})))
    words, before_tgc = Words(whole, codes), whole.place("c", np.arange(5, 3000, 10))  # in ACGTTGC
    ranked = words.listed(before_tgc)
    first = ranked[0]
    assert (first.rank, first.text, first.boundaries, first.count) == (1, "CGTTGC", 300, 300)
    assert [word.boundaries for word in ranked[1:]] == [0] * 9
    assert sorted(word.rank for word in ranked) == [-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]
    assert words.log_odds(before_tgc)[first.row] == first.log_odds
