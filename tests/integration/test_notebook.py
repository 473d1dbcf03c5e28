"""The notebook of the documentation runs from top to bottom, without Jupyter."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parent.parent.parent / "docs" / "notebooks" / "tour.ipynb"
CELLS = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def run(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does: the value of a last expression is what is shown."""
    tree = ast.parse(cell)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body.pop()
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return (
        eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if isinstance(last, ast.Expr) else None
    )


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(CELLS) == 10
    names: dict[str, Any] = {}
    shown = [run(cell, names) for cell in CELLS]
    assert "yeast" in repr(shown[0])
    assert list(shown[3].columns[:3]) == ["chrom", "start", "end"]
    assert len(shown[5]) == 3
    assert shown[8]["uniform"] == 2.0
    assert "of the held-out sequences" in capsys.readouterr().out
    for name in ("chunks.bed.gz", "boundaries.bw", "log2p.bedgraph.gz"):
        assert (tmp_path / name).stat().st_size, name


def test_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code"
    )
