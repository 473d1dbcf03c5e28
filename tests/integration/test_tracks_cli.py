"""segment, score, evaluate and generate as a user runs them, and what is left after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers import PATIENCE, lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

Cli = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(
        tmp_path / "x.fa", {"b": random_dna(400) + "NN" + random_dna(80, 1).lower(), "a": random_dna(90, 2)}
    )


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


def test_segment_writes_bigwig_bedgraph_and_indexed_bed(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    bbi = pytest.importorskip("bbi")
    out = tmp_path / "c.bed.gz"
    options = ["--bigwig", tmp_path / "p.bw", "--bedgraph", tmp_path / "p.bedgraph", "--out", out]
    result = cli("segment", fasta, "--model", model, *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "c.bed.gz.tbi").exists()
    assert bbi.chromsizes(str(tmp_path / "p.bw")) == {"a": 90, "b": 482}
    assert (tmp_path / "p.bedgraph").read_text().startswith("b\t0\t1\t1\n")
    assert leftovers(tmp_path) == set()
    both = cli("segment", fasta, "--model", model, "--strand", "both", "--bigwig", tmp_path / "s.bw")
    assert both.exit_code == 0, both.output
    assert (tmp_path / "s.plus.bw").exists()
    assert (tmp_path / "s.minus.bw").exists()


@pytest.mark.parametrize("options", [["--points"], ["--nested", "--stage", "1"], ["--strand", "-"]])
def test_segment_options_sort_for_bedtools(
    cli: Cli, tmp_path: Path, model: Path, fasta: Path, options: list[str]
) -> None:
    result = cli("segment", fasta, "--model", model, *options)
    assert result.exit_code == 0, result.output
    (tmp_path / "o.bed").write_text(result.stdout)
    if shutil.which("bedtools") is None:
        pytest.skip("bedtools is not installed")
    (tmp_path / "names").write_text("b\t482\na\t90\n")
    command = ["bedtools", "sort", "-g", str(tmp_path / "names"), "-i", str(tmp_path / "o.bed")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == result.stdout


def test_segment_reads_stdin(tmp_path: Path, model: Path, fasta: Path) -> None:
    command = [sys.executable, "-m", "hnet_dna_cli", "segment", "-", "--model", str(model)]
    done = subprocess.run(command, input=fasta.read_text(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("b\t0\t")


def test_global_attention_says_how_it_is_run(cli: Cli, tmp_path: Path, fasta: Path) -> None:
    attention = {"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [-1, -1, -1]}
    lively_model(small_config(attn_cfg=attention)).float().save_pretrained(tmp_path / "global")
    result = cli("segment", fasta, "--model", tmp_path / "global")
    assert result.exit_code == 0
    assert "global attention" in result.stderr


def test_score_tracks_and_regions(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    bbi = pytest.importorskip("bbi")
    tracks = ["--bigwig", tmp_path / "l.bw", "--parquet", tmp_path / "l.parquet"]
    assert cli("score", fasta, "--model", model, *tracks).exit_code == 0
    table = pq.read_table(tmp_path / "l.parquet")
    assert table.num_rows == 400 + 80 + 90
    values = table.to_pydict()
    assert values["contig"][0] == "b"
    assert bbi.fetch(str(tmp_path / "l.bw"), "b", 7, 8)[0] == pytest.approx(values["value"][7])
    (tmp_path / "r.bed").write_text("b\t0\t482\twhole\na\t10\t20\n")
    result = cli("score", fasta, "--model", model, "--regions", tmp_path / "r.bed")
    assert result.exit_code == 0, result.output
    header, whole, part = [line.split("\t") for line in result.stdout.splitlines()]
    assert header[-1] == "log2p_mean"
    assert whole[3:5] == ["whole", "480"]
    total = sum(v for c, v in zip(values["contig"], values["value"], strict=True) if c == "b")
    assert float(whole[5]) == pytest.approx(total, abs=0.01)
    assert part[4] == "10"


def test_score_vcf_to_indexed_vcf(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    base = fasta.read_text().splitlines()[1][20]
    other = "ACGT"[("ACGT".index(base) + 1) % 4]
    vcf = tmp_path / "in.vcf"
    vcf.write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nb\t21\t.\t{base}\t{other}\t.\t.\t.\n"
    )
    result = cli("score", "--vcf", vcf, "--genome", fasta, "--model", model, "--out", tmp_path / "out.vcf.gz")
    assert result.exit_code == 0, result.output
    assert "1 record, 1 allele scored" in result.stderr
    assert (tmp_path / "out.vcf.gz.tbi").exists()
    assert leftovers(tmp_path) == set()
    plain = cli("score", "--vcf", vcf, "--genome", fasta, "--model", model)
    assert "HNET_LLR=" in plain.stdout.splitlines()[-1]
    assert "##hnet_dna_command=" in plain.stdout


def test_a_vcf_of_other_contigs_writes_no_header(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    header = "##fileformat=VCFv4.2\n##contig=<ID=9>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "in.vcf").write_text(header + "9\t3\t.\tA\tC\t.\t.\t.\n")
    refused = cli("score", "--vcf", tmp_path / "in.vcf", "--genome", fasta, "--model", model)
    assert (refused.exit_code, refused.stdout) == (1, "")
    (tmp_path / "in.vcf").write_text(header)
    empty = cli("score", "--vcf", tmp_path / "in.vcf", "--genome", fasta, "--model", model)
    assert empty.stdout.splitlines()[-1].startswith("#CHROM")


def test_unsorted_vcf_cannot_be_indexed(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    bases = fasta.read_text().splitlines()[1]
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    lines = [f"b\t{p}\t.\t{bases[p - 1]}\t{bases[p - 1]}G\t.\t.\t.\n" for p in (30, 20)]
    (tmp_path / "in.vcf").write_text(header + "".join(lines))
    command = ["score", "--vcf", tmp_path / "in.vcf", "--genome", fasta, "--model", model]
    result = cli(*command, "--out", tmp_path / "out.vcf.gz")
    assert result.exit_code == 1
    assert "not sorted by contig and position" in one_line_error(result)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name or path.name.startswith(".")]
    assert cli(*command).exit_code == 0


def test_evaluate_by_class(cli: Cli, tmp_path: Path, model: Path, fasta: Path) -> None:
    gff = tmp_path / "a.gff3"
    gff.write_text("b\tx\tgene\t1\t50\t.\t+\t.\tID=g\n")
    command = ["evaluate", "--genome", fasta, "--model", model, "--held-out", "b", "--annotation", gff]
    result = cli(*command, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["held_out_bases"] == 480
    assert report["bits_per_base"]["uniform"] == 2.0
    bases = {c["name"]: c["bases"] for c in report["classes"]}
    assert bases == {"b": 480, "new": 480, "soft-masked": 80, "unique": 400, "gene": 50, "intergenic": 430}
    table = cli(*command)
    assert "mixture of all k" in table.stdout
    assert "soft-masked" in table.stdout


def test_evaluate_takes_what_the_run_held_out(cli: Cli, tmp_path: Path, fasta: Path) -> None:
    """And says so where it is asked for bases that the run was trained on."""
    fasta = write_fasta(tmp_path / "run.fa", {"a": random_dna(900), "b": random_dna(90, 1), "c": random_dna(400, 2)})
    out = tmp_path / "run"
    run = ["--steps", 1, "--batch", 2, "--set", "train.window=64", "--held-out", "c"]
    assert cli("pretrain", "--genome", fasta, "--out", out, *run).exit_code == 0
    command = ["evaluate", "--genome", fasta, "--model", out]
    report = json.loads(cli(*command, "--json").stdout)
    assert (report["held_out_bases"], report["trained_on_bases"]) == (400, 0)
    default = cli(*command)
    assert "Held-out bits per base (400 bases)" in default.stdout
    other = cli(*command, "--held-out", "b")
    assert "Bits per base (90 bases, 90 of them trained on)" in other.stdout
    assert "trained on 90 of them" in other.stderr
    part = tmp_path / "part.bed"
    part.write_text("c\t0\t50\n")
    assert json.loads(cli(*command, "--regions", part, "--json").stdout)["held_out_bases"] == 50
    (tmp_path / "genes.gff3").write_text("a\tx\tgene\t1\t50\t.\t+\t.\tID=g\n")
    bare = cli(*command, "--annotation", tmp_path / "genes.gff3")
    assert "genes.gff3 has no line on c" in bare.stderr
    assert "intergenic" not in bare.stdout
    similar = write_fasta(tmp_path / "s.fa", {"x": random_dna(900), "b": random_dna(90, 9), "d": random_dna(400, 3)})
    shared = cli("evaluate", "--genome", similar, "--model", out)
    assert (
        f"{similar} is not the genome of the run {out}, but shares contigs with it: of 3, 1 with the same bases and 1 "
        "more with the same name and length; the model may have been trained on what it is evaluated on here"
    ) in shared.stderr
    unrelated = write_fasta(tmp_path / "u.fa", {"d": random_dna(400, 3), "e": random_dna(90, 4)})
    assert "not the genome of the run" not in cli("evaluate", "--genome", unrelated, "--model", out).stderr


def test_generate_is_repeatable_fasta(cli: Cli, tmp_path: Path, model: Path) -> None:
    prompt = write_fasta(tmp_path / "p.fa", {"one": "ACGTAC", "two": "TTT"})
    command = ["generate", "--model", model, "--length", 130, "--count", 2, "--prompt", prompt, "--seed", 3]
    result = cli(*command)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    headers = [line for line in lines if line.startswith(">")]
    assert [h.split()[0] for h in headers] == [">one_1", ">one_2", ">two_1", ">two_2"]
    assert "log2p=-" in headers[0]
    assert [len(line) for line in lines[1:4]] == [60, 60, 10]
    assert cli(*command).stdout == result.stdout
    assert cli("generate", "--model", model, "--length", 9).stdout.count(">") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segment", "X", "--model", "M", "--strand", "x"], "expected +, - or both"),
        (["segment", "X", "--model", "M", "--points", "--nested"], "not both"),
        (["segment", "X", "--model", "M", "--nested"], "nested chunks need an inner stage"),
        (["segment", "X", "--model", "M", "--stage", "2"], "chunking stages of this model: 2; expected 0 to 1"),
        (["score", "X"], "say what to write"),
        (["score", "--vcf", "v.vcf", "--model", "M"], "--vcf takes its reference by --genome"),
        (["score", "--vcf", "v", "--genome", "X", "--model", "M", "--bigwig", "b.bw"], "--vcf writes only a VCF"),
        (["score", "X", "--vcf", "v.vcf"], "--vcf takes its reference by --genome: write --genome "),
        (["score", "v.vcf", "--genome", "X"], "v.vcf looks like variants: write --vcf v.vcf"),
        (
            ["score", "X", "--genome", "X", "--bigwig", "b.bw"],
            "--controls, --jobs and --strict belong to --vcf",
        ),
        (
            ["score", "X", "--window", "100", "--bigwig", "b.bw"],
            "--controls, --jobs and --strict belong to --vcf",
        ),
        (["score", "X", "--context", "9", "--bigwig", "b.bw"], "--context belongs to --regions and --vcf"),
        (["segment", "--genome", "X"], "segment takes the genome without an option: hnet-dna segment GENOME"),
        (["evaluate"], "evaluate needs --genome"),
        (["generate", "--model", "M", "--top-p", "0"], "expected above 0"),
    ],
)
def test_usage_errors(cli: Cli, model: Path, fasta: Path, arguments: list[str], message: str) -> None:
    places = {"X": str(fasta), "M": str(model)}
    result = cli(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in one_line_error(result)


def test_interrupted_segment_leaves_no_file(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "hnet_dna_cli", "segment", "/dev/stdin", "--model", str(model)]
    command += ["--bigwig", str(out / "p.bw"), "--out", str(out / "c.bed")]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    process.stdin.write(f">a\n{random_dna(300_000)}\n")  # more than a pipe holds; and the end of it never comes
    process.stdin.flush()
    until = time.monotonic() + PATIENCE
    while not any(out.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < until, "it never began to write"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_said(tmp_path: Path, model: Path, fasta: Path) -> None:
    command = [sys.executable, "-m", "hnet_dna_cli", "segment", str(fasta), "--model", str(model)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
