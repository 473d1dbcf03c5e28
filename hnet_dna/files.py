"""Writing files so that nobody ever meets half of one, and where the package keeps its own."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from hnet_dna.errors import UsageError

HOME_VARIABLE = "HNET_DNA_HOME"


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there on success, remove it on any failure."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file to write", str(path))
    with _workplace(path) as folder:
        temporary = folder / path.name
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)  # some libraries write files that nobody else may read
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; rename it there on success, remove it on any failure."""
    refuse_filled(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(path) as folder:
        new = folder / path.name
        new.mkdir()
        yield new
        new.replace(path)


def refuse_filled(folder: Path, advice: str = "choose another folder") -> None:
    """Refuse a folder to create that holds anything already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--out {folder} exists already; {advice}")


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """Make a hidden folder beside `path` and remove it at the end, and those that killed writers of `path` left.

    A folder in use is locked; the system unlocks it when its process dies. Where a network file system has no such
    locks, nothing that is left is removed.
    """
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.tmp")
    for old in path.parent.iterdir():
        if left.fullmatch(old.name):
            with suppress(OSError), _locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(old)
    with ExitStack() as lock:
        folder = _new_folder(path, lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(path: Path, lock: ExitStack) -> Path:
    while True:
        # Not the process id alone: two machines may share the folder.
        folder = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        folder.mkdir()
        with suppress(OSError):
            lock.enter_context(_locked(folder, fcntl.LOCK_EX))
        if folder.exists():  # not taken for a leftover before it was locked
            return folder


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    """Hold the lock of a folder, or fail with OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, how)
        yield
    finally:
        os.close(opened)


def home() -> Path:
    """Return the folder for downloaded genomes and stores: $HNET_DNA_HOME, else the user's cache folder."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("hnet-dna")
