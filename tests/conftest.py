from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner, Result

os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests start: as many tests run at once as there are cores

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, and so would tests


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tests are small, and more threads would only wait for each other


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run the installed application: cli("segment", "x.fa", ..., stdin=b"")."""
    (script,) = entry_points(group="console_scripts", name="hnet-dna")
    app = script.load()
    assert isinstance(app, Typer)
    return lambda *arguments, stdin=None: CliRunner().invoke(app, list(map(str, arguments)), input=stdin)
