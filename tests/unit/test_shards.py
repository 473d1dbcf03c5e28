"""Genomes in parts, and the tracks of the parts joined again."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.errors import UsageError
from hnet_dna.genome.shards import shard
from hnet_dna.genome.store import Contig
from hnet_dna.tracks.bigwig import write_bigwig

Cli = Callable[..., Result]


def contigs(lengths: list[int]) -> list[Contig]:
    return [Contig(f"c{i}", 0, length, "", 0, 0, 0, 0, ()) for i, length in enumerate(lengths)]


@pytest.mark.parametrize("seed", range(8))
def test_shards_are_the_genome_in_order_and_none_longer_than_needed(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 50, size=9).tolist()
    for count in range(1, 10):
        parts = [[c.length for c in shard(contigs(lengths), f"{i}/{count}")] for i in range(1, count + 1)]
        assert list(itertools.chain(*parts)) == lengths
        assert all(parts)
        cuts = itertools.combinations(range(1, 9), count - 1)
        best = min(
            max(sum(lengths[a:b]) for a, b in itertools.pairwise([0, *cut, 9])) for cut in cuts
        )  # every way there is
        assert max(map(sum, parts)) == best


@pytest.mark.parametrize("which", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/4"])
def test_wrong_shards_are_refused(which: str) -> None:
    with pytest.raises(UsageError, match="expected I/N" if which != "1/4" else "fewer contigs than shards, 3"):
        shard(contigs([5, 5, 5]), which)


def values(path: Path) -> dict[str, np.ndarray]:
    import pyBigWig

    with pyBigWig.open(str(path)) as file:
        covered = file.header()["nBasesCovered"]
        return {c: np.array(file.values(c, 0, n)) if covered else np.full(n, np.nan) for c, n in file.chroms().items()}


def test_merged_parts_are_the_whole(cli: Cli, tmp_path: Path) -> None:
    """In three parts, the second of which is nothing but N."""
    model = tmp_path / "model"
    lively_model(small_config()).float().save_pretrained(model)
    records = {"b": random_dna(200) + "NN" + random_dna(90, 1), "n": "N" * 300, "a": random_dna(290, 2)}
    fasta = write_fasta(tmp_path / "g.fa", records)
    parts = ["part1", "part2", "part3"]
    for name, extra in [("whole", []), *((part, ["--shard", f"{part[-1]}/3"]) for part in parts)]:
        bed, bw, scores = (tmp_path / f"{name}.{suffix}" for suffix in ("bed", "bw", "log2p.bw"))
        done = cli("segment", fasta, "--model", model, "--bigwig", bw, "-o", bed, *extra)
        assert done.exit_code == 0, done.output
        done = cli("score", fasta, "--model", model, "--bigwig", scores, *extra)
        assert done.exit_code == 0, done.output
    for suffix in ("bed", "bed.gz", "bw", "log2p.bw"):
        merged = tmp_path / f"merged.{suffix}"
        of_parts = [tmp_path / f"{part}.{suffix.removesuffix('.gz')}" for part in parts]
        done = cli("merge", *of_parts, "--out", merged)
        assert done.exit_code == 0, done.output
        assert done.stdout == ""
        if suffix.endswith("bw"):
            ours, theirs = values(merged), values(tmp_path / f"whole.{suffix}")
            assert {c: len(v) for c, v in ours.items()} == {c: len(v) for c, v in records.items()}
            for name, expected in {name: v for path in of_parts for name, v in values(path).items()}.items():
                np.testing.assert_array_equal(ours[name], expected)
                np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)
    text = (tmp_path / "merged.bed").read_text()
    assert text == "".join((tmp_path / f"{part}.bed").read_text() for part in parts)
    assert gzip.decompress((tmp_path / "merged.bed.gz").read_bytes()).decode() == text
    assert (tmp_path / "merged.bed.gz.tbi").exists()
    whole = (tmp_path / "whole.bed").read_text()
    assert [line.split("\t")[:4] for line in text.splitlines()] == [line.split("\t")[:4] for line in whole.splitlines()]


def test_merge_refuses_what_would_be_wrong(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.bed").write_text("x\t0\t1\n")
    (tmp_path / "mixed.bed").write_text("x\t0\t1\ny\t0\t1\nx\t1\t2\n")
    (tmp_path / "words.bed").write_text("x\t0\t1\nhello world\n")
    write_bigwig(tmp_path / "x.bw", {"x": 9}, lambda contig: [(0, np.ones(9, dtype=np.float32), 1)])

    def refused(*arguments: str, code: int = 1) -> str:
        done = cli("merge", *(tmp_path / name for name in arguments[:-1]), "--out", tmp_path / arguments[-1])
        assert done.exit_code == code, done.output
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed.bed", "words.bed", "x.bed", "x.bw"]
        return one_line_error(done)

    assert "mixed.bed: line 3: x was there before" in refused("mixed.bed", "o.bed")
    assert "x.bed: line 1: x was there before" in refused("x.bed", "x.bed", "o.bed")
    assert "x.bw: x is in" in refused("x.bw", "x.bw", "o.bw")
    assert "words.bed: line 2: expected contig, start and end" in refused("words.bed", "o.bed")
    assert "is not a bigWig file" in refused("x.bed", "o.bw")
    assert "expected BED" in refused("x.bw", "o.bed")
    assert "no such file" in refused("none.bed", "o.bed")
    assert "expected a name that ends in" in refused("x.bw", "o.bw.gz", code=2)
    assert "is a file that the command reads" in refused("x.bw", "x.bw", code=2)


@pytest.mark.parametrize(
    "command", [["segment", "g.fa", "--regions", "r.bed"], ["score", "g.fa", "--regions", "r.bed"]]
)
def test_shard_does_not_mix_with_other_choices(cli: Cli, command: list[str]) -> None:
    done = cli(*command, "--model", "model", "--shard", "1/2")
    assert done.exit_code == 2
    assert "--shard" in one_line_error(done)
