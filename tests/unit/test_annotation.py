"""Annotation files: both ways of counting, derived classes, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from helpers import random_dna, write_fasta

from hnet_dna.data.annotation import read_annotation
from hnet_dna.data.genome import Genome
from hnet_dna.errors import SequenceError
from hnet_dna.sequence.interval import Interval

GFF = (
    "##gff-version 3\n"
    "chr1\tx\tregion\t1\t500\t.\t.\t.\tID=r\n"
    "chr1\tx\tgene\t11\t100\t.\t+\t.\tID=g\r\n"
    "chr1\tx\tCDS\t11\t20\t.\t+\t0\tID=c\n"
    "chr1\tx\tCDS\t15\t40\t.\t+\t0\tID=c\n"
    "chr1\tx\tCDS\t61\t100\t.\t+\t0\tID=c\n"
    "\n# comment\n"
    "chr2\tx\tgene\t1\t200\t.\t-\t.\tID=h\n"
    "##FASTA\n>chr9\nACGT\n"
)


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    return Genome.open(write_fasta(tmp_path / "g.fa", {"chr1": random_dna(500), "chr2": random_dna(200, 1)}))


@pytest.mark.parametrize("name", ["a.gff3", "a.gff3.gz", "a.gtf"])
def test_gff_counts_from_one(genome: Genome, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(GFF.encode()) if name.endswith("gz") else GFF.encode())
    classes = read_annotation(path, genome)
    assert classes == {
        "gene": [Interval("chr1", 10, 100), Interval("chr2", 0, 200)],
        "CDS": [Interval("chr1", 10, 40), Interval("chr1", 60, 100)],
        "intron": [Interval("chr1", 40, 60)],  # the gene on chr2 has no parts that would tell
        "intergenic": [Interval("chr1", 0, 10), Interval("chr1", 100, 500)],
    }


def test_a_contig_without_a_line_is_not_intergenic(genome: Genome, tmp_path: Path) -> None:
    (tmp_path / "a.gff3").write_text("chr1\tx\tgene\t11\t100\t.\t+\t.\tID=g\n")
    assert read_annotation(tmp_path / "a.gff3", genome)["intergenic"] == [
        Interval("chr1", 0, 10),
        Interval("chr1", 100, 500),
    ]


def test_bed_counts_from_zero(genome: Genome, tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("chr1\t0\t5\tLINE\nchr1\t3\t9\tLINE\nchr2\t1\t2\n")
    assert read_annotation(path, genome) == {"LINE": [Interval("chr1", 0, 9)], "annotated": [Interval("chr2", 1, 2)]}


def test_lines_of_the_rest_of_an_assembly_are_left_out(
    genome: Genome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.gff3"
    rest = "".join(f"chr1{i}\tx\tgene\t1\t9999\t.\t+\t.\tI\n" * i for i in range(5))
    path.write_text(rest + "chr2\tx\tgene\t1\t50\t.\t+\t.\tI\n" + rest)
    with caplog.at_level("INFO", "hnet_dna"):
        assert read_annotation(path, genome)["gene"] == [Interval("chr2", 0, 50)]
    assert "a.gff3: 20 lines left out, on contigs that g.fa lacks: chr11, chr12, chr13 ..." in caplog.text
    # Of another assembly altogether, and one whose contigs have other names here.
    path.write_text(rest)
    with pytest.raises(SequenceError, match=r"a.gff3: line 1: g.fa has no contig chr11.*given: chr11, chr12"):
        read_annotation(path, genome)
    path.write_text("chr2\tx\tgene\t1\t50\t.\t+\t.\tI\n1\tx\tgene\t1\t50\t.\t+\t.\tI\n")
    with pytest.raises(SequenceError, match=r"line 2: g.fa has no contig 1.*It is called chr1 there"):
        read_annotation(path, genome)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\tx\tgene\t0\t5\t.\t+\t.\tI", "line 1: expected 1 <= start <= end, got 0 and 5"),
        ("chr1\tx\tgene\t7\t5\t.\t+\t.\tI", "line 1: expected 1 <= start <= end"),
        ("chr1\tx\tgene\ta\t5\t.\t+\t.\tI", "line 1: start and end must be integers"),
        ("chr1\tx\tgene\t1\t501\t.\t+\t.\tI", "ends past the contig \\(500 bases\\)"),
        ("1\tx\tgene\t1\t5\t.\t+\t.\tI", "g.fa has no contig 1.*It is called chr1 there"),
        ("chr1 x gene 1 5", "line 1: expected the 9 columns of GFF3 or GTF"),
    ],
)
def test_refused(genome: Genome, tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.gff3"
    path.write_text(line + "\n")
    with pytest.raises(SequenceError, match=message):
        read_annotation(path, genome)
