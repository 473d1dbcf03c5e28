"""Boundary statistics against truth that is planted by hand."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import random_dna, write_fasta
from planted import CODINGS, SITES

from hnet_dna.annotation.genes import Coding, Site
from hnet_dna.explanation.statistics.analysis import chunk_lengths
from hnet_dna.explanation.statistics.axis import Axis, Positions, inside
from hnet_dna.explanation.statistics.bits import class_rows, overall, profile_rows
from hnet_dna.explanation.statistics.controls import Rotation, shifted, shuffle_dinucleotides
from hnet_dna.explanation.statistics.measures import (
    FLANK,
    Agreement,
    ClassRates,
    CodonRates,
    Measure,
    Precision,
    Profiles,
    Recall,
    codon_intervals,
    intervals_of,
    place_cuts,
    value,
)
from hnet_dna.explanation.statistics.motifs import Words
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import from_text, to_text
from hnet_dna.sequence.interval import Interval

FORWARD = [*range(100, 140), *range(200, 250)]  # in the order of translation


REVERSE = [*range(539, 499, -1), *range(469, 419, -1)]


def one_contig(length: int = 900) -> Axis:
    return Axis([Interval("c", 0, length)])


def put(axis: Axis, *positions: int) -> Positions:
    actual = axis.place("c", np.array(sorted(positions)))
    assert (actual >= 0).all()
    return actual


def test_axis_keeps_stretches_apart() -> None:
    axis = Axis([Interval("b", 5, 8), Interval("a", 0, 1), Interval("a", 10, 20), Interval("a", 25_000, 25_010)])
    assert axis.bases == 2 + 9 + 9
    assert axis.usable.sum() == axis.bases
    places = axis.place("a", np.array([9, 10, 11, 19, 20, 25_000, 25_001]))
    assert (places < 0).tolist() == [True, True, False, False, True, True, False]
    assert places[3] - places[2] == 8
    assert places[6] - places[3] > 2 * FLANK
    clipped = axis.clip([Interval("a", 0, 12), Interval("a", 19, 26_000), Interval("z", 0, 5)])
    assert (clipped[:, 1] - clipped[:, 0]).tolist() == [1, 1, 9]
    assert axis.n_blocks == 3
    assert axis.block[places[2]] != axis.block[places[6]]
    assert inside(places[places >= 0], clipped).tolist() == places[[2, 3, 6]].tolist()


def test_rates_by_class_are_exact() -> None:
    axis = one_contig()
    classes = {("annotation", "x"): axis.clip([Interval("c", 0, 101), Interval("c", 200, 300)])}
    measure = ClassRates(axis, classes)
    positions = put(axis, 1, 100, 101, 199, 200, 299, 300)
    assert measure.rows == [("all", "all"), ("annotation", "x")]
    assert measure.hits(positions).tolist() == [7, 4]
    assert measure.trials(positions).tolist() == [899, 200]  # the first base of the stretch does not count
    hits, trials = measure.by_block(positions)
    assert hits.sum(axis=0).tolist() == [7, 4]
    assert trials.sum(axis=0).tolist() == [899, 200]


def test_bootstrap_interval_is_that_of_the_blocks() -> None:
    axis = Axis([Interval("c", 0, 200_001)])
    random = np.random.default_rng(1)
    positions = axis.offset[0] + np.flatnonzero(random.random(axis.bases) < 0.2)
    measure = ClassRates(axis, {("annotation", "half"): axis.clip([Interval("c", 1, 100_001)])})
    (low, high), (few, many) = intervals_of(*measure.by_block(positions))
    rate = value(measure, positions)
    assert (low < rate).all()
    assert (rate < high).all()
    # 20 blocks of 10,000 bases: a standard error of sqrt(.2 x .8 / 200,000)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * (0.16 / 200_000) ** 0.5, rel=0.4)
    assert few[0] == many[0] == 1.0
    assert few[1] < 1.0 < many[1]


def test_codon_phase_on_both_strands_and_over_exons() -> None:
    axis = one_contig()
    measure = CodonRates(axis, CODINGS)
    for strand, bases in (("+", FORWARD), ("-", REVERSE)):
        for codon in (1, 2, 3):
            positions = put(axis, *bases[codon - 1 :: 3], 300, 301, 302)
            rates = dict(zip(measure.rows, value(measure, positions).tolist(), strict=True))
            assert {row: rate for row, rate in rates.items() if rate} == {(strand, codon): 1.0}
    assert measure.trials(positions).tolist() == [30] * 6
    hits, trials = measure.by_block(positions)
    assert hits.sum(axis=0).tolist() == measure.hits(positions).tolist()
    assert trials.sum(axis=0).tolist() == [30] * 6


def test_bases_claimed_twice_have_no_codon_position() -> None:
    axis = one_contig()
    same, other = Coding((Interval("c", 103, 115),), "+"), Coding((Interval("c", 131, 140),), "-")
    assert CodonRates(axis, [CODINGS[0], same]).trials(put(axis)).tolist() == [30] * 3 + [0] * 3
    assert CodonRates(axis, [CODINGS[0], other]).trials(put(axis)).tolist() == [27] * 3 + [0] * 3


def test_profiles_follow_the_strand() -> None:
    axis = one_contig()
    measure = Profiles(axis, SITES)
    # 7 bases into the gene from each start codon, 3 bases before each donor.
    positions = put(axis, 107, 539 - 7, 137, 499 + 3)
    actual = dict(zip(measure.rows, measure.hits(positions).tolist(), strict=True))
    for strand, hits in (("+", 1), ("-", 1), ("both", 2)):
        assert actual["start codon", strand, 7] == hits
        assert actual["start codon", strand, -7] == 0
        assert actual["donor", strand, -3] == hits
    assert sum(v for row, v in actual.items() if row[0] == "start codon") == 2 * 4  # 107, 137; 532, 502
    assert set(measure.trials(positions).tolist()) == {1, 2}
    edge = Profiles(axis, {"TSS": [Site("c", 10, "+")]})
    assert edge.trials(positions)[: 2 * FLANK + 1].tolist() == [0] * 41 + [1] * 60  # bases 1 to 60 of 0 to 60


def test_edges_precision_and_recall_are_exact() -> None:
    axis = one_contig()
    edges = {"gene": place_cuts(axis, [("c", 100), ("c", 250), ("c", 540), ("c", 250), ("c", 900), ("c", 0)])}
    positions = put(axis, 100, 102, 253, 600)
    precision, recall = Precision(axis, edges, (0, 1, 3, 10)), Recall(edges, (0, 1, 3, 10))
    assert precision.hits(positions).tolist() == [1, 1, 3, 3]
    assert precision.trials(positions).tolist() == [4] * 4
    assert recall.hits(positions).tolist() == [1, 1, 2, 2]
    assert recall.trials(positions).tolist() == [3] * 4  # the ends of the contig are off the axis
    assert (Site("c", 100, "+").cut, Site("c", 539, "-").cut) == (100, 540)
    agreement = Agreement(axis, put(axis, 101, 600), (0, 1, 3))
    assert value(agreement, positions).tolist() == [0.25, 0.75, 0.75]


def test_random_boundaries_are_what_shifts_expect() -> None:
    axis = Axis([Interval("c", 0, 60_001), Interval("c", 70_000, 100_001)])
    random = np.random.default_rng(5)
    positions = np.flatnonzero(axis.usable & (random.random(axis.size) < 0.15))
    codings = [Coding((Interval("c", s, s + 600),), "+-"[i % 2]) for i, s in enumerate(range(1000, 99_000, 1500))]
    cds = [part for coding in codings for part in coding.parts]
    starts = [Site("c", i.start, "+") for i in cds]
    measures: list[Measure] = [
        ClassRates(axis, {("annotation", "CDS"): axis.clip(cds)}),
        CodonRates(axis, codings),
        Recall({"start": place_cuts(axis, ((s.contig, s.cut) for s in starts))}, (0, 3)),
    ]
    statistics = [partial(value, measure) for measure in measures]
    by_chance = shifted(axis, positions, statistics, 200, 0)
    for measure, actual in zip(measures, by_chance, strict=True):
        observed = value(measure, positions)
        assert (actual.low <= observed).all()
        assert (observed <= actual.high).all()
        assert (actual.p > 0.02).all()
    for measure, actual in zip(measures[:2], by_chance, strict=False):
        error = np.sqrt(0.85 / (0.15 * measure.trials(positions)))  # of a rate of 0.15, relative
        assert (np.abs(value(measure, positions) / actual.mean - 1) < 4 * error).all()
    np.testing.assert_allclose(by_chance[2].mean, [0.15, 1 - 0.85**7], atol=0.02)
    # and planted ones are not
    planted = np.sort(np.concatenate([p[p >= 0] for p in (axis.place("c", np.arange(i.start, i.end, 3)) for i in cds)]))
    rates, codons, _ = shifted(axis, planted, statistics, 200, 0)
    assert rates.p[1] == codons.p[0] == 1 / 201
    assert value(measures[0], planted)[1] / rates.mean[1] > 2


def test_shifts_keep_distances_and_stretches() -> None:
    axis = Axis([Interval("c", 0, 101), Interval("d", 0, 31)])
    positions = np.concatenate([axis.place("c", np.array([1, 5, 100])), axis.place("d", np.array([30]))])
    moved = Rotation(axis, positions).by(np.array([1, 30]))
    assert moved.tolist() == sorted([*axis.place("c", np.array([2, 6, 1])), *axis.place("d", np.array([30]))])


@pytest.mark.parametrize("text", [random_dna(2000), "A" * 500 + "C" + "A" * 20, "ACAC", "GATNNTTAGARACCAGAT", "AC", ""])
def test_shuffle_keeps_dinucleotides_exactly(text: str) -> None:
    random = np.random.default_rng(0)
    codes = from_text(text.lower())
    actual = {to_text(shuffle_dinucleotides(codes, random)) for _ in range(20)}
    for shuffled in actual:
        assert Counter(pairwise(shuffled)) == Counter(pairwise(text))
        assert shuffled[:1] == text[:1]
    assert len(actual) == 20 or len(text) < 1000


def test_shuffle_is_uniform() -> None:
    text = "AACAGATCA"
    random = np.random.default_rng(0)
    counts = Counter(to_text(shuffle_dinucleotides(from_text(text), random)) for _ in range(6000))
    pairs = Counter(pairwise(text))

    def paths(end: str, left: Counter[tuple[str, str]]) -> set[str]:
        if not +left:
            return {end}
        return {
            end + rest for (a, b), n in left.items() if a == end and n for rest in paths(b, left - Counter([(a, b)]))
        }

    wanted = paths("A", pairs)
    assert set(counts) == wanted
    expected = 6000 / len(wanted)
    chi = sum((counts[path] - expected) ** 2 / expected for path in wanted)
    assert chi < len(wanted) - 1 + 4 * (2 * (len(wanted) - 1)) ** 0.5


def test_words_by_chance(tmp_path: Path) -> None:
    text = random_dna(200_001, 4)
    axis = Axis([Interval("c", 0, len(text))])
    words = Words(axis, axis.codes(open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))))
    random = np.random.default_rng(0)
    at_random = np.flatnonzero(axis.usable & (random.random(axis.size) < 0.2))
    (actual,) = shifted(axis, at_random, [words.log_odds], 100, 0)
    np.testing.assert_allclose(actual.mean, 0.0, atol=0.5)
    # Picked for its value, the first word looks far off by itself, but not among the picked ones of shifts.
    best = words.listed(at_random)[0]
    assert actual.p[best.row] < 0.05 < actual.p_of_all[best.row]
    at_word = axis.place("c", np.array([i for i in range(3, 199_990) if text[i - 3 : i + 3] == best.text]))
    planted = np.union1d(at_random, at_word)
    (actual,) = shifted(axis, planted, [words.log_odds], 100, 0)
    assert words.listed(planted)[0].text == best.text
    assert actual.p[best.row] == actual.p_of_all[best.row] == 1 / 101


def test_chunk_lengths_stay_inside_stretches() -> None:
    axis = Axis([Interval("c", 0, 100), Interval("d", 0, 100)])
    positions = np.concatenate([axis.place("c", np.array([10, 13, 20])), axis.place("d", np.array([1, 50]))])
    assert chunk_lengths(axis, positions).tolist() == [3, 7, 49]


def test_bits_of_classes_are_exact() -> None:
    axis = Axis([Interval("c", 0, 20_001), Interval("d", 0, 101)])
    half = axis.clip([Interval("c", 1, 10_001)])
    bits = np.full(axis.size, np.nan)
    bits[axis.usable] = 2.0
    bits[half[0, 0] : half[0, 1] : 2] = 1.0
    bits[half[0, 0] + 1] = np.nan  # a base other than A, C, G, T
    untrained = np.where(np.isnan(bits), np.nan, 3.0)
    whole, low, empty = class_rows(axis, bits, untrained, {("x", "half"): half, ("x", "none"): half[:0]})
    bases = 20_100 - 1
    assert whole[:4] == ("all", "all", bases, pytest.approx(2 - 5000 / bases))
    assert whole[4] < whole[3] < whole[5]
    assert whole[6:] == (0.0, 0.0, 0.0, 3.0, 0.0)
    assert low[:4] == ("x", "half", 9999, pytest.approx(2 - 5000 / 9999))
    assert low[6] == pytest.approx(low[3] - whole[3])
    assert low[7] <= low[6] <= low[8]
    assert low[9:] == (3.0, 0.0)
    assert empty[2] == 0
    assert np.isnan(empty[3:]).all()
    assert overall(axis, bits) == pytest.approx(whole[3])


def test_bits_by_codon_position_and_around_sites() -> None:
    axis = one_contig()
    bits = np.where(axis.usable, 2.0, np.nan)
    for bases in (FORWARD, REVERSE):
        bits[put(axis, *bases[2::3])] = 3.0
        bits[put(axis, bases[0])] = 1.0
    rows = class_rows(axis, bits, bits, codon_intervals(axis, CODINGS))
    first = (29 * 2 + 1) / 30
    assert {row[1]: row[3] for row in rows[1:]} == {
        f"{strand}{n}": pytest.approx(wanted) for strand in "+-" for n, wanted in ((1, first), (2, 2.0), (3, 3.0))
    }
    profiles = Profiles(axis, {"start codon": [*SITES["start codon"], Site("c", 3, "+")]})
    actual = {row[:3]: row[3:] for row in profile_rows(axis, bits, np.full(axis.size, 5.0), profiles)}
    for strand, offset, count, rate in (("-", 0, 1, 1.0), ("-", 2, 1, 3.0), ("+", 2, 2, 2.5), ("both", 0, 3, 4 / 3)):
        assert actual["start codon", strand, offset][:2] == (count, pytest.approx(rate))
    # 1, 1, 2 have a standard error of 1 / 3
    assert actual["start codon", "both", 0][2:4] == pytest.approx((4 / 3 - 1.96 / 3, 4 / 3 + 1.96 / 3))
    assert actual["start codon", "both", 0][4] == pytest.approx(4 / 3 - overall(axis, bits))
    assert actual["start codon", "both", 0][5:] == (5.0, 0.0)
    assert np.isnan(actual["start codon", "-", 0][2:4]).all()
    assert actual["start codon", "+", -3][0] == 1  # the base before the stretch does not count
