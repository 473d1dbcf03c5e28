"""Groups of sequences that are alike: the same as by comparing every pair, and right for what large sets hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from helpers import random_dna

from hnet_dna.probe import similar
from hnet_dna.probe.similar import copies_of, similar_groups

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def turned(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def variants(base: str, count: int, edits: int, seed: int = 0) -> list[str]:
    """Copies of a sequence with some substitutions each."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        letters = list(base)
        for place in random.choice(len(base), edits, replace=False):
            letters[place] = random.choice([letter for letter in "ACGT" if letter != letters[place]])
        found.append("".join(letters))
    return found


def by_every_pair(texts: list[str]) -> list[int]:
    """The slow twin: compare all pairs by the rule, and connect."""
    words = []
    for text in texts:
        own = (text[i : i + 12] for i in range(len(text) - 11))
        words.append(Counter(min(word, turned(word)) for word in own if set(word) <= set("ACGT")))
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for one in range(len(texts)):
        for other in range(one):
            shorter = min(words[one].total(), words[other].total())
            alike = bool(shorter) and 2 * (words[one] & words[other]).total() >= shorter
            if alike or texts[one] in (texts[other], turned(texts[other])):
                parent[root(one)] = root(other)
    first: dict[int, int] = {}
    return [first.setdefault(root(index), len(first)) for index in range(len(texts))]


@pytest.mark.parametrize("at_once", [1, 50, 5_000_000])
@pytest.mark.parametrize("length", [8, 20, 45, 90])
def test_the_same_as_by_every_pair(length: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families with substitutions, insertions, deletions, N, cut and on both strands, with microsatellites between."""
    monkeypatch.setattr(similar, "_PRODUCTS", at_once)
    monkeypatch.setattr(similar, "_PAIRS", max(at_once // 4, 1))
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
    assert similar_groups(texts).tolist() == by_every_pair(texts)


def test_large_families_are_joined() -> None:
    """Each k-mer is in hundreds of sequences, and says no less about descent for that."""
    families = [variants(random_dna(48, i), 300, 1, i) for i in range(6)]
    group = similar_groups([text for family in families for text in family])
    assert group.tolist() == np.repeat(np.arange(6), 300).tolist()


def test_a_family_of_thousands_is_one_group_beside_others() -> None:
    family = variants(random_dna(200), 3000, 2)
    relatives = [text[:60] + random_dna(140, i + 1) for i, text in enumerate(family[:20])]  # too little in common
    group = similar_groups([*relatives, *family]).tolist()
    assert group == [*range(20), *[20] * 3000]


def test_ten_thousand_copies_are_one_group() -> None:
    text = random_dna(300)
    copies = [text, turned(text), text.lower(), text.replace("T", "U"), f" {text}\n"] * 2000
    assert not copies_of(copies).any()
    assert similar_groups([*copies, random_dna(300, 1)]).tolist() == [0] * 10_000 + [1]


def test_low_complexity_links_only_what_is_made_of_it() -> None:
    random = [random_dna(150, i) + "CA" * 30 + random_dna(150, i + 500) for i in range(300)]
    runs = [random_dna(150, i + 1000) + "A" * 40 + "N" * 40 + random_dna(150, i + 1500) for i in range(300)]
    satellites = ["CA" * 120, "AC" * 130, "TG" * 110, "A" * 200, "T" * 210]
    group = similar_groups([*random, *runs, *satellites]).tolist()
    assert group == [*range(600), 600, 600, 600, 601, 601]


def test_sequences_without_a_whole_k_mer_go_by_copies() -> None:
    texts = ["ACGTACGTACG", "CGTACGTACGT", "ACG", "CGT", "", "NNNN" * 10, "NNNN" * 10, "ACGTN" * 8, "ACGAN" * 8]
    assert similar_groups(texts).tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 5]


def test_near_twins_and_strangers() -> None:
    base = random_dna(80)
    twin = base[:40] + ("A" if base[40] != "A" else "C") + base[41:]
    family = [base, base, turned(base), twin, base[20:] + random_dna(20, 2), base[:50] + "G" + base[50:]]
    assert similar_groups([*family, random_dna(80, 1), random_dna(80, 3)]).tolist() == [0] * 6 + [1, 2]
    assert similar_groups([]).tolist() == []
