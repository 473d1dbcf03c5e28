"""Compares 50,000 training windows with an independent reader, for several numbers of workers and ranks.

    python benchmarks/windows_check.py [--genome yeast] [--windows 50000]

Prints, for each arrangement, windows read, windows that differ from pyfaidx (wanted: 0), and a digest of what was read
in the order of training (wanted: the same for all).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import shutil
import tempfile
import time
from itertools import islice
from pathlib import Path

import pyfaidx

from hnet_dna.data.batches import stream
from hnet_dna.data.split import split_genome, training_segments
from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import to_text

COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")
BATCH = 8


def plain_copy(source: Path, folder: Path) -> Path:
    """Decompress a FASTA file, since pyfaidx does not read plain gzip."""
    if source.suffix != ".gz":
        return source
    copy = folder / "genome.fa"
    with gzip.open(source) as compressed, copy.open("wb") as plain:
        shutil.copyfileobj(compressed, plain)
    return copy


def spelt(judge: pyfaidx.Fasta, window: Window) -> str:
    """Read a window by pyfaidx, on its strand."""
    interval = window.interval
    text = str(judge[interval.contig][interval.start : interval.end])
    return text.translate(COMPLEMENT)[::-1] if window.reverse else text


def main() -> None:
    """Run every arrangement."""
    parser = argparse.ArgumentParser(description="Check training windows against pyfaidx.")
    parser.add_argument("--genome", default="yeast")
    parser.add_argument("--windows", type=int, default=50_000)
    options = parser.parse_args()
    genome = open_genome(options.genome)
    segments = training_segments(genome, split_genome(genome))
    steps = options.windows // BATCH
    with tempfile.TemporaryDirectory() as name:
        judge = pyfaidx.Fasta(str(plain_copy(genome.source, Path(name))), as_raw=True)
        print(f"{'workers':>8}{'ranks':>8}{'windows':>10}{'wrong':>8}  {'seconds':>8}  digest")
        for workers, ranks in ((0, 1), (1, 1), (2, 1), (4, 1), (0, 2), (2, 2)):
            began = time.perf_counter()
            streams = [
                islice(
                    stream(
                        [genome],
                        WindowSampler(segments, 1024, 0),
                        Position(),
                        BATCH,
                        rank=rank,
                        ranks=ranks,
                        workers=workers,
                    ),
                    steps,
                )
                for rank in range(ranks)
            ]
            wrong = read = 0
            digest = hashlib.sha256()
            for batches in zip(*streams, strict=True):
                # Rank r holds windows r, r + ranks, ... of the step.
                for row in range(BATCH):
                    batch = batches[row % ranks]
                    place = row // ranks
                    length = int(batch.lengths[place]) + 1
                    text = to_text(batch.codes[place, :length].numpy())
                    wrong += text != spelt(judge, batch.windows[place])
                    read += 1
                    digest.update(text.encode())
            seconds = time.perf_counter() - began
            print(f"{workers:>8}{ranks:>8}{read:>10,}{wrong:>8}  {seconds:>8.1f}  {digest.hexdigest()[:16]}")


if __name__ == "__main__":
    main()
