"""What long commands say on stderr where it is not a terminal: where they begin and end, and nothing with --quiet."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import lively_model, random_dna, small_config, write_fasta
from typer.testing import Result

Cli = Callable[..., Result]
# A line of progress says what is done, how much, and at the end in which time.
PROGRESS = re.compile(
    r"^(reading [^:]+|segmenting|scoring|evaluating|explaining|embedding|embedding by an untrained model|fitting heads|"
    r"predicting|sampling|merging|training|checking backends)(: .*)?$"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that the commands below name."""
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    write_fasta(tmp_path / "x.fa", {"b": random_dna(900) + "NN" + random_dna(90, 1), "a": random_dna(400, 2)})
    (tmp_path / "r.bed").write_text("b\t100\t200\na\t0\t90\n")
    (tmp_path / "g.gff3").write_text("b\tx\tgene\t1\t90\t.\t+\t.\tID=g\n")
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "v.vcf").write_text(f"{header}b\t10\t.\tN\tA\t.\t.\t.\nb\t11\t.\tN\tA\t.\t.\t.\n")
    rows = "".join(f"s{i},{random_dna(60, i)},{'yes' if i % 2 else 'no'}\n" for i in range(12))
    (tmp_path / "l.csv").write_text(f"id,sequence,label\n{rows}")
    (tmp_path / "one.bed").write_text("a\t0\t10\n")
    (tmp_path / "two.bed").write_text("b\t0\t10\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What begins, and what ends, the lines of each command.
COMMANDS = {
    "segment x.fa --model model": ("segmenting: 1,390 bases", "segmenting: 1,390 bases in "),
    "segment x.fa --model model --strand both": ("segmenting: 2,780 bases", "segmenting: 2,780 bases in "),
    "segment x.fa --model model --strand -": ("segmenting: 1,390 bases", "segmenting: 1,390 bases in "),
    "segment x.fa --model model --regions r.bed": ("segmenting: 190 bases", "segmenting: 190 bases in "),
    "score x.fa --model model --bedgraph o.bg": ("scoring: 2,780 bases", "scoring: 2,780 bases in "),
    "score x.fa --model model --strand + --bigwig o.bw": ("scoring: 1,390 bases", "scoring: 1,390 bases in "),
    "score x.fa --model model --strand - --bigwig o.bw": ("scoring: 1,390 bases", "scoring: 1,390 bases in "),
    "score x.fa --model model --regions r.bed --context 10": (
        "scoring: 2 regions, 440 bases",
        "scoring: 440 bases in ",
    ),
    "score --vcf v.vcf --genome x.fa --model model": ("scoring: 2 records", "scoring: 2 records in "),
    "evaluate --genome x.fa --model model --held-out a": ("evaluating: 400 bases", "evaluating: 400 bases in "),
    "explain --genome x.fa --model model --annotation g.gff3 --out report --no-page --shifts 2": (
        "explaining",
        "explaining: done in ",
    ),
    "embed x.fa --model model --out v.npy": ("embedding: 2 sequences", "embedding: 2 sequences in "),
    "embed x.fa --regions r.bed --model model --out v.npy": ("embedding: 2 sequences", "embedding: 2 sequences in "),
    "probe l.csv --model model --folds 2 --out head": ("embedding: 1,440 bases", "fitting heads: done in "),
    "generate --model model --length 30 --count 2": ("sampling: 60 bases", "sampling: 60 bases in "),
    "generate --model model --length 30 --prompt x.fa": ("sampling: 60 bases", "sampling: 60 bases in "),
    "merge one.bed two.bed --out all.bed": ("merging: 2 files", "merging: done in "),
    "pretrain --genome x.fa --out run --steps 12 --batch 2 --window 64": ("training: 12 steps", "evaluating: "),
    "doctor": ("checking backends", "checking backends: done in "),
    "genome inspect x.fa": ("reading x.fa: ", "reading x.fa: "),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_where_long_work_begins_and_ends(command: str, cli: Cli, folder: Path) -> None:
    result = cli(*command.split())
    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if PROGRESS.match(line)]
    if not command.startswith("genome"):
        said = [line for line in said if not line.startswith("reading")]  # of its store, where it needs one
    begins, ends = COMMANDS[command]
    assert said[0].startswith(begins)
    assert said[-1].startswith(ends)
    assert len(said) == 2 * len({line.split(":")[0] for line in said})  # nothing in between: no minute has passed
    assert not [line for line in result.stdout.splitlines() if PROGRESS.match(line)]


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_work_is_silent(command: str, cli: Cli, folder: Path) -> None:
    result = cli(*command.split(), "--quiet")
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if PROGRESS.match(line)] == []


def test_training_tells_bits_and_chunks(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna_cli.show._EVERY", 0.0)
    command = "pretrain --genome x.fa --out run --steps 30 --batch 2 --window 64 --held-out a"
    result = cli(*command.split())
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("training: ")]
    assert len(lines) == 5
    assert re.fullmatch(
        r"training: 33 %, step 10, \d\.\d{3} bits/base, [\d.]+ bases/chunk, [\d,]+ bases/s, .* left", lines[1]
    )
    assert re.fullmatch(
        r"training: done in .*, step 30, \d\.\d{3} bits/base, [\d.]+ bases/chunk, [\d,]+ bases/s", lines[-1]
    )
    cli("pretrain", "--out", "run", "--resume", "--steps", "40", "--quiet")
    complete = cli("pretrain", "--out", "run", "--resume", "--steps", "40")
    assert "complete at step 40" in complete.stderr
    assert "training:" not in complete.stderr


def test_other_ranks_say_nothing(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections.abc import Iterator
    from contextlib import contextmanager

    import torch

    from hnet_dna.training.ranks import Ranks

    @contextmanager
    def second() -> Iterator[Ranks]:
        yield Ranks(rank=1, size=2, device=torch.device("cpu"))

    class Reached(Exception):
        pass

    def train(*arguments: object, **options: object) -> None:
        raise Reached

    monkeypatch.setattr("hnet_dna.training.run.join_ranks", second)
    monkeypatch.setattr("hnet_dna.training.ranks.Ranks.wait", lambda self: None)
    monkeypatch.setattr("hnet_dna.training.ranks.Ranks.agree", lambda self, *values: list(values))
    monkeypatch.setattr("hnet_dna.training.run.train_in_folder", train)
    cli("genome", "inspect", "x.fa")
    result = cli("pretrain", "--genome", "x.fa", "--out", "run", "--steps", "1", "--batch", "2")
    assert isinstance(result.exception, Reached)
    assert result.stderr == ""


def test_predictions_are_counted(cli: Cli, folder: Path) -> None:
    assert cli("probe", "l.csv", "--model", "model", "--folds", "2", "--out", "head", "--quiet").exit_code == 0
    result = cli("predict", "l.csv", "--head", "head")
    assert result.stderr.splitlines()[0] == "predicting: 12 sequences"
    assert result.stderr.splitlines()[-1].startswith("predicting: 12 sequences in ")
    assert cli("predict", "l.csv", "--head", "head", "--quiet").stderr == ""
