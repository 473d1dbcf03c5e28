"""Configuration files, single settings, dry runs, and what a run that goes on may change."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import one_line_error, random_dna, write_fasta
from typer.testing import Result

from hnet_dna.config.presets import PRESETS
from hnet_dna.evaluation.compare import Sample

Cli = Callable[..., Result]


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", {"a": random_dna(3000), "b": random_dna(400, 1)})


def test_settings_of_a_file_and_of_the_line_come_together(cli: Cli, genome: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        "[model]\nd_model = [16, 32]\nattn_cfg = { rotary_emb_dim = 4 }\n[train]\nwindow = 64\nlearning_rate = 1e-3\n"
    )
    given = ["--config", tmp_path / "c.toml", "--set", "train.window=80", "--set", "model.chunk_cfg.smoothing=false"]
    result = cli("pretrain", "--genome", genome, "--out", tmp_path / "r", "--steps", 2, "--batch", 3, *given)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert (record["model"]["d_model"], record["model"]["chunk_cfg"]["smoothing"]) == ([16, 32], False)
    recipe = record["recipe"]
    assert (recipe["window"], recipe["batch"], recipe["learning_rate"]) == (80, 3, 1e-3)
    # The run's own file asks for the same run.
    again = cli(
        "pretrain", "--genome", genome, "--out", tmp_path / "r2", "--steps", 2, "--config", tmp_path / "r/settings.toml"
    )
    assert again.exit_code == 0, again.output
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("r", "r2")]
    assert weights[0] == weights[1]


def test_a_run_that_goes_on_may_change_its_pace_alone(cli: Cli, genome: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    first = cli("pretrain", "--genome", genome, "--out", out, "--steps", 2, "--resume")
    assert first.exit_code == 0, first.output
    assert f"no run in {out} yet: a new one begins" in first.stderr
    assert "evaluating 400 held-out bases" in first.stderr
    slower = cli("pretrain", "--out", out, "--steps", 3, "--resume", "--set", "train.learning_rate=1e-4")
    assert slower.exit_code == 0, slower.output
    assert "continues from step 2 of 3" in slower.stderr
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert (line["step"], line["learning_rate"] <= 1e-4) == (3, True)
    for setting, code, message in (
        ("train.window=32", 2, "train.window cannot change during a run, which began with 1024; asked for 32"),
        ("model.chunk_cfg.smoothing=false", 2, "model.chunk_cfg cannot change during a run"),
        ("train.windw=32", 2, "train.windw"),
    ):
        refused = cli("pretrain", "--out", out, "--steps", 4, "--resume", "--set", setting)
        assert refused.exit_code == code
        assert message in one_line_error(refused)
    complete = cli("pretrain", "--out", out, "--steps", 2, "--resume")
    assert complete.exit_code == 0
    assert "complete at step 3 (2 asked for): evaluated again" in complete.stderr
    useless = cli("pretrain", "--out", out, "--resume", "--set", "train.clip=2")
    assert useless.exit_code == 2
    assert "complete at step 3, where train.clip changes nothing" in one_line_error(useless)
    # All records say what was changed, once; what has changed stays so.
    record = json.loads((out / "run.json").read_text())
    (resumed,) = record["resumptions"]
    assert (resumed["step"], resumed["changed"]) == (2, {"train.learning_rate": [5e-3, 1e-4], "budget.steps": [2, 3]})
    assert (record["recipe"]["learning_rate"], record["budget"]["steps"]) == (1e-4, 3)
    assert tomllib.loads((out / "settings.toml").read_text())["train"]["learning_rate"] == 1e-4
    assert "| 2 | train.learning\\_rate | 0.005 | 0.0001 |" in (out / "README.md").read_text()
    event = json.loads((out / "events.jsonl").read_text())
    assert event == {"step": 2, "event": "resumed: train.learning_rate from 0.005 to 0.0001, budget.steps from 2 to 3"}
    preset = cli("pretrain", "--out", out, "--steps", 4, "--resume", "--preset", "tiny-mamba2")
    assert preset.exit_code == 2
    assert "began with preset tiny, which cannot change; asked for tiny-mamba2" in one_line_error(preset)


def test_the_same_line_begins_a_run_and_goes_on_with_it(cli: Cli, genome: Path, tmp_path: Path) -> None:
    """As a scheduler starts it again: with all of its options, and into an empty folder that is there already."""
    (tmp_path / "c.toml").write_text(
        "[model]\nd_model = [16, 32]\nattn_cfg = { rotary_emb_dim = 4 }\n[train]\nlearning_rate = 1e-3\n"
    )
    out = tmp_path / "r"
    out.mkdir()
    line = ["pretrain", "--genome", genome, "--out", out, "--preset", "tiny", "--config", tmp_path / "c.toml"]
    line += ["--window", 64, "--split", "0.2", "--set", "train.batch=2", "--alphabet", "dna", "--seed", 1, "--resume"]
    for steps in (2, 4):
        done = cli(*line, "--steps", steps)
        assert done.exit_code == 0, done.output
    assert [json.loads(text)["step"] for text in (out / "metrics.jsonl").read_text().splitlines()] == [2, 4]
    other = cli(*line[:-1], "--resume", "--steps", 6, "--seed", 2)
    assert other.exit_code == 2
    assert "train.seed cannot change during a run" in one_line_error(other)


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run_of_every_preset(cli: Cli, name: str) -> None:
    result = cli("pretrain", "--preset", name, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "training FLOPs/base" in result.stdout
    assert "memory per process" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "1.5"], "expected a share between 0 and 1"),
        (["--held-out", "b", "--split", "0.1"], "not both"),
        (["--split", "none.bed"], "none.bed: no such file"),
    ],
)
def test_dry_run_prints_nothing_before_it_refuses(cli: Cli, genome: Path, options: list[str], message: str) -> None:
    result = cli("pretrain", "--genome", genome, "--dry-run", *options)
    assert message in one_line_error(result)
    assert result.stdout == ""


def test_dry_run_tells_of_windows_that_nothing_fills(cli: Cli, genome: Path) -> None:
    for window, warned in ((100, False), (10_000_000, True)):
        result = cli("pretrain", "--genome", genome, "--dry-run", "--window", window)
        assert ("no training stretch is as long as a window" in result.stdout) == warned, result.output


def test_dry_run_counts_steps_and_leaves_a_store_alone(cli: Cli, genome: Path, tmp_path: Path) -> None:
    result = cli("pretrain", "--genome", genome, "--dry-run", "--steps", 10, "--window", 100, "--batch", 3)
    assert result.exit_code == 0, result.output
    assert "step: 3 windows of 100 bases = 300 bases" in result.stdout
    assert "epoch: 2,999 bases predicted, about 10 steps" in result.stdout
    assert "budget: 10 steps, 1.00 epochs" in result.stdout
    assert re.search(r"test: 400 bases \([\d.]+%\): b:1-400\n", result.stdout)
    assert "no best model is kept" in result.stdout
    store = tmp_path / "g.fa.hnetdna"
    assert f"{store}: the genome's store, made once ({store.stat().st_size:,} bytes)" in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("g.fa")) == []


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [("[train]\nbach = 3\n", 1, "Did you mean batch"), (None, 1, "c.toml: no such file")],
)
def test_wrong_file_is_one_line(
    cli: Cli, genome: Path, tmp_path: Path, text: str | None, code: int, message: str
) -> None:
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    result = cli("pretrain", "--genome", genome, "--out", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert result.exit_code == code
    assert message in one_line_error(result)
    assert not (tmp_path / "r").exists()


def test_evaluation_left_out_or_on_a_sample(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"a": random_dna(9000), "b": random_dna(1000, 1)})
    run = tmp_path / "run"
    result = cli("pretrain", "--genome", genome, "--out", run, "--steps", 1, "--no-evaluation")
    assert result.exit_code == 0, result.output
    assert "no evaluation, as asked" in result.stderr
    assert (run / "README.md").exists()
    assert not (run / "results.json").exists()
    monkeypatch.setattr("hnet_dna.training.run.Sample.after", lambda *trained: Sample(300, 4500))
    result = cli("pretrain", "--out", run, "--resume", "--steps", 2)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "evaluating 297 of 1,000 held-out bases Markov models count 4,496 of 9,000 training bases" in said
    results = json.loads((run / "results.json").read_text())
    assert (results["held_out_bases"], results["counted_bases"], results["containment"]) == (297, 4496, None)
    card = (run / "README.md").read_text()
    result = cli("pretrain", "--out", run, "--resume", "--steps", 2, "--no-evaluation")
    assert result.exit_code == 0, result.output
    assert (run / "results.json").exists(), "nothing was trained, so they still hold"
    assert (run / "README.md").read_text() == card
    result = cli("pretrain", "--out", run, "--resume", "--steps", 3, "--no-evaluation")
    assert result.exit_code == 0, result.output
    assert not (run / "results.json").exists(), "they were of step 2"
    assert (run / "README.md").read_text() != card
