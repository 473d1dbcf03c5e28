"""Models of k-mers: the same function over (input, state), in bits per base like any other."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import allele_scores, lively_model, random_dna, small_config, train, write_fasta
from torch import Tensor

import hnet_dna
from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.data.split import split_genome
from hnet_dna.errors import ConfigError, UsageError
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.generate import sample
from hnet_dna.inference.stream import annotate
from hnet_dna.inference.variants import Variant
from hnet_dna.model.hnet import select_rows
from hnet_dna.model.kmers import KmerStage, KmerState
from hnet_dna.model.likelihood import base_nats
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.rows import Rows
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import from_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.chunks import check_stage
from hnet_dna.training.optim import build_optimizer
from hnet_dna.training.progress import Budget, StepReport
from hnet_dna.training.run_folder import RunFolder


def kmer_config(k: int, **changes: object) -> ModelConfig:
    attention = {"num_heads": 3, "rotary_emb_dim": 4, "window_size": 5}
    shape = {"arch_layout": ["m1T1"], "d_model": [24], "d_intermediate": [32], "attn_cfg": attention}
    return small_config(**{"kmer": k, **shape, **changes})


def token_log_p(model: HNetLM, tokens: list[int]) -> Tensor:
    """Log p (J+1, 4^k) of every k-mer after the first 0, 1, ... of `tokens`, from the model's parts."""
    assert isinstance(model.backbone, KmerStage)
    x = torch.cat([model.backbone.begin[None], model.embeddings(torch.tensor(tokens, dtype=torch.long))])[None]
    out, _ = model.backbone.main_network(x, Rows.full(x), None)
    return torch.log_softmax(model.lm_head(out[0]), dim=-1).detach()


def numbers(ids: list[int], k: int) -> list[int]:
    """Number the whole k-mers in the order of itertools.product, and any with another letter after all of them."""
    order = {kmer: i for i, kmer in enumerate(itertools.product(range(4), repeat=k))}
    return [order.get(tuple(ids[i : i + k]), 4**k) for i in range(0, len(ids) - k + 1, k)]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_nats_of_bases_add_up_to_those_of_their_kmer(k: int) -> None:
    model = lively_model(kmer_config(k))
    ids = torch.randint(0, 4, (1, 7 * k))
    tokens = numbers(ids[0].tolist(), k)
    nats = base_nats(model(ids).logits[:, :-1], ids[:, 1:], alphabet("dna"))[0].detach()  # base 0 is not predicted
    log_p = token_log_p(model, tokens)
    whole = nats[k - 1 :].view(6, k).sum(dim=1)
    torch.testing.assert_close(whole, -log_p[torch.arange(1, 7), tokens[1:]], rtol=0, atol=1e-9)
    # The first k-mer, given its first base.
    first = int(ids[0, 0]) * 4 ** (k - 1)
    given = log_p[0, tokens[0]] - log_p[0, first : first + 4 ** (k - 1)].logsumexp(0)
    torch.testing.assert_close(nats[: k - 1].sum(), -given, rtol=0, atol=1e-9)


def test_every_base_is_what_a_loop_over_kmers_says() -> None:
    """Also after an N, which counts as A within its k-mer, makes the k-mer the last token, and has no say beyond it."""
    k = 3
    model = lively_model(kmer_config(k))
    ids = torch.randint(0, 4, (1, 31))
    ids[0, 7] = ids[0, 14] = ids[0, 18] = 4
    letters = ids[0].tolist()
    tokens = numbers(letters, k)
    assert [i for i, token in enumerate(tokens) if token == 64] == [2, 4, 6]
    log_p = token_log_p(model, tokens)
    logits = model(ids).logits[0].detach()
    kmers = list(itertools.product(range(4), repeat=k))
    for t in range(31):
        j, offset = divmod(t + 1, k)
        seen = tuple(0 if letter == 4 else letter for letter in letters[j * k : t + 1])
        sums = [
            sum(math.exp(log_p[j, i]) for i, kmer in enumerate(kmers) if kmer[: offset + 1] == (*seen, base))
            for base in range(4)
        ]
        wanted = torch.tensor(sums, dtype=torch.float64)
        torch.testing.assert_close(logits[t, :4].exp(), wanted / wanted.sum(), rtol=0, atol=1e-9)
    assert torch.isfinite(logits).all()
    assert (logits.softmax(-1)[:, 4] == 0).all()
    changed = ids.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 4  # in the k-mer of the first N: one token, whatever its other letters
    again = model(changed).logits[0]
    torch.testing.assert_close(again[8:], logits[8:], rtol=0, atol=1e-9)
    assert not torch.allclose(again[6:8], logits[6:8])


def test_alphabet_decides_the_ids() -> None:
    dna = lively_model(kmer_config(3))
    ascii_model = HNetLM(kmer_config(3, alphabet="bytes", vocab_size=256)).double()
    ascii_model.load_weights(dna.state_dict())  # the vocabulary of bases is not among the weights
    text = "ACGTNTTRGACA"
    ids = torch.tensor([["ACGTN".index(c) if c in "ACGT" else 4 for c in text]])
    logits = ascii_model(torch.tensor([list(text.encode())])).logits
    assert logits.shape == (1, 12, 256)
    torch.testing.assert_close(logits[..., [65, 67, 71, 84]], dna(ids).logits[..., :4])


def test_rows_at_different_phases_go_on_from_one_state() -> None:
    """Streaming itself is in tests/parity; here endings of beginnings, as variants have, and a bounded state."""
    k = 3
    model = lively_model(kmer_config(k))
    ids, lengths = torch.randint(0, 4, (3, 40)), torch.tensor([40, 17, 18])
    state = model(ids, lengths=lengths).state
    assert isinstance(state, KmerState)
    assert state.phase.tolist() == [1, 2, 0]
    owner = torch.tensor([1, 2, 0, 2])
    endings = torch.randint(0, 4, (4, 10))
    logits = model(endings, select_rows(state, owner)).logits
    for row, source in enumerate(owner.tolist()):
        whole = torch.cat([ids[source, : lengths[source]], endings[row]])[None]
        torch.testing.assert_close(logits[row], model(whole).logits[0, -10:], rtol=0, atol=1e-9)

    def size(value: object) -> int:
        return value.numel() if isinstance(value, Tensor) else sum(map(size, value)) if isinstance(value, tuple) else 0

    assert size(model(ids[:, :30]).state) == size(model(ids).state)


@pytest.mark.parametrize("empty", [True, False])
def test_a_sequence_may_begin_with_nothing(empty: bool) -> None:
    model = lively_model(kmer_config(2))
    ids = torch.randint(0, 4, (2, 9))
    nothing = model(ids[:, :0]) if empty else model(ids, lengths=torch.tensor([0, 0]))
    assert nothing.logits.shape == (2, 0 if empty else 9, 5)
    torch.testing.assert_close(model(ids, nothing.state).logits, model(ids).logits)


def test_evaluation_generation_and_variants_are_the_model_itself(tmp_path: Path) -> None:
    model = lively_model(kmer_config(3))
    texts = [random_dna(100), random_dna(31, 1) + "NN" + random_dna(8, 2)]

    def bits(text: str) -> list[float]:
        ids = torch.tensor([["ACGT".index(base) for base in text]])
        log_p = torch.log_softmax(model(ids).logits[0, :-1, :4].detach(), dim=-1)
        return [2.0, *(-log_p.gather(1, ids[0, 1:, None])[:, 0] / math.log(2)).tolist()]

    wanted = [bits(texts[0]), bits(texts[1][:31]), bits(texts[1][33:])]
    pieces = [Piece(str(i), 0, from_text(text), 0) for i, text in enumerate(texts)]
    for size in (7, 1000):
        streamed = [base for bases in annotate(pieces, model, piece=size) for base in bases.bits.tolist()]
        np.testing.assert_allclose(streamed, np.concatenate(wanted), atol=1e-9)

    prompt = texts[0][:10]
    ((codes, log2p),) = sample(model, 12, prompt=from_text(prompt))
    text = prompt + "".join("ACGT"[code] for code in codes[0])
    np.testing.assert_allclose(-log2p[0], bits(text)[10:], atol=1e-9)

    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": texts[0]}))
    alts = tuple(base for base in "ACGT" if base != texts[0][50])
    variant = Variant(Interval("a", 50, 51), texts[0][50], (*alts, texts[0][50] + "GA"))
    (scores,) = allele_scores(genome, [variant], model, window=400, strand="+")
    changed = [texts[0][:50] + alt + texts[0][51:] for alt in variant.alts]
    np.testing.assert_allclose(scores, [sum(wanted[0]) - sum(bits(text)) for text in changed], atol=1e-9)


def test_what_has_no_meaning_is_refused() -> None:
    model = lively_model(kmer_config(3))
    assert model(torch.zeros(1, 5, dtype=torch.long)).stages == ()
    with pytest.raises(UsageError, match="chunking stages of this model: 0; expected a model that has a router"):
        check_stage(model, 0)
    with pytest.raises(UsageError, match="this model reads 3-mers: it has no vectors"):
        hnet_dna.embed(model, ["ACGT"], level="decoder")


def test_training_learns_a_repeat_and_is_saved(tmp_path: Path) -> None:
    """Random bases, repeated: only what reaches the k-mers before tells the next, and every parameter learns."""
    unit = random_dna(10, 3)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": unit * 60, "b": random_dna(40)}))
    torch.manual_seed(0)
    model = HNetLM(kmer_config(3, attn_cfg={"num_heads": 3, "window_size": 16}))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    recipe = Recipe(window=96, batch=8, learning_rate=1e-2, weight_decay=0.0, checkpoint_every=1e9)
    run = RunFolder(tmp_path / "r")
    run.create()
    reports: list[StepReport] = []
    train(model, genome, split_genome(genome, ["b"]), recipe, Budget(steps=60), run, on_report=reports.append)
    assert 1.5 < reports[0].bits < 2.5
    assert reports[-1].bits < 0.6
    assert reports[-1].bases_per_chunk == ()
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert {group["lr_multiplier"] for group in build_optimizer(model, model.config, recipe).param_groups} == {1.0}
    loaded = HNetLM.from_pretrained(run.path)
    assert loaded.config == model.config
    ids = torch.randint(0, 4, (2, 20))
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_autocast_keeps_probabilities_in_float32() -> None:
    model = lively_model(kmer_config(3)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randint(0, 4, (2, 30)))
        again = model(torch.randint(0, 4, (2, 4)), output.state)
    for logits in (output.logits, again.logits):
        assert logits.dtype == torch.float32
        torch.testing.assert_close(logits[..., :4].exp().sum(-1), torch.ones(logits.shape[:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kmer": -1}, "kmer: expected 0 .single bases. or 2 to 8, got -1"),
        ({"kmer": 1}, "kmer: expected 0 .* got 1"),
        ({"kmer": 9}, "kmer: expected 0 .* got 9"),
        ({"kmer": "3"}, "kmer: expected an integer"),
        ({"alphabet": None}, "kmer: k-mers need an alphabet"),
        ({"tie_embeddings": True}, "kmer: .* cannot tie"),
        ({"arch_layout": ["m1", ["m1"], "m1"], "d_model": [24, 24], "d_intermediate": [0, 0]}, "kmer: .* isotropic"),
        ({"vocab_size": 3}, "vocab_size: k-mers need the ids of A, C, G, T"),
        ({"alphabet": "dnaa"}, "Did you mean dna"),
    ],
)
def test_bad_configs_name_the_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HNetLM(kmer_config(3, **change))


def test_json_round_trip_and_name() -> None:
    config = kmer_config(6)
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["kmer"] == 6
    assert str(config) == "m1T1, width 24, 6-mers"
    assert small_config().kmer == 0
