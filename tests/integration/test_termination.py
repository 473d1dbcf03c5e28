"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing temporary stays, the exit code tells which it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from helpers import PATIENCE, lively_model, random_dna, small_config, write_fasta

from hnet_dna.files import write_beside

COMMAND = [sys.executable, "-m", "hnet_dna_cli"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    for name in ("tmp", "out"):
        (tmp_path / name).mkdir()
    lively_model(small_config()).float().save_pretrained(tmp_path / "m")
    write_fasta(tmp_path / "g.fa", {"a": random_dna(3_000_000)})
    (tmp_path / "g.gff3").write_text("a\t.\tgene\t1\t900\t.\t+\t.\tID=g\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["segment", "g.fa", "-o", "out/x.bed.gz", "--bigwig", "out/x.bw"], signal.SIGTERM),
        (["segment", "g.fa", "--strand", "both", "-o", "out/x.bed"], signal.SIGHUP),
        (["score", "g.fa", "--bigwig", "out/x.bw"], signal.SIGTERM),
        (["explain", "--genome", "g.fa", "--annotation", "g.gff3", "-o", "out/x", "--no-page"], signal.SIGTERM),
        (["genome", "inspect", "g.fa"], signal.SIGTERM),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_temporary_stays(folder: Path, arguments: list[str], number: signal.Signals) -> None:
    if arguments[0] != "genome":
        arguments = [*arguments, "--model", "m"]
    there = {path for path in folder.rglob("*") if not path.is_relative_to(folder / "cache")}
    with subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        store = folder / "g.fa.hnetdna"
        while not (_temporary(folder) and (store.exists() or arguments[0] in ("genome", "segment"))):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(number)
        process.send_signal(number)  # as those do who send it to a group, and to each of it
        _, stderr = process.communicate()
    assert process.returncode == 128 + number, stderr
    assert stderr.splitlines()[-1] == f"stopped by {number.name}"
    left = {path for path in folder.rglob("*") if not path.is_relative_to(folder / "cache")}
    assert left - there <= {store}


def test_rows_that_resume_goes_on_from_stay(folder: Path) -> None:
    command = [*COMMAND, "embed", "s.fa", "-o", "out/x.npy", "--model", "m"]
    (folder / "s.fa").write_text("".join(f">s{i}\n{random_dna(40, i)}\n" for i in range(20_000)))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not list(folder.glob("out/.x.npy.parts/*.parquet")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.returncode == 143, process.stderr.read()
    assert [path.name for path in (folder / "out").iterdir()] == [".x.npy.parts"]
    assert not list(folder.rglob("*.tmp"))
    assert not list((folder / "tmp").iterdir())


def _temporary(folder: Path) -> list[Path]:
    return [*folder.glob(".*"), *folder.glob("out/.*"), *folder.glob("tmp/*")]


def test_the_first_signal_unwinds_and_others_leave_it_alone(tmp_path: Path) -> None:
    stop = import_module("hnet_dna_cli.stop")
    steps = []

    def end_twice() -> None:
        with stop.termination(), write_beside(tmp_path / "x"):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("not reached")
            finally:
                try:
                    raise OSError
                except OSError:
                    os.kill(os.getpid(), signal.SIGTERM)
                steps.append("cleaned up")

    with pytest.raises(stop.Terminated) as stopped:
        end_twice()
    assert (steps, stopped.value.exit_code, list(tmp_path.iterdir())) == (["cleaned up"], 143, [])


def test_a_signal_that_a_library_drops_comes_again() -> None:
    """As when it comes while pysam is imported, whose compiled code clears what is raised in it."""
    stop = import_module("hnet_dna_cli.stop")

    def end() -> None:
        with stop.termination():
            with suppress(stop.Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(PATIENCE)

    with pytest.raises(stop.Terminated, match="SIGTERM") as stopped:
        end()
    assert stopped.value.exit_code == 143
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_what_is_ignored_stays_ignored() -> None:
    stop = import_module("hnet_dna_cli.stop")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop.termination():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
