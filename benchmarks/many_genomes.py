"""What a mixture of many genomes costs beside one genome of the same size: to open, to read, in memory and handles.

python benchmarks/many_genomes.py [--genomes 500] [--bases 1000000]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.batches import stream
from hnet_dna.data.genome_mix import GenomeMix
from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.data.mixture import open_mixture

BATCHES = 2000


def write(folder: Path, genomes: int, bases: int) -> None:
    """Write random genomes, each into a file of its own and all of them into one."""
    random = np.random.default_rng(0)
    with (folder / "one.fa").open("wb") as one:
        for number in range(genomes):
            letters = np.frombuffer(b"ACGT", dtype=np.uint8)[random.integers(0, 4, bases)].tobytes()
            (folder / f"g{number:04}.fa").write_bytes(b">chr\n" + letters + b"\n")
            one.write(b">chr%d\n" % number + letters + b"\n")
    entries = [f'[[genome]]\ngenome = "g{number:04}.fa"\nsplit = 0.1\n' for number in range(genomes)]
    (folder / "mix.toml").write_text("".join(entries))


def measure(folder: Path, what: str) -> None:
    """Open, read and print, in seconds of the processor."""
    began = time.process_time()
    mix = GenomeMix.read(folder / "mix.toml") if what == "many" else GenomeMix.of(folder / "one.fa")
    recipe = Recipe() if what == "many" else Recipe(split="0.1")
    mixture = open_mixture(mix, recipe)
    opened = time.process_time() - began
    batches = stream(mixture.genomes, mixture.sampler(1024, 0), MixPosition(), 4)
    next(batches)
    began = time.process_time()
    for _ in range(BATCHES):
        next(batches)
    each = (time.process_time() - began) / BATCHES
    handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
    status = Path("/proc/self/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    print(f"{what:<6}{opened:>10.2f} s{1000 * each:>12.3f} ms{handles:>10}{memory / 1024:>10.0f} MB", flush=True)


def main() -> None:
    """Measure both twice, first with stores to be made, each in a process of its own."""
    parser = argparse.ArgumentParser(description="Many genomes beside one.")
    parser.add_argument("--genomes", type=int, default=500)
    parser.add_argument("--bases", type=int, default=1_000_000, help="of each genome")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, arguments.genomes, arguments.bases)
        print(f"{'':<6}{'opened in':>12}{'a batch':>15}{'handles':>10}{'memory':>13}")
        for what in ("many", "one", "many", "one"):
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(folder, what))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
