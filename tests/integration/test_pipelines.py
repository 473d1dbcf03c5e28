"""The scripts in pipelines/, run by path as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PIPELINES = Path(__file__).parent.parent.parent / "pipelines"


def test_codon_positions_recover_a_planted_pattern(tmp_path: Path) -> None:
    """A gene on each strand, chunks beginning at codon position 3 of the one and 1 of the other, and nowhere else."""
    forward = range(102, 200, 3)  # CDS 100-199: position 3 is every base 2 after a codon's first
    backward = range(299, 200, -3)  # CDS 201-300 on the reverse strand: its first base is 299
    starts = sorted({0, *forward, *backward})
    bed = tmp_path / "x.bed"
    bed.write_text("".join(f"c\t{s}\t{e}\tn\t0\t+\n" for s, e in zip(starts, [*starts[1:], 400], strict=True)))
    gff = tmp_path / "x.gff3"
    gff.write_text(
        "##gff-version 3\n"
        "c\t.\tCDS\t101\t199\t.\t+\t0\tID=a\n"
        "c\t.\tCDS\t202\t289\t.\t-\t1\tID=b\n"  # its second exon: the 11 bases of the first leave 1 to finish a codon
        "c\t.\tCDS\t290\t300\t.\t-\t0\tID=b\n"
        "other\t.\tCDS\t1\t9\t.\t+\t0\tID=z\n"
    )
    done = subprocess.run(
        [sys.executable, PIPELINES / "codon_positions.py", bed, gff], capture_output=True, text=True, check=True
    )
    rates = {tuple(row.split("\t")[:2]): float(row.split("\t")[4]) for row in done.stdout.splitlines()[1:]}
    assert rates == {
        ("+", "1"): 0, ("+", "2"): 0, ("+", "3"): 100, ("-", "1"): 100, ("-", "2"): 0, ("-", "3"): 0, ("none", "-"): 0,
    }  # fmt: skip
