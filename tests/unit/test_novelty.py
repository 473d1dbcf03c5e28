"""Which words of held-out sequence the training part has: against sets of strings."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import random_dna, write_fasta

import hnet_dna
from hnet_dna.data.split import split_genome
from hnet_dna.evaluation import novelty
from hnet_dna.evaluation.compare import HeldOut, compare
from hnet_dna.genome.genome import Genome
from hnet_dna.inference.streams import Part
from hnet_dna.sequence.interval import Interval

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def words(sequence: str) -> list[str]:
    """Return the word that begins at each letter, the smaller one of both strands; empty if it has another letter."""
    distinct = []
    for start in range(len(sequence) - novelty.WORD + 1):
        word = sequence[start : start + novelty.WORD]
        distinct.append(min(word, word.translate(COMPLEMENT)[::-1]) if set(word) <= set("ACGT") else "")
    return distinct


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    """A contig whose copies, one of them turned, lie in what is held out, beside N, and a short contig."""
    train = random_dna(3000)
    turned = train[500:600].translate(COMPLEMENT)[::-1]
    test = random_dna(200, 1) + train[1000:1090] + "N" + random_dna(150, 2) + turned + random_dna(40, 3)
    return hnet_dna.open_genome(write_fasta(tmp_path / "g.fa", {"a": train, "b": test, "c": random_dna(20, 4)}))


def test_shares_and_bits_are_those_of_sets_of_strings(genome: Genome, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hnet_dna.load_model("five-genomes")
    split = split_genome(genome, ["b", "c"])
    # Words reach over the ends of pieces.
    monkeypatch.setattr("hnet_dna.inference.strands.piece_of", lambda model: 64)
    comparison = compare(model, [HeldOut(genome, split)], orders=[2])
    assert comparison is not None
    assert comparison.containment is not None
    training, held_out = set(words(genome.sequence("a"))), words(genome.sequence("b"))
    distinct = {word for word in held_out if word}
    share = len(distinct & training) / len(distinct)
    assert share == pytest.approx((60 + 70) / len(distinct), abs=0.01)
    assert comparison.containment.whole == pytest.approx(share)
    assert comparison.containment.contigs == {"b": pytest.approx(share)}
    covered = {"seen": set[int](), "new": set[int]()}
    for start, word in enumerate(held_out):
        if word:
            covered["seen" if word in training else "new"].update(range(start, start + novelty.WORD))
    bases = {row.name: row.bases for row in comparison.classes if row.group == "words"}
    assert bases == {"seen in training": len(covered["seen"]), "new": len(covered["new"] - covered["seen"])}


def test_a_sample_has_the_share_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_dna(60_000)
    test = train[:15_000] + random_dna(15_000, 1)
    genome = hnet_dna.open_genome(write_fasta(tmp_path / "g.fa", {"a": train, "b": test}))
    monkeypatch.setattr(novelty, "_MOST", 10_000)
    sampled = novelty.Novelty([(genome, Interval("a", 0, 60_000))])
    assert sampled.one_in == 8
    whole = Interval("b", 0, 30_000)
    part = Part("b", 0, genome.codes(whole), first=True, last=True)
    marks = sampled.mark(genome, {"b": [whole]}, part)
    assert sampled.containment().whole == pytest.approx(0.5, abs=0.04)
    assert not (marks["words", "seen in training"] & marks["words", "new"]).any()
    assert not marks["words", "new"][:14_900].any()
    assert not marks["words", "seen in training"][15_031:].any()
