"""Names that users chose are shown as they are, also where they look like markup of the terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from rich.console import Console
from rich.table import Table
from typer.testing import Result

Cli = Callable[..., Result]
NAMES = ["ctg1[organism=yeast]", "[/b]", "[red]x", "chr:dna:1", "[link=a]b[/link]", "a$\\frac$b$"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lively_model(small_config()).float().save_pretrained(tmp_path / "m[b]")
    write_fasta(tmp_path / "g[b].fa", {name: random_dna(12_000, seed) for seed, name in enumerate(NAMES)})
    return tmp_path


def test_inspect(cli: Cli, folder: Path) -> None:
    result = cli("genome", "inspect", "g[b].fa")
    assert result.exit_code == 0, result.output
    assert "g[b].fa: 6 contigs" in result.stdout
    assert "g[b].fa.hnetdna" in result.stdout
    assert all(name in result.stdout for name in NAMES)


def test_evaluate(cli: Cli, folder: Path) -> None:
    arguments = ["evaluate", "--genome", "g[b].fa", "--model", "m[b]", "--held-out", NAMES[0], "--held-out", NAMES[1]]
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    assert "m[b]" in result.stdout
    assert all(name in result.stdout for name in NAMES[:2])


def test_errors_and_notes(cli: Cli, folder: Path) -> None:
    result = cli("genome", "extract", "g[b].fa", "[/i]", "-o", "x.fa")
    assert result.exit_code == 1
    assert "[/i]" in one_line_error(result)
    result = cli("segment", "g[b].fa", ":dna:", "[/b]")
    assert result.exit_code == 2
    assert "(:dna: [/b])" in result.stderr
    (folder / "n[").mkdir()
    (folder / "n[/b].fa").write_text(">[/b]\nNNNN\n")
    result = cli("segment", "n[/b].fa", "--model", "m[b]", "-o", "x.bed")
    assert result.exit_code == 0, result.output
    assert "n[/b].fa: no chunks" in result.stderr


def test_pretrain_and_its_results(cli: Cli, folder: Path) -> None:
    result = cli("pretrain", "--genome", "g[b].fa", "--out", "r[/b]", "--steps", "1", "--held-out", NAMES[1])
    assert result.exit_code == 0, result.output
    assert "wrote r[/b]: the model" in result.stderr
    assert f"test: 12,000 bases (16.7%): {NAMES[1]}" in result.stderr


@pytest.mark.parametrize("command", ["probe", "plot"])
def test_pictures(cli: Cli, folder: Path, command: str) -> None:
    if command == "plot":
        result = cli("plot", f"{NAMES[-1]}:1-200", "--genome", "g[b].fa", "--model", "m[b]", "-o", "x.svg")
        assert result.exit_code == 0, result.output
        assert NAMES[-1] in (folder / "x.svg").read_text()
        return
    rows = [f"{random_dna(60, seed)},{'[/b]' if seed % 2 else 'a$^$'}\n" for seed in range(24)]
    (folder / "l[b].csv").write_text("sequence,label\n" + "".join(rows))
    result = cli("probe", "l[b].csv", "--model", "m[b]", "--out", "p", "--folds", "2", "--plot")
    assert result.exit_code == 0, result.output
    assert "l[b].csv: logistic head" in result.stdout
    assert json.loads((folder / "p" / "report.json").read_text())["labels"] == "l[b].csv"


def test_every_console_and_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is drawn for a terminal here: without one there is no bar."""
    show = import_module("hnet_dna_cli.show")
    for console in (show.notes, show.results):
        table = Table(title="[/b]")
        table.add_column("[/i]")
        table.add_row("chr:dna:1[red]")
        with console.capture() as captured:
            console.print("[/u]", table)
        assert all(text in captured.get() for text in ("[/b]", "[/i]", "chr:dna:1[red]", "[/u]"))
    drawn = io.StringIO()
    terminal = Console(file=drawn, force_terminal=True, width=120, markup=True)
    monkeypatch.setattr(show, "notes", terminal)
    monkeypatch.setattr(show, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    with show.Progress("ctg1[organism=yeast] [/b]", 2, "bases") as progress:
        progress.update(1, detail="chr:dna:1[red]")
    assert "ctg1[organism=yeast] [/b]" in drawn.getvalue()
