from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.data.genome import Genome
from hnet_dna.data.split import split_genome
from hnet_dna.data.stream import read_batch
from hnet_dna.data.windows import Position, Window
from hnet_dna.errors import CheckpointError, ConfigError, TrainingError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import SOFT_MASK
from hnet_dna.sequence.interval import Interval
from hnet_dna.train.loss import language_model_loss
from hnet_dna.train.optim import build_optimizer, is_decayed, schedule, stage_of
from hnet_dna.train.recipe import Recipe
from hnet_dna.train.run_folder import Progress, RunFolder
from hnet_dna.train.trainer import Budget, StepReport, train

RECIPE = Recipe(window=64, batch=4, checkpoint_every=0.0, lr_multipliers=(1.0, 0.5, 0.25))


def tiny_model() -> HNetLM:
    torch.manual_seed(0)
    return HNetLM(small_config(arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={}))


def make_genome(tmp_path: Path) -> Genome:
    return Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(4000), "b": random_dna(400, 1)}))


def test_exempt_names_are_pinned() -> None:
    model = HNetLM(small_config())
    ends = {".".join(name.split(".")[-2:]) for name, _ in model.named_parameters() if not is_decayed(name)}
    assert ends == {
        "norm1.weight", "norm2.weight", "norm.weight", "rmsnorm.weight", "conv1d.bias", "residual_proj.bias",
        "mixer.dt_bias", "mixer.A_log", "mixer.D",
    }  # fmt: skip


def test_every_parameter_has_the_rate_of_its_stage() -> None:
    model = HNetLM(small_config())
    assert stage_of("embeddings.weight") == stage_of("lm_head.weight") == stage_of("backbone.residual_proj.weight") == 0
    assert stage_of("backbone.main_network.routing_module.q_proj_layer.weight") == 1
    assert stage_of("backbone.main_network.main_network.pad_dimension") == 2
    assert stage_of("backbone.main_network.main_network.main_network.layers.0.norm1.weight") == 2
    assert stage_of("backbone.main_network.layers.0.norm1.weight") == 0  # isotropic
    optimizer = build_optimizer(model, RECIPE)
    found = {id(p): group["lr_multiplier"] for group in optimizer.param_groups for p in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert found[id(parameter)] == (1.0, 0.5, 0.25)[stage_of(name)], name


def test_schedule_rises_holds_and_falls() -> None:
    recipe = Recipe(warmup=0.1, decay=0.2)
    assert schedule(0.05, recipe) == pytest.approx(0.5)
    assert schedule(0.1, recipe) == schedule(0.5, recipe) == schedule(0.79, recipe) == 1.0
    assert schedule(0.9, recipe) == pytest.approx(0.5)
    assert schedule(1.0, recipe) == 0.0


def test_loss_counts_only_known_bases() -> None:
    model = lively_model(small_config())
    output = model(torch.randint(0, 4, (2, 10)))
    targets = torch.randint(0, 4, (2, 10))
    targets[0, 3:] = -100
    loss = language_model_loss(output, targets, alphabet("dna"), [3.0, 2.0], 0.0)
    log_p = torch.log_softmax(output.logits[..., :4], dim=-1)
    expected = -sum(log_p.detach()[b, t, targets[b, t]] for b in range(2) for t in range(10) if targets[b, t] >= 0)
    assert loss.bases == 13
    assert float(loss.nats) == pytest.approx(float(expected))
    assert float(loss.total.detach()) == pytest.approx(float(expected) / 13)


def test_soft_masked_targets_weigh_less_on_both_strands(tmp_path: Path) -> None:
    """With weight 0, training on a genome whose second half is masked equals training without those targets."""
    model = lively_model(small_config())
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(40) + random_dna(40, 1).lower()}))
    for reverse in (False, True):
        batch = read_batch(genome, [Window(Interval("a", 0, 80), reverse)], Position())
        codes = batch.codes.long()
        output = model(codes[:, :-1] & 3)
        targets = codes[:, 1:] & 3
        weights = torch.where((codes[:, 1:] & SOFT_MASK) > 0, 0.0, 1.0)
        loss = language_model_loss(output, targets, alphabet("dna"), [3.0, 2.0], 0.0, weights)
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


@pytest.mark.parametrize("workers", [0, 1])
def test_resume_over_a_change_of_window_is_exact(tmp_path: Path, workers: int) -> None:
    genome = make_genome(tmp_path)
    recipe = replace(RECIPE, window_warmup=((0.5, 32),))
    split = split_genome(genome, ["b"])

    def run_to(folder: str, stops: list[int]) -> dict[str, torch.Tensor]:
        run = RunFolder(tmp_path / folder)
        run.create()
        for index, _ in enumerate(stops):
            model = tiny_model()
            progress_stop(model, run, stops[index], resume=index > 0)
        return dict(model.state_dict())

    def progress_stop(model: HNetLM, run: RunFolder, stop: int, *, resume: bool) -> None:
        class Stop(Exception):
            pass

        saved = run.save

        def save_and_stop(m: HNetLM, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
            saved(m, optimizer, progress)
            if progress.step == stop:
                raise Stop

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "save", save_and_stop)
            with pytest.raises(Stop):
                train(model, genome, split, recipe, Budget(steps=12), run, resume=resume, workers=workers)

    whole = run_to("whole", [12])
    parts = run_to("parts", [3, 6, 7, 12])
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_recipe_is_strict() -> None:
    assert Recipe.from_dict(json.loads(json.dumps(RECIPE.to_dict()))) == RECIPE
    with pytest.raises(ConfigError, match="Did you mean batch"):
        Recipe.from_dict({"bacth": 3})
    with pytest.raises(ConfigError, match="ratio_targets"):
        Recipe(ratio_targets=(1.0,))
    with pytest.raises(ConfigError, match="may not exceed 1"):
        Recipe(warmup=0.6, decay=0.6)


def metrics(run: RunFolder) -> list[dict[str, object]]:
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    timings = {"seconds", "bases_per_second", "waiting_for_data"}
    return [{k: v for k, v in json.loads(line).items() if k not in timings} for line in lines]


def test_stopped_and_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    straight, broken = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "broken")
    straight.create()
    broken.create()
    model = tiny_model()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(model, genome, split, RECIPE, Budget(steps=40), straight)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} never moved"

    class Killed(Exception):
        pass

    def kill(report: object) -> None:
        raise Killed

    other = tiny_model()
    with pytest.raises(Killed):
        train(other, genome, split, RECIPE, Budget(steps=40), broken, on_report=kill)
    # Killed in the middle of writing a line; step 10 was logged but its checkpoint not yet written.
    with (broken.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    resumed = tiny_model()
    progress = train(resumed, genome, split, RECIPE, Budget(steps=40), broken, resume=True)
    assert progress.step == 40
    for (name, parameter), expected in zip(resumed.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(parameter, expected), name
    assert metrics(broken)[-1] == metrics(straight)[-1]


def test_checkpoint_survives_a_kill_between_its_renames(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    optimizer = build_optimizer(model, RECIPE)
    run.save(model, optimizer, Progress(3, 1.0, Position(0, 5)))
    (run.path / "checkpoint").rename(run.path / ".checkpoint.old")
    assert run.has_checkpoint()
    assert run.load(tiny_model(), optimizer) == Progress(3, 1.0, Position(0, 5))


def test_damaged_checkpoint_and_foreign_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    optimizer = build_optimizer(model, RECIPE)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        run.load(model, optimizer)
    run.save(model, optimizer, Progress())
    (run.path / "checkpoint" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="damaged"):
        run.load(model, optimizer)
    with pytest.raises(UsageError, match="exists already"):
        run.create()
    with pytest.raises(CheckpointError, match="not a run folder"):
        RunFolder(tmp_path).description()


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"step 1: .* not a number \(windows "):
        train(model, genome, split_genome(genome), RECIPE, Budget(steps=3), run)


@pytest.mark.slow
def test_overfits_a_short_sequence(tmp_path: Path) -> None:
    """Memorising random bases needs a gradient through every part."""
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(300), "b": random_dna(30)}))
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    reports: list[StepReport] = []
    recipe = Recipe(window=300, batch=4, learning_rate=1e-2, weight_decay=0.0, checkpoint_every=1e9)
    train(model, genome, split_genome(genome), recipe, Budget(steps=300), run, on_report=reports.append)
    assert reports[-1].bits < 1.0
