"""Stability under edits: segmentations made by hand give known shares, and the edits are those that were asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.explanation.statistics.robustness import (
    EDITS,
    RATES,
    WITHIN,
    Edit,
    Edited,
    Segmentation,
    Segmented,
    edit,
    kmer_segmentation,
    model_segmentation,
    rows,
    sample,
)
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.stream import annotate
from hnet_dna.sequence.codes import Codes, from_text, to_text
from hnet_dna.sequence.interval import Interval

# fmt: off
NAMES = ("stage", "segmentation", "edit", "rate", "within", "edits", "borders", "boundaries", "kept", "low", "high",
         "kept_by_chance", "gained", "bits", "bits_clean", "bits_added", "bits_added_low", "bits_added_high")
# fmt: on


def at(text: str, kind: Edit, *places: int) -> Edited:
    return edit(from_text(text), kind, np.array(places), np.random.default_rng(0))


def test_edits() -> None:
    edits = at("ACGTAC", "substitution", 2, 5)
    assert [a == b for a, b in zip(to_text(edits.codes), "ACGTAC", strict=True)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert edits.untouched.tolist() == [1, 4]  # not beside a base that was substituted
    edits = at("ACGTAC", "deletion", 2)
    assert to_text(edits.codes) == "ACTAC"
    assert edits.source.tolist() == [0, 1, 3, 4, 5]
    assert edits.untouched.tolist() == [1, 3, 4]  # not where the base was
    edits = at("ACGTAC", "insertion", 2)
    assert to_text(edits.codes)[:2] + to_text(edits.codes)[3:] == "ACGTAC"
    assert edits.source.tolist() == [0, 1, -1, 2, 3, 4, 5]
    assert edits.untouched.tolist() == [1, 4, 5, 6]
    assert at("ACGT", "insertion", 2, 3).untouched.tolist() == [1]
    assert at("AAAA", "substitution", 0, 1, 2, 3).untouched.tolist() == []


def test_substitutes_are_the_three_other_letters() -> None:
    codes = from_text("C" * 3000)
    edits = edit(codes, "substitution", np.arange(3000), np.random.default_rng(1))
    counts = np.bincount(edits.codes, minlength=4)
    assert counts[1] == 0
    assert (np.abs(counts[[0, 2, 3]] - 1000) < 120).all()


def by_rule(*texts: str) -> Segmentation:
    """Chunks begin with the last letter of these words; a stage each. Bits: 2, and 1 for a base equal to the last."""

    def segment(sequences: Sequence[Codes]) -> Iterator[Segmented]:
        for codes in sequences:
            text = to_text(codes).upper()
            begins = [[text[: i + 1].endswith(t) for i in range(len(text))] for t in texts]
            yield Segmented(np.array(begins), 2.0 - np.r_[False, codes[1:] == codes[:-1]])

    return segment


def never(sequences: Sequence[Codes]) -> Iterator[Segmented]:
    for codes in sequences:
        yield Segmented(np.zeros((1, len(codes)), dtype=bool), None)


def run(stages: int = 1, **segmentations: Segmentation) -> dict[Any, dict[str, Any]]:
    windows = [from_text(random_dna(2000, i)) for i in range(6)]
    singles = [from_text(random_dna(600, 10 + i)) for i in range(40)]
    table = rows(segmentations, stages, windows, singles, 0)
    named = [dict(zip(NAMES, row, strict=True)) for row in table]
    return {
        (r["stage"], r["segmentation"], r["edit"], r["rate"], None if np.isnan(r["within"]) else r["within"]): r
        for r in named
    }


def test_rules_of_letters_keep_what_edits_do_not_reach() -> None:
    table = run(2, letters=by_rule("A", "CGA"))
    assert len(table) == 2 * 3 * (len(RATES) + len(WITHIN))
    for (stage, _, kind, rate, within), row in table.items():
        if stage == 0:  # a rule that reads one letter: all untouched borders keep it
            assert row["kept"] == row["low"] == row["high"] == 1.0
            assert row["gained"] == 0.0
            assert row["kept_by_chance"] == pytest.approx(row["boundaries"] / row["borders"])
            assert row["kept_by_chance"] == pytest.approx(0.25, abs=0.05)
        elif rate == 0.1:
            # C two before A must be as it was, given that G and A are; one in four inserted letters is a C again,
            # and so is one in four that a deletion puts there.
            wanted = {"substitution": 0.9, "insertion": 0.9 + 0.1 / 4, "deletion": 0.9 + 0.1 / 4}[kind]
            assert row["kept"] == pytest.approx(wanted, abs=3 * (0.1 / row["boundaries"]) ** 0.5)
            assert row["low"] <= row["kept"] <= row["high"]
        elif within == WITHIN[-1]:
            assert row["kept"] > 0.99
    # Bases beside an edit are unedited, and their bits change as the letter before does.
    row = table[0, "letters", "substitution", 0.1, None]
    assert row["bits_clean"] == pytest.approx(1.75, abs=0.02)
    assert row["bits_added"] == pytest.approx(row["bits"] - row["bits_clean"])
    assert row["bits_added_low"] <= row["bits_added"] <= row["bits_added_high"]
    assert row["edits"] == pytest.approx(0.1 * 6 * 1999, rel=0.15)


def test_kmers_keep_none_after_an_indel_and_all_after_a_substitution() -> None:
    table = run(k4=kmer_segmentation([4]))
    for kind in EDITS:
        for within in WITHIN:
            row = table[0, "k4", kind, "single", within]
            assert row["edits"] == 40
            assert row["kept"] == row["low"] == row["high"] == (1.0 if kind == "substitution" else 0.0)
            assert row["gained"] == (0.0 if kind == "substitution" else pytest.approx(1.0, abs=0.3))
            assert np.isnan(row["bits_added"])
        borders = {"substitution": -1, "insertion": 0, "deletion": -1}[kind]  # of the 16 that follow, those untouched
        assert table[0, "k4", kind, "single", 16]["borders"] == 40 * (16 + borders)
    for rate in RATES:
        assert table[0, "k4", "substitution", rate, None]["kept"] == 1.0
    # After many indels the frame is as good as any: a quarter is kept by chance.
    assert table[0, "k4", "deletion", 0.1, None]["kept"] == pytest.approx(0.25, abs=0.05)
    assert table[0, "k4", "deletion", 0.1, None]["kept_by_chance"] == pytest.approx(0.25, abs=0.01)
    assert table[0, "k4", "deletion", 0.001, None]["kept"] > 0.3


def test_no_boundaries_are_no_number() -> None:
    row = run(never=never)[0, "never", "deletion", 0.1, None]
    assert (row["boundaries"], row["kept_by_chance"]) == (0, 0.0)
    assert np.isnan([row["kept"], row["low"], row["gained"]]).all()
    assert rows({"never": never}, 1, [], [], 0)[0][6:8] == (0, 0)


def test_seed_decides() -> None:
    windows = [from_text(random_dna(500))] * 2
    one, same, other = (str(rows({"a": by_rule("CGA")}, 1, windows, [], seed)) for seed in (0, 0, 1))
    assert one == same != other


def test_model_is_read_as_the_engine_reads() -> None:
    model = lively_model(small_config())
    sequences = [from_text(random_dna(n, n)) for n in (70, 31, 70)]
    segmentations = list(model_segmentation(model)(sequences))
    for codes, segmented in zip(sequences, segmentations, strict=True):
        (bases,) = annotate([Piece("c", 0, codes, uracils=0)], model)
        assert segmented.bits is not None
        np.testing.assert_allclose(segmented.bits, bases.bits)
        for stage, begins in zip(bases.stages, segmented.begins, strict=True):
            assert np.flatnonzero(begins).tolist() == stage.position[stage.mask].tolist()


def test_a_causal_model_keeps_what_lies_before_a_single_edit() -> None:
    model = lively_model(small_config())
    codes = from_text(random_dna(200, 2))
    edited = edit(codes, "deletion", np.array([100]), np.random.default_rng(0))
    before, after = model_segmentation(model)([codes, edited.codes])
    assert (before.begins[:, :100] == after.begins[:, :100]).all()


def test_samples_are_evenly_spaced(tmp_path: Path) -> None:
    text = random_dna(10_000)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"c": text}))
    sampled = sample(genome, [Interval("c", 0, 10_000)], 100, 10, 0)
    starts = [text.index(to_text(codes)) for codes in sampled]
    assert np.diff(starts).tolist() == [1000] * 9
    short = sample(genome, [Interval("c", 0, 130), Interval("c", 200, 230)], 100, 10, 0)
    assert [len(codes) for codes in short] == [100]
    assert sample(genome, [Interval("c", 0, 30)], 100, 10, 0) == []
