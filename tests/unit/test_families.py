"""Families of sequences: the same as by comparing every pair, and right for what large sets hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from helpers import random_dna

from hnet_dna.probing import families as module
from hnet_dna.probing.families import families, first_copies, least_shared, word_length

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def turned(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def variants(base: str, count: int, edits: int, seed: int = 0) -> list[str]:
    """Copies of a sequence with some substitutions each."""
    random = np.random.default_rng(seed)
    copies = []
    for _ in range(count):
        letters = list(base)
        for place in random.choice(len(base), edits, replace=False):
            letters[place] = random.choice([letter for letter in "ACGT" if letter != letters[place]])
        copies.append("".join(letters))
    return copies


def by_every_pair(texts: list[str]) -> list[int]:
    """The slow twin: compare all pairs by the rule, and connect."""
    words = []
    k, least = word_length(texts), least_shared(texts)
    for text in texts:
        own = (text[i : i + k] for i in range(len(text) - k + 1))
        words.append(Counter(min(word, turned(word)) for word in own if set(word) <= set("ACGT")))
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for one in range(len(texts)):
        for other in range(one):
            shorter = min(words[one].total(), words[other].total())
            alike = (words[one] & words[other]).total() >= max(shorter / 3, least)
            if alike or texts[one] in (texts[other], turned(texts[other])):
                parent[root(one)] = root(other)
    first: dict[int, int] = {}
    return [first.setdefault(root(index), len(first)) for index in range(len(texts))]


@pytest.mark.parametrize("at_once", [1, 50, 5_000_000])
@pytest.mark.parametrize("length", [8, 20, 45, 90])
def test_the_same_as_by_every_pair(length: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families with substitutions, insertions, deletions, N, cut and on both strands, with microsatellites between."""
    monkeypatch.setattr(module, "_PRODUCTS", at_once)
    monkeypatch.setattr(module, "_PAIRS", max(at_once // 4, 1))
    random = np.random.default_rng(length)
    bases = [random_dna(length + 7 * i, i) for i in range(4)]
    texts = []
    for _ in range(70):
        text = bases[random.integers(4)]
        for _ in range(random.integers(0, 4)):
            place, kind = int(random.integers(len(text))), random.integers(4)
            text = text[:place] + ["A", "GC", "", "N"][kind] + text[place + 1 :]
        text = turned(text) if random.random() < 0.3 else text
        text = text[len(text) // 3 :] if random.random() < 0.2 else text
        text += "CA" * int(random.integers(5, 30)) if random.random() < 0.1 else ""
        texts.append(text if random.random() < 0.9 else "CA" * int(random.integers(5, 30)))
    assert families(texts).tolist() == by_every_pair(texts)


def test_a_family_of_thousands_is_one_group_beside_others() -> None:
    family = variants(random_dna(200), 3000, 2)
    relatives = [text[:50] + random_dna(150, i + 1) for i, text in enumerate(family[:20])]  # too little in common
    group = families([*relatives, *family]).tolist()
    assert group == [*range(20), *[20] * 3000]


def test_ten_thousand_copies_are_one_group() -> None:
    text = random_dna(300)
    copies = [text, turned(text), text.lower(), text.replace("T", "U"), f" {text}\n"] * 2000
    assert not first_copies(copies).any()
    assert families([*copies, random_dna(300, 1)]).tolist() == [0] * 10_000 + [1]


def test_low_complexity_links_only_what_is_made_of_it() -> None:
    random = [random_dna(150, i) + "CA" * 30 + random_dna(150, i + 500) for i in range(300)]
    runs = [random_dna(150, i + 1000) + "A" * 40 + "N" * 40 + random_dna(150, i + 1500) for i in range(300)]
    satellites = ["CA" * 120, "AC" * 130, "TG" * 110, "A" * 200, "T" * 210]
    group = families([*random, *runs, *satellites]).tolist()
    assert group == [*range(600), 600, 600, 600, 601, 601]


def test_sequences_without_a_whole_k_mer_go_by_copies() -> None:
    texts = ["ACG", "CGT", "", "NNNN" * 10, "NNNN" * 10, "ACGTN" * 8, "ACGAN" * 8, "A", random_dna(90)]
    assert families(texts).tolist() == [0, 0, 1, 2, 2, 3, 4, 5, 6]


def test_near_twins_and_strangers() -> None:
    base = random_dna(80)
    twin = base[:40] + ("A" if base[40] != "A" else "C") + base[41:]
    family = [base, base, turned(base), twin, base[30:] + random_dna(30, 2), base[:50] + "G" + base[50:]]
    assert families([*family, random_dna(80, 1), random_dna(80, 3)]).tolist() == [0] * 6 + [1, 2]
    assert families([]).tolist() == []


def test_a_tenth_of_substitutions_leaves_a_family_together() -> None:
    texts = [text for i in range(20) for text in variants(random_dna(100, i), 20, 4, i)]
    assert families(texts).tolist() == np.repeat(np.arange(20), 20).tolist()


@pytest.mark.parametrize(("count", "length"), [(3000, 20), (5000, 25), (200, 11), (2, 150_000)])
def test_chance_ties_no_family_together(count: int, length: int) -> None:
    """Of sequences without descent hardly two are similar, however many and however short or long they are."""
    sizes = np.bincount(families([random_dna(length, i) for i in range(count)]))
    assert sizes.max() <= 3
    assert len(sizes) > 0.95 * count


def test_word_lengths() -> None:
    """12, unless sequences are short and few, or so long that they share 12-mers by chance."""
    assert least_shared(["A" * 48] * 1800) == 1
    assert least_shared(["A" * 300] * 100_000) == 5
    for lengths, k in (
        ([48] * 1800, 12), ([300] * 100_000, 12), ([30] * 60, 10), ([20] * 60, 6), ([20] * 3000, 8),
        ([250_000] * 2, 12), ([5_000_000] * 2, 14), ([], 2),
    ):  # fmt: skip
        assert word_length(["A" * length for length in lengths]) == k


def test_a_sample_of_k_mers_finds_the_same_families(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for i in range(20) for text in variants(random_dna(600, i), 10, 12, i)]
    monkeypatch.setattr(module, "_MOST_KMERS", 20_000)  # of 120,000
    assert families(texts).tolist() == np.repeat(np.arange(20), 10).tolist()


def test_short_sequences_tie_no_long_ones_together() -> None:
    """Nearly every 12-mer is somewhere in this many bases."""
    texts = [random_dna(5000, i) for i in range(1000)]
    short = [random_dna(12 + i % 3, 2000 + i) for i in range(200)] + ["N" * 50 + random_dna(13, 3000)]
    assert np.bincount(families([*texts, *short])).max() == 1


@pytest.mark.parametrize(
    ("other", "related"),
    [
        (lambda base: base.translate(COMPLEMENT)[::-1].lower(), True),
        (lambda base: base.replace("T", "U"), True),
        (lambda base: base[:50] + "A" + base[50:], True),  # an insertion
        (lambda base: base[:45] + base[55:], True),  # a deletion
        (lambda base: "N" * 20 + base[20:], True),
        (lambda base: base[:25] + random_dna(75, 9), False),
    ],
)
def test_who_belongs_to_a_family(other: Callable[[str], str], related: bool) -> None:
    base = random_dna(100)
    family = families([base, other(base), random_dna(100, 5)]).tolist()
    assert (family[0] == family[1]) == related
    assert family[2] not in family[:2]
