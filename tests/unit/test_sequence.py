from __future__ import annotations

import numpy as np
import pytest
from Bio.Seq import reverse_complement as bio_reverse_complement

from hnet_dna.errors import ConfigError, UsageError
from hnet_dna.sequence.alphabet import ALPHABETS, alphabet
from hnet_dna.sequence.codes import INVALID, SOFT_MASK, from_text, is_acgt, reverse_complement, runs, stretches, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.kmers import kmer_numbers
from hnet_dna.sequence.strand import check_strand


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


def test_which_letters_are_acgt() -> None:
    codes = np.append(from_text("ACGTUNRYacgtunry"), np.uint8(INVALID))
    assert is_acgt(codes).tolist() == [True] * 5 + [False] * 3 + [True] * 5 + [False] * 3 + [False]
    assert is_acgt(codes[:16].reshape(2, 8)).shape == (2, 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("N", []), ("A", [(0, 1)]), ("nACRn", [(1, 4)]), ("ANNcg", [(0, 1), (3, 5)])],
)
def test_stretches_between_runs_of_n(text: str, expected: list[tuple[int, int]]) -> None:
    assert stretches(from_text(text)) == expected


@pytest.mark.parametrize("k", [1, 2, 3, 4, 7, 13, 31])
def test_kmer_numbers_read_each_kmer_in_base_4(k: int) -> None:
    random = np.random.default_rng(k)
    text = "".join(random.choice(list("ACGTacgtUNRy"), p=[0.12] * 8 + [0.01] * 4, size=300))
    letters = text.upper().replace("U", "T")
    kmers = [letters[at : at + k] for at in range(len(text) - k + 1)]
    expected = [int(kmer.translate(str.maketrans("ACGT", "0123")), 4) if set(kmer) <= set("ACGT") else -1
                for kmer in kmers]  # fmt: skip
    assert kmer_numbers(from_text(text), k).tolist() == expected
    assert min(expected) == -1
    assert len(kmer_numbers(from_text("A" * (k - 1)), k)) == 0
    assert kmer_numbers(from_text("t" * k), k).tolist() == [4**k - 1]


@pytest.mark.parametrize("k", [0, 32])
def test_kmer_numbers_refuse_lengths_whose_numbers_do_not_fit(k: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 31"):
        kmer_numbers(from_text("ACGT"), k)


def test_check_strand() -> None:
    assert [check_strand(strand) for strand in ("+", "-", "both")] == ["+", "-", "both"]
    with pytest.raises(UsageError, match=r"`strand`: expected \+, - or both, got 'plus'"):
        check_strand("plus")
