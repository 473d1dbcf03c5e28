"""Genomes and sequences through pipes and stdin: what comes out is what the file gives, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import CliRunner, Result

from hnet_dna.errors import SequenceError
from hnet_dna.genome.open import open_genome
from hnet_dna.genome.store import STORE_SUFFIX
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval

Cli = Callable[..., Result]
RECORDS = {"b": random_dna(900) + "NN" + random_dna(80, 1).lower(), "a": random_dna(190, 2)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "x.fa.gz", RECORDS)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary stores go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def pipe_of() -> Iterator[Callable[[Path], str]]:
    """Make a pipe such as <(cat FILE) of the shell, and give its name."""
    threads, ends = [], []

    def make(path: Path) -> str:
        reading, writing = os.pipe()

        def fill() -> None:
            with os.fdopen(writing, "wb") as stream, suppress(BrokenPipeError):
                stream.write(path.read_bytes())

        threads.append(threading.Thread(target=fill))
        threads[-1].start()
        ends.append(reading)
        return f"/dev/fd/{reading}"

    yield make
    for end in ends:
        os.close(end)
    for thread in threads:
        thread.join()


def from_stdin(data: bytes, *arguments: object) -> Result:
    (script,) = entry_points(group="console_scripts", name="hnet-dna")
    return CliRunner().invoke(script.load(), [str(argument) for argument in arguments], input=data)


def variants(folder: Path) -> Path:
    ref = RECORDS["b"][99]
    text = f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nb\t100\t.\t{ref}\tN\t.\t.\t.\n"
    path = folder / "v.vcf"
    path.write_text(text.replace(f"{ref}\tN", f"{ref}\t{'C' if ref == 'A' else 'A'}"))
    return path


def commands(tmp_path: Path, model: Path) -> dict[str, list[str]]:
    """Return commands that print what they find to stdout, with X for the genome or the sequences."""
    (tmp_path / "r.bed").write_text("b\t100\t200\tone\na\t0\t90\ttwo\n")
    (tmp_path / "g.gff3").write_text("b\tx\tgene\t1\t90\t.\t+\t.\tID=g\n")
    vcf = variants(tmp_path)
    with_model = ["--model", str(model)]
    return {
        "inspect": ["genome", "inspect", "X", "--json"],
        "extract": ["genome", "extract", "X", "b:5-90", "a"],
        "segment": ["segment", "X", *with_model],
        "both strands": ["segment", "X", *with_model, "--strand", "both"],
        "regions": ["segment", "X", *with_model, "--regions", str(tmp_path / "r.bed")],
        "shard": ["segment", "X", *with_model, "--shard", "2/2"],
        "scores of regions": ["score", "X", *with_model, "--regions", str(tmp_path / "r.bed")],
        "scores of variants": ["score", "--vcf", str(vcf), "--genome", "X", *with_model],
        "evaluate": ["evaluate", "--genome", "X", *with_model, "--annotation", str(tmp_path / "g.gff3"), "--json"],
        "prompt": ["generate", "--prompt", "X", *with_model, "--length", "20"],
    }


NAMES = [
    "inspect", "extract", "segment", "both strands", "regions", "shard", "scores of regions", "scores of variants",
    "evaluate", "prompt",
]  # fmt: skip


def comparable(text: str) -> object:
    """Drop what names the place of the genome, and the line of the command."""
    if text.startswith("{"):
        return {name: value for name, value in json.loads(text).items() if name not in ("fasta", "store")}
    return [line for line in text.splitlines() if not line.startswith("##hnet_dna_command")]


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_gives_what_the_file_gives(
    name: str, cli: Cli, tmp_path: Path, model: Path, fasta: Path, temporary: Path, pipe_of: Callable[[Path], str]
) -> None:
    arguments = commands(tmp_path, model)[name]

    def given(source: str) -> list[str]:
        return [source if argument == "X" else argument for argument in arguments]

    of_file = cli(*given(str(fasta)))
    assert of_file.exit_code == 0, of_file.output
    before = sorted(path.name for path in tmp_path.iterdir())
    for result in (
        cli(*given(pipe_of(fasta))),
        from_stdin(fasta.read_bytes(), *given("-")),
    ):
        assert result.exit_code == 0, result.output
        assert comparable(result.stdout) == comparable(of_file.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert list(temporary.iterdir()) == []
    assert not list(Path("/dev").glob(f"**/*{STORE_SUFFIX}"))


def test_names_of_what_comes_through_a_pipe(
    cli: Cli, tmp_path: Path, fasta: Path, pipe_of: Callable[[Path], str]
) -> None:
    record = json.loads(cli("genome", "inspect", pipe_of(fasta), "--json").stdout)
    assert (record["fasta"], record["store"]) == ("pipe", None)
    record = json.loads(from_stdin(fasta.read_bytes(), "genome", "inspect", "-", "--json").stdout)
    assert (record["fasta"], record["store"]) == ("stdin", None)
    shown = from_stdin(fasta.read_bytes(), "genome", "inspect", "-")
    assert "stdin: 2 contigs, 1,172 bases" in shown.stdout
    assert "Store" not in shown.stdout
    assert "reading stdin" in shown.stderr
    os.mkfifo(tmp_path / "named.fa")
    writer = threading.Thread(target=lambda: (tmp_path / "named.fa").write_bytes(fasta.read_bytes()))
    writer.start()
    assert "named.fa: 2 contigs" in cli("genome", "inspect", tmp_path / "named.fa").stdout
    writer.join()
    assert not (tmp_path / f"named.fa{STORE_SUFFIX}").exists()


def test_a_file_as_stdin_gets_no_store(tmp_path: Path, fasta: Path, temporary: Path) -> None:
    command = [sys.executable, "-m", "hnet_dna_cli", "genome", "inspect", "/dev/stdin"]
    with fasta.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "stdin: 2 contigs" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if STORE_SUFFIX in path.name] == []
    assert list(temporary.iterdir()) == []


def test_what_is_wrong_with_a_pipe(cli: Cli, tmp_path: Path, temporary: Path, pipe_of: Callable[[Path], str]) -> None:
    (tmp_path / "bad.fa").write_text(">a\nACGT\nMKLE\n")
    name = pipe_of(tmp_path / "bad.fa")
    assert f"{name}: record a, line 3: 'L' is not" in one_line_error(cli("genome", "inspect", name))
    assert "stdin: record a, line 3" in one_line_error(
        from_stdin((tmp_path / "bad.fa").read_bytes(), "genome", "inspect", "-")
    )
    assert "stdin is empty" in one_line_error(from_stdin(b"", "genome", "inspect", "-"))
    assert "/dev/fd/999: no such file" in one_line_error(cli("genome", "inspect", "/dev/fd/999"))
    assert "stdin is UTF-16" in one_line_error(from_stdin(">a\nAC\n".encode("utf-16"), "genome", "inspect", "-"))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "--vcf", "-", "--genome", "-"],
        ["score", "--vcf", "-", "--genome", "/dev/stdin"],
        ["score", "/dev/stdin", "--regions", "-"],
        ["segment", "-", "--regions", "-"],
        ["embed", "-", "--regions", "-", "--out", "x.npy"],
        ["evaluate", "--genome", "-", "--annotation", "-"],
        ["explain", "--genome", "/dev/fd/0", "--annotation", "-", "--out", "report", "--no-page"],
        ["pretrain", "--genome", "-", "--split", "-", "--out", "run"],
    ],
)
def test_a_pipe_is_read_by_one_option_only(arguments: list[str]) -> None:
    result = from_stdin(b">a\nAC\n", *arguments)
    assert result.exit_code == 2, result.output
    assert "reads it too, and a pipe can be read once; name a file" in one_line_error(result)


def test_a_run_whose_genome_was_a_pipe(cli: Cli, tmp_path: Path, fasta: Path, pipe_of: Callable[[Path], str]) -> None:
    out = tmp_path / "run"
    begun = cli("pretrain", "--genome", pipe_of(fasta), "--out", out, "--steps", "1", "--window", "64", "--batch", "2",
                "--workers", "1")  # fmt: skip
    assert begun.exit_code == 0, begun.output
    assert "pipe: 2 contigs, 1,172 bases" in begun.stderr
    data = json.loads((out / "run.json").read_text())["data"]
    assert (data["genome"], data["streamed"]) == ("pipe", True)
    alone = cli("pretrain", "--out", out, "--resume", "--steps", "2")
    assert alone.exit_code == 2
    assert "leaves nothing to read again; give the same sequences as --genome" in (one_line_error(alone))
    other = write_fasta(tmp_path / "other.fa", {"a": "ACGT" * 50})
    wrong = cli("pretrain", "--out", out, "--resume", "--steps", "2", "--genome", pipe_of(other))
    assert "pipe is not the genome of this run (pipe)" in one_line_error(wrong)
    again = cli("pretrain", "--out", out, "--resume", "--steps", "2", "--genome", pipe_of(fasta))
    assert again.exit_code == 0, again.output
    assert "continues from step 1 of 2" in again.stderr


def test_ranks_do_not_share_a_pipe(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    import torch

    from hnet_dna.training.ranks import Ranks

    @contextmanager
    def two() -> Iterator[Ranks]:
        yield Ranks(rank=1, size=2, device=torch.device("cpu"))

    monkeypatch.setattr("hnet_dna.training.run.join_ranks", two)
    result = cli("pretrain", "--genome", "-", "--out", tmp_path / "run", "--steps", "1")
    assert result.exit_code == 2
    assert "each of 2 ranks reads the genome, and a pipe can be read once; name a file" in one_line_error(result)


@pytest.mark.parametrize("when", ["reading", "training"])
def test_sigterm_leaves_no_temporary_store(when: str, tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hnet_dna_cli", "pretrain", "--genome", "-", "--out", str(out), "--minutes", "60"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f">a\n{random_dna(2_200_000)}\n".encode())
        process.stdin.flush()
        if when == "training":
            process.stdin.close()
        said = b""
        while b"%s" % when.encode() not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        if when == "reading":
            while not list(temporary.glob("*")):
                assert process.poll() is None
        assert list(temporary.iterdir())
        process.send_signal(signal.SIGTERM)
        process.stdin.close()  # a signal that comes just before a read that waits is noted after it
        assert process.wait() in (75, 143)  # 143 before the first step
    assert list(temporary.iterdir()) == []


def test_a_genome_of_a_pipe_in_the_library(fasta: Path, temporary: Path, pipe_of: Callable[[Path], str]) -> None:
    genome = open_genome(pipe_of(fasta))
    assert genome.streamed
    assert not open_genome(fasta).streamed
    assert genome.contigs == open_genome(fasta).contigs
    place = genome.store_path
    assert place.is_relative_to(temporary)
    child = os.fork()
    if child == 0:  # a worker of a data loader, which ends with a copy of all that its parent has
        del genome
        os._exit(0)
    os.waitpid(child, 0)
    assert place.exists()
    kept = genome.codes(Interval("a", 0, 190))
    del genome
    assert not place.exists()
    assert to_text(kept) == RECORDS["a"]
    with pytest.raises(SequenceError, match="pipe has no contig c"):
        open_genome(pipe_of(fasta))["c"]
