"""Prints peak memory and speed of `hnet-dna segment` on a short and a long contig, and on many short scaffolds.

    python benchmarks/memory.py [--megabases 100] [--threads 1]

Contigs are random; the model is `tiny` with fresh weights, or --model. Peak memory is that of the whole process, which
PyTorch by itself brings to some hundred megabytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from hnet_dna.config.presets import preset
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet


def write_contigs(path: Path, count: int, length: int) -> Path:
    """Write random contigs, a megabase of one at a time."""
    random = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    with path.open("wb") as file:
        for index in range(count):
            file.write(b">c%d\n" % index)
            for start in range(0, length, 1_000_000):
                bases = letters[random.integers(0, 4, size=min(1_000_000, length - start))]
                file.write(bases.tobytes() + b"\n")
    return path


def measure(fasta: Path, model: Path, threads: int) -> tuple[float, float]:
    """Run the command in a process of its own; return seconds and peak MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["hnet-dna", "segment", str(fasta), "--model", str(model)],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"segment failed with status {status}")
    seconds = time.perf_counter() - began
    assert isinstance(usage, resource.struct_rusage)
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Memory of segment.")
    parser.add_argument("--megabases", type=int, default=100, help="length of the long contig")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    print(f"{'input':<32}{'bases/s':>10}{'peak MiB':>10}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model
        if model is None:
            letters = alphabet("dna")
            torch.manual_seed(0)
            model = folder / "model"
            HNetLM(preset("tiny", letters.name, letters.vocab_size)).save_pretrained(model)
        for what, count, length in (
            ("1 contig of 1 Mb", 1, 1_000_000),
            ("2,000 scaffolds of 500 bases", 2_000, 500),
            ("200 scaffolds of 5 kb", 200, 5_000),
            (f"1 contig of {options.megabases} Mb", 1, options.megabases * 1_000_000),
        ):
            fasta = write_contigs(folder / "contigs.fa", count, length)
            seconds, peak = measure(fasta, model, options.threads)
            print(f"{what:<32}{count * length / seconds:>10,.0f}{peak:>10,.0f}", flush=True)


if __name__ == "__main__":
    main()
