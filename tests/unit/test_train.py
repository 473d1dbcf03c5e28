"""Runs: stopped, resumed, measured and logged."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import RECIPE, make_genome, random_dna, small_config, tiny_model, train, write_fasta
from safetensors.torch import save_file

from hnet_dna.config.presets import preset
from hnet_dna.config.recipe import Optimizer, Recipe
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import split_genome
from hnet_dna.errors import ConfigError
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.cost import cost_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.checkpoints import rest_after
from hnet_dna.training.gauge import Gauge
from hnet_dna.training.optim import build_optimizer
from hnet_dna.training.progress import Budget, StepReport
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.run_folder import RunFolder, Snapshot
from hnet_dna.training.signals import stop_requests
from hnet_dna.training.train_in_folder import train_in_folder
from hnet_dna.training.trainer import Training, TrainingObserver
from hnet_dna.training.validation import Validation


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

        write = run.write

        def write_and_stop(snapshot: Snapshot, **options: Any) -> None:
            write(snapshot, **options)
            if snapshot.progress.step == stop:
                raise Stop

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "write", write_and_stop)
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


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is killed meanwhile goes on from the checkpoint before, to the same weights."""
    genome = make_genome(tmp_path)
    mixture = Mixture.of(genome, split_genome(genome), RECIPE.repeat_weight)
    run, killed = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "killed")
    run.create()
    third, calls = threading.Event(), []

    def write_slowly(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls.append(path)
        assert len(calls) != 2 or third.wait(120), "training has waited for the file"
        save_file(tensors, path)

    class Copying(TrainingObserver):
        def step(self, training: Training) -> None:
            if training.progress.step == 3:  # of step 2, something is written
                shutil.copytree(run.path, killed.path)
                third.set()

    monkeypatch.setattr("hnet_dna.training.run_folder.save_file", write_slowly)
    straight, resumed = tiny_model(), tiny_model()
    train_in_folder(run, straight, mixture, RECIPE, Budget(steps=6), observers=[Copying()])
    assert RunFolder(run.path).load(tiny_model(), build_optimizer(resumed, resumed.config, RECIPE)).step == 6
    found = [path.name for path in (killed.path / "checkpoints").iterdir() if path.name[0] != "."]
    assert found == ["step-00000001"]
    train_in_folder(killed, resumed, mixture, RECIPE, Budget(steps=6), resume=True)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_and_resumed_run_is_the_uninterrupted_one(tmp_path: Path, optimizer: Optimizer) -> None:
    recipe = replace(RECIPE, optimizer=optimizer)
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    straight, broken = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "broken")
    straight.create()
    broken.create()
    model = tiny_model()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(model, genome, split, recipe, Budget(steps=40), straight)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), f"{name} never moved"

    class Killed(Exception):
        pass

    def kill(report: object) -> None:
        raise Killed

    other = tiny_model()
    with pytest.raises(Killed):
        train(other, genome, split, recipe, Budget(steps=40), broken, on_report=kill)
    # Killed in the middle of writing a line; step 10 was logged but its checkpoint not yet written.
    with (broken.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1')
    resumed = tiny_model()
    progress = train(resumed, genome, split, recipe, Budget(steps=40), broken, resume=True)
    assert progress.step == 40
    for (name, parameter), expected in zip(resumed.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(parameter, expected), name
    assert metrics(broken)[-1] == metrics(straight)[-1]


def test_tensorboard_gets_the_same_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    genome = make_genome(tmp_path)
    run = RunFolder(tmp_path / "r")
    run.create()
    recipe = replace(RECIPE, tensorboard=True)
    train(tiny_model(), genome, split_genome(genome), recipe, Budget(steps=20), run)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    shown = [event.value for event in events.Scalars("train/bits_per_base")]
    assert shown == pytest.approx([float(str(line["bits_per_base"])) for line in metrics(run)])


def test_validation_is_logged_and_the_best_model_kept(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": "ACGTTGCA" * 500, "b": "ACGTTGCA" * 50}))
    (tmp_path / "split.bed").write_text("a\t0\t4000\ttrain\nb\t0\t400\tvalid\n")
    run = RunFolder(tmp_path / "r")
    run.create()
    recipe = replace(RECIPE, validate_every=10, learning_rate=1e-2)
    split = split_genome(genome, split=str(tmp_path / "split.bed"))
    progress = train(tiny_model(), genome, split, recipe, Budget(steps=40), run)
    measured = [float(str(line["valid_bits_per_base"])) for line in metrics(run) if "valid_bits_per_base" in line]
    assert len(measured) == 4
    assert progress.best == min(measured) < measured[0]
    record = json.loads((run.path / "best" / "best.json").read_text())
    assert record["valid_bits_per_base"] == progress.best
    best = HNetLM.from_pretrained(run.path / "best")
    score = Score()
    for bases in annotate(forward_pieces(genome, split.valid), best):
        score += Score.of(bases)
    assert score.bits_per_base == pytest.approx(record["valid_bits_per_base"], abs=1e-6)


def test_time_that_a_validation_uses_up_ends_the_run_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last steps before it must not be lost, though no checkpoint is due."""
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(3000), "b": random_dna(200, 1)}))
    (tmp_path / "split.bed").write_text("a\t0\t3000\ttrain\nb\t0\t200\tvalid\n")

    def slowly(self: Validation, training: Training) -> None:
        usual(self, training)
        if training.progress.step % 7 == 0:
            training.spend(1e6)

    usual = Validation.step
    monkeypatch.setattr(Validation, "step", slowly)
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    recipe = replace(RECIPE, validate_every=7, checkpoint_every=1e9)
    split = split_genome(genome, split=str(tmp_path / "split.bed"))
    progress = train(model, genome, split, recipe, Budget(seconds=1e5), run)
    assert progress.step == 7
    assert [line["step"] for line in metrics(run)] == [7, 7], "validated once, reported once"
    saved = HNetLM.from_pretrained(run.path).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name


@pytest.mark.slow
def test_overfits_two_kilobases_and_moves_every_parameter(tmp_path: Path) -> None:
    """Memorising random bases, which nothing but a gradient through every part can do."""
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(2000), "b": random_dna(100)}))
    run = RunFolder(tmp_path / "r")
    run.create()
    recipe = Recipe(
        window=500, batch=4, optimizer="muon", learning_rate=6e-3, lr_multipliers=(1.0, 0.7), weight_decay=0.0,
        warmup=0.05, decay=0.5, checkpoint_every=1e9,
    )  # fmt: skip
    torch.manual_seed(0)
    model = HNetLM(
        small_config(
            arch_layout=["m1", ["M1"], "m1"], d_model=[56, 80], d_intermediate=[0, 128], attn_cfg={},
            ssm_cfg={"d_state": 16, "head_dim": 16, "chunk_size": 32},
        )
    )  # fmt: skip
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    reports: list[StepReport] = []
    split = split_genome(genome, ["b"])
    train(model, genome, split, recipe, Budget(steps=240), run, on_report=reports.append)
    assert reports[-1].bits < 0.5  # of 2
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_a_second_sigterm_changes_nothing_and_a_second_ctrl_c_ends() -> None:
    with stop_requests() as request:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert request.exit_code == 75
        signal.raise_signal(signal.SIGINT)
        assert request.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("saving", "every", "rest"), [(0.1, 60, 60), (8.0, 60, 400), (3.0, 0, 0)])
def test_checkpoints_of_large_models_take_a_fiftieth_of_the_time(saving: float, every: float, rest: float) -> None:
    assert rest_after(saving, every) == pytest.approx(rest)


def test_the_log_says_what_each_gpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of a GPU's rate, by the chunks that there were: at the target it is what the plan says."""
    config, recipe = preset("m3t1-m15-m4", "dna", 5), replace(RECIPE, window=8192)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 << 30)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    gauge = Gauge(config, recipe, Ranks(0, 2, torch.device("cuda", 0)))
    figures = gauge.read(2e6, [3.0])
    expected = 1e6 * cost_of(config, [3.0], 8192).training_flops / 9.89e14
    assert figures == {"bases_per_second_per_gpu": 1_000_000, "gib": 3.0, "of_peak": pytest.approx(expected, abs=1e-4)}
    assert gauge.read(2e6, [6.0])["of_peak"] < figures["of_peak"]
    assert Gauge(config, recipe, Ranks()).read(2e6, [3.0]) == {}
