from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import lively_model, random_dna, small_config

from hnet_dna.evaluate.markov import markov_bits
from hnet_dna.evaluate.stream import score_segments, total_score
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import from_text


def naive_markov(train: list[str], held_out: list[str], order: int) -> float:
    """Dictionaries and loops."""
    complement = str.maketrans("ACGT", "TGCA")
    counts: dict[str, int] = {}
    for sequence in train:
        for strand in (sequence, sequence[::-1].translate(complement)):
            for i in range(len(strand) - order):
                word = strand[i : i + order + 1]
                counts[word] = counts.get(word, 0) + 1
    bits = bases = 0.0
    for sequence in held_out:
        for i, base in enumerate(sequence):
            if base == "N":
                continue
            bases += 1
            context = sequence[i - order : i] if i >= order else "N"
            if "N" in context:
                bits += 2.0
                continue
            total = sum(counts.get(context + letter, 0) for letter in "ACGT")
            bits -= math.log2((counts.get(context + base, 0) + 1) / (total + 4))
    return bits / bases


@pytest.mark.parametrize("order", [1, 2, 5])
def test_markov_equals_dictionaries(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.evaluate.markov._BLOCK", 100)
    train = [random_dna(900, 1), random_dna(33, 2), "AC"]
    held_out = [random_dna(200, 3), "ACGNACGTTGCA", "A"]
    found = markov_bits([from_text(s) for s in train], [from_text(s) for s in held_out], order)
    assert found == pytest.approx(naive_markov(train, held_out, order), abs=1e-12)


def test_uniform_model_costs_exactly_two_bits() -> None:
    model = lively_model(small_config()).float()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    segments = [from_text(random_dna(777)), from_text("ACGNT")]
    score = total_score([s for _, s in score_segments(model, segments, piece=100)], 2)
    assert score.bits_per_base == 2.0
    assert score.bases == 777 + 4  # N is not counted


@pytest.mark.parametrize("piece", [1, 50, 1000])
@pytest.mark.parametrize("rows", [1, 3])
def test_score_is_the_sum_over_a_whole_forward(piece: int, rows: int) -> None:
    model = lively_model(small_config())
    texts = [random_dna(150), random_dna(90, 1), "A", random_dna(33, 2)]
    bits, chunks = 0.0, np.zeros(2, dtype=int)
    for text in texts:
        ids = torch.tensor(["ACGT".index(base) for base in text])
        output = model(ids[None])
        log_p = torch.log_softmax(output.logits[0, :-1, :4], dim=-1)
        bits += 2.0 - float(log_p.gather(1, ids[1:, None]).sum().detach()) / math.log(2)
        chunks += np.array([int(stage.boundary_mask.sum()) for stage in output.stages])
    pieces = list(score_segments(model, [from_text(t) for t in texts], rows=rows, piece=piece))
    score = total_score([s for _, s in pieces], 2)
    assert sum(done for done, _ in pieces) == sum(map(len, texts))
    assert score.bits == pytest.approx(bits, abs=1e-6)
    assert score.chunks == tuple(chunks)


def test_windows_cut_the_context() -> None:
    model = lively_model(small_config())
    text = random_dna(64)
    cut = total_score([s for _, s in score_segments(model, [from_text(text)], window=16)], 2)
    apart = [from_text(text[start : start + 16]) for start in range(0, 64, 16)]
    whole = total_score([s for _, s in score_segments(model, apart)], 2)
    assert cut.bits == pytest.approx(whole.bits, abs=1e-9)
    assert len(list(itertools.chain(apart))) == 4


def test_bytes_alphabet_normalises_over_the_four_bases() -> None:
    config = small_config(vocab_size=256, alphabet="bytes")
    model: HNetLM = lively_model(config).float()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    (piece,) = score_segments(model, [from_text("ACGT")])
    assert piece[1].bits == 8.0
