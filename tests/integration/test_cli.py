"""The commands as a user runs them, good input and bad."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.genome import bundled
from hnet_dna.genome.bundled import Bundled, bundled_genome
from hnet_dna.pretrained.builtin import builtin_models

Cli = Callable[..., Result]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A two-stage model folder."""
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def bed_rows(text: str) -> list[tuple[str, int, int, str, int, str]]:
    rows = [line.split("\t") for line in text.splitlines()]
    return [(c, int(s), int(e), name, int(score), strand) for c, s, e, name, score, strand in rows]


@pytest.mark.parametrize("suffix", ["fa", "fa.gz"])
def test_pretrain_segment_and_resume(cli: Cli, tmp_path: Path, suffix: str) -> None:
    records = {"big": random_dna(3000) + "N" * 50 + random_dna(2000, 1), "small": random_dna(600, 2)}
    genome = write_fasta(tmp_path / f"g.{suffix}", records)
    run = tmp_path / "run"
    result = cli("pretrain", "--genome", genome, "--out", run, "--steps", 3)
    assert result.exit_code == 0, result.output
    assert "uniform" in result.stdout
    assert "best k" in result.stdout
    assert (run / "model.safetensors").stat().st_mode == (run / "metrics.jsonl").stat().st_mode
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["split"]["test"] == [{"contig": "small", "start": 0, "end": 600}]
    assert record["budget"] == {"steps": 3, "seconds": None}
    assert record["machine"]["backend"] in ("torch", "mamba")
    results = json.loads((run / "results.json").read_text())
    assert results["held_out_bases"] == 600
    assert 1.5 < results["bits_per_base"]["model"] < 2.5
    again = cli("pretrain", "--out", run, "--resume", "--steps", 5)
    assert again.exit_code == 0, again.output
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [3, 5]
    segmented = cli("segment", genome, "--model", run)
    assert segmented.exit_code == 0, segmented.output
    assert len(bed_rows(segmented.stdout)) > 10


def test_pretrain_on_a_split_and_regions(cli: Cli, tmp_path: Path) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"a": random_dna(3000), "b": random_dna(1000, 1).lower()})
    split, regions = tmp_path / "split.bed", tmp_path / "regions.bed"
    split.write_text("a\t0\t2000\ttrain\na\t2000\t2500\tvalid\nb\t0\t1000\ttest\n")
    regions.write_text("a\t100\t2200\nb\t0\t500\n")
    run = tmp_path / "run"
    options = ["--split", split, "--regions", regions, "--window-warmup", "0.5:64", "--window", 128, "--batch", 2]
    result = cli("pretrain", "--genome", genome, "--out", run, "--steps", 4, "--repeat-weight", 0.1, *options)
    assert result.exit_code == 0, result.output
    assert "as split.bed says, inside regions.bed" in result.stderr
    assert "outside the split or the regions: 1,400 bases" in result.stderr
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["split"]["valid"] == [{"contig": "a", "start": 2000, "end": 2200}]
    assert record["data"]["bases"]["predicted"] == 1899
    assert record["recipe"]["repeat_weight"] == 0.1
    assert json.loads((run / "results.json").read_text())["held_out_bases"] == 500
    assert cli("pretrain", "--out", run, "--resume", "--steps", 6).exit_code == 0
    ignored = cli("pretrain", "--out", run, "--resume", "--steps", 8, "--window", 64)
    assert ignored.exit_code == 2
    assert "train.window cannot change during a run, which began with 128; asked for 64" in one_line_error(ignored)
    split.write_text("a\t0\t2100\ttrain\nb\t0\t1000\ttest\n")
    changed = cli("pretrain", "--out", run, "--resume", "--steps", 8)
    assert changed.exit_code == 2
    assert "no longer what this run began with" in one_line_error(changed)


def test_genome_list_and_fetch(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HNET_DNA_HOME", str(tmp_path))
    listed = cli("genome", "list")
    assert "12,071,326" in listed.stdout
    assert listed.exit_code == 0
    assert "sacCer3" in listed.stdout
    missing = cli("pretrain", "--genome", "sacCer3", "--out", tmp_path / "out")
    assert missing.exit_code == 2
    assert "run: hnet-dna genome fetch sacCer3" in one_line_error(missing)
    unknown = cli("genome", "fetch", "sacCer4")
    assert unknown.exit_code == 2
    assert "Did you mean sacCer3?" in one_line_error(unknown)


@pytest.mark.parametrize("stage", [0, 1])
def test_chunks_tile_every_contig_but_n(cli: Cli, tmp_path: Path, model: Path, stage: int) -> None:
    sequence = random_dna(500) + "NN" + random_dna(1, 1) + "N" * 40 + random_dna(300, 2).lower() + "NNN"
    fasta = write_fasta(tmp_path / "x.fa", {"one": sequence, "all_n": "N" * 30, "three": "ACG"})
    out = tmp_path / "chunks.bed"
    result = cli("segment", fasta, "--model", model, "--stage", stage, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    rows = bed_rows(out.read_text())
    covered = {"one": [0] * len(sequence), "three": [0] * 3}
    for contig, start, end, _, score, strand in rows:
        assert start < end
        assert 0 <= score <= 1000
        assert strand == "+"
        for base in range(start, end):
            covered[contig][base] += 1
    assert covered["one"] == [0 if base == "N" else 1 for base in sequence]
    assert covered["three"] == [1] * 3
    names = [name for contig, _, _, name, _, _ in rows if contig == "one"]
    assert names == [f"stage{stage}_{index}" for index in range(len(names))]
    forced = {start: score for contig, start, _, _, score, _ in rows if contig == "one"}
    assert [forced[start] for start in (0, 502, 543)] == [1000, 1000, 1000]


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_bedtools_accepts_the_tiling(cli: Cli, tmp_path: Path, model: Path) -> None:
    sequence = random_dna(400) + "N" * 20 + random_dna(100, 1)
    fasta = write_fasta(tmp_path / "x.fa", {"a": sequence, "b": random_dna(90, 2)})
    bed, sizes = tmp_path / "x.bed", tmp_path / "sizes"
    assert cli("segment", fasta, "--model", model, "-o", bed).exit_code == 0
    sizes.write_text(f"a\t{len(sequence)}\nb\t90\n")

    def bedtools(*arguments: str) -> str:
        done = subprocess.run(["bedtools", *arguments], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    assert bedtools("complement", "-i", str(bed), "-g", str(sizes)) == "a\t400\t420\n"
    merged = bedtools("merge", "-d", "-1", "-c", "1", "-o", "count", "-i", str(bed))
    assert {line.split("\t")[3] for line in merged.splitlines()} == {"1"}


def test_pieces_do_not_change_the_chunks(
    cli: Cli, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasta = write_fasta(tmp_path / "x.fa", {"a": random_dna(700) + "N" + random_dna(60, 1)})
    whole = cli("segment", fasta, "--model", model).stdout
    monkeypatch.setattr("hnet_dna.genome.fasta.PIECE", 101)
    assert cli("segment", fasta, "--model", model).stdout == whole


BAD_FASTA = {
    "empty": (b"", "is empty"),
    "protein": (b">p\nMKVLAAGE\n", "not a nucleotide letter (protein?)"),
    "duplicate names": (b">a\nACGT\n>a\nACGT\n", "occurs twice"),
    "cut gzip": (gzip.compress(b">a\n" + random_dna(9000).encode())[:900], "cut short or damaged"),
    "missing": (None, "no such file"),
}


@pytest.mark.parametrize("command", ["pretrain", "segment"])
@pytest.mark.parametrize("case", BAD_FASTA)
def test_bad_fasta(cli: Cli, tmp_path: Path, model: Path, command: str, case: str) -> None:
    content, message = BAD_FASTA[case]
    fasta, out = tmp_path / "bad.fa", tmp_path / "out"
    if content is not None:
        fasta.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    if command == "pretrain":
        result = cli("pretrain", "--genome", fasta, "--out", out, "--steps", 1)
    else:
        result = cli("segment", fasta, "--model", model, "--out", out)
    assert message in one_line_error(result)
    assert "bad.fa" in one_line_error(result)
    assert result.exit_code == 1
    assert sorted(tmp_path.iterdir()) == before


def test_directory_instead_of_fasta(cli: Cli, tmp_path: Path, model: Path) -> None:
    for result in (
        cli("pretrain", "--genome", tmp_path, "--out", tmp_path / "out"),
        cli("segment", tmp_path, "--model", model),
    ):
        assert result.exit_code == 1
        assert "is a directory" in one_line_error(result)


def test_all_n_and_three_bases(cli: Cli, tmp_path: Path, model: Path) -> None:
    all_n = write_fasta(tmp_path / "n.fa", {"a": "N" * 100})
    result = cli("pretrain", "--genome", all_n, "--out", tmp_path / "out", "--steps", 1)
    assert result.exit_code == 1
    assert "nothing to train on" in one_line_error(result)
    assert not (tmp_path / "out").exists()
    segmented = cli("segment", all_n, "--model", model)
    assert segmented.stdout == ""
    assert "nothing but N" in segmented.stderr
    three = write_fasta(tmp_path / "t.fa", {"a": "ACG"})
    result = cli("pretrain", "--genome", three, "--out", tmp_path / "out3", "--steps", 1)
    assert result.exit_code == 0, result.output
    assert "nothing is held out" in result.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "config.json is missing"),
        ({"config.json": "{}"}, "model.safetensors is missing"),
        ({"config.json": "no", "model.safetensors": "x"}, "not JSON"),
        ({"config.json": '{"arch": 1}', "model.safetensors": "x"}, "arch: unknown field"),
        ({"config.json": None, "model.safetensors": "x"}, "not a readable safetensors file"),
    ],
)
def test_model_folder_that_is_none(
    cli: Cli, tmp_path: Path, model: Path, files: dict[str, str | None], message: str
) -> None:
    fasta = write_fasta(tmp_path / "x.fa", {"a": "ACGT"})
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text((model / name).read_text() if text is None else text)
    result = cli("segment", fasta, "--model", folder)
    assert result.exit_code == 1
    assert message in one_line_error(result)
    assert "no such model folder" in one_line_error(cli("segment", fasta, "--model", tmp_path / "none"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--out", "o"], "--genome is missing"),
        (["pretrain", "--genome", "x", "--out", "o", "--steps", "1", "--minutes", "1"], "not both"),
        (["pretrain", "--genome", "yeast", "--out", "o", "--preset", "huge"], "no such preset"),
        (["pretrain", "yeast"], "takes the genome by an option: hnet-dna pretrain --genome GENOME"),
        (["segment", "--genome", "yeast"], "takes the genome without an option: hnet-dna segment GENOME"),
        (["explain", "--genome", "yeast", "--out", "o"], "explain needs --annotation"),
        (["embed", "x.fa", "--out", "o", "--per-chunk", "--strand", "-"], "leave out --strand -"),
    ],
)
def test_usage_errors_exit_with_2(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert message in one_line_error(result)


def test_flags_are_shown_without_a_type(cli: Cli) -> None:
    for command in (["pretrain"], ["genome", "inspect"]):
        shown = cli(*command, "--help").output
        assert [line for line in shown.splitlines() if "<bool>" in line and "--help" not in line] == []


def test_a_file_is_no_model(cli: Cli, tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"a": random_dna(50)})
    result = cli("segment", fasta, "--model", fasta)
    assert result.exit_code == 1
    assert f"g.fa is a file; give the folder that holds it, {tmp_path}" in one_line_error(result)


def test_run_folder_is_never_overwritten(cli: Cli, tmp_path: Path) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"a": random_dna(500)})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("x")
    result = cli("pretrain", "--genome", genome, "--out", tmp_path / "run", "--steps", 1)
    assert result.exit_code == 2
    assert "exists already" in one_line_error(result)


def test_resume_refuses_another_genome(cli: Cli, tmp_path: Path) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"a": random_dna(500)})
    other = write_fasta(tmp_path / "h.fa", {"a": random_dna(500, 1)})
    assert cli("pretrain", "--genome", genome, "--out", tmp_path / "r", "--steps", 1).exit_code == 0
    result = cli("pretrain", "--genome", other, "--out", tmp_path / "r", "--resume", "--steps", 2)
    assert result.exit_code == 2
    assert "not the genome of this run" in one_line_error(result)


def test_demo_end_to_end(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small genome; `.ci/run` runs the README's line on that of the package."""
    chromosomes = {"a": random_dna(4000), "b": random_dna(4000, 1), "c": random_dna(900, 2)}
    genome = Bundled(write_fasta(tmp_path / "g.fa", chromosomes), tmp_path / "genes.gff3", {})
    monkeypatch.setattr(bundled, "bundled_genome", lambda: genome)
    result = cli("demo", "--out", tmp_path / "demo", "--minutes", 0.001)
    assert result.exit_code == 0, result.output
    rows = (tmp_path / "demo" / "c.chunks.bed").read_text().splitlines()
    assert rows[0].startswith("c\t0\t")
    assert rows[-1].split("\t")[2] == "900"
    for name in ("c.fa", "run/model.safetensors", "run/results.json"):
        assert (tmp_path / "demo" / name).exists()
        assert name.split("/")[0] in result.stderr


def test_demo_does_not_write_into_a_folder_that_holds_something(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "x").touch()
    result = cli("demo", "--out", tmp_path / "demo")
    assert result.exit_code == 2
    assert "demo exists already, with x; choose another folder" in one_line_error(result)
    assert "--resume" not in result.output


def test_segment_into_head_leaves_no_traceback(tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "x.fa", {"a": random_dna(60_000)})
    script = f"hnet-dna segment {fasta} --model {model} | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("a\t0\t")
    assert "Traceback" not in done.stderr


def test_help_and_version(cli: Cli) -> None:
    for arguments in (["--help"], ["pretrain", "--help"], ["segment", "--help"], ["demo", "--help"]):
        result = cli(*arguments)
        assert result.exit_code == 0
        assert "Usage" in result.stdout
    assert "hnet-dna 0.1.0" in cli("--version").stdout


def test_segment_tells_what_it_read_otherwise(cli: Cli, tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "x.fa", {"a": "ACGTRYUACGTNNACG"})
    result = cli("segment", fasta, "--model", model)
    assert result.exit_code == 0
    assert "2 other IUPAC codes read as N" in result.stderr
    assert "1 U read as T" in result.stderr
    assert {row[2] for row in bed_rows(result.stdout)} >= {11, 16}


def test_genome_inspect(cli: Cli, tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"a": "NNACGTacgRNN", "b": "NNN"})
    result = cli("genome", "inspect", fasta, "--json")
    assert result.exit_code == 0, result.output
    a, b = json.loads(result.stdout)["contigs"]
    assert (a["length"], a["n"], a["n_runs"], a["soft_masked"], a["ambiguous"]) == (12, 4, 2, 3, 1)
    assert a["gc"] == pytest.approx(4 / 7)
    assert a["md5"] == hashlib.md5(b"NNACGTACGRNN").hexdigest()
    assert b["gc"] is None
    assert "soft-masked" in cli("genome", "inspect", fasta).stdout
    assert cli("genome", "inspect", tmp_path / "none.fa").exit_code == 1


def test_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """No line of the table is broken, and a person is told what comes next."""
    fasta = write_fasta(tmp_path / "g.fa", {"chr1": "ACGT"})
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "hnet_dna_cli", "genome", "inspect", str(fasta)]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "dumb"}
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    lines = os.read(ours, 1 << 16).decode().splitlines()  # it fits into the terminal's buffer
    os.close(ours)
    assert max(len(line.rstrip()) for line in lines if "chr1" in line) <= 80
    assert f"Next:  hnet-dna pretrain --genome {fasta} --out run" in lines


def test_segment_works_without_a_model_of_one_s_own(cli: Cli, tmp_path: Path) -> None:
    """The built-in model is found in the package, named, and sets boundaries in real sequence at a trained rate."""
    fasta = tmp_path / "locus.fa"
    with gzip.open(bundled_genome().fasta, "rt") as file:
        fasta.write_text("".join(next(file) for _ in range(250)))
    result = cli("segment", fasta, "--quiet")
    assert result.exit_code == 0, result.output
    chunks = [line.split("\t") for line in result.stdout.splitlines()]
    assert [int(chunk[1]) for chunk in chunks[1:]] == [int(chunk[2]) for chunk in chunks[:-1]]
    assert 2.5 < int(chunks[-1][2]) / len(chunks) < 3.5
    assert result.stderr.strip() == "model: five-genomes (built in; --model takes your own)"


def test_a_folder_named_as_a_built_in_model_is_ambiguous(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "five-genomes").mkdir()
    fasta = write_fasta(tmp_path / "x.fa", {"a": random_dna(100)})
    assert "give the folder's whole path" in one_line_error(cli("segment", fasta))


def test_built_in_models_are_small_and_have_cards() -> None:
    for name, folder in builtin_models().items():
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000_000
        card = (folder / "README.md").read_text()
        assert f"# {name}" in card
        assert "## Limits" in card


def test_parts_of_a_genome(cli: Callable[..., Result], tmp_path: Path) -> None:
    """As samtools faidx has them, soft-mask included; a contig by its name."""
    text = random_dna(150) + "nnN" + random_dna(120_000, 1).lower()
    fasta = write_fasta(tmp_path / "g.fa", {"c:1-2": "ACGT", "c": text})
    result = cli("genome", "extract", fasta, "c:140-1,160", "c", "c:1-2", "c:1-2:1-4")
    assert result.exit_code == 0, result.output
    records = {r.split("\n", 1)[0]: r.split("\n", 1)[1] for r in result.stdout[1:].split("\n>")}
    assert {name: lines.replace("\n", "") for name, lines in records.items()} == {
        "c:140-1160": text[139:1160],
        "c": text,
        "c:1-2": "ACGT",
        "c:1-2:1-4": "ACGT",
    }
    assert {len(line) for line in records["c"].splitlines()[:-1]} == {60}
    target = tmp_path / "o.fa"
    past = cli("genome", "extract", fasta, "c:1-90", "c:1-999999", "-o", target)
    assert (past.exit_code, target.exists()) == (1, False)
    assert "ends past the contig" in one_line_error(past)
    unknown = cli("genome", "extract", fasta, "d")
    assert unknown.exit_code == 1
    assert "g.fa has no contig d" in one_line_error(unknown)


def test_annotation_of_the_package(cli: Callable[..., Result]) -> None:
    assert cli("genome", "annotation", "yeast").stdout.startswith("##gff-version 3\n")
    assert cli("genome", "annotation", "hg38").exit_code == 2
