"""Measures how often a chunk begins at each codon position inside annotated CDS.

    python pipelines/codon_positions.py boundaries.bed genes.gff3.gz

Reads the BED6 of `hnet-dna segment` and the CDS lines of a GFF3 (plain or gzip). The model reads the forward strand,
so that genes on the reverse strand are met backwards: both are reported, codon position 1 being the first base of a
codon in the gene's own direction. Forced boundaries (the first base of a contig or after N) are left out, and so are
bases that lie in CDS of both strands.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import numpy as np


def open_text(path: Path) -> TextIO:
    """Open plain or gzip text."""
    return cast(TextIO, gzip.open(path, "rt")) if path.suffix == ".gz" else path.open()


def read_cds(path: Path) -> Iterator[tuple[str, int, int, str, int]]:
    """Yield contig, start, end (0-based half-open), strand, phase of each CDS line."""
    with open_text(path) as file:
        for line in file:
            fields = line.rstrip("\n").split("\t")
            if len(fields) == 9 and fields[2] == "CDS" and fields[6] in "+-":
                phase = 0 if fields[7] == "." else int(fields[7])
                yield fields[0], int(fields[3]) - 1, int(fields[4]), fields[6], phase


def main() -> None:
    """Read both files and print a table."""
    parser = argparse.ArgumentParser(description="Boundary rate by codon position.")
    parser.add_argument("bed", type=Path)
    parser.add_argument("gff", type=Path)
    arguments = parser.parse_args()
    boundaries: dict[str, list[int]] = {}
    ends: dict[str, int] = {}
    forced: dict[str, list[int]] = {}
    with open_text(arguments.bed) as file:
        for line in file:
            contig, first, after = line.split("\t", 3)[:3]
            if ends.get(contig) != int(first):
                forced.setdefault(contig, []).append(int(first))
            ends[contig] = int(after)
            boundaries.setdefault(contig, []).append(int(first))
    # Codon position 1 to 3 of every base on each strand, 0 where there is no CDS.
    position = {
        contig: {strand: np.zeros(length, dtype=np.uint8) for strand in "+-"} for contig, length in ends.items()
    }
    for contig, start, end, strand, phase in read_cds(arguments.gff):
        if contig not in position:
            continue
        bases = np.arange(start, min(end, ends[contig]))
        frame = bases - start - phase if strand == "+" else end - 1 - phase - bases
        position[contig][strand][bases] = frame % 3 + 1
    counts = {strand: np.zeros((4, 2), dtype=np.int64) for strand in "+-"}
    for contig, tracks in position.items():
        begins = np.zeros(ends[contig], dtype=bool)
        begins[boundaries[contig]] = True
        usable = (tracks["+"] == 0) | (tracks["-"] == 0)
        usable[forced[contig]] = False
        for strand, other in (("+", "-"), ("-", "+")):
            place = np.where(tracks[other] > 0, 9, tracks[strand])
            for codon in range(4):
                here = usable & (place == codon)
                counts[strand][codon] += (begins[here].sum(), here.sum())
    print("CDS strand\tcodon position\tbases\tboundaries\trate %")
    for strand, table in counts.items():
        for codon in (1, 2, 3):
            chunks, bases = table[codon]
            rate = 100 * chunks / bases if bases else float("nan")
            print(f"{strand}\t{codon}\t{bases}\t{chunks}\t{rate:.2f}")
    chunks, bases = counts["+"][0]
    print(f"none\t-\t{bases}\t{chunks}\t{100 * chunks / bases if bases else float('nan'):.2f}")


if __name__ == "__main__":
    main()
