"""Runs as a cluster treats them: killed, preempted, resumed, spread over ranks. Each is a process of its own."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import PATIENCE, random_dna, write_fasta
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
HNET_DNA = str(Path(sys.executable).with_name("hnet-dna"))
CONFIG = """
[model]
arch_layout = ["m1", ["M1"], "m1"]
d_model = [16, 24]
d_intermediate = [0, 32]
ssm_cfg = { d_state = 8, head_dim = 8, chunk_size = 16 }

[train]
window = 64
batch = 4
checkpoint_every = 0.3
validate_every = 15
"""

SHARDED = ("--set", "train.shard=true", "--set", "train.accumulate=2")
MUON_AND_MEMORY = (
    "--set", "train.optimizer=muon", "--set", "model.memory_cfg={table_orders=[2, 3], word_orders=[8, 9]}",
)  # fmt: skip


class Lab:
    """A folder with a genome and a configuration, in which runs are started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "c.toml").write_text(CONFIG)
        write_fasta(folder / "g.fa", {"a": random_dna(6000), "b": random_dna(900, 1), "c": random_dna(900, 2)})
        (folder / "split.bed").write_text("a\t0\t6000\ttrain\nb\t0\t900\tvalid\nc\t0\t900\ttest\n")

    def command(self, out: str, steps: int, *more: str, ranks: int = 1, fresh: bool = True) -> list[str]:
        start = [HNET_DNA]
        if ranks > 1:
            start = [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                f"--nproc-per-node={ranks}",
                HNET_DNA,
            ]
        asked = ["--genome", "g.fa", "--config", "c.toml", "--split", "split.bed"] if fresh else ["--resume"]
        return [*start, "pretrain", "--out", out, "--steps", str(steps), *asked, *more]

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HNET_DNA_HOME": str(self.folder / "home")}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def finish(self, command: list[str], code: int = 0) -> str:
        process = self.start(command)
        stdout, stderr = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, stdout + stderr
        return stdout + stderr

    def run(self, out: str, steps: int, *more: str, ranks: int = 1, fresh: bool = True) -> None:
        self.finish(self.command(out, steps, *more, ranks=ranks, fresh=fresh))

    def curve(self, out: str) -> list[dict[str, object]]:
        timings = {"seconds", "bases_per_second", "waiting_for_data"}
        lines = (self.folder / out / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k not in timings} for line in lines]

    def weights(self, out: str) -> dict[str, torch.Tensor]:
        return load_file(self.folder / out / "model.safetensors")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def wait_for(condition: object) -> None:
    assert callable(condition)
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_at_any_moment_the_curve_is_the_uninterrupted_one(lab: Lab) -> None:
    """`benchmarks/kill_resume.py` does the same twenty times."""
    lab.run("straight", 120, "--no-evaluation")
    chance = random.Random(0)
    again = lab.command(
        "broken", 120, "--resume", "--no-evaluation"
    )  # the same line begins and goes on, as a scheduler's does
    for attempt in range(3):
        process = lab.start(again if attempt == 0 else lab.command("broken", 120, "--no-evaluation", fresh=False))
        wait_for((lab.folder / "broken" / "metrics.jsonl").exists)
        time.sleep(chance.uniform(0, 1.5) if attempt else 0)
        process.kill()
        process.communicate()
    lab.run("broken", 120, "--no-evaluation", fresh=False)
    assert lab.curve("broken") == lab.curve("straight")
    straight = lab.weights("straight")
    for name, tensor in lab.weights("broken").items():
        assert torch.equal(tensor, straight[name]), name


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_preempted_run_saves_and_goes_on(lab: Lab, number: signal.Signals, code: int) -> None:
    process = lab.start(lab.command("r", 100_000))
    wait_for((lab.folder / "r" / "metrics.jsonl").exists)
    process.send_signal(number)
    _stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, stderr
    assert "stopped at step" in stderr
    assert "Traceback" not in stderr
    stopped = int(stderr.split("stopped at step ")[1].split(",")[0])
    assert [int(p.name[5:]) for p in sorted((lab.folder / "r" / "checkpoints").iterdir())][-1] == stopped
    lab.run("r", stopped + 10, fresh=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "by"),
    [((), MUON_AND_MEMORY), (SHARDED, MUON_AND_MEMORY)],
    ids=["DDP", "FSDP"],  # AdamW by itself: the next test
)
def test_two_ranks_are_one(lab: Lab, more: tuple[str, ...], by: tuple[str, ...]) -> None:
    if more:  # the ratio loss of a part is of its own rows
        by = (*by, "--set", "train.ratio_weights=[0.0]")
    lab.run("one", 20, *by)
    lab.run("two", 20, *by, *more, ranks=2)
    for ours, theirs in zip(lab.curve("two"), lab.curve("one"), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=1e-4), name
    one = lab.weights("one")
    for name, tensor in lab.weights("two").items():
        torch.testing.assert_close(tensor, one[name], rtol=0, atol=1e-4, msg=name)
    results = [
        json.loads((lab.folder / out / "results.json").read_text())["bits_per_base"]["model"] for out in ("one", "two")
    ]
    assert results[0] == pytest.approx(results[1], abs=1e-4)


@pytest.mark.slow
def test_the_line_for_several_gpus_in_the_docs(lab: Lab) -> None:
    """As it stands there, but for two ranks, a small genome and model, and few steps."""
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    lines = {line for page in pages for line in page.read_text().splitlines() if line.startswith("torchrun ")}
    assert lines
    started = {line.partition("pretrain")[0] for line in lines}
    assert started == {re.search(r"torchrun .*?(?=pretrain)", (ROOT / "cli" / "pretrain.py").read_text()).group()}  # type: ignore[union-attr]
    torchrun = lab.folder / "torchrun"  # of this Python, which may be in an environment without one
    torchrun.write_text(f'#!/bin/sh\nexec {sys.executable} -m torch.distributed.run "$@"\n')
    torchrun.chmod(0o755)
    path = os.pathsep.join([str(lab.folder), str(Path(HNET_DNA).parent), os.environ["PATH"]])
    for index, line in enumerate(sorted(lines)):
        for written, tried in (
            (r"--nproc-per-node \d+", "--nproc-per-node 2"), (r"--genome \S+", "--genome g.fa"),
            (r"--preset \S+", "--config c.toml"), (r"--steps \d+", "--steps 6"), (r"--out \S+", f"--out run{index}"),
        ):  # fmt: skip
            line, count = re.subn(written, tried, line)
            assert count == 1, written
        lab.finish(["env", f"PATH={path}", "CUDA_VISIBLE_DEVICES=", "bash", "-c", line])
        record = json.loads((lab.folder / f"run{index}" / "run.json").read_text())
        assert record["machine"]["ranks"] == 2
        assert lab.curve(f"run{index}")[-1]["step"] == 6
        assert (lab.folder / f"run{index}" / "results.json").exists()


@pytest.mark.slow
def test_one_rank_then_two_then_one(lab: Lab) -> None:
    out = lab.folder / "changing"
    lab.run(
        "changing", 30, "--no-evaluation", "--set", "train.checkpoint_every=0", "--set", "train.keep_checkpoints=40"
    )
    straight = lab.weights("changing")
    keep_only(out, 10)
    lab.run("changing", 30, "--no-evaluation", fresh=False, ranks=2)
    keep_only(out, 20)
    lab.run("changing", 30, "--no-evaluation", fresh=False)
    for name, tensor in lab.weights("changing").items():
        torch.testing.assert_close(tensor, straight[name], rtol=0, atol=1e-4, msg=name)


def keep_only(run: Path, step: int) -> None:
    """Make a run look as it did after a step."""
    for folder in (run / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    assert (run / "checkpoints" / f"step-{step:08d}").exists()


@pytest.mark.slow
def test_a_dead_rank_ends_the_job(lab: Lab) -> None:
    process = lab.start(lab.command("r", 100_000, ranks=2))
    wait_for((lab.folder / "r" / "metrics.jsonl").exists)
    ranks = [pid for pid in children(process.pid) if b"RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    assert ranks
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "rank      : 1" in stderr or "Signal 9" in stderr, stderr
    assert "hnet_dna/training" not in stderr, "torchrun shows where it stopped; we do not"


def children(pid: int) -> list[int]:
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            pids.append(int(folder.name))
    return pids
