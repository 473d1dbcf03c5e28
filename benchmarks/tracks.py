"""Prints what the tracks of a genome cost by phase: time, memory, bytes per base, and shards that are merged.

    python benchmarks/tracks.py [--bases 30000000] [--contigs 25] [--model-bases 1000000] [--model five-genomes]

Two parts. The first runs a model over `--model-bases` random bases, with and without outputs. The second has no model:
chunks as long as the first part found stream through all writers at `--bases`, in one process, and in two of which each
has half of the contigs, and whose files are merged. Its times are those of the processor, of this process and of those
that it starts, so that other programs do not count. Time per base and memory should not depend on the size.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hnet_dna.tracks.bed import bed6
from hnet_dna.tracks.bigbed import ChunkFile
from hnet_dna.tracks.chunks import Chunks
from hnet_dna.tracks.merge import merge_tracks
from hnet_dna.tracks.values import Values
from hnet_dna.tracks.windows import Windows

_PIECE = 1 << 13
_SPENT: dict[str, float] = {}


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the processor's time of a block, children included, to a phase."""
    began = sum(os.times()[:4])
    yield
    _SPENT[name] = _SPENT.get(name, 0.0) + sum(os.times()[:4]) - began


def chunks_of(contig: int, length: int, mean: float) -> Iterator[tuple[Chunks, np.ndarray]]:
    """Yield chunks of a random contig as they come from a stream, with the probability of each base."""
    random = np.random.default_rng(contig)
    first = 0
    for start in range(0, length, _PIECE):
        size = min(_PIECE, length - start)
        values = random.random(size, dtype=np.float32)
        begins = np.flatnonzero(random.random(size) < 1 / mean)
        begins = np.unique(np.append(0, begins))
        ends = np.append(begins[1:], size)
        yield Chunks(f"chr{contig + 1}", begins + start, ends + start, values[begins], first), values
        first += len(begins)


def write(folder: Path, contigs: range, length: int, mean: float) -> int:
    """Write all tracks of some contigs; return the number of chunks."""
    count = 0
    with Values() as values, ChunkFile() as held, (folder / "c.bed").open("w") as bed:
        windows = Windows(1000)
        for contig in contigs:
            for chunks, probability in chunks_of(contig, length, mean):
                count += len(chunks)
                with phase("hold chunks for bigBed"):
                    held.add(chunks)
                with phase("hold values for bigWig"):
                    values.add(chunks.contig, int(chunks.start[0]), probability)
                with phase("sum windows"):
                    windows.add(chunks)
                with phase("write BED"):
                    bed.write(bed6(chunks))
        with phase("write bigBed"):
            held.write_bigbed(folder / "c.bb")
        with phase("write bigWig"):
            values.write_bigwig(folder / "c.bw")
        with phase("write summary"):
            windows.write_bigwig(folder / "c.1000.bw")
    return count


def peak() -> str:
    """Return the most memory of this process, and of those that it has started."""
    own, others = (resource.getrusage(who).ru_maxrss / 1e3 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return f"{own:.0f} MB here, {others:.0f} MB in the processes that write"


def model_part(bases: int, model: str, folder: Path) -> float:
    """Print the rate of `segment` with and without outputs; return bases per chunk."""
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), bases).tobytes().decode()
    fasta = folder / "g.fa"
    fasta.write_text(">chr1\n" + "\n".join(letters[i : i + 60] for i in range(0, bases, 60)) + "\n")
    command = [sys.executable, "-m", "hnet_dna_cli", "segment", str(fasta), "--model", model, "--quiet"]
    outputs = ["--bigbed", str(folder / "m.bb"), "--bigwig", str(folder / "m.bw"), "--summary", "1000"]
    spent = {}
    for name, more in (("start", None), ("BED only", []), ("bigBed, bigWig, summary and BED", outputs)):
        arguments = [*command, *(more or []), "-o", str(folder / "m.bed")]
        if more is None:
            short = folder / "s.fa"
            short.write_text(">chr1\nACGT\n")
            arguments[4] = str(short)
        began, clock = sum(os.times()[2:4]), time.perf_counter()
        subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)
        spent[name] = sum(os.times()[2:4]) - began
        if more is not None:
            rate = bases / (spent[name] - spent["start"])
            waited = time.perf_counter() - clock
            print(f"segment, {name}: {rate:,.0f} bases per processor second ({waited:.0f} s waited)", flush=True)
    with (folder / "m.bed").open() as lines:
        count = sum(1 for _ in lines)
    print(f"{bases / count:.2f} bases per chunk", flush=True)
    return bases / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of the tracks of a genome.")
    parser.add_argument("--bases", type=int, default=30_000_000)
    parser.add_argument("--contigs", type=int, default=25)
    parser.add_argument("--model-bases", type=int, default=1_000_000)
    parser.add_argument("--model", default="five-genomes")
    parser.add_argument("--mean", type=float, default=3.1, help="bases per chunk, where --model-bases is 0")
    arguments = parser.parse_args()
    length = arguments.bases // arguments.contigs
    bases = length * arguments.contigs
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        mean = arguments.mean
        if arguments.model_bases:
            mean = model_part(arguments.model_bases, arguments.model, folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        count = write(folder, range(arguments.contigs), length, mean)
        print(f"{bases:,} bases in {arguments.contigs} contigs, {count:,} chunks")
        for name, seconds in _SPENT.items():
            print(f"  {name:<24}{seconds:8.1f} s{seconds / bases * 1e9:8.1f} ns per base")
        print(f"  {'all':<24}{sum(_SPENT.values()):8.1f} s{sum(_SPENT.values()) / bases * 1e9:8.1f} ns per base")
        for name in ("c.bed", "c.bb", "c.bw", "c.1000.bw"):
            print(f"  {name:<24}{(folder / name).stat().st_size / bases:8.3f} bytes per base")
        print(f"  memory: {peak()}; {before:.0f} MB before it began", flush=True)
        half = arguments.contigs // 2
        parts = []
        for part, contigs in enumerate((range(half), range(half, arguments.contigs))):
            (folder / str(part)).mkdir()
            parts.append(os.fork())
            if parts[-1] == 0:
                write(folder / str(part), contigs, length, mean)
                os._exit(0)
        assert [os.waitpid(part, 0)[1] for part in parts] == [0, 0]
        _SPENT.clear()
        for name in ("c.bb", "c.bw", "c.1000.bw"):
            with phase(f"merge {name}"):
                merge_tracks([folder / "0" / name, folder / "1" / name], folder / f"merged.{name}")
        for name, seconds in _SPENT.items():
            print(f"  {name:<24}{seconds:8.1f} s{seconds / bases * 1e9:8.1f} ns per base")
        for name in ("c.bb", "c.bw"):
            same = filecmp.cmp(folder / name, folder / f"merged.{name}", shallow=False)
            print(f"  merged.{name}: {'' if same else 'not '}the bytes of {name}")
        print(f"  memory: {peak()}")


if __name__ == "__main__":
    main()
