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


_SKIPPED = "hnet_dna/skipped"  # in pytest's cache: ids of the tests, or files of tests, that the last run skipped


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skipped", action="store_true", help="run only the tests that the last run skipped")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--skipped"):
        wanted = config.cache.get(_SKIPPED, []) if config.cache else []
        left_out = [item for item in items if not any(_is_of(item.nodeid, name) for name in wanted)]
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what was skipped for `--skipped`, whose tests have to be found again, each of them."""
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if (
        hasattr(config, "workerinput")
        or reporter is None
        or getattr(config, "cache", None) is None
        or config.option.collectonly
    ):
        return
    if config.getoption("--skipped"):
        ran = {
            report.nodeid
            for kind, reports in reporter.stats.items()
            if kind != "deselected"
            for report in reports
            if hasattr(report, "nodeid")
        }
        wanted = config.cache.get(_SKIPPED, [])
        if lost := [name for name in wanted if not any(_is_of(ran_id, name) for ran_id in ran)]:
            reporter.write_line(f"skipped by the last run, and not found again: {', '.join(lost)}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        elif not wanted:
            session.exitstatus = pytest.ExitCode.OK
    config.cache.set(_SKIPPED, sorted({report.nodeid for report in reporter.stats.get("skipped", [])}))


def _is_of(test: str, name: str) -> bool:
    """Tell whether a test's id is `name`, or it lies in the file of that name."""
    return test == name or test.startswith(f"{name}::")


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
