from __future__ import annotations

import numpy as np
import pytest
from Bio.Seq import reverse_complement as bio_reverse_complement

from hnet_dna.errors import ConfigError
from hnet_dna.sequence.alphabet import ALPHABETS, alphabet
from hnet_dna.sequence.codes import SOFT_MASK, from_text, reverse_complement, runs, to_text
from hnet_dna.sequence.interval import Interval


def test_letters_survive_with_their_case() -> None:
    text = "ACGTNRYSWKMBDHVacgtnryswkmbdhv"
    assert to_text(from_text(text)) == text
    assert to_text(from_text("ACUuT")) == "ACTtT"


def test_reverse_complement_agrees_with_biopython_and_keeps_the_mask() -> None:
    text = "ACGTNRYSWKMBDHVaacgtryn"
    assert to_text(reverse_complement(from_text(text))) == bio_reverse_complement(text)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 1001])
def test_plain_bases_take_a_faster_way_to_the_same_strand(length: int) -> None:
    random = np.random.default_rng(length)
    text = "".join(random.choice(list("ACGTacgt"), size=length))
    expected = bio_reverse_complement(text)  # type: ignore[no-untyped-call]
    assert to_text(reverse_complement(from_text(text))) == expected
    rows = np.stack([from_text(text), from_text(text)[::-1]])
    turned = reverse_complement(rows)
    assert to_text(turned[0]) == expected
    assert to_text(turned[1]) == bio_reverse_complement(text[::-1])  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("dna", "ACGTNRa", [0, 1, 2, 3, 4, 4, 0]),
        ("rna", "ACGU", [0, 1, 2, 3]),
        ("iupac", "ACGTNRV", [0, 1, 2, 3, 4, 5, 14]),
        ("bytes", "ACGTNa", [65, 67, 71, 84, 78, 65]),
    ],
)
def test_alphabets(name: str, text: str, ids: list[int]) -> None:
    letters = alphabet(name)
    assert letters.encode(from_text(text)).tolist() == ids
    assert max(letters.ids) < letters.vocab_size
    assert letters.base_ids == tuple(letters.encode(from_text("ACGT")).tolist())


def test_alphabet_errors() -> None:
    with pytest.raises(ConfigError, match="Did you mean dna"):
        alphabet("dnaa")
    with pytest.raises(ConfigError, match="no alphabet"):
        alphabet(None)
    assert ALPHABETS["rna"].letters[3] == "U"


def test_soft_mask_is_a_bit_of_its_own() -> None:
    assert (from_text("acgtn") - from_text("ACGTN")).tolist() == [SOFT_MASK] * 5


@pytest.mark.parametrize(
    ("mask", "expected"),
    [("", []), ("0", []), ("1", [[0, 1]]), ("0110", [[1, 3]]), ("1011", [[0, 1], [2, 4]])],
)
def test_runs(mask: str, expected: list[list[int]]) -> None:
    assert runs(np.array([c == "1" for c in mask], dtype=bool)).tolist() == expected


def test_interval_prints_as_browsers_do() -> None:
    assert str(Interval("chr1", 0, 1000)) == "chr1:1-1,000"
    assert len(Interval("chr1", 5, 8)) == 3
    with pytest.raises(ValueError, match="half-open"):
        Interval("chr1", 8, 5)
