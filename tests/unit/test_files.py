"""Files and folders are there whole or not at all, and killed writers leave nothing for ever."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hnet_dna.files import ScratchFolder, folder_beside, write_beside

KILLED = """
import os, signal, sys
from pathlib import Path
from hnet_dna.files import ScratchFolder, folder_beside, write_beside
with {writer}(Path(sys.argv[1])) as new:
    (new / "half" if new.is_dir() else new).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("writer", ["write_beside", "folder_beside"])
def test_what_a_killed_writer_left_goes_when_its_path_is_written_again(writer: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED.format(writer=writer), str(tmp_path / "out")], check=False)
    assert len(list(tmp_path.iterdir())) == 1  # it is killed before it can clean up
    with write_beside(tmp_path / "other") as temporary:  # another path: not its to remove
        temporary.write_text("whole")
    assert len(list(tmp_path.iterdir())) == 2
    with {"write_beside": write_beside, "folder_beside": folder_beside}[writer](tmp_path / "out") as new:
        (new / "part" if new.is_dir() else new).write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_what_a_living_writer_is_at_stays(tmp_path: Path) -> None:
    with write_beside(tmp_path / "out") as first:
        first.write_text("first")
        with write_beside(tmp_path / "out") as second:
            assert first.read_text() == "first"
            second.write_text("second")
        assert (tmp_path / "out").read_text() == "second"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


def test_a_failure_leaves_what_was_there_and_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")
    with pytest.raises(RuntimeError), write_beside(tmp_path / "out") as temporary:
        raise RuntimeError(temporary.write_text("new"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "old")]


def test_a_written_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        with write_beside(tmp_path / "out") as temporary:
            temporary.write_text("x")
            temporary.chmod(0o600)
    finally:
        os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_signal_while_a_scratch_folder_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make = Path.mkdir

    def make_and_stop(self: Path, mode: int = 0o777) -> None:
        make(self, mode)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", make_and_stop)
    with pytest.raises(KeyboardInterrupt), ScratchFolder():
        pytest.fail("not reached")
    gc.collect()  # the traceback refers to it
    assert not list(tmp_path.iterdir())


def test_a_scratch_folder_goes_with_what_refers_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = ScratchFolder()
    (folder.path / "x").touch()
    assert folder.path.parent == tmp_path
    if os.fork() == 0:
        del folder  # a worker's copy
        os._exit(0)
    os.wait()
    assert (folder.path / "x").exists()
    del folder
    assert not list(tmp_path.iterdir())
