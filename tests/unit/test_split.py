"""Splits: defaults, BED files, regions; no base in two parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import random_dna, write_fasta

from hnet_dna.data.split import Split, base_counts, split_genome, training_segments
from hnet_dna.data.windows import Position, WindowSampler
from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.interval import Interval, difference, intersection, union


def bases(intervals: tuple[Interval, ...] | list[Interval]) -> set[tuple[str, int]]:
    return {(i.contig, base) for i in intervals for base in range(i.start, i.end)}


def assert_disjoint(split: Split) -> None:
    parts = [bases(part) for part in (split.train, split.valid, split.test)]
    assert sum(map(len, parts)) == len(set().union(*parts))


@pytest.fixture
def genome(tmp_path: Path) -> Genome:
    records = {"chr1": random_dna(300) + "N" * 50 + random_dna(150, 1), "chr2": random_dna(400, 2), "chrM": "ACGTRYAC"}
    return open_genome(write_fasta(tmp_path / "g.fa", records))


@pytest.mark.parametrize(
    ("lengths", "held_out"),
    [
        ({"a": 900, "b": 100}, [Interval("b", 0, 100)]),  # a contig near a tenth
        ({"a": 1000}, [Interval("a", 900, 1000)]),  # one contig: its tail
        ({"a": 500, "b": 500}, [Interval("a", 450, 500), Interval("b", 450, 500)]),
        ({f"s{i:02}": 100 for i in range(40)}, [Interval(f"s{i:02}", 0, 100) for i in range(4)]),
        ({"a": 3}, []),
    ],
)
def test_default(tmp_path: Path, lengths: dict[str, int], held_out: list[Interval]) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {name: random_dna(n) for name, n in lengths.items()}))
    split = split_genome(genome)
    assert list(split.held_out) == held_out
    assert_disjoint(split)
    assert sum(map(len, (*split.train, *split.test))) == genome.length


def test_recognised_assembly_gets_its_recommended_split() -> None:
    from hnet_dna.genome.bundled import bundled_genome

    split = split_genome(open_genome(bundled_genome().fasta))
    assert split.rule == "as the manifest of sacCer3 recommends"
    assert [interval.contig for interval in split.test] == ["chrXV"]


def test_part_of_an_assembly_does_not_lose_most_of_itself(tmp_path: Path) -> None:
    """The manifest holds out chromosome XV, which is over half of this genome."""
    from hnet_dna.genome.bundled import bundled_genome
    from hnet_dna.genome.genome import whole
    from hnet_dna.sequence.codes import to_text

    yeast = open_genome(bundled_genome().fasta)
    few = {name: to_text(yeast.codes(whole(yeast[name]))) for name in ("chrI", "chrIII", "chrXV")}
    genome = open_genome(write_fasta(tmp_path / "g.fa", few))
    split = split_genome(genome)
    assert "manifest" not in split.rule
    assert 0.05 <= sum(map(len, split.test)) / genome.length <= 0.15


def test_regions_without_any_of_the_held_out_part_are_refused(genome: Genome, tmp_path: Path) -> None:
    bed = tmp_path / "regions.bed"
    bed.write_text("chr1\t0\t100\n")
    with pytest.raises(SequenceError, match=r"regions.bed: nothing of what is held out .* lies in these regions"):
        split_genome(genome, held_out=["chr2"], regions=str(bed))


def test_named_contigs(genome: Genome) -> None:
    assert split_genome(genome, ["chr2"]).held_out == (Interval("chr2", 0, 400),)
    with pytest.raises(SequenceError, match="every contig is held out"):
        split_genome(genome, ["chr1", "chr2", "chrM"])
    with pytest.raises(UsageError, match="not both"):
        split_genome(genome, ["chr2"], "0.1")


def test_share(genome: Genome) -> None:
    split = split_genome(genome, split="0.25")
    assert split.test == (Interval("chr1", 375, 500), Interval("chr2", 300, 400), Interval("chrM", 6, 8))
    assert_disjoint(split)
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_genome(genome, split="1.5")
    with pytest.raises(SequenceError, match=r"10%: no such file; `split` takes a BED file, or a share such as 0\.1"):
        split_genome(genome, split="10%")


def test_bed(genome: Genome, tmp_path: Path) -> None:
    bed = tmp_path / "split.bed"
    bed.write_bytes(
        b'track name="x"\n# comment\r\nchr1\t0\t100\ttrain\r\nchr1\t50\t200\ttrain\n\n'
        b"chr1 200 300 val\nchr2\t0\t10\ttest\nchr2\t10\t10\ttrain\n"
    )
    split = split_genome(genome, split=str(bed))
    assert split.train == (Interval("chr1", 0, 200),)
    assert split.valid == (Interval("chr1", 200, 300),)
    assert split.test == split.held_out == (Interval("chr2", 0, 10),)
    assert_disjoint(split)
    counts = base_counts(genome, split)
    assert counts["predicted"] == 199
    assert counts["held out"] == 110
    assert sum(counts.values()) == genome.length


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t0\t100\ttrain\nchr1\t99\t120\ttest\n", r"chr1:100-100 is both train \(line 1\) and test \(line 2\)"),
        ("chr1\t0\t9\ttrain\nchr1\t5\t50\ttrain\nchr1\t8\t9\tvalid\n", r"both train \(line 1\) and valid \(line 3\)"),
        ("chr1\t0\t100\ttrian\n", "line 1: column 4 must be train, valid or test, got 'trian'. Did you mean train?"),
        ("chr1\t0\t100\n", "line 1: column 4 must be train, valid or test, got ''"),
        ("chr1\t0\t100\ttest\n", "no region is marked train"),
        ("chr1\t9\t3\ttrain\n", "line 1: expected 0 <= start <= end"),
        ("chr1\t-1\t3\ttrain\n", "line 1: expected 0 <= start <= end"),
        ("chr1\t1.5\t3\ttrain\n", "line 1: start and end must be integers, got '1.5'"),
        ("chr1\t5\n", "line 1: expected contig, start and end"),
        ("chr1\t0\t501\ttrain\n", r"line 1: chr1:1-501 ends past the contig \(500 bases in g.fa\)"),
        ("1\t0\t9\ttrain\n2\t0\t9\ttest\n", "line 1: g.fa has no contig 1.*chrM; given: 1, 2. It is called chr1"),
        ("MT\t0\t5\ttrain\n", "It is called chrM there"),
        ("scaffold9\t0\t5\ttrain\n", "Is it the same assembly"),
        ("\n", "no region in this BED file"),
        ("\tchr1\t0\t5\n", "line 1"),
    ],
)  # fmt: skip
def test_refused_bed(genome: Genome, tmp_path: Path, text: str, message: str) -> None:
    bed = tmp_path / "split.bed"
    bed.write_text(text)
    with pytest.raises(SequenceError, match=message):
        split_genome(genome, split=str(bed))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"\x1f\x8b\x08\x00cut"])
def test_bed_that_cannot_be_read(genome: Genome, tmp_path: Path, content: bytes | None) -> None:
    bed = tmp_path / "split.bed"
    if content is not None:
        bed.write_bytes(content)
    with pytest.raises(SequenceError, match=r"split\.bed"):
        split_genome(genome, split=str(bed))


def test_regions_restrict_every_part(genome: Genome, tmp_path: Path) -> None:
    bed = tmp_path / "regions.bed"
    bed.write_text("chr1\t290\t360\nchr1\t340\t400\nchr2\t350\t400\n")
    split = split_genome(genome, split="0.25", regions=str(bed))
    # A quarter of what the regions have of each contig: of 110 bases, and of 50.
    assert split.train == (Interval("chr1", 290, 372), Interval("chr2", 350, 388))
    assert split.test == (Interval("chr1", 372, 400), Interval("chr2", 388, 400))
    assert training_segments(genome, split)[:2] == [Interval("chr1", 290, 300), Interval("chr1", 350, 372)]
    counts = base_counts(genome, split)
    assert counts["runs of N"] == 50
    assert sum(counts.values()) == genome.length


def test_counts_cover_the_genome_once(genome: Genome) -> None:
    counts = base_counts(genome, split_genome(genome, ["chr2"]))
    assert counts["IUPAC codes other than N, read but not predicted"] == 2
    assert counts["first base of a stretch, which has nothing before it"] == 3
    assert counts["predicted"] == 299 + 149 + 5
    assert sum(counts.values()) == genome.length


@pytest.mark.parametrize("seed", range(5))
def test_no_window_of_any_split_leaks(genome: Genome, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    cuts = [0, *sorted(random.choice(499, size=6, replace=False) + 1), 500]
    parts = random.choice(["train", "valid", "test"], size=7)
    parts[0] = "train"
    bed = tmp_path / "split.bed"
    bed.write_text("".join(f"chr1\t{a}\t{b}\t{p}\n" for (a, b), p in zip(pairwise(cuts), parts, strict=True)))
    split = split_genome(genome, split=str(bed))
    assert_disjoint(split)
    try:
        sampler = WindowSampler(training_segments(genome, split), int(random.integers(1, 64)), seed)
    except HNetError:
        return
    windows, _ = sampler.take(Position(), 300)
    seen = bases([window.interval for window in windows])
    assert seen <= bases(split.train)


def test_interval_algebra_against_sets() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        left, right = (
            [
                Interval(str(random.choice(["a", "b"])), int(s), int(s + random.integers(0, 6)))
                for s in random.integers(0, 20, size=random.integers(0, 6))
            ]
            for _ in range(2)
        )
        assert bases(union(left)) == bases(left)
        assert bases(intersection(left, right)) == bases(left) & bases(right)
        assert bases(difference(left, right)) == bases(left) - bases(right)
        for result in (union(left), intersection(left, right), difference(left, right)):
            assert result == sorted(result)
            assert all(a.contig != b.contig or a.end < b.start for a, b in pairwise(result))


def test_a_genome_that_can_spare_it_gives_a_validation_part(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(1_100_000), "b": random_dna(120_000, 1)}))
    split = split_genome(genome)
    assert (split.valid, split.test) == ((Interval("a", 1_075_600, 1_100_000),), (Interval("b", 0, 120_000),))
    assert split.train == (Interval("a", 0, 1_075_600),)
    tails = split_genome(genome, split="0.2")
    assert tails.valid == (Interval("a", 855_600, 880_000),)
    assert sum(map(len, (*tails.train, *tails.valid, *tails.test))) == genome.length
    bed = tmp_path / "s.bed"
    bed.write_text("a\t0\t1100000\ttrain\nb\t0\t120000\ttest\n")
    assert split_genome(genome, split=str(bed)).valid == (), "a file is taken at its word"
