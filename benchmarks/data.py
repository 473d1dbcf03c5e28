"""Prints how fast genomes are stored and windows are read, beside pyfaidx, pysam and a plain copy of memory.

    python benchmarks/data.py [--megabases 100] [--large 1000]

All rows of a table are measured in one run, on a synthetic FASTA that is made and removed. Windows of ours are read on
random strands into a training batch; the other readers deliver text of the forward strand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyfaidx
import pysam
import torch

from hnet_dna.config.presets import preset
from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import read_batch
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import split_genome
from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.genome.genome import whole
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.interval import Interval
from hnet_dna.training.progress import Budget
from hnet_dna.training.run_folder import METRICS_FILE, RunFolder
from hnet_dna.training.train_in_folder import train_in_folder

WIDTH = 60
BATCH = 8


def write_synthetic(path: Path, megabases: int) -> Path:
    """Write one contig of random bases, a megabase at a time."""
    random = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTacgt", dtype=np.uint8)
    with path.open("wb") as file:
        file.write(b">chr1\n")
        for _ in range(megabases):
            lines = np.full((1_000_000 // WIDTH, WIDTH + 1), ord("\n"), dtype=np.uint8)
            lines[:, :WIDTH] = letters[random.integers(0, 8, size=(len(lines), WIDTH))]
            file.write(lines.tobytes())
    return path


def windows_per_second(read: Callable[[list[Window]], object], windows: list[Window]) -> float:
    """Return the best rate of three passes, read in batches."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for start in range(0, len(windows), BATCH):
            read(windows[start : start + BATCH])
        best = min(best, time.perf_counter() - began)
    return len(windows) / best


def reading(fasta: Path) -> None:
    """Compare readers at three window lengths."""
    genome = open_genome(fasta)
    memory = np.array(genome.codes(whole(genome.contigs[0])))
    faidx = pyfaidx.Fasta(str(fasta))
    htslib = pysam.FastaFile(str(fasta))

    def copy(windows: list[Window]) -> None:
        batch = np.empty((len(windows), len(windows[0].interval)), dtype=np.uint8)
        for row, window in enumerate(windows):
            batch[row] = memory[window.interval.start : window.interval.end]

    def by_pyfaidx(windows: list[Window]) -> None:
        for window in windows:
            str(faidx[window.interval.contig][window.interval.start : window.interval.end])

    def by_pysam(windows: list[Window]) -> None:
        for window in windows:
            htslib.fetch(window.interval.contig, window.interval.start, window.interval.end)

    print(f"\n{'windows per second':<28}" + "".join(f"{name:>12}" for name in ("1 kb", "8 kb", "131 kb")))
    random = np.random.default_rng(1)
    table: dict[str, list[float]] = {}
    for length in (1_000, 8_000, 131_000):
        starts = random.integers(0, genome.length - length - 1, size=4_000 if length < 100_000 else 800)
        windows = [Window(Interval("chr1", s, s + length + 1), bool(s % 2)) for s in starts.tolist()]
        forward = [Window(window.interval, False) for window in windows]
        for name, read, which in (
            ("ours, random strands", lambda w: read_batch([genome], w, Position()), windows),
            ("ours, forward strand", lambda w: read_batch([genome], w, Position()), forward),
            ("copy of memory", copy, forward),
            ("pysam", by_pysam, forward),
            ("pyfaidx", by_pyfaidx, forward),
        ):
            table.setdefault(name, []).append(windows_per_second(read, which))
    for name, rates in table.items():
        print(f"{name:<28}" + "".join(f"{rate:>12,.0f}" for rate in rates))
    ours, plain, other = table["ours, random strands"], table["copy of memory"], table["pyfaidx"]
    print(f"{'ours / pyfaidx':<28}" + "".join(f"{a / b:>11.1f}x" for a, b in zip(ours, other, strict=True)))
    print(f"{'copy of memory / ours':<28}" + "".join(f"{b / a:>11.1f}x" for a, b in zip(ours, plain, strict=True)))


_MEMORY = """
import sys
from hnet_dna.genome.genome import Genome
from hnet_dna.data.split import split_genome, training_segments
from hnet_dna.data.batches import stream
from hnet_dna.data.windows import Position, WindowSampler
from itertools import islice
genome = open_genome(sys.argv[1])
sampler = WindowSampler(training_segments(genome, split_genome(genome)), 8192, 0)
for batch in islice(stream([genome], sampler, Position(), 8), 250):
    pass
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith(("RssAnon", "RssFile"))))
"""


def memory(fasta: Path) -> tuple[float, float]:
    """Return private and file-mapped MiB of a process that has read 2,000 windows of 8 kb."""
    done = subprocess.run([sys.executable, "-c", _MEMORY, str(fasta)], capture_output=True, text=True, check=True)
    private, mapped = map(int, done.stdout.split())
    return private / 1024, mapped / 1024


def waiting(fasta: Path, folder: Path) -> float:
    """Return the share of training steps of `tiny` spent waiting for data."""
    genome = open_genome(fasta)
    letters = alphabet("dna")
    torch.manual_seed(0)
    model = HNetLM(preset("tiny", letters.name, letters.vocab_size))
    run = RunFolder(folder / "run")
    run.create()
    train_in_folder(run, model, Mixture.of(genome, split_genome(genome)), Recipe(), Budget(steps=40))
    records = [json.loads(line) for line in (run.path / METRICS_FILE).read_text().splitlines()]
    return float(np.mean([record["waiting_for_data"] for record in records[1:]]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed and memory of the data path.")
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--large", type=int, default=1000, help="megabases of the large genome in the memory test")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = write_synthetic(folder / "g.fa", options.megabases)
        began = time.perf_counter()
        genome = open_genome(fasta)
        print(f"store of {options.megabases} Mb: {genome.length / 1e6 / (time.perf_counter() - began):,.0f} Mb/s")
        began = time.perf_counter()
        open_genome(fasta)
        print(f"opening it again: {1000 * (time.perf_counter() - began):.1f} ms")
        sampler = WindowSampler([whole(genome.contigs[0])], 1024, 0)
        sampler.take(Position(), 1)
        began = time.perf_counter()
        sampler.take(Position(), 10_000)
        print(f"choosing a window: {1e6 * (time.perf_counter() - began) / 10_000:.1f} us")
        reading(fasta)
        print(f"\nshare of a training step of tiny that waits for data: {100 * waiting(fasta, folder):.2f} %")
        print(f"\n{'MiB after 2,000 windows of 8 kb':<34}{'private':>10}{'mapped':>10}")
        for megabases in (10, options.large):
            sized = write_synthetic(folder / f"{megabases}.fa", megabases)
            open_genome(sized)
            private, mapped = memory(sized)
            print(f"{f'{megabases:,} Mb genome':<34}{private:>10.0f}{mapped:>10.0f}")
            sized.unlink()


if __name__ == "__main__":
    main()
