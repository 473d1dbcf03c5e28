"""One step: its loss, its precision, and the same result however it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import RECIPE, lively_model, make_genome, random_dna, small_config, tiny_model, train, write_fasta

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import read_batch
from hnet_dna.data.split import split_genome
from hnet_dna.data.windows import Position, Window
from hnet_dna.errors import ConfigError, UsageError
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import SOFT_MASK
from hnet_dna.sequence.interval import Interval
from hnet_dna.training import step
from hnet_dna.training.loss import language_model_loss
from hnet_dna.training.progress import Budget
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.run_folder import RunFolder


def test_loss_counts_only_known_bases() -> None:
    model = lively_model(small_config())
    output = model(torch.randint(0, 4, (2, 10)))
    targets = torch.randint(0, 4, (2, 10))
    targets[0, 3:] = -100
    loss = language_model_loss(output, targets, alphabet("dna"), [3.0, 2.0], [0.0, 0.0])
    log_p = torch.log_softmax(output.logits[..., :4], dim=-1)
    expected = -sum(log_p.detach()[b, t, targets[b, t]] for b in range(2) for t in range(10) if targets[b, t] >= 0)
    assert loss.bases == 13
    assert float(loss.nats) == pytest.approx(float(expected))
    assert float(loss.total.detach()) == pytest.approx(float(expected) / 13)


def test_soft_masked_targets_weigh_less_on_both_strands(tmp_path: Path) -> None:
    """With weight 0, training on a genome whose second half is masked equals training without those targets."""
    model = lively_model(small_config())
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(40) + random_dna(40, 1).lower()}))
    for reverse in (False, True):
        batch = read_batch([genome], [Window(Interval("a", 0, 80), reverse)], Position())
        codes = batch.codes.long()
        output = model(codes[:, :-1] & 3)
        targets = codes[:, 1:] & 3
        weights = torch.where((codes[:, 1:] & SOFT_MASK) > 0, 0.0, 1.0)
        loss = language_model_loss(output, targets, alphabet("dna"), [3.0, 2.0], [0.0, 0.0], weights)
        # Position t predicts base t+1 of the strand read: the masked half comes second forward, first backward.
        kept = slice(0, 39) if not reverse else slice(39, 79)
        log_p = torch.log_softmax(output.logits[0, :, :4], dim=-1)
        picked = -log_p.detach()[torch.arange(79), targets[0]]
        assert float(loss.total.detach()) == pytest.approx(float(picked[kept].sum() / 79))
        assert float(loss.nats) == pytest.approx(float(picked.sum()))


def test_window_warmup_keeps_bases_per_step() -> None:
    recipe = Recipe(window=1024, batch=4, window_warmup=((0.1, 256), (0.3, 512)))
    assert [recipe.window_at(share) for share in (0.0, 0.09, 0.1, 0.29, 0.3, 1.0)] == [256, 256, 512, 512, 1024, 1024]
    assert [recipe.batch_of(length) for length in (256, 512, 1024, 8192)] == [16, 8, 4, 1]
    for bad in (((0.3, 256), (0.1, 512)), ((1.5, 256),), ((0.2, 0),)):
        with pytest.raises(ConfigError, match="window_warmup"):
            Recipe(window_warmup=bad)


def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    """Windows of several lengths and soft-masked bases, so that a mean of means would differ."""
    sequence = random_dna(4000)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": sequence[:2000] + sequence[2000:].lower()}))
    split = split_genome(genome)
    recipe = replace(RECIPE, ratio_weights=(0.0,), repeat_weight=0.3, learning_rate=1e-2)
    models = []
    for parts in (1, 2, 4):
        run = RunFolder(tmp_path / str(parts))
        run.create()
        models.append(tiny_model().double())
        train(models[-1], genome, split, replace(recipe, accumulate=parts), Budget(steps=5), run)
    for model in models[1:]:
        for (name, parameter), expected in zip(model.named_parameters(), models[0].parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-7, msg=name)


def test_recomputing_activations_changes_nothing(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    models = []
    for recompute in (False, True):
        run = RunFolder(tmp_path / str(recompute))
        run.create()
        models.append(tiny_model())
        recipe = replace(RECIPE, recompute=recompute)
        train(models[-1], genome, split_genome(genome), recipe, Budget(steps=3), run)
    for (name, parameter), expected in zip(models[1].named_parameters(), models[0].parameters(), strict=True):
        assert torch.equal(parameter, expected), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's tracer warns of itself
def test_compiled_layers_train_as_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is traced, without the compiler behind it, which takes minutes on a CPU."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend="eager", **options))
    genome = make_genome(tmp_path)
    models = []
    for compiled in (False, True):
        run = RunFolder(tmp_path / str(compiled))
        run.create()
        models.append(tiny_model())
        train(models[-1], genome, split_genome(genome), replace(RECIPE, compile=compiled), Budget(steps=4), run)
    assert list(models[0].state_dict()) == list(models[1].state_dict())
    for (name, parameter), expected in zip(models[1].named_parameters(), models[0].parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6, msg=name)


def test_bf16_leaves_alone_what_decides(tmp_path: Path) -> None:
    model = HNetLM(small_config())
    ids = torch.randint(0, 4, (2, 90))
    precise = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(ids)
    assert rough.logits.dtype == torch.float32
    assert any(t.dtype == torch.bfloat16 for t in _tensors(rough.state)), "products run in bfloat16"
    for stage in rough.stages:
        assert stage.boundary_prob.dtype == torch.float32
    states = [t for t in _tensors(rough.state) if t.ndim == 4 and t.shape[1] == 8]  # S (B, N, H, P)
    assert states
    assert all(state.dtype == torch.float32 for state in states)
    torch.testing.assert_close(rough.logits.float(), precise.logits, rtol=0, atol=0.1)
    genome = make_genome(tmp_path)
    run = RunFolder(tmp_path / "r")
    run.create()
    trained = tiny_model()
    train(trained, genome, split_genome(genome), replace(RECIPE, precision="bf16"), Budget(steps=3), run)
    assert {p.dtype for p in trained.parameters()} == {torch.float32}


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value if isinstance(value, tuple) else vars(value).values() if value is not None else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def test_products_of_float32_are_fast_only_inside_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, seen = torch.backends.cuda.matmul, []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(matmul.allow_tf32)
        return language_model_loss(*arguments, **options)

    monkeypatch.setattr(step, "language_model_loss", watched)
    genome = make_genome(tmp_path)
    for precision in ("bf16", "fp32"):
        run = RunFolder(tmp_path / precision)
        run.create()
        train(tiny_model(), genome, split_genome(genome), replace(RECIPE, precision=precision), Budget(steps=1), run)
    assert seen == [True, False]
    assert not matmul.allow_tf32


def test_batch_that_ranks_cannot_share_is_refused(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    model, recipe, run = tiny_model(), replace(RECIPE, batch=3), RunFolder(tmp_path / "run")
    with pytest.raises(UsageError, match="3 windows cannot be shared by 2 ranks"):
        train(model, genome, split_genome(genome), recipe, Budget(steps=5), run, ranks=Ranks(size=2))
