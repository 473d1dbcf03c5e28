"""Trains `tiny`, its isotropic twins and its ablations on one genome for equal times, and draws their curves.

python benchmarks/twins.py GENOME --minutes 20 --out FOLDER [--only tiny tiny-mamba2] [--jobs 2]

Each run gets as many steps as one core takes in those minutes; seconds per step are measured first, of all runs in
turns, and kept in FOLDER/seconds_per_step.json. The held-out part is measured at the end, the validation part along the
way, against time, bases read and training FLOPs. Runs that are there already are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from training import Training, seconds_per_step

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.evaluation.markov import MIXTURE
from hnet_dna.model.cost import cost_of

MEMORY = "model.memory_cfg={word_orders=[12, 16, 20], max_words=900_000}"  # that of the preset tiny-memory

RUNS: dict[str, tuple[str, list[str]]] = {
    "tiny": ("tiny", []),
    "tiny-mamba2": ("tiny-mamba2", []),
    "tiny-transformer": ("tiny-transformer", []),
    "tiny-hybrid": ("tiny-hybrid", []),
    "tiny-6mers": ("tiny-6mers", []),
    "tiny without codon rotation": ("tiny", ["model.attn_cfg.rotary_period=0"]),
    "tiny-transformer without codon rotation": ("tiny-transformer", ["model.attn_cfg.rotary_period=0"]),
    "fixed stride of 3": ("tiny", ["model.chunk_cfg.routing=fixed"]),
    "random boundaries, 1 in 3": ("tiny", ["model.chunk_cfg.routing=random"]),
    "no smoothing": ("tiny", ["model.chunk_cfg.smoothing=false"]),
    "no straight-through": ("tiny", ["model.chunk_cfg.straight_through=false"]),
    "linear routing": ("tiny", ["model.chunk_cfg.routing=linear"]),
    "AdamW only": ("tiny", ["train.optimizer=adamw"]),
    "tiny with a memory": ("tiny", [MEMORY]),
    "tiny-mamba2 with a memory": ("tiny-mamba2", [MEMORY]),
    "tiny-transformer with a memory": ("tiny-transformer", [MEMORY]),
    "tiny-hybrid with a memory": ("tiny-hybrid", [MEMORY]),
    "fixed stride of 3, with a memory": ("tiny", ["model.chunk_cfg.routing=fixed", MEMORY]),
}


@dataclass(frozen=True)
class Curve:
    """What a run's folder records; lists have one entry per validation."""

    name: str
    parameters: int
    held_out: float
    markov: float
    chunk: str
    seconds_per_step: float
    steps: list[int]
    bases: list[float]
    flops: list[float]
    bits: list[float]

    @property
    def minutes(self) -> list[float]:
        """Processor minutes at each validation."""
        return [step * self.seconds_per_step / 60 for step in self.steps]


def train(name: str, genome: str, steps: int, out: Path) -> None:
    """Run one training to its end, unless it is there."""
    run = out / name.replace(" ", "_").replace(",", "")
    if (run / "results.json").exists():
        return
    command = ["hnet-dna", "pretrain", "--resume", "--out", str(run), "--genome", genome, "--steps", str(steps)]
    if not run.exists():
        preset, settings = RUNS[name]
        command += ["--preset", preset]
        for setting in [*settings, "train.validate_every=200"]:
            command += ["--set", setting]
    with (out / f"{run.name}.log").open("w") as log:
        subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT, check=True
        )


def read(name: str, out: Path, seconds_per_step: float) -> Curve:
    """Read a finished run."""
    run = out / name.replace(" ", "_").replace(",", "")
    record = json.loads((run / "run.json").read_text())
    results = json.loads((run / "results.json").read_text())
    recipe, model = Recipe.from_dict(record["recipe"]), ModelConfig.from_dict(record["model"])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "valid_bits_per_base" in line]
    per_step = recipe.batch * recipe.window
    targets = [recipe.ratio_target(stage) for stage in range(model.n_stages - 1)]
    per_base = cost_of(model, targets, recipe.window).training_flops
    bases = [line["step"] * per_step for line in measured]
    return Curve(
        name=name,
        parameters=record["parameters"],
        held_out=results["bits_per_base"]["model"],
        markov=min(
            bits for key, bits in results["bits_per_base"].items() if key.startswith("markov") and key != MIXTURE
        ),
        chunk=" / ".join(f"{length:.2f}" for length in results["positions_per_chunk"]),
        seconds_per_step=seconds_per_step,
        steps=[line["step"] for line in measured],
        bases=bases,
        flops=[count * per_base for count in bases],
        bits=[line["valid_bits_per_base"] for line in measured],
    )


def at(curve: Curve, flops: float) -> float:
    """Interpolate the validation curve at an amount of arithmetic; NaN beyond its end."""
    import numpy as np

    return float(np.interp(flops, curve.flops, curve.bits, right=np.nan))


def report(curves: list[Curve], out: Path, title: str) -> None:
    """Print the table; write curves.tsv and curves.png."""
    common = min(curve.flops[-1] for curve in curves)
    print(f"| {title} | parameters | held-out bits/base | bases/chunk | M bases read | at {common:.2g} FLOPs (valid) |")
    print("|--|--|--|--|--|--|")
    for curve in sorted(curves, key=lambda curve: curve.held_out):
        print(
            f"| {curve.name} | {curve.parameters:,} | {curve.held_out:.4f} | {curve.chunk or '-'} "
            f"| {curve.bases[-1] / 1e6:.1f} | {at(curve, common):.4f} |"
        )
    print(f"| best single Markov model | | {curves[0].markov:.4f} | | | |")
    with (out / "curves.tsv").open("w") as file:
        file.write("run\tminutes\tbases\ttraining_flops\tvalid_bits_per_base\n")
        for curve in curves:
            for row in zip(curve.minutes, curve.bases, curve.flops, curve.bits, strict=True):
                file.write("\t".join([curve.name, *(f"{value:.6g}" for value in row)]) + "\n")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    styles = ["-", "--", "-.", ":"]
    for index, curve in enumerate(curves):
        style = {"linestyle": styles[index % 4], "color": f"C{index}", "label": curve.name}
        axes[0].plot(curve.minutes, curve.bits, **style)
        axes[1].plot(curve.flops, curve.bits, **style)
    axes[0].set(xlabel="minutes of processor time", ylabel="bits per base, validation part", title=title)
    axes[1].set(xlabel="training FLOPs", title="the same against arithmetic")
    low = min(min(curve.bits) for curve in curves)
    axes[0].set_ylim(low - 0.005, 1.96)
    axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(out / "curves.png", dpi=110)


def main() -> None:
    """Train what is missing, then report."""
    parser = argparse.ArgumentParser(description="Equal time for a model, its twins and its ablations.")
    parser.add_argument("genome")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--jobs", type=int, default=2, help="Runs at once; give each a core of its own.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured = arguments.out / "seconds_per_step.json"
    if not measured.exists():
        torch.set_num_threads(1)
        trainings = {name: Training(*RUNS[name], arguments.genome) for name in arguments.only}
        measured.write_text(json.dumps(seconds_per_step(trainings), indent=2))
    rates = json.loads(measured.read_text())
    steps = {name: round(60 * arguments.minutes / rates[name]) for name in arguments.only}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda name: train(name, arguments.genome, steps[name], arguments.out), arguments.only))
    curves = [read(name, arguments.out, rates[name]) for name in arguments.only]
    report(curves, arguments.out, Path(arguments.genome).name)


if __name__ == "__main__":
    main()
