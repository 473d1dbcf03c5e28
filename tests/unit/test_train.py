from __future__ import annotations

import json
import math
import shutil
import signal
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import lively_model, random_dna, small_config, train, write_fasta
from safetensors.torch import save_file

from hnet_dna.config.presets import preset
from hnet_dna.config.recipe import Optimizer, Recipe
from hnet_dna.data.batches import read_batch
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import split_genome
from hnet_dna.data.windows import Position, Window
from hnet_dna.errors import ConfigError, TrainingError, UsageError
from hnet_dna.evaluation.score import Score
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.pieces import forward_pieces
from hnet_dna.inference.stream import annotate
from hnet_dna.model.cost import cost_of
from hnet_dna.model.hnet import ChunkingStage, stage_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import SOFT_MASK
from hnet_dna.sequence.interval import Interval
from hnet_dna.training import step
from hnet_dna.training.checkpoints import rest_after
from hnet_dna.training.gauge import Gauge
from hnet_dna.training.loss import language_model_loss
from hnet_dna.training.observer import TrainingObserver
from hnet_dna.training.optim import build_optimizer, is_decayed, schedule, stage_multipliers
from hnet_dna.training.progress import Budget, StepReport
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.run_folder import RunFolder, Snapshot
from hnet_dna.training.signals import stop_requests
from hnet_dna.training.train_in_folder import train_in_folder
from hnet_dna.training.trainer import Training
from hnet_dna.training.validation import Validation
from hnet_dna.training.watch import Trouble, Watch

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
    optimizer = build_optimizer(model, model.config, RECIPE)
    multipliers = {id(p): group["lr_multiplier"] for group in optimizer.param_groups for p in group["params"]}
    assert len(multipliers) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert multipliers[id(parameter)] == (1.0, 0.5, 0.25)[stage_of(name)], name


def test_schedule_rises_holds_and_falls() -> None:
    recipe = Recipe(warmup=0.1, decay=0.2)
    assert schedule(0.05, recipe) == pytest.approx(0.5)
    assert schedule(0.1, recipe) == schedule(0.5, recipe) == schedule(0.79, recipe) == 1.0
    assert schedule(0.9, recipe) == pytest.approx(0.5)
    assert schedule(1.0, recipe) == 0.0


def test_cosine_schedule_ends_at_a_tenth() -> None:
    recipe = Recipe(schedule="cosine", warmup=0.1, decay=0.0)
    assert schedule(0.05, recipe) == pytest.approx(0.5)
    assert schedule(0.1, recipe) == pytest.approx(1.0)
    assert schedule(0.55, recipe) == pytest.approx(0.55)
    assert schedule(1.0, recipe) == pytest.approx(0.1)


def test_rates_by_equation_11() -> None:
    """The paper's own figures: equal widths and N = 3 on DNA; (3, 3) with widths 1024, 1024, 1536 on text."""
    dna = preset("m3t1-m15-m4", "dna", 5)
    assert stage_multipliers(dna, Recipe(ratio_targets=(3.0,))) == pytest.approx((1.0, 2.89 / 5), abs=1e-3)
    text = small_config(
        arch_layout=["m1", ["m1", ["m1"], "m1"], "m1"], d_model=[1024, 1024, 1536], d_intermediate=[0, 0, 0],
        attn_cfg={},
    )  # fmt: skip
    expected = (1.0, 1.52 / 2.63, 0.71 / 2.63)
    assert stage_multipliers(text, Recipe(ratio_targets=(3.0, 3.0))) == pytest.approx(expected, abs=3e-3)


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
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(40) + random_dna(40, 1).lower()}))
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


def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    """Windows of several lengths and soft-masked bases, so that a mean of means would differ."""
    sequence = random_dna(4000)
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": sequence[:2000] + sequence[2000:].lower()}))
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
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: compile_(self, backend="eager", **options))
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


def test_validation_is_logged_and_the_best_model_kept(tmp_path: Path) -> None:
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": "ACGTTGCA" * 500, "b": "ACGTTGCA" * 50}))
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


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"step 1: .* NaN or infinite \(windows "):
        train(model, genome, split_genome(genome), RECIPE, Budget(steps=3), run)


def test_time_that_a_validation_uses_up_ends_the_run_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last steps before it must not be lost, though no checkpoint is due."""
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(3000), "b": random_dna(200, 1)}))
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


def spoil(model: HNetLM, value: float) -> None:
    """Make a router say the same everywhere."""
    assert isinstance(model.backbone, ChunkingStage)
    router = model.backbone.routing_module
    with torch.no_grad():
        router.score.weight.zero_()
        router.score.bias.fill_(value)


@pytest.mark.parametrize(("value", "rate"), [(-9.0, "0.016"), (9.0, "1.000")])
def test_collapsed_router_is_reported_or_stops_the_run(tmp_path: Path, value: float, rate: str) -> None:
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    config = small_config(
        arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={},
        chunk_cfg={"routing": "linear"},
    )  # fmt: skip
    recipe = replace(RECIPE, ratio_weights=(0.0,), learning_rate=1e-6)
    for on_trouble in ("stop", "skip"):
        model = HNetLM(config)
        spoil(model, value)
        run = RunFolder(tmp_path / on_trouble)
        run.create()
        messages: list[str] = []
        with pytest.raises(TrainingError) if on_trouble == "stop" else nullcontext() as caught:
            train(
                model, genome, split, replace(recipe, on_trouble=on_trouble), Budget(steps=70), run,
                on_event=messages.append,
            )  # fmt: skip
        assert len(messages) == 1, "once, not at every step"
        assert f"step 50: the router of stage 0 has collapsed: {rate} of its positions" in messages[0]
        assert "a:" in messages[0], "the windows' coordinates"
        if on_trouble == "stop":
            assert caught is not None
            assert "max_chunk" in str(caught.value)
            assert run.load(HNetLM(config), build_optimizer(model, config, recipe)).step == 50


def test_spike_is_left_out_and_twenty_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    recipe = replace(RECIPE, on_trouble="skip")
    run = RunFolder(tmp_path / "r")
    run.create()
    loss = Watch.loss
    spikes = {53, 60, *range(70, 100)}
    steps = iter(range(1, 1000))
    before: dict[int, torch.Tensor] = {}
    model = tiny_model()

    def spiking(self: Watch, bits: float, norm: float) -> Trouble | None:
        step = next(steps)
        before[step] = model.lm_head.weight.detach().clone()
        return loss(self, bits + 5.0 if step in spikes else bits, norm)

    monkeypatch.setattr(Watch, "loss", spiking)
    messages: list[str] = []
    with pytest.raises(TrainingError, match=r"step 90: the loss jumped to .* 20 steps in a row"):
        train(model, genome, split, recipe, Budget(steps=200), run, on_event=messages.append)
    assert [message.split(":")[0] for message in messages[:3]] == ["step 53", "step 60", "step 70"]
    assert torch.equal(before[54], before[53]), "a step left out moves nothing"
    assert not torch.equal(before[55], before[54])
    assert len((run.path / "events.jsonl").read_text().splitlines()) == 2 + 20


@pytest.mark.slow
def test_overfits_two_kilobases_and_moves_every_parameter(tmp_path: Path) -> None:
    """Memorising random bases, which nothing but a gradient through every part can do."""
    genome = Genome.open(write_fasta(tmp_path / "g.fa", {"a": random_dna(2000), "b": random_dna(100)}))
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
