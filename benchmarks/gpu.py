"""Prints speed on a GPU of a training step and of `segment`, for H-Nets and their isotropic twins, then runs its tests.

    python benchmarks/gpu.py                       # on a machine with an NVIDIA GPU
    python benchmarks/gpu.py --device cpu --quick  # a few seconds, to see that it runs; figures mean nothing

Weights are fresh, bases random, and the learning rate 0, so that routers stay as they began. Each row is one preset on
one backend: `chunks` are per base at the outermost stage; operations are counted at that rate; `of peak` is their rate
in a training step over that of the largest square matrix product measured in the same run and precision; `x twin` is
the training speed over that of the first isotropic preset of the group on the same backend; `GiB` is the most memory of
a training step. The `reference` backend, a loop over positions, runs only with `tiny`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from hnet_dna.config.settings import resolve
from hnet_dna.data.batches import Batch
from hnet_dna.data.windows import Position
from hnet_dna.inference.stream import PIECE
from hnet_dna.model.cost import cost_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.ops import BACKENDS, use_backend
from hnet_dna.ops.serve import trouble_with
from hnet_dna.training.optim import build_optimizer
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.step import Step

# Isotropic twins first in each group.
GROUPS = (
    ("tiny-mamba2", "tiny-transformer", "tiny"),
    ("m10", "t9", "m3t1-m15-m4", "m3t1-t15-m4", "m4-m15-m4", "m4-t15-m4", "m4-t1m13t1-m4"),
)
QUICK = (("tiny-mamba2", "tiny"),)


def seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the best time of a few calls, after two to warm up, each waited for."""

    def timed() -> float:
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return min([timed() for _ in range(2 + repeats)][2:])


def peak_rate(device: torch.device, dtype: torch.dtype, quick: bool) -> float:
    """Return the fastest rate of a square matrix product, in operations per second."""
    rates = []
    for size in (256,) if quick else (4096, 8192, 16384):
        square = torch.randn(size, size, device=device, dtype=dtype)
        rates.append(2 * size**3 / seconds(lambda: square @ square, device, 5))  # noqa: B023
    return max(rates)


@dataclass(frozen=True)
class Measured:
    """Bases per second of training and of segment, chunks per base; operations per base and memory of training."""

    training: float
    segment: float
    chunks: float
    operations: float
    memory: int


def measure(name: str, device: torch.device, batch: int | None, quick: bool) -> Measured:
    """Time a preset on the backend that serves."""
    changes = {"batch": 2, "window": 128, "window_warmup": ()} if quick else {"batch": batch} if batch else {}
    settings = resolve(name, None, (), changes)
    recipe = settings.recipe
    torch.manual_seed(0)
    model = HNetLM(settings.model).to(device)
    step, optimizer = Step(model, recipe, Ranks(device=device)), build_optimizer(model, model.config, recipe)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    codes = torch.randint(0, 4, (recipe.batch, recipe.window + 1), dtype=torch.uint8)
    genomes = torch.zeros(recipe.batch, dtype=torch.long)
    data = Batch(codes, torch.full((recipe.batch,), recipe.window), genomes, (), Position(0, 0))
    sums = []

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        sums.append(step.run(data))
        optimizer.step()

    repeats = 1 if quick else 5
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training = recipe.batch * recipe.window / seconds(train, device, repeats)
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    stages = range(model.n_chunking_stages)
    positions, chunks = sums[-1][2:].reshape(2, len(stages)).tolist()
    ratios = [p / max(c, 1) for p, c in zip(positions, chunks, strict=True)]
    operations = cost_of(model.config, ratios, recipe.window).training_flops
    bases = 256 if quick else PIECE
    ids = torch.randint(0, 4, (1, bases), device=device)

    def run() -> None:
        # As the command does it: in float32, and only encoders and routers. A twin without chunks has nothing to skip.
        with torch.inference_mode():
            model.boundaries(ids, stage=0) if stages else model(ids)

    segment = bases / seconds(run, device, repeats)
    return Measured(training, segment, 1 / ratios[0] if ratios else 1.0, operations, memory)


def main() -> int:
    """Measure, print the table, run the tests; return their exit status."""
    parser = argparse.ArgumentParser(description="Speed on a GPU.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="two small presets, short windows, no repeats")
    parser.add_argument("--batch", type=int, help="windows per step, in place of each preset's own")
    parser.add_argument("--backends", nargs="+", choices=list(BACKENDS), default=list(BACKENDS))
    parser.add_argument("--presets", nargs="+", help="only these; a group's twin is named first")
    parser.add_argument("--no-tests", action="store_true", help="only the table")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU that torch can use; --device cpu --quick shows what would run")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    peak = peak_rate(device, dtype, options.quick)
    print(f"{where}, torch {torch.__version__}, products in {str(dtype).removeprefix('torch.')}")
    print(f"largest matrix product: {peak / 1e12:.3f} TFLOP/s")
    groups = (options.presets,) if options.presets else QUICK if options.quick else GROUPS
    columns = f"{'chunks':>7}{'train b/s':>13}{'segment b/s':>13}{'of peak':>9}{'x twin':>8}{'GiB':>7}"
    print(f"{'preset':<18}{'backend':<11}{columns}")
    for group in groups:
        twins: dict[str, float] = {}
        for name in group:
            for backend in (BACKENDS[chosen] for chosen in options.backends):
                if backend.name == "reference" and name != "tiny":
                    continue
                if trouble := trouble_with(backend, device.type):
                    print(f"{name:<18}{backend.name:<11} does not serve: {trouble}")
                    continue
                try:
                    with use_backend(backend.name):
                        found = measure(name, device, options.batch, options.quick)
                except torch.OutOfMemoryError:
                    print(f"{name:<18}{backend.name:<11} out of memory; try --batch")
                    torch.cuda.empty_cache()
                    continue
                if name == group[0]:
                    twins[backend.name] = found.training
                twin = f"{found.training / twins[backend.name]:.2f}" if backend.name in twins else "-"
                print(
                    f"{name:<18}{backend.name:<11}{found.chunks:>7.2f}{found.training:>13,.0f}{found.segment:>13,.0f}"
                    f"{found.training * found.operations / peak:>9.1%}{twin:>8}{found.memory / 2**30:>7.1f}",
                    flush=True,
                )
    if device.type == "cpu" or options.no_tests:
        return 0
    return subprocess.call([sys.executable, "-m", "pytest", "-m", "gpu", "tests/parity/test_gpu.py"])


if __name__ == "__main__":
    sys.exit(main())
