"""Folds of labelled sequences: what belongs together stays together, and what cannot be split says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import labels_of, random_dna

from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.probing.contenders import OnVectors
from hnet_dna.probing.cross_validation import cross_validate
from hnet_dna.probing.dataset import Labels
from hnet_dna.probing.families import families
from hnet_dna.probing.features import kmer_frequencies
from hnet_dna.probing.folds import make_folds
from hnet_dna.sequence.codes import from_text


def test_folds_keep_groups_and_classes() -> None:
    random = np.random.default_rng(0)
    groups = [f"g{i}" for i in random.integers(0, 40, size=400)]
    target = ["a" if random.random() < 0.3 else "b" for _ in range(400)]
    folds = make_folds(labels_of(target, groups=groups), "classification", 5, 0)
    for name in set(groups):
        assert len({folds.fold[i] for i in range(400) if groups[i] == name}) == 1
    shares = [np.mean([target[i] == "a" for i in np.flatnonzero(folds.fold == f)]) for f in range(5)]
    assert max(shares) - min(shares) < 0.15
    assert "40 groups" in folds.rule


def test_copies_are_found_and_kept_together() -> None:
    texts = [random_dna(60, i) for i in range(30)]
    folds = make_folds(labels_of(["a", "b"] * 30, [*texts, *texts]), "classification", 3, 0)
    assert folds.copies == 30
    assert folds.fold[:30].tolist() == folds.fold[30:].tolist()


def substituted(sequence: str, count: int, random: np.random.Generator) -> str:
    letters = list(sequence)
    for place in random.choice(len(letters), count, replace=False):
        letters[place] = random.choice([base for base in "ACGT" if base != letters[place]])
    return "".join(letters)


def test_copies_are_kept_together_however_many_there_are() -> None:
    """Copies used to be spread over the folds beyond 200 of them, since their k-mers counted as common ones."""
    texts = [random_dna(60)] * 201 + [random_dna(60, seed) for seed in range(1, 21)]
    folds = make_folds(labels_of((["a", "b"] * 111)[:221], texts), "classification", 3, 0)
    assert len(set(folds.fold[:201].tolist())) == 1
    assert (folds.copies, folds.parted) == (200, 0)
    assert "21 families of 221 sequences, the largest of 201, which is more than a fold" in folds.rule


def test_large_families_are_not_parted_and_labels_of_families_are_not_learned() -> None:
    """Six families of 300, one substitution in each member, labels by family: nothing can be learned across them."""
    random = np.random.default_rng(0)
    texts = [substituted(random_dna(48, family), 1, random) for family in range(6) for _ in range(300)]
    family = families(texts)
    assert [len(set(family[start : start + 300].tolist())) for start in range(0, 1800, 300)] == [1] * 6
    assert len(set(family.tolist())) == 6
    labels = labels_of(np.repeat(["a", "b"] * 3, 300).tolist(), texts)
    folds = make_folds(labels, "classification", 3, 0)
    contender = OnVectors("4-mers", kmer_frequencies([from_text(text) for text in texts], 4).toarray(), "logistic")
    (_, result), _ = cross_validate([contender], labels, folds, "classification", 0)
    assert result.metrics["MCC"].low < 0 < result.metrics["MCC"].high < 0.7  # .999 where folds shared families


def test_copies_that_given_groups_part_are_counted() -> None:
    texts = [random_dna(60, i) for i in range(6)]
    labels = labels_of(["a", "b"] * 6, [*texts, *texts], [f"g{i}" for i in range(12)])
    folds = make_folds(labels, "classification", 3, 0)
    assert folds.copies == 6
    assert folds.parted == (folds.fold[:6] != folds.fold[6:]).sum() > 0


def test_copies_with_random_labels_teach_nothing() -> None:
    """With copies in both training and test, a flexible head would look up the answer."""
    random = np.random.default_rng(2)
    texts = [random_dna(60, i) for i in range(60)]
    target = [str(t) for t in random.integers(0, 2, size=60)]
    labels = labels_of(target * 4, texts * 4)
    matrix = np.tile(random.normal(size=(60, 40)), (4, 1)).astype(np.float32)
    folds = make_folds(labels, "classification", 4, 0)
    (_, result), _ = cross_validate([OnVectors("model", matrix, "logistic")], labels, folds, "classification", 0)
    assert abs(result.metrics["MCC"].value) < 0.35


ALIKE = ["ACGTACGTACGTACGT"] * 20


@pytest.mark.parametrize(
    ("labels", "task", "error", "message"),
    [
        (labels_of(["a"] * 10), "classification", SequenceError, r"l\.csv: every label is a; at least two"),
        (labels_of([2.5] * 10), "regression", SequenceError, "every label is 2.5; at least two"),
        (
            labels_of(["a"] * 10 + ["b"]),
            "classification",
            SequenceError,
            "class b has 1 row; each class needs at least 2",
        ),
        (labels_of(["a"] * 10 + ["b"] * 2), "classification", UsageError, "class b has 2 rows.*use `folds` 2$"),
        (labels_of([1.0, 2.0, 3.0]), "regression", UsageError, "the file has 3 rows.*use `folds` 3$"),
        (
            labels_of(["a", "b"] * 10, ALIKE),
            "classification",
            SequenceError,
            "by the 5-mers that they share, the sequences make 1 family",
        ),
        (
            labels_of(["a", "b"] * 10, None, ["x", "y", "z", "z"] * 5),
            "classification",
            UsageError,
            "column contig has 3 groups, fewer than 5 folds; use `folds` 3, or another column of groups",
        ),
        (
            labels_of(["a", "b"] * 10, None, ["x"] * 20),
            "classification",
            SequenceError,
            "column contig has 1 group, and",
        ),
        (
            labels_of(["a", "a", "b", "b"] * 5, None, ["x", "x2", "y", "y"] * 5),
            "classification",
            UsageError,
            "leave only class a to train on",
        ),
    ],
)
def test_sets_that_cannot_be_split(labels: Labels, task: Any, error: type[HNetError], message: str) -> None:
    """What fewer folds would mend is an option at fault, the rest is the file."""
    folds = 2 if "leave only" in message else 5
    with pytest.raises(error, match=message):
        make_folds(labels, task, folds, 0)
