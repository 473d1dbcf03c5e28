"""Proves the path of a GPU end to end and times it, in at most eight minutes and without a network.

    python benchmarks/gpu_acceptance.py --prepare wheels            # beforehand, on a machine with a network
    python benchmarks/gpu_acceptance.py out --wheels wheels         # on the machine with the GPU
    python benchmarks/gpu_acceptance.py out --device cpu --quick    # under a minute, to see that it runs

In this order: `doctor`; the tests that need a GPU; training speed of the paper's isotropic models and of its best
H-Net, whose boundaries are learned, fixed, and learned with two windows a step; `pretrain`, killed and resumed, then
`segment`, `score`, `embed` and `generate` with what it trained; last, `train.compile`. Each step is a process with a
time limit, and its result is a line of `out/results.jsonl` as soon as it has ended, beside its log. `--only` takes some
steps of it.

Speed is of training on the yeast genome in the package, after steps at a small rate of learning, so that routers are
neither fresh nor collapsed: `positions_per_chunk` should be near 3. `of_peak` is the rate of the operations that these
chunks cost, over that of the largest square matrix product measured before. `waits` are those for the device in a step.
Reading, as `segment` and `score` do it, is timed with one sequence at once and with eight, with the waits of all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnet_dna.model.lm import HNetLM

HERE = Path(__file__).resolve()
ROOT = HERE.parents[1]
LIMIT = 470.0  # seconds for all steps on a GPU
SLOWER = 20.0  # times as long may everything take on a CPU, which others may share
LARGEST = 64 << 20  # bytes of the folder of wheels
# What a machine with PyTorch for GPUs may lack. All are of Python only, so that they serve whatever Python it has; what
# is compiled (pysam, pyBigWig) is imported only by what reads or writes BAM's relatives, which no step here does.
CARRIED = ("platformdirs", "tomli-w", "filelock", "typer", "rich", "markdown-it-py", "mdurl", "pygments", "shellingham",
           "click", "annotated-doc", "typing-extensions")  # fmt: skip
PACKAGES = {"hnet_dna": "hnet_dna", "hnet_dna_cli": "cli", "hnet_dna_manifests": "data_manifests"}  # and where they lie
SETTLE, TIMED, RATE = 30, 10, "1e-4"
CLI = [sys.executable, "-m", "hnet_dna_cli"]
NEAR = (2.4, 3.6)  # positions per chunk that count as near 3
STREAMS = 8  # sequences that are read side by side where reading is timed


@dataclass
class Runner:
    """Runs steps one after the other, each within its own limit and that of all, `patience` times as long."""

    out: Path
    patience: float
    wanted: Sequence[str]
    environment: dict[str, str]
    began: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)

    def left(self) -> float:
        """Return the seconds that are left for all steps."""
        return self.patience * LIMIT - (time.monotonic() - self.began)

    def step(self, name: str, seconds: float, work: Callable[[float], dict[str, Any]]) -> dict[str, Any] | None:
        """Do some work, which is told how long it may take, and write down what it returns; None where it failed."""
        if self.wanted and name not in self.wanted:
            return None
        began = time.monotonic()
        figures: dict[str, Any] | None = None
        try:
            if self.left() < 5:
                raise TimeoutError("no time was left")
            figures = work(min(self.patience * seconds, self.left()))
            result: dict[str, Any] = {"step": name, "ok": True, **figures}
        except Exception as error:  # whatever it is, the next step may still show something
            result = {"step": name, "ok": False, "error": f"{type(error).__name__}: {error}"}
            self.failed.append(name)
        result["seconds"] = round(time.monotonic() - began, 1)
        line = json.dumps(result)
        with (self.out / "results.jsonl").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
        return figures

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own; what it prints goes to NAME.out and NAME.log."""
        with (self.out / f"{name}.out").open("wb") as printed, (self.out / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=printed, stderr=log, start_new_session=True
            )

    def run(self, name: str, command: Sequence[str], seconds: float) -> str:
        """Run a command to its end; return what it printed. Raises where it failed or took too long."""
        process = self.start(name, command)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"had not ended after {seconds:.0f} s") from None
        finally:
            kill(process)
        if status:
            lines = (self.out / f"{name}.log").read_text().strip().splitlines() or ["it printed nothing to stderr"]
            raise RuntimeError(f"exit status {status}: {lines[-1]}")
        return (self.out / f"{name}.out").read_text()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# Packages


def prepare(folder: Path) -> None:
    """Put what a machine with PyTorch may lack into a folder as wheels."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder), *CARRIED], check=True
    )
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > LARGEST:
        raise SystemExit(f"{folder}: {size / 2**20:.0f} MiB, more than {LARGEST >> 20}")
    print(f"{folder}: {len(list(folder.iterdir()))} wheels, {size / 2**20:.1f} MiB")


def install(wheels: Path | None, site: Path) -> None:
    """Make this code importable from a folder, as it is; install what is missing there from a folder of wheels."""
    missing = [name for name in CARRIED if not _is_installed(name)] if wheels else []
    if missing:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        subprocess.run([*pip, "--find-links", str(wheels), "--target", str(site), *missing], check=True, timeout=120)
    site.mkdir(exist_ok=True)
    for package, folder in PACKAGES.items():
        (site / package).symlink_to(ROOT / folder)


def _is_installed(name: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


# Steps


def doctor(runner: Runner, seconds: float) -> dict[str, Any]:
    """Compare the backends with plain loops; on a GPU that compiles the kernels that later steps use."""
    report = json.loads(runner.run("doctor", [*CLI, "doctor", "--json", "--quiet"], seconds))
    return {"serves": {op["op"]: op["backend"] for op in report["ops"]}} if "ops" in report else {"report": report}


def gpu_tests(runner: Runner, seconds: float) -> dict[str, Any]:
    """Run the tests that need a GPU; one that prints nothing for a while is killed, and the others go on without it."""
    silence, deadline = 60.0 * runner.patience, time.monotonic() + seconds
    done: dict[str, str] = {}
    hung: list[str] = []
    while time.monotonic() < deadline:
        left_out = [part for name in (*done, *hung) for part in ("--deselect", name)]
        command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "--color=no", "-p", "no:cacheprovider",
                   "-o", "addopts=--import-mode=importlib", "-W", "default", *left_out,
                   "tests/parity/test_gpu.py"]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=ROOT, env=runner.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        text, fell_silent = "", False
        while True:
            wait = min(silence, deadline - time.monotonic())
            if wait <= 0 or not select.select([process.stdout], [], [], wait)[0]:
                fell_silent = True
                break
            got = os.read(process.stdout.fileno(), 1 << 16)
            if not got:
                break
            text += got.decode(errors="replace")
        kill(process)
        with (runner.out / "tests.log").open("a") as log:
            log.write(text)
        ended = re.findall(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)", text, re.MULTILINE)
        done |= dict(ended)
        if not fell_silent:
            break
        started = re.findall(r"^(tests/\S+::[^\n]+?)\s*$", text.rsplit("\n", 1)[-1])
        if not started:
            break
        hung += started
    counts = {word.lower(): sum(w == word for w in done.values()) for word in ("PASSED", "FAILED", "ERROR", "SKIPPED")}
    if hung or counts["failed"] or counts["error"] or not done:
        raise AssertionError(json.dumps({**counts, "hung": hung, "not_passed": _not_passed(done)}))
    return counts


def _not_passed(done: dict[str, str]) -> list[str]:
    return [name for name, word in done.items() if word in ("FAILED", "ERROR")]


def killed_and_resumed(
    runner: Runner, run: Path, preset: str, settings: Sequence[str], steps: int, seconds: float
) -> dict[str, Any]:
    """Train, kill without warning after a checkpoint and further steps, and resume; the curves have to be one."""
    deadline = time.monotonic() + seconds
    ask = [part for text in settings for part in ("--set", text)]
    command = [*CLI, "pretrain", "--out", str(run), "--steps", str(steps), "--no-evaluation", "--quiet"]
    process = runner.start("pretrain", [*command, "--genome", "yeast", "--preset", preset, *ask])
    try:
        while process.poll() is None and time.monotonic() < deadline:
            saved = sorted((run / "checkpoints").glob("step-*")) if run.exists() else []
            if saved and (curve := _curve(run)) and max(curve) > int(saved[-1].name[5:]):
                break
            time.sleep(0.05)
        else:
            raise RuntimeError(f"it had ended, or had written nothing, before it could be killed: {process.poll()}")
    finally:
        kill(process)
    before, kept = _curve(run), max(int(path.name[5:]) for path in (run / "checkpoints").glob("step-*"))
    runner.run("resume", [*command, "--resume"], deadline - time.monotonic())
    after = _curve(run)
    again = {step: abs(after[step] - bits) for step, bits in before.items() if step > kept}
    jump = max(again.values())
    if jump > 0.05 or max(after) != steps:
        raise AssertionError(f"the resumed run differs by {jump:.3f} bits, and ends at step {max(after)}")
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    return {"killed_after": max(before), "resumed_from": kept, "differs_by_bits": jump, "last": last}


def _curve(run: Path) -> dict[int, float]:
    file = run / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
    return {line["step"]: line["bits_per_base"] for line in lines if "bits_per_base" in line}


def use(runner: Runner, folder: Path, quick: bool) -> None:
    """Run the commands that take a trained model, as a user would."""
    sample, windows, run = folder / "sample.fa", folder / "windows.fa", folder / "run"
    where = "chrI:1-20000" if quick else "chrI"

    def make_inputs(seconds: float) -> None:
        text = runner.run("extract", [*CLI, "genome", "extract", "yeast", where], seconds)
        letters = "".join(text.splitlines()[1:])
        fifth = len(letters) // 5  # contigs of unlike length
        contigs = [letters[: 2 * fifth], letters[2 * fifth : 4 * fifth], letters[4 * fifth :]]
        sample.write_text("".join(f">c{i}\n{contig}\n" for i, contig in enumerate(contigs)))
        size = 200 if quick else 1000
        parts = [letters[i : i + size] for i in range(0, len(letters) - size, size)][:64]
        windows.write_text("".join(f">w{i}\n{part}\n" for i, part in enumerate(parts)))

    def bases(command: str, made: Path, *arguments: str) -> Callable[[float], dict[str, Any]]:
        def work(seconds: float) -> dict[str, Any]:
            if not run.exists():
                raise FileNotFoundError("there is no trained model")
            if not sample.exists():
                make_inputs(seconds)
            began = time.monotonic()
            runner.run(command, [*CLI, command, *arguments, "--model", str(run), "--quiet"], seconds)
            took = time.monotonic() - began
            if not made.stat().st_size:
                raise AssertionError(f"{made} is empty")
            return {"wrote": made.stat().st_size, "with_start_of_python": round(took, 1)}

        return work

    def side_by_side(seconds: float) -> dict[str, Any]:
        """Segment both strands of all contigs at once, and one by one; only rounding may differ."""
        chunks = []
        for streams, place in (("6", made["bed"]), ("1", folder / "alone.out")):
            asked = (str(sample), "--strand", "both", "--streams", streams, "--out", str(place))
            figures = bases("segment", place, *asked)(seconds)
            chunks.append({tuple(line.split("\t")[:3]) for line in place.read_text().splitlines()})
        same = len(chunks[0] & chunks[1]) / len(chunks[0] | chunks[1])
        if same < 0.99:
            raise AssertionError(f"only {same:.4f} of the chunks are the same side by side and one by one")
        return {**figures, "same_chunks": same}

    made = {name: folder / f"{name}.out" for name in ("bed", "fa")}
    track, table = folder / "scores.bedgraph", folder / "vectors.npy"
    runner.step("segment", 40, side_by_side)
    runner.step("score", 40, bases("score", track, str(sample), "--bedgraph", str(track), "--streams", "6"))
    runner.step("embed", 40, bases("embed", table, str(windows), "--out", str(table)))
    length = "50" if quick else "300"
    runner.step("generate", 40, bases("generate", made["fa"], "--length", length, "--out", str(made["fa"])))


# What a process of its own measures


def measure_peak(device: str, quick: bool) -> dict[str, Any]:
    """Return the fastest rate of a square matrix product, in operations per second, and where it was measured."""
    import torch

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    rates = []
    for size in (256,) if quick else (4096, 8192, 16384):
        square = torch.randn(size, size, device=device, dtype=dtype)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            square @ square
            _wait(device)
            times.append(time.perf_counter() - began)
        rates.append(2 * size**3 / min(times))
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"peak": max(rates), "device": where, "torch": torch.__version__, "precision": str(dtype)}


def measure(preset: str, settings: Sequence[str], device: str, peak: float, quick: bool) -> dict[str, Any]:
    """Train a preset for some steps and time further ones."""
    import torch
    from training import Training

    from hnet_dna.model.cost import cost_of

    quicker = ("train.window=128", "train.batch=2", "train.window_warmup=[]") if quick else ()
    training = Training(preset, (f"train.learning_rate={RATE}", *quicker, *settings), "yeast", device)
    recipe, model = training.recipe, training.model
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2 if quick else SETTLE):
        training()
    times = []
    for _ in range(2 if quick else TIMED):
        _wait(device)
        began = time.perf_counter()
        training()
        assert training.sums is not None
        sums = training.sums.tolist()  # waits, as the training loop does
        times.append(time.perf_counter() - began)
    rate = recipe.batch * recipe.window / statistics.median(times)
    stages = model.n_chunking_stages
    ratios = [p / max(c, 1) for p, c in zip(sums[3 : 3 + stages], sums[3 + stages :], strict=True)]
    operations = cost_of(model.config, ratios, recipe.window).training_flops
    figures: dict[str, Any] = {
        "bases_per_second": round(rate),
        "positions_per_chunk": [round(ratio, 2) for ratio in ratios],
        "near_target": all(NEAR[0] <= ratio <= NEAR[1] for ratio in ratios) if ratios else None,
        "of_peak": round(rate * operations / peak, 4) if peak else None,
        "bits_per_base": round(sums[0] / sums[1] / 0.6931, 3),
    }
    if device == "cuda":
        figures["GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
        figures["waits"] = _waits(training)
    return figures | reading_rates(model.eval(), device, quick)


def reading_rates(model: HNetLM, device: str, quick: bool) -> dict[str, Any]:
    """Return rates of reading random sequences as `segment` and `score` do, one by one and side by side."""
    import numpy as np

    from hnet_dna.genome.fasta import Piece
    from hnet_dna.inference.stream import piece_of, read_sources

    piece = 64 if quick else piece_of(model)
    codes = np.random.default_rng(0).integers(0, 4, (STREAMS, 3 * piece // 2), dtype=np.uint8)
    sources = [[Piece(str(row), 0, each, uracils=0)] for row, each in enumerate(codes)]
    figures: dict[str, Any] = {}
    for name, stage in (("segment", 0), ("score", None)):
        if stage is not None and not model.n_chunking_stages:
            continue
        for streams in (1, STREAMS):

            def read(stage: int | None = stage, streams: int = streams) -> None:
                for _ in read_sources(sources, model, stage=stage, streams=streams, piece=piece):
                    pass

            times = []
            for _ in range(1 if quick else 3):
                began = time.perf_counter()
                read()
                times.append(time.perf_counter() - began)
            figures[f"{name}_bases_per_second_{streams}"] = round(codes.size / min(times))
            if device == "cuda":
                figures[f"{name}_waits_{streams}"] = _waits(read)
    return figures


def _waits(step: Callable[[], None]) -> int:
    """Count where PyTorch makes the processor wait for the GPU in a step."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def main() -> int:
    """Run all steps; return 1 if one failed."""
    parser = argparse.ArgumentParser(description="The path of a GPU, end to end.")
    parser.add_argument("out", type=Path, nargs="?", help="folder for results and logs")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="put wheels there, and do nothing else")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="install what is missing from there")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small presets, short windows; figures mean nothing")
    parser.add_argument("--only", nargs="+", default=(), metavar="STEP", help="these steps")
    parser.add_argument("--measure", metavar="PRESET", help=argparse.SUPPRESS)
    parser.add_argument("--peak", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of what is timed")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
        return 0
    if options.measure:
        figures = (
            measure_peak(options.device, options.quick)
            if options.measure == "peak"
            else measure(options.measure, options.set, options.device, options.peak, options.quick)
        )
        print(json.dumps(figures))
        return 0
    if options.out is None:
        parser.error("name a folder for results")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.jsonl").write_text("")
    with tempfile.TemporaryDirectory(prefix="gpu-acceptance-") as name:
        return accept(options, Path(name))


def accept(options: argparse.Namespace, folder: Path) -> int:
    """Run the steps in a scratch folder."""
    environment = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "PYTHONUNBUFFERED": "1"}
    if options.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment.setdefault("OMP_NUM_THREADS", "1")  # more wait for each other where a machine is shared
    install(options.wheels and options.wheels.resolve(), folder / "site")
    environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    patience = SLOWER if options.device == "cpu" else 1.0
    runner = Runner(options.out.resolve(), patience, options.only, environment)
    quick, peak = options.quick, 0.0

    def timed(preset: str, *settings: str) -> Callable[[float], dict[str, Any]]:
        def work(seconds: float) -> dict[str, Any]:
            asked = [part for text in (*options.set, *settings) for part in ("--set", text)]
            command = [sys.executable, str(HERE), "--measure", preset, "--device", options.device, "--peak", str(peak)]
            name = "-".join([preset, *(re.sub(r"\W+", "-", text) for text in settings)])
            printed = runner.run(name, [*command, *(["--quick"] if quick else []), *asked], seconds)
            figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
            return figures

        return work

    mamba, attention, hnet = ("tiny-mamba2", "tiny-transformer", "tiny") if quick else ("m10", "t9", "m3t1-m15-m4")
    runner.step("doctor", 100, lambda seconds: doctor(runner, seconds))
    runner.step("tests", 100, lambda seconds: gpu_tests(runner, seconds))
    if figures := runner.step("peak", 30, timed("peak")):
        peak = figures["peak"]
    rates = {
        name: runner.step(name, 45, timed(preset, *settings))
        for name, preset, settings in (
            ("m10", mamba, ()),
            ("t9", attention, ()),
            ("hnet", hnet, ()),
            ("hnet-fixed", hnet, ("model.chunk_cfg.routing=fixed", "model.chunk_cfg.stride=3")),
            ("hnet-small", hnet, ("train.batch=2",)),
        )
    }
    ratios = {
        f"hnet / {twin}": round(rates["hnet"]["bases_per_second"] / rates[twin]["bases_per_second"], 3)
        for twin in ("m10", "t9", "hnet-small")
        if rates["hnet"] and rates[twin]
    }
    if ratios:
        runner.step("ratios", 5, lambda seconds: ratios)
    asked = ("train.validate_every=0", *(
        ("train.window=128", "train.batch=2", "train.checkpoint_every=0.5") if quick else ("train.checkpoint_every=4",)
    ))  # fmt: skip
    runner.step(
        "pretrain",
        110,
        lambda seconds: killed_and_resumed(runner, folder / "run", hnet, asked, 100 if quick else 120, seconds),
    )
    use(runner, folder, quick)
    if not quick:  # on a CPU it has not begun to train after ten minutes
        runner.step("compile", 90, timed(hnet, "train.batch=2", "train.compile=true"))  # beside hnet-small
    print(f"failed: {', '.join(runner.failed)}" if runner.failed else "all steps passed", flush=True)
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
