"""Checkpoints and run folders: whole or not there, checked when read, the last few kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import small_config

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.errors import CheckpointError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.optim import build_optimizer
from hnet_dna.training.progress import Progress
from hnet_dna.training.run_folder import RunFolder


def saved_run(tmp_path: Path, steps: tuple[int, ...]) -> tuple[RunFolder, HNetLM, torch.optim.Optimizer]:
    run = RunFolder(tmp_path / "r")
    run.create()
    model = HNetLM(small_config())
    optimizer = build_optimizer(model, model.config, Recipe())
    for step in steps:
        run.save(model, optimizer, Progress(step, 1.5, MixPosition(step, (0,), (step,))))
    return run, model, optimizer


def test_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    run, model, optimizer = saved_run(tmp_path, (3, 6, 9))
    folders = sorted(folder.name for folder in (run.path / "checkpoints").iterdir())
    assert folders == ["step-00000006", "step-00000009"]
    assert run.load(model, optimizer) == Progress(9, 1.5, MixPosition(9, (0,), (9,)))
    # One changed byte leaves a readable file of other weights.
    path = run.path / "checkpoints" / "step-00000009" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert run.load(model, optimizer).step == 6
    assert "step-00000009: damaged checkpoint" in (run.path / "events.jsonl").read_text()
    (run.path / "checkpoints" / "step-00000006" / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"step-00000009: damaged.*step-00000006: damaged"):
        run.load(model, optimizer)


def test_fused_adamw_finds_its_state_beside_the_parameters(tmp_path: Path) -> None:
    """As on a GPU, for which a device without memory stands in: fused AdamW refuses a step count that is elsewhere."""
    run, _, _ = saved_run(tmp_path, ())
    model = HNetLM(small_config())
    optimizer = build_optimizer(model, model.config, Recipe())
    model(torch.randint(0, 4, (1, 9))).logits.sum().backward()
    optimizer.step()
    run.save(model, optimizer, Progress(1))
    with torch.device("meta"):
        elsewhere = HNetLM(small_config())
    fresh = torch.optim.AdamW(elsewhere.parameters())
    run.load(elsewhere, fresh)
    assert {kind for state in fresh.state.values() for kind in state} == {"step", "exp_avg", "exp_avg_sq"}
    for parameter, state in fresh.state.items():
        assert {tensor.device for tensor in state.values()} == {parameter.device} == {torch.device("meta")}
    run.load(model, optimizer)
    optimizer.step()


def test_half_written_checkpoint_is_not_seen(tmp_path: Path) -> None:
    run, model, optimizer = saved_run(tmp_path, (3,))
    (run.path / "checkpoints" / "step-00000003").rename(run.path / "checkpoints" / ".step-00000005.new")
    assert run._steps() == []
    with pytest.raises(CheckpointError, match="no checkpoint"):
        run.load(model, optimizer)


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, model, optimizer = saved_run(tmp_path, (3,))

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("hnet_dna.training.run_folder.save_file", full)
        with pytest.raises(CheckpointError, match=r"No space left.*the last one is that of step 3.*`resume`"):
            run.save(model, optimizer, Progress(5))
    assert [folder.name for folder in (run.path / "checkpoints").iterdir()] == ["step-00000003"]
    assert run.load(model, optimizer).step == 3


def test_folder_is_created_whole_or_not_at_all(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")

    def fail(folder: RunFolder) -> None:
        (folder.path / "half").write_text("")
        raise KeyError

    with pytest.raises(KeyError):
        run.create(fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "r").mkdir()  # as mktemp makes them
    run.create(lambda folder: folder.log({"step": 0}))
    with pytest.raises(UsageError, match="exists already"):
        run.create()
    with pytest.raises(CheckpointError, match="not a run folder"):
        RunFolder(tmp_path).description()
