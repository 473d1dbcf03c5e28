"""Files that commands write: never over what is read, never twice, never into nothing; compressed where named so."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.files import folder_beside

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
    (tmp_path / "hard.fa").hardlink_to(tmp_path / FASTA)
    (tmp_path / "soft.fa").symlink_to(FASTA)
    for name in ("a.plus.bed", "x.ids.txt", "all.bed.gz.tbi"):
        write_fasta(tmp_path / name, {"a": random_dna(60)})
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
        ["segment", FASTA, "--model", "m", "--out", "hard.fa"],
        ["segment", FASTA, "--model", "m", "--out", "soft.fa"],
        ["segment", FASTA, "--model", "m", "--out", f"{FASTA}.hnetdna"],
        ["segment", FASTA, "--model", "m", "--out", "m/model.safetensors"],
        ["segment", "a.plus.bed", "--model", "m", "--strand", "both", "--bedgraph", "a.bed"],
        ["embed", "x.ids.txt", "--model", "m", "--out", "x.npy"],
        ["merge", "all.bed.gz.tbi", "--out", "all.bed.gz"],
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
    assert "is a file that the command reads; give another name" in one_line_error(result)
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (["--out", "deep"], "--out deep is a folder; give the name of a file in it"),
        (["--out", "none/c.bed"], "--out none/c.bed: there is no folder none; make it first"),
        (["--bigwig", "-"], "--bigwig -: expected the name of a file"),
        (["--out", "c", "--bigwig", "deep/../c"], "--bigwig deep/../c is also the file of --out"),
        (
            ["--strand", "both", "--bedgraph", "b.bed", "-o", "b.plus.bed"],
            "--bedgraph b.plus.bed is also the file of --out",
        ),
        (["--strand", "both", "--bigwig", "b", "--bedgraph", "b"], "--bedgraph b.plus is also the file of --bigwig"),
        (["-o", "b.bed.gz", "--bedgraph", "b.bed.gz.csi"], "--bedgraph b.bed.gz.csi is also the file of --out"),
        (["-o", "dangling/../b.bed"], "there is no folder dangling/..; make it first"),
        (["-o", "x.bcf"], "--out x.bcf: the name promises BCF, and text is written; give another name"),
        (["-o", "x.Bw.bgz"], "--out x.Bw.bgz: the name promises bigWig, and text is written"),
        (["-o", "x.bed.bz2"], "--out x.bed.bz2: the name promises bzip2, and text is written"),
        (["--bigwig", "x.bw.gz"], "--bigwig x.bw.gz: the name promises gzip, and bigWig is written"),
        (["--bigwig", "x.bedgraph"], "--bigwig x.bedgraph: the name promises bedGraph, and bigWig is written"),
        (["--bedgraph", "x.parquet"], "--bedgraph x.parquet: the name promises Parquet, and text is written"),
    ],
)
def test_places_that_cannot_be_written(cli: Cli, folder: Path, out: list[str], message: str) -> None:
    there = sorted(folder.rglob("*"))
    result = cli("segment", FASTA, "--model", "m", *out)
    assert result.exit_code == 2, result.output
    assert message in one_line_error(result)
    assert sorted(folder.rglob("*")) == there


def test_a_vcf_is_not_written_as_bcf(cli: Cli, folder: Path) -> None:
    result = cli("score", "--vcf", VCF, "--genome", FASTA, "--model", "m", "-o", "x.bcf")
    assert result.exit_code == 2, result.output
    message = "--out x.bcf: the name promises BCF, and VCF is written; write x.vcf.gz, then: bcftools view -Ob -o x.bcf"
    assert message in one_line_error(result)


def test_an_option_that_writes_nothing_is_refused(cli: Cli, folder: Path) -> None:
    result = cli("score", FASTA, "--model", "m", "--bigwig", "x.bw", "-o", "x.txt")
    assert result.exit_code == 2, result.output
    assert "--out belongs to --vcf and --regions" in one_line_error(result)


@pytest.mark.parametrize("ending", ["gz", "bgz", "GZ", "Bgz"])
def test_names_in_gz_are_compressed(cli: Cli, folder: Path, ending: str) -> None:
    for dot in ("", f".{ending}"):
        tracks = ["--bedgraph", f"p.bedgraph{dot}"]
        result = cli("segment", FASTA, "--model", "m", "--out", f"c.bed{dot}", *tracks)
        assert result.exit_code == 0, result.output
        result = cli("genome", "extract", FASTA, "b", "--out", f"b.fa{dot}")
        assert result.exit_code == 0, result.output
        result = cli("merge", "c.bed", "--out", f"m.bed{dot}")
        assert result.exit_code == 0, result.output
    for name in ("c.bed", "p.bedgraph", "b.fa", "m.bed"):
        assert gzip.decompress((folder / f"{name}.{ending}").read_bytes()) == (folder / name).read_bytes()
    for name in ("c", "m"):
        with pysam.TabixFile(f"{name}.bed.{ending}") as indexed:
            assert len(list(indexed.fetch("b"))) == sum(
                line.startswith("b") for line in (folder / "c.bed").read_text().splitlines()
            )
    with pysam.FastaFile(f"b.fa.{ending}") as fasta:  # which reads no gzip but bgzip
        assert fasta.fetch("b").upper() == random_dna(90, 1)


def test_what_is_written_is_named_and_what_may_follow(cli: Cli, folder: Path) -> None:
    there = set(folder.iterdir())
    command = ["segment", FASTA, "--model", "m", "--strand", "both", "-o", "t.bed.gz", "--bigwig", "t.bw"]
    command += ["--summary", "100"]
    result = cli(*command)
    assert result.exit_code == 0, result.output
    wrote, then = result.stderr.splitlines()[-2:]
    written = {path.name for path in set(folder.iterdir()) - there} - {f"{FASTA}.hnetdna"}
    named, _, chunks = wrote.removeprefix("wrote ").partition(": ")
    assert sorted(named.split(", ")) == sorted(written)
    with gzip.open(folder / "t.bed.gz", "rt") as lines:
        assert chunks == f"{len(list(lines))} chunks"
    assert {"t.bed.gz", "t.bed.gz.tbi", "t.100.plus.bw"} <= written
    assert then == f"Next:  hnet-dna hub browser --genome {FASTA} --model m --tracks t.plus.bw t.minus.bw --serve"
    (folder / "browser").mkdir()  # what is pasted works: the folder that it names is new
    assert "hub browser2 --genome" in cli("segment", FASTA, "--model", "m", "--bigwig", "u.bw").stderr
    assert "wrote" not in cli(*command, "--quiet").stderr


def test_the_strand_comes_before_the_ending(cli: Cli, folder: Path) -> None:
    tracks = ["--bedgraph", "t.bedgraph.gz", "--bigwig", "t.bw"]
    result = cli("segment", FASTA, "--model", "m", "--strand", "both", "-o", "t.bed", *tracks)
    assert result.exit_code == 0, result.output
    made = {"t.bed", "t.minus.bedgraph.gz", "t.minus.bw", "t.plus.bedgraph.gz", "t.plus.bw"}
    assert {path.name for path in folder.glob("t.*")} == made


def test_devices_and_pipes_are_written_to(cli: Cli, folder: Path) -> None:
    assert cli("segment", FASTA, "--model", "m", "-o", "c.bed", "--bigwig", "c.bw").exit_code == 0
    for name in ("pipe", "pipe.gz"):
        os.mkfifo(folder / name)
        (folder / "to").unlink(missing_ok=True)
        (folder / "to").symlink_to(name)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda name=name, got=got: got.append((folder / name).read_bytes()))
        reader.start()
        result = cli("segment", FASTA, "--model", "m", "-o", name if name.endswith("gz") else "to")
        reader.join()
        assert result.exit_code == 0, result.output
        bed = gzip.decompress(got[0]) if name.endswith("gz") else got[0]
        assert bed == (folder / "c.bed").read_bytes()
        assert stat.S_ISFIFO((folder / name).stat().st_mode)
    got = []
    reader = threading.Thread(target=lambda: got.append((folder / "pipe").read_bytes()))
    reader.start()
    result = cli("segment", FASTA, "--model", "m", "-o", "/dev/null", "--bedgraph", "/dev/null", "--bigwig", "pipe")
    reader.join()
    assert result.exit_code == 0, result.output
    assert got == [(folder / "c.bw").read_bytes()]
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert not list(folder.glob(".*"))


def test_a_full_device(cli: Cli, folder: Path) -> None:
    for out in ("/dev/full", "full"):
        (folder / "full").unlink(missing_ok=True)
        (folder / "full").symlink_to("/dev/full")
        result = cli("segment", FASTA, "--model", "m", "-o", out)
        assert result.exit_code == 1, result.output
        assert one_line_error(result) == f"Error: {out}: No space left on device"
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_what_is_open_goes_on(folder: Path, name: str) -> None:
    """As after `>>`: what the file holds already stays."""
    (folder / "link").symlink_to("/dev/stdout")
    (folder / "log").write_text("before\n")
    code = "import sys; from hnet_dna.tracks.bgzip import text_file; from pathlib import Path\n"
    code += "with text_file(Path(sys.argv[1])) as stream: stream.write('now\\n')\nprint('after')"
    with (folder / "log").open("a") as log:
        subprocess.run([sys.executable, "-c", code, name], stdout=log, check=True)
    assert (folder / "log").read_text() == "before\nnow\nafter\n"


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(cli: Cli, folder: Path, there: bool) -> None:
    for name in ("c.bed.gz", "c.bw"):
        (folder / name).symlink_to(f"deep/real.{name}")
        if there:
            (folder / "deep" / f"real.{name}").write_text("old")
    (folder / "deep" / "real.c.bed.gz.csi").write_text("old")
    result = cli("segment", FASTA, "--model", "m", "-o", "c.bed.gz", "--bigwig", "c.bw")
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.glob("c.*")} == {"c.bed.gz", "c.bed.gz.tbi", "c.bw"}
    deep = {path.name: path for path in (folder / "deep").iterdir()}
    assert set(deep) == {"real.c.bed.gz", "real.c.bed.gz.tbi", "real.c.bw"}
    assert (folder / "c.bed.gz").is_symlink()
    assert (folder / "c.bw").is_symlink()
    for name in ("c.bed.gz", "deep/real.c.bed.gz"):
        with pysam.TabixFile(name) as indexed:
            assert list(indexed.fetch("b"))


def test_a_folder_to_create_may_be_a_link(folder: Path) -> None:
    (folder / "link").symlink_to("deep")
    with folder_beside(folder / "link") as new:
        (new / "x").write_text("x")
    assert (folder / "link").is_symlink()
    assert (folder / "deep" / "x").read_text() == "x"
