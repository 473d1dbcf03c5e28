"""Sums up the tracks of a genome, one line for each contig and one for all.

    python pipelines/track_report.py genome.json chunks.bed.gz log2p.bw --out report.tsv

`genome.json` is what `hnet-dna genome inspect --json` prints. Columns: contig, bases other than N, chunks, bases per
chunk, scored bases, bits per base (minus the mean of log2 p); NA where there is nothing to divide by.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyBigWig

from hnet_dna.files import write_beside

BLOCK = 1 << 20  # values held at once


def count_chunks(bed: Path) -> tuple[Counter[str], Counter[str]]:
    """Return chunks, and bases in chunks, of each contig."""
    chunks, bases = Counter[str](), Counter[str]()
    with gzip.open(bed, "rt") as lines:
        for line in lines:
            contig, start, end = line.split("\t", 3)[:3]
            chunks[contig] += 1
            bases[contig] += int(end) - int(start)
    return chunks, bases


def sum_scores(bigwig: Path) -> tuple[Counter[str], dict[str, float]]:
    """Return the number of scored bases of each contig, and the sum of their log2 p."""
    counts, sums = Counter[str](), dict[str, float]()
    with pyBigWig.open(str(bigwig)) as file:
        covered = file.header()["nBasesCovered"]
        for contig, length in file.chroms().items():
            sums[contig] = 0.0
            for start in range(0, length if covered else 0, BLOCK):
                values = file.values(contig, start, min(start + BLOCK, length), numpy=True)
                counts[contig] += int(np.count_nonzero(~np.isnan(values)))
                sums[contig] += float(np.nansum(values, dtype=np.float64))
    return counts, sums


def ratio(amount: float, of: int) -> str:
    """Format a quotient."""
    return f"{amount / of:.4f}" if of else "NA"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="The tracks of a genome, by contig.")
    parser.add_argument("genome", type=Path)
    parser.add_argument("chunks", type=Path)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    contigs = {row["name"]: row["length"] - row["n"] for row in json.loads(options.genome.read_text())["contigs"]}
    chunks, tiled = count_chunks(options.chunks)
    counts, sums = sum_scores(options.scores)
    lines = ["contig\tbases\tchunks\tbases_per_chunk\tscored\tbits_per_base"]
    for name, which in [*((contig, [contig]) for contig in contigs), ("all", list(contigs))]:
        bases, n, inside, scored = (sum(counted[c] for c in which) for counted in (contigs, chunks, tiled, counts))
        bits = -sum(sums[c] for c in which)
        lines.append(f"{name}\t{bases}\t{n}\t{ratio(inside, n)}\t{scored}\t{ratio(bits, scored)}")
    with write_beside(options.out) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
