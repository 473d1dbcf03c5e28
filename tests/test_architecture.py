"""Rules that no single module can keep by itself."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    """A package that is not listed is missing from the wheel, though the editable install imports it."""
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "hnet_dna").rglob("__init__.py")}
    assert packages <= set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("code", ["import hnet_dna", "import hnet_dna_cli.main"])
def test_torch_is_imported_late(code: str) -> None:
    """`--help` must answer at once."""
    check = f"import sys; {code}; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT.parent)


def test_layers() -> None:
    """Imports point downwards only."""
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_layers_are_those_of_the_documentation() -> None:
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    shown = [layer.replace("hnet_dna_cli", "cli").replace("hnet_dna.", "") for layer in layers]
    assert "```\n" + "\n".join(shown) + "\n```\n" in (ROOT / "CONTRIBUTING.md").read_text()


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not for their types either; import-linter sees circles between layers only."""
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "hnet_dna").rglob("*.py")}
    imported = {
        name: {
            node.module
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module in files
        }
        for name, path in files.items()
    }
    while free := {name for name, others in imported.items() if not others & imported.keys()}:
        imported = {name: others for name, others in imported.items() if name not in free}
    assert not imported, "these stand in a circle, or above one"


def test_no_file_outgrows_its_name() -> None:
    for path in (*(ROOT / "hnet_dna").rglob("*.py"), *(ROOT / "cli").rglob("*.py")):
        assert len(path.read_text().splitlines()) <= 450, path
    assert os.access(ROOT / ".ci" / "run", os.R_OK)


def test_the_library_prints_nothing_and_knows_no_option() -> None:
    """Its errors name parameters in backticks, which the command line replaces by options."""
    for path in (ROOT / "hnet_dna").rglob("*.py"):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        if not path.name.endswith("_process.py"):  # a program of its own, which answers on its stdout
            assert not [call for call in calls if call.func.id == "print"], path  # type: ignore[attr-defined]
        for raised in (node for node in ast.walk(tree) if isinstance(node, ast.Raise)):
            texts = [node.value for node in ast.walk(raised) if isinstance(node, ast.Constant)]
            options = [text for text in texts if isinstance(text, str) and re.search(r"(^|[\s(])--[a-z]", text)]
            assert not [text for text in options if "hnet-dna " not in text], f"{path}: {options}"


def test_counts_are_written_with_the_right_noun() -> None:
    """`{n:,} contigs` reads `1 contigs` one day; `counted` does not. Constants, in capitals, are not one."""
    nouns = re.compile(
        r" ([a-z-]+ )?(bases|chunks|classes|contigs|families|files|folds|genes|genomes|groups|lines|minutes|others|"
        r"records|regions|rows|sequences|sites|steps|tiles|windows|words)\b"
    )
    for path in (*(ROOT / "hnet_dna").rglob("*.py"), *(ROOT / "cli").rglob("*.py")):
        for text in (node.values for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.JoinedStr)):
            for value, after in pairwise(text):
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                    spec = ast.unparse(value.format_spec) if value.format_spec else ""
                    constant = ast.unparse(value.value).rpartition(".")[2].isupper()
                    found = spec in ("f','", "f'g'") and not constant and nouns.match(str(after.value))
                    assert not found, f"{path}:{value.lineno}: {ast.unparse(value.value)}{after.value!r}"


def test_every_command_that_writes_files_names_them() -> None:
    """By the one function that does; data that goes to stdout is not mixed with it."""
    import inspect
    from importlib import import_module

    from typer.main import get_command

    def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            yield from commands(command, f"{path} {name}") if hasattr(command, "commands") else [(path + name, command)]

    writing = {
        name: inspect.getsource(inspect.unwrap(command.callback))
        for name, command in commands(get_command(import_module("hnet_dna_cli.main").app), "")
        if {"out", "bigwig", "plot", "features"} & {parameter.name for parameter in command.params}
    }
    assert len(writing) > 15
    silent = [name for name, source in writing.items() if not re.search(r"show\.wrote\(|view\.conclude\(", source)]
    assert not silent


def test_models_load_without_the_compiler() -> None:
    """torch.compile takes as long to import as the rest of PyTorch, and every command would wait for it."""
    code = "import sys, hnet_dna.tracks.segment, hnet_dna.model.lm; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
