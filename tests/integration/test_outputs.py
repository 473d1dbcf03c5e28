"""Files that commands write: never over what is read, never twice, never into nothing; compressed where named so."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

Cli = Callable[..., Result]
FASTA, BED, VCF = "g.fa", "r.bed", "v.vcf"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    write_fasta(tmp_path / FASTA, {"a": random_dna(300), "b": random_dna(90, 1)})
    (tmp_path / BED).write_text("a\t0\t100\tx\n")
    (tmp_path / VCF).write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    (tmp_path / "deep").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["segment", FASTA, "--model", "m", "--out", FASTA],
        ["segment", FASTA, "--model", "m", "--out", f"deep/../{FASTA}"],
        ["segment", FASTA, "--model", "m", "--bigwig", FASTA],
        ["segment", FASTA, "--model", "m", "--regions", BED, "--out", BED],
        ["score", FASTA, "--model", "m", "--parquet", FASTA],
        ["score", FASTA, "--model", "m", "--regions", BED, "--out", BED],
        ["score", "--vcf", VCF, "--genome", FASTA, "--model", "m", "--out", VCF],
        ["genome", "extract", FASTA, "a", "--out", FASTA],
        ["generate", "--model", "m", "--prompt", FASTA, "--out", FASTA],
        ["embed", FASTA, "--model", "m", "--out", FASTA],
        ["predict", FASTA, "--head", "h", "--out", FASTA],
        ["merge", BED, "other.bed", "--out", BED],
    ],
    ids=" ".join,
)
def test_what_is_read_is_not_written(cli: Cli, folder: Path, command: list[str]) -> None:
    before = {name: (folder / name).read_bytes() for name in (FASTA, BED, VCF)}
    result = cli(*command)
    assert result.exit_code == 2, result.output
    assert "is a file that is read; give another name" in one_line_error(result)
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (["--out", "deep"], "--out deep is a folder; give the name of a file in it"),
        (["--out", "none/c.bed"], "--out none/c.bed: there is no folder none; make it first"),
        (["--bigwig", "-"], "--bigwig -: expected the name of a file"),
        (["--out", "c", "--bigwig", "deep/../c"], "--bigwig deep/../c is the file of --out too"),
    ],
)
def test_places_that_cannot_be_written(cli: Cli, folder: Path, out: list[str], message: str) -> None:
    there = sorted(folder.rglob("*"))
    result = cli("segment", FASTA, "--model", "m", *out)
    assert result.exit_code == 2, result.output
    assert message in one_line_error(result)
    assert sorted(folder.rglob("*")) == there


def test_names_in_gz_are_compressed(cli: Cli, folder: Path) -> None:
    for name in ("c.bed", "c.bed.gz"):
        tracks = ["--bedgraph", name.replace("c.bed", "p.bedgraph")]
        result = cli("segment", FASTA, "--model", "m", "--out", name, *tracks)
        assert result.exit_code == 0, result.output
        result = cli("genome", "extract", FASTA, "b", "--out", name.replace("c.bed", "b.fa"))
        assert result.exit_code == 0, result.output
    for name in ("c.bed", "p.bedgraph", "b.fa"):
        assert gzip.decompress((folder / f"{name}.gz").read_bytes()) == (folder / name).read_bytes()
    with pysam.TabixFile("c.bed.gz") as indexed:
        assert len(list(indexed.fetch("b"))) == sum(
            line.startswith("b") for line in (folder / "c.bed").read_text().splitlines()
        )
    with pysam.FastaFile("b.fa.gz") as fasta:  # which reads no gzip but bgzip
        assert fasta.fetch("b").upper() == random_dna(90, 1)
