"""Prints where the time of a training step and of `segment` goes, by PyTorch operation or GPU kernel.

    python benchmarks/breakdown.py [--threads 1] [--preset tiny] [--device cuda] [--rows 12]

After some steps on the genome in the package. On a CPU each line is an operation's own time, without what it calls; on
a GPU it is a kernel's, and the first line of each table says how much of the time the GPU was busy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from training import Training

from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.stream import PIECE, read_sources

GENOME = "yeast"
SETTLE = 60  # steps before, since a fresh router sets too many boundaries


def table(name: str, call: Callable[[], object], device: str, rows: int) -> None:
    """Print the operations that take longest, in milliseconds and as shares of all."""

    def waited() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    waited()
    began = time.perf_counter()
    waited()
    taken = time.perf_counter() - began
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiler:
        waited()
    kind = DeviceType.CUDA if device == "cuda" else DeviceType.CPU
    events = [event for event in profiler.key_averages() if event.device_type == kind]
    own = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    total = sum(getattr(event, own) for event in events)
    busy = f", the GPU busy for {total / 1e6 / taken:.0%} of it by {sum(e.count for e in events):,} kernels"
    print(f"{name}: {taken * 1e3:.1f} ms{busy if device == 'cuda' else ''}")
    for event in sorted(events, key=lambda event: -getattr(event, own))[:rows]:
        spent = getattr(event, own)
        print(f"{spent / 1e3:10.2f} ms {spent / total:6.1%} {event.count:6,} x  {event.key[:90]}")


def main() -> None:
    """Train for some steps, then print both tables."""
    parser = argparse.ArgumentParser(description="Where time goes.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rows", type=int, default=12)
    parser.add_argument("--settle", type=int, default=SETTLE, help="training steps before")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training = Training(options.preset, (), GENOME, options.device)
    for _ in range(options.settle):
        training()
    table("a training step", training, options.device, options.rows)
    if training.model.n_chunking_stages:
        bases = torch.randint(0, 4, (PIECE,), dtype=torch.uint8).numpy()
        contig = [Piece("contig", PIECE * i, bases, uracils=0) for i in range(4)]
        model = training.model.eval()
        segment = f"segment, 4 pieces of {PIECE:,} bases"
        table(segment, lambda: list(read_sources([contig], model, stage=0)), options.device, options.rows)


if __name__ == "__main__":
    main()
