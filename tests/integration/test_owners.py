"""Two jobs on one folder: the second ends on one line, and the first one's files stay as they are."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import one_line_error, random_dna, write_fasta
from typer.testing import Result

from hnet_dna.errors import BusyError, UsageError
from hnet_dna.files import folder_beside, sole_owner

Cli = Callable[..., Result]
SMALL = ("--window", 64, "--batch", 2, "--set", "model.d_model=[32,32]", "--set", "model.d_intermediate=[16,16]")


def test_a_run_that_is_trained_is_not_resumed_beside_it(cli: Cli, tmp_path: Path) -> None:
    genome, run = write_fasta(tmp_path / "g.fa", {"c": random_dna(3000)}), tmp_path / "run"
    begun = cli("pretrain", "--genome", genome, "--out", run, "--steps", 2, *SMALL)
    assert begun.exit_code == 0, begun.output
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with sole_owner(run):
        second = cli("pretrain", "--out", run, "--resume", "--steps", 4)
    assert second.exit_code == 1
    assert f"run: another process is working there (process {os.getpid()} on" in one_line_error(second)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert cli("pretrain", "--out", run, "--resume", "--steps", 4).exit_code == 0


def test_a_folder_that_another_process_makes_is_refused_at_once(tmp_path: Path) -> None:
    with folder_beside(tmp_path / "new") as folder:
        (folder / "x").write_text("1")
        with (
            pytest.raises(BusyError, match=f"new: process {os.getpid()} is making it"),
            folder_beside(tmp_path / "new"),
        ):
            pass
    assert (tmp_path / "new" / "x").read_text() == "1"


def test_a_folder_that_was_made_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "new"

    def make() -> None:
        with folder_beside(place):
            place.mkdir()
            (place / "theirs").write_text("1")

    with pytest.raises(UsageError, match="new was made by another process meanwhile"):
        make()
    assert [path.name for path in place.iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_lock_goes_with_its_holder(tmp_path: Path) -> None:
    with sole_owner(tmp_path):
        assert any(tmp_path.iterdir())
        with pytest.raises(BusyError), sole_owner(tmp_path):
            pass
    assert not any(tmp_path.iterdir())
    with sole_owner(tmp_path):
        pass


def test_a_worker_that_outlives_a_killed_job_holds_no_lock(tmp_path: Path) -> None:
    """Processes that read ahead are forked, and an open file is locked until all have closed it."""
    ready, done = os.pipe(), os.pipe()
    if not (job := os.fork()):
        with sole_owner(tmp_path):
            if not os.fork():
                os.close(done[1])
                os.write(ready[1], b"1")
                os.read(done[0], 1)  # until the test ends
                os._exit(0)
            os.close(done[1])
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    os.kill(job, signal.SIGKILL)
    os.waitpid(job, 0)
    with sole_owner(tmp_path):
        pass
    os.close(done[1])
