from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.evaluation.breakdown import Breakdown
from hnet_dna.evaluation.markov import Baselines, MarkovModel
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.generate import Sampling, _choose, sample
from hnet_dna.inference.strands import read_strands
from hnet_dna.inference.stream import Bases, annotate, read_sources
from hnet_dna.inference.streams import Part
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import from_text
from hnet_dna.sequence.interval import Interval


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
    monkeypatch.setattr("hnet_dna.evaluation.markov._BLOCK", 100)
    train = [random_dna(900, 1), random_dna(33, 2), "AC"]
    held_out = [random_dna(200, 3), "ACGNACGTTGCA", "A"]
    markov = MarkovModel(order, [from_text(s) for s in train])
    bits = [markov.bits(from_text(s)) for s in held_out]
    bases = sum(len(s.replace("N", "")) for s in held_out)
    assert sum(b.sum() for b in bits) / bases == pytest.approx(naive_markov(train, held_out, order), abs=1e-12)
    assert [b == "N" for b in held_out[1]] == (bits[1] == 0).tolist()


@pytest.mark.parametrize("cuts", [[1000], [1, 63, 64, 65, 200, 607], [10] * 100])
def test_baselines_do_not_depend_on_pieces(cuts: list[int]) -> None:
    train = [from_text(random_dna(3000, 1))]
    text = random_dna(500, 2) + "NR" + random_dna(498, 3)
    codes = from_text(text)
    whole = Baselines(train, [1, 3, 6]).feed(codes, first=True)
    baselines = Baselines(train, [1, 3, 6])
    baselines.feed(from_text(random_dna(77, 4)), first=True)  # a sequence before must leave no trace
    parts = []
    start = 0
    for cut in cuts:
        parts.append(baselines.feed(codes[start : start + cut], first=start == 0))
        start += cut
    for name, bits in whole.items():
        np.testing.assert_allclose(np.concatenate([part[name] for part in parts]), bits, atol=1e-9)
    assert whole["uniform"].sum() == 2 * 998


def test_mixture_is_what_a_loop_says() -> None:
    train = [from_text(random_dna(3000, 1))]
    codes = from_text(random_dna(300, 2))
    actual = Baselines(train, [1, 4]).feed(codes, first=True)
    spent, expected = np.zeros(2), []
    each = np.stack([actual["markov_1"], actual["markov_4"]])
    for t in range(300):
        weights = 2.0 ** -(spent - spent.min())
        expected.append(-np.log2((weights * 2.0 ** -each[:, t]).sum() / weights.sum()))
        spent = 0.95 * spent + each[:, t]
    np.testing.assert_allclose(actual["markov_mixture"], expected, atol=1e-9)


def test_breakdown_against_sets(tmp_path: Path) -> None:
    text = random_dna(25_000, 5)
    text = text[:8_000] + text[8_000:16_000].lower() + "NN" + text[16_000:]
    annotation = {"gene": [Interval("a", 100, 300), Interval("a", 9_990, 15_000)], "none": [Interval("b", 0, 9)]}
    random = np.random.default_rng(0)
    bits = random.random(len(text)) * (np.array(list(text.upper())) != "N")
    breakdown = Breakdown(["model", "other"], annotation)
    for start in range(0, len(text), 7_001):
        part = slice(start, min(start + 7_001, len(text)))
        codes = from_text(text[part])
        breakdown.add(Part("a", start, codes, False, False), {"model": bits[part], "other": 2 * bits[part]})
    by_class = {(r.group, r.name): r for r in breakdown.results()}
    assert set(by_class) == {
        ("all", "all"), ("contig", "a"), ("repeats", "soft-masked"), ("repeats", "unique"), ("annotation", "gene"),
    }  # fmt: skip
    inside = {
        ("all", "all"): [i for i, c in enumerate(text) if c != "N"],
        ("repeats", "soft-masked"): list(range(8_000, 16_000)),
        ("annotation", "gene"): [*range(100, 300), *range(9_990, 15_000)],
    }
    for key, places in inside.items():
        assert by_class[key].bases == len(places)
        assert by_class[key].bits_per_base["model"] == pytest.approx(bits[places].mean(), abs=1e-12)
        assert by_class[key].bits_per_base["other"] == pytest.approx(2 * bits[places].mean(), abs=1e-12)
        assert by_class[key].low < by_class[key].bits_per_base["model"] < by_class[key].high
    soft, unique = by_class["repeats", "soft-masked"].bases, by_class["repeats", "unique"].bases
    assert soft + unique == by_class["all", "all"].bases


def test_generation_is_the_model_stepped_by_hand(model: HNetLM) -> None:
    prompt = from_text(random_dna(30))
    blocks = list(sample(model, 40, count=2, prompt=prompt, sampling=Sampling(temperature=0.8, seed=5)))
    codes = np.concatenate([c for c, _ in blocks], axis=1)
    log2p = np.concatenate([p for _, p in blocks], axis=1)
    again = list(sample(model, 40, count=2, prompt=prompt, sampling=Sampling(temperature=0.8, seed=5)))
    assert (np.concatenate([c for c, _ in again], axis=1) == codes).all()
    other = next(sample(model, 40, count=2, prompt=prompt, sampling=Sampling(temperature=0.8, seed=6)))[0]
    assert (other != codes).any()
    assert (codes[0] != codes[1]).any()
    for row in range(2):
        ids = torch.tensor(np.concatenate([prompt, codes[row]]).astype(np.int64))
        log_p = torch.log_softmax(model(ids[None]).logits[0, 29:-1, :4].detach(), dim=-1)
        picked = log_p.gather(1, ids[30:, None])[:, 0] / math.log(2)
        np.testing.assert_allclose(log2p[row], picked.numpy(), atol=1e-9)


def test_greedy_and_nucleus_choose_what_they_should(model: HNetLM) -> None:
    (greedy,) = (c for c, _ in sample(model, 25, prompt=from_text("ACGT"), sampling=Sampling(temperature=0)))
    (narrow,) = (c for c, _ in sample(model, 25, prompt=from_text("ACGT"), sampling=Sampling(top_p=1e-9)))
    assert (greedy == narrow).all()
    ids = torch.tensor([[0, 1, 2, 3, *greedy[0].tolist()]])
    best = model(ids).logits[0, 3:-1, :4].argmax(dim=-1)
    assert best.tolist() == greedy[0].tolist()
    scores = np.log(np.array([[0.05, 0.5, 0.15, 0.3]])).repeat(4000, axis=0)
    everything = np.bincount(_choose(scores, Sampling(), np.random.default_rng(0)), minlength=4) / 4000
    assert everything == pytest.approx([0.05, 0.5, 0.15, 0.3], abs=0.03)
    shares = np.bincount(_choose(scores, Sampling(top_p=0.7), np.random.default_rng(0)), minlength=4) / 4000
    assert shares[0] == shares[2] == 0
    assert float(shares[1]) == pytest.approx(0.625, abs=0.03)


def pieces(texts: list[str], size: int = 1 << 20) -> Iterator[Piece]:
    for index, text in enumerate(texts):
        for start in range(0, len(text), size):
            yield Piece(f"c{index}", start, from_text(text[start : start + size]), 0)


def total(model: HNetLM, texts: list[str], **options: int) -> Score:
    return sum((Score.of(bases) for bases in annotate(pieces(texts), model, **options)), Score())


def test_uniform_model_costs_exactly_two_bits() -> None:
    model = lively_model(small_config()).float()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    score = total(model, [random_dna(777), "ACGNT", "ACRGT"], piece=100)
    assert score.bits_per_base == 2.0
    assert score.bases == 777 + 4 + 4  # N and R are not counted


TEXTS = [random_dna(150), random_dna(90, 1) + "NN" + random_dna(7, 4), "A", random_dna(33, 2), random_dna(260, 3), "NN"]


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config())


def whole_forward(model: HNetLM, text: str) -> tuple[list[float], list[list[int]], list[list[float]]]:
    """Bits, chunk starts and all probabilities of one stretch, by one call and loops."""
    ids = torch.tensor(["ACGT".index(base) for base in text])
    output = model(ids[None])
    log_p = torch.log_softmax(output.logits[0, :-1, :4].detach(), dim=-1)
    bits = [2.0] + [-float(log_p[t, ids[t + 1]]) / math.log(2) for t in range(len(text) - 1)]
    starts, probs = [], []
    positions = list(range(len(text)))
    for stage in output.stages:
        mask = stage.boundary_mask[0].tolist()[: len(positions)]
        probs.append(stage.boundary_prob[0].tolist()[: len(positions)])
        positions = [p for p, begins in zip(positions, mask, strict=True) if begins]
        starts.append(positions)
    return bits, starts, probs


@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
@pytest.mark.parametrize("read", [13, 1 << 20])
def test_results_are_those_of_whole_forwards(model: HNetLM, piece: int, read: int) -> None:
    """Whatever the pieces, and whether stretches are run one by one or side by side."""
    by_place: dict[tuple[str, int], list[Bases]] = {}
    order = []
    for bases in annotate(pieces(TEXTS, read), model, piece=piece):
        if bases.first:
            key = bases.contig, bases.start
            order.append(key)
        by_place.setdefault(key, []).append(bases)
        assert len(bases.codes) <= piece
    wanted = {("c0", 0): TEXTS[0], ("c1", 0): TEXTS[1][:90], ("c1", 92): TEXTS[1][92:], ("c2", 0): "A"}
    wanted |= {("c3", 0): TEXTS[3], ("c4", 0): TEXTS[4]}
    assert order == list(wanted)
    for key, text in wanted.items():
        parts = by_place[key]
        bits, starts, probs = whole_forward(model, text)
        assert [p.last for p in parts] == [False] * (len(parts) - 1) + [True]
        assert np.concatenate([p.codes for p in parts]).tolist() == from_text(text).tolist()
        np.testing.assert_allclose(np.concatenate([p.bits for p in parts]), bits, atol=1e-9)
        for stage in range(2):
            ours = [p.stages[stage] for p in parts]
            begins = np.concatenate([s.position[s.mask] for s in ours]) - key[1]
            assert begins.tolist() == starts[stage]
            np.testing.assert_allclose(np.concatenate([s.prob for s in ours]), probs[stage], atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "widths"),
    [(["m2", ["M2"], "m2"], [24, 40]), (["m1", ["m1", ["M1"], "m1"], "m1"], [24, 24, 40])],
)
def test_streamed_equals_whole_in_float32(layout: list[object], widths: list[int]) -> None:
    """One and two stages at working precision: identical boundaries, bits to 1e-5, for every way of cutting."""
    text = random_dna(300, 11)
    model = lively_model(
        small_config(arch_layout=layout, d_model=widths, d_intermediate=[32] * len(widths), attn_cfg={})
    ).float()
    (whole,) = annotate(pieces([text]), model)
    for piece in (1, 2, 7, 64, 299, 300):
        parts = list(annotate(pieces([text]), model, piece=piece))
        assert sum(len(part.codes) for part in parts) == 300
        np.testing.assert_allclose(np.concatenate([part.bits for part in parts]), whole.bits, atol=1e-5)
        for stage, expected in enumerate(whole.stages):
            begins = np.concatenate([p.stages[stage].position[p.stages[stage].mask] for p in parts])
            assert begins.tolist() == expected.position[expected.mask].tolist()


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_boundaries_alone_are_those_of_the_whole_model(model: HNetLM, stage: int, piece: int) -> None:
    """In one stretch and side by side, and under global attention, at every stage up to the one that is asked for."""
    attention = {"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [9, -1, 3]}
    texts = [text[-60:] for text in TEXTS] if piece == 1 else TEXTS  # base by base takes long
    for each in (model, lively_model(small_config(attn_cfg=attention))):
        wanted = list(annotate(pieces(texts, 13), each, piece=piece, context=20))
        ran = list(read_sources([pieces(texts, 13)], each, stage=stage, piece=piece, context=20))
        assert [(p.contig, p.start, p.first, p.last) for _, p, _ in ran] == [
            (w.contig, w.start, w.first, w.last) for w in wanted
        ]
        for (_, _, ours), whole in zip(ran, wanted, strict=True):
            assert not len(ours.bits)
            assert len(ours.stages) == stage + 1
            for one, other in zip(ours.stages, whole.stages, strict=False):
                np.testing.assert_array_equal(one.position, other.position)
                np.testing.assert_array_equal(one.mask, other.mask)
                np.testing.assert_array_equal(one.prob, other.prob)


def test_boundaries_alone_run_nothing_inside_nor_after(model: HNetLM) -> None:
    ran = []
    for name in ("backbone.main_network.main_network", "backbone.main_network.decoder", "backbone.decoder"):
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    list(read_sources([pieces(TEXTS)], model, stage=1))
    assert not ran
    list(annotate(pieces(TEXTS), model))
    assert len(set(ran)) == 3


def test_a_whole_run_cannot_go_on_from_boundaries_alone(model: HNetLM) -> None:
    ids = torch.zeros(1, 4, dtype=torch.long)
    for stage in (0, 1):
        state = model.boundaries(ids, stage=stage).state
        with pytest.raises(ValueError, match="only boundaries"):
            model(ids, state)
    for stage in (-1, 2):
        with pytest.raises(ValueError, match="2 chunking stages"):
            model.boundaries(ids, stage=stage)
    empty = model.boundaries(ids[:, :0], stage=0)
    assert [tuple(s.boundary_mask.shape) for s in empty.stages] == [(1, 0)]


def test_score_counts_chunks_of_each_stage(model: HNetLM) -> None:
    score = total(model, [TEXTS[0], TEXTS[4]], piece=50)
    starts = [whole_forward(model, text)[1] for text in (TEXTS[0], TEXTS[4])]
    assert score.chunks == tuple(sum(len(s[stage]) for s in starts) for stage in range(2))
    assert score.read == score.bases == 410
    assert score.positions_per_chunk == (410 / score.chunks[0], score.chunks[0] / score.chunks[1])
    assert math.isnan(Score().bits_per_base)


def test_global_attention_is_run_in_overlapping_windows() -> None:
    """Each window sees its context and itself; where the context holds all that came before, results are exact."""
    attention = {"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [9, -1, 3]}
    model = lively_model(small_config(attn_cfg=attention))
    assert model.config.has_global_attention
    assert not lively_model(small_config()).config.has_global_attention
    text = random_dna(100)
    bits = np.concatenate([b.bits for b in annotate(pieces([text]), model, piece=40, context=80)])
    np.testing.assert_allclose(bits, whole_forward(model, text)[0], atol=1e-9)
    short = list(annotate(pieces([text]), model, piece=40, context=10))
    expected = whole_forward(model, text[30:80])  # the second window: bases 40 to 79 after 10 of context
    np.testing.assert_allclose(short[1].bits[1:], expected[0][11:], atol=1e-9)
    begins = short[1].stages[0].position[short[1].stages[0].mask]
    assert begins.tolist() == [30 + s for s in expected[1][0] if s >= 10]


def test_bytes_alphabet_normalises_over_the_four_bases() -> None:
    config = small_config(vocab_size=256, alphabet="bytes")
    model = lively_model(config).float()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert total(model, ["ACGT"]).bits == 8.0


@pytest.mark.parametrize("length", [1, 2, 63, 64, 101])
def test_reverse_strand_is_the_reverse_complement_mapped_back(model: HNetLM, length: int, tmp_path: Path) -> None:
    texts = {"a": random_dna(length, 7) + "NNN" + random_dna(40, 8), "b": random_dna(length, 9)}
    genome = open_genome(write_fasta(tmp_path / "g.fa", texts))
    intervals = [Interval("a", 0, length + 43), Interval("b", 0, length)]
    text = texts["b"].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    bits, starts, probs = whole_forward(model, text)
    read = list(read_strands(genome, intervals, model, "-", bits=True, piece=16))
    actual = np.concatenate([r.minus.bits for r in read if r.minus is not None and r.part.contig == "b"])
    np.testing.assert_allclose(actual, bits[::-1], atol=1e-5)
    text = texts["a"][length + 3 :].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    after_n = [r for r in read if r.part.contig == "a" and r.part.start > length]
    inner = np.concatenate([r.minus.bits for r in after_n if r.minus is not None])
    np.testing.assert_allclose(inner, whole_forward(model, text)[0][::-1], atol=1e-5)
    read = [r for r in read_strands(genome, intervals, model, "-", stages=2, piece=16) if r.part.contig == "b"]
    for stage in range(2):
        stages = [r.minus.stages[stage] for r in read if r.minus is not None]
        np.testing.assert_allclose(np.concatenate([s.prob for s in stages]), probs[stage][::-1], atol=1e-5)
        ends = np.concatenate([s.position[s.mask] for s in stages])
        assert ends.tolist() == sorted(length - 1 - s for s in starts[stage])
    assert {r.minus_chunks for r in read} == {len(starts[1])}
