"""The workflows in pipelines/ with their toy configurations: to the end, after a kill, on one core and on two."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from cli_server import fast_command
from helpers import PATIENCE, lively_model, random_dna, small_config, write_fasta
from typer.testing import Result

PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
WORKFLOWS = ("tracks", "probes", "pretrain")
TOY_MODEL = """
[model]
arch_layout = ["m1", ["M1"], "m1"]
d_model = [16, 24]
d_intermediate = [0, 32]
ssm_cfg = { d_state = 8, head_dim = 8, chunk_size = 16 }

[train]
window = 64
batch = 4
checkpoint_every = 0.1
"""
# Starts the line once for each node, and hands SIGTERM on, as srun does.
SRUN = """
shift  # --kill-on-bad-exit=1
for node in $(seq "$SLURM_NNODES"); do "$@" & tasks+=($!); done
trap 'kill -TERM "${tasks[@]}"' TERM
worst=0
for task in "${tasks[@]}"; do
    while kill -0 "$task" 2> /dev/null; do wait "$task"; done
    wait "$task" || worst=$?
done
exit "$worst"
"""
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="rules are lines of bash")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fast_command(tmp_path_factory.mktemp("c")) as folder:
        yield folder


class Toy:
    """A folder with the inputs that the toy configurations name."""

    def __init__(self, folder: Path, command: Path) -> None:
        self.folder, self.command = folder, command
        folder.mkdir()
        write_fasta(folder / "toy.fa", {"a": random_dna(2000), "b": random_dna(1500, 1) + "N" * 500})
        lively_model(small_config()).float().save_pretrained(folder / "model")
        rows = [f"s{i},{random_dna(40, i)},{i % 5}" for i in range(16)]
        (folder / "toy.csv").write_text("\n".join(["id,sequence,label", *rows]) + "\n")
        (folder / "toy.toml").write_text(TOY_MODEL)

    def start(self, workflow: str, *arguments: str, cores: int = 1) -> subprocess.Popen[str]:
        python = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.command), str(python), os.environ["PATH"]]),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        line = [sys.executable, "-m", "snakemake", "--snakefile", str(PIPELINES / f"{workflow}.smk")]
        line += ["--configfile", str(PIPELINES / "toy" / f"{workflow}.yaml"), "--cores", str(cores)]
        line += ["--workflow-profile", str(PIPELINES / "profiles" / "local"), *arguments]
        return subprocess.Popen(
            line,
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, workflow: str, *arguments: str, cores: int = 1, code: int = 0) -> str:
        process = self.start(workflow, *arguments, cores=cores)
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        logs = "".join(path.read_text() for path in self.folder.glob("*/logs/*.log"))
        assert process.returncode == code, said + logs
        return said

    def kill_when(self, workflow: str, pattern: str) -> None:
        """Kill Snakemake and all its jobs as soon as there is such a file, from the middle of the workflow."""
        process = self.start(workflow, "--nolock")
        until = time.monotonic() + PATIENCE
        while not list(self.folder.glob(pattern)) and process.poll() is None:
            assert time.monotonic() < until, "nothing happened"
            time.sleep(0.01)
        with suppress(ProcessLookupError):  # nothing of it is left where this process had to wait for a turn
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        assert list(self.folder.glob(pattern)), said

    def files(self, out: str) -> dict[str, object]:
        """Return what a workflow wrote, but for logs and run folders' notes of times."""
        contents: dict[str, object] = {}
        for path in sorted((self.folder / out).rglob("*")):
            name = str(path.relative_to(self.folder / out))
            noted = re.search(r"^logs/|(metrics|events)\.jsonl|run\.json|README\.md|/checkpoints/", name)
            if path.is_file() and not noted:
                contents[name] = arrays(path) if path.suffix == ".skops" else path.read_bytes()
        return contents


def arrays(path: Path) -> list[bytes]:
    """Return the arrays of a head; the archive around them notes times and addresses in memory."""
    with zipfile.ZipFile(path) as archive:
        return sorted(archive.read(name) for name in archive.namelist() if name.endswith(".npy"))


# What a kill waits for: a file of the middle of the workflow.
MIDDLE = {"tracks": "tracks/shards/1.bed", "probes": "probes/vectors/*.parquet", "pretrain": "runs/first/metrics.jsonl"}
OUT = {"tracks": "tracks", "probes": "probes", "pretrain": "runs"}


@pytest.mark.slow
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_killed_and_on_one_core_it_writes_the_bytes_of_two_cores(workflow: str, tmp_path: Path, command: Path) -> None:
    toy, out = Toy(tmp_path / "x", command), OUT[workflow]
    toy.run(workflow, cores=2)
    straight = toy.files(out)
    (toy.folder / out).rename(toy.folder / "straight")
    toy.kill_when(workflow, MIDDLE[workflow])
    toy.run(workflow)
    broken = toy.files(out)
    assert broken.keys() == straight.keys()
    assert [name for name in broken if broken[name] != straight[name]] == []
    {"tracks": check_tracks, "probes": check_probes, "pretrain": check_runs}[workflow](toy.folder)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def check_tracks(folder: Path) -> None:
    import pyBigWig
    import pysam

    rows = {row["contig"]: row for row in table(folder / "tracks/report.tsv")}
    with pysam.TabixFile(str(folder / "tracks/chunks.bed.gz")) as bed:
        for contig, bases in (("a", 2000), ("b", 1500)):
            chunks = [line.split("\t") for line in bed.fetch(contig)]
            assert sum(int(c[2]) - int(c[1]) for c in chunks) == bases == int(rows[contig]["bases"])
            assert len(chunks) == int(rows[contig]["chunks"])
    with pyBigWig.open(str(folder / "tracks/log2p.bw")) as scores:
        assert scores.chroms() == {"a": 2000, "b": 2000}
        mean = scores.stats("a", exact=True)[0]
    assert float(rows["a"]["bits_per_base"]) == pytest.approx(-mean, abs=1e-3)
    assert rows["all"]["scored"] == "3500"
    assert not list((folder / "tracks/shards").glob("*")), "the parts are removed"


def check_probes(folder: Path) -> None:
    rows = {row["features"]: row for row in table(folder / "probes/table.tsv")}
    assert {"model", "GC content", "k-mers, linear", "one-hot"} <= rows.keys()
    row = rows["model"]
    about = [row[name] for name in ("labels", "level", "head", "rows", "folds")]
    assert about == ["toy.csv", "encoder", "ridge", "16", "2"]
    report = json.loads((folder / "probes/heads/toy.encoder.ridge/report.json").read_text())
    metrics = next(result["metrics"] for result in report["results"] if result["features"] == "model")
    for name, metric in metrics.items():
        assert row[name] == f"{metric['value']:.4f} [{metric['low']:.4f}, {metric['high']:.4f}]"


def check_runs(folder: Path) -> None:
    rows = {row["run"]: row for row in table(folder / "runs/table.tsv") if row["class"] == "all"}
    assert rows.keys() == {"first", "second"}
    assert rows["first"]["model"] != rows["second"]["model"], "seeds differ"
    for name, row in rows.items():
        results = json.loads((folder / "runs" / name / "results.json").read_text())
        assert float(row["model"]) == pytest.approx(results["bits_per_base"]["model"], abs=1e-4)
        steps = [json.loads(line)["step"] for line in (folder / f"runs/{name}/metrics.jsonl").read_text().splitlines()]
        assert steps == sorted(set(steps))
        assert steps[-1] == 20


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_wrong_configuration_is_named(workflow: str, tmp_path: Path) -> None:
    from jsonschema import Draft202012Validator
    from snakemake.utils import validate
    from snakemake_interface_common.exceptions import WorkflowError

    schema = PIPELINES / "schemas" / f"{workflow}.schema.yaml"
    Draft202012Validator.check_schema(yaml.safe_load(schema.read_text()))
    toy = yaml.safe_load((PIPELINES / "toy" / f"{workflow}.yaml").read_text())
    validate(dict(toy), schema)
    for change, message in (({"outt": 1}, "'outt' was unexpected"), ({"out": 3}, "3 is not of type 'string'")):
        with pytest.raises(WorkflowError, match=message):
            validate({**toy, **change}, schema)
    del toy["out"]
    with pytest.raises(WorkflowError, match="'out' is a required property"):
        validate(toy, schema)


@pytest.mark.slow
def test_sbatch_script_over_two_nodes_saves_when_told_to_stop_and_stands_in_the_queue_again(tmp_path: Path) -> None:
    """Its own torchrun line on two nodes of one rank each, gloo on CPUs; srun and scontrol are stand-ins."""
    toy = Toy(tmp_path / "x", tmp_path)
    stand_ins = tmp_path / "stand_ins"
    stand_ins.mkdir()
    (stand_ins / "srun").write_text(SRUN)
    (stand_ins / "scontrol").write_text(
        '[ "$1" = show ] && printf "localhost\\nlocalhost\\n" || echo "$*" > requeued\n'
    )
    for path in stand_ins.iterdir():
        path.write_text(f"#!/usr/bin/env bash\n{path.read_text()}")
        path.chmod(0o755)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(stand_ins), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": "17",
        "RANKS_PER_NODE": "1",
        "MASTER_PORT": str(port),
    }
    line = ["bash", str(PIPELINES / "slurm" / "pretrain.sbatch"), "--genome", "toy.fa", "--config", "toy.toml"]
    process = subprocess.Popen(
        [*line, "--out", "run", "--steps", "1000000"],
        cwd=toy.folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + PATIENCE
        while not (toy.folder / "run/metrics.jsonl").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until, "nothing happened"
            time.sleep(0.05)
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    assert (toy.folder / "requeued").read_text() == "requeue 17\n"
    stopped = re.findall(r"stopped at step (\d+)", said)
    assert stopped, said
    assert (toy.folder / "run" / "checkpoints" / f"step-{int(stopped[0]):08d}" / "state.json").exists()
    assert json.loads((toy.folder / "run/run.json").read_text())["machine"]["ranks"] == 2


def test_planning_page_is_what_its_command_prints(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["planning.py"])
    runpy.run_path(str(PIPELINES / "planning.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    page = (PIPELINES.parent / "docs" / "planning.md").read_text()
    for line in lines[2:]:
        assert line in page.splitlines()
    assert lines[0] in page.replace("\n", " ")
    rows = {row[0].strip("`"): row for row in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:])}
    _, _, flops, speed, steps, hours, _ = rows["m10"]
    printed = cli("pretrain", "--preset", "m10", "--dry-run").stdout
    exact = int(printed.split("all ")[1].split("published: 33 M)")[1].split("│")[1].replace(",", ""))
    assert flops == f"{exact / 1e6:.2f} M"
    assert float(speed.replace(",", "")) == pytest.approx(0.1 * 989e12 / exact, rel=1e-4)
    bases = 2_670_955_626
    assert float(hours) == pytest.approx(bases * exact / (0.1 * 989e12) / 3600, abs=0.06)
    assert int(steps.replace(",", "")) == round(bases / 131_072)
