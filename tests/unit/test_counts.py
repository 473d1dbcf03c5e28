"""Words counted for the Markov models: the same by any way, kept, and counted again where what was kept is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from helpers import random_dna, write_fasta

from hnet_dna.evaluation import counts, markov
from hnet_dna.evaluation.compare import Sample, spread
from hnet_dna.evaluation.markov import count_words
from hnet_dna.files import home
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import Codes, from_text
from hnet_dna.sequence.interval import Interval

OTHER = str.maketrans("ACGT", "TGCA")


@pytest.mark.parametrize("block", [3, 64, 1 << 22])
@pytest.mark.parametrize("orders", [[0, 1, 2, 3, 5], [4], [5, 2], []])
def test_words_of_all_orders(block: int, orders: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov, "_BLOCK", block)
    train = [random_dna(300, 1), "ACGNNACGTTGCARAC", "A", "", random_dna(40, 2).lower(), "AC", "N"]
    counted = count_words([from_text(text) for text in train], orders)
    assert list(counted) == orders
    for order, table in counted.items():
        expected = Counter(
            strand[start : start + order + 1]
            for text in train
            for strand in (text.upper(), text.upper().translate(OTHER)[::-1])
            for start in range(len(text) - order)
        )
        letters = np.array(list("ACGT"))
        for word in np.ndindex(*(4,) * (order + 1)):
            number = int("".join(map(str, word)), 4)
            assert table[number >> 2, number & 3] == expected["".join(letters[list(word)])]


@pytest.fixture
def genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Genome:
    monkeypatch.setenv("HNET_DNA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(counts, "_KEPT_FROM", 1000)
    return open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(2000) + "NN" + random_dna(90), "b": "ACGT"}))


def test_counted_once(genome: Genome, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [Interval("a", 10, 2092)]
    calls: list[list[int]] = []

    def counted(pieces: Iterable[Codes], orders: list[int]) -> counts.Counts:
        calls.append(orders)
        return count_words(pieces, orders)

    monkeypatch.setattr(counts, "count_words", counted)
    expected = count_words([genome.codes(part) for part in genome.segments(train[0])], [1, 3])

    def check(times: int) -> None:
        counts_of_genome = counts.genome_counts(genome, train, [1, 3])
        assert all(np.array_equal(counts_of_genome[order], expected[order]) for order in (1, 3))
        assert len(calls) == times

    check(1)
    check(1)
    (kept,) = (home() / "markov").glob("*.npz")
    whole = kept.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for times, damage in enumerate((whole[:-40], b"", bytes(changed), b"PK\x05\x06" + bytes(18)), start=2):
        kept.write_bytes(damage)
        check(times)
        check(times)
    counts.genome_counts(genome, [Interval("a", 0, 2092)], [1, 3])
    counts.genome_counts(genome, train, [1])
    assert len(list((home() / "markov").glob("*.npz"))) == 3, "other intervals and orders are kept apart"
    counts.genome_counts(genome, [Interval("a", 0, 999)], [1])
    assert len(list((home() / "markov").glob("*.npz"))) == 3, "what is small is not kept"


def test_where_nothing_can_be_kept(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert counts.genome_counts(genome, [Interval("a", 0, 2000)], [2])[2].sum() == 2 * 1998


@pytest.mark.parametrize("lengths", [[100_000], [1000] * 100, [7] * 999, [90_000, 10, 5000, 3]])
def test_evaluated_bases_are_spread(lengths: list[int]) -> None:
    intervals = [Interval(f"c{index}", 5, 5 + length) for index, length in enumerate(lengths)]
    total = sum(lengths)
    for most in (800, total // 3, total - 1, total, total + 1):
        kept = spread(intervals, most)
        taken = sum(map(len, kept))
        assert taken == total if most >= total else 0.75 * most <= taken <= most
        assert kept == tuple(sorted(set(kept), key=kept.index))
        middle = sum(len(part) for part in kept if int(part.contig[1:]) >= len(lengths) / 2)
        if len(lengths) > 50 and most < total:
            assert middle == pytest.approx(taken / 2, rel=0.3)


@pytest.mark.parametrize(
    ("device", "ranks", "training", "predicting", "counting"),
    [("cpu", 1, 100e-6, 40e-6, 0.4e-6), ("cpu", 4, 25e-6, 40e-6, 0.4e-6), ("cuda", 8, 0.125e-6, 4e-6, 0.4e-6)],
)
def test_the_closing_evaluation_is_a_tenth_of_training_at_most(
    device: str, ranks: int, training: float, predicting: float, counting: float
) -> None:
    """At the seconds a base that its constants are for; the least is about a minute of one core."""

    def seconds(sample: Sample) -> float:
        return sample.held_out * predicting + sample.train * counting

    least = seconds(Sample.after(0, device, ranks))
    assert least < 70
    before = Sample(0, 0)
    for exponent in range(14):
        sample = Sample.after(10**exponent, device, ranks)
        assert seconds(sample) <= 0.1 * 10**exponent * training or seconds(sample) <= 1.5 * least
        assert sample.held_out >= before.held_out
        assert sample.train >= before.train
        before = sample
    assert before.held_out == 20_000_000
