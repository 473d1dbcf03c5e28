"""Writing files so that nobody ever meets half of one, and where the package keeps its own."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from platformdirs import user_cache_path

from hnet_dna.errors import UsageError

HOME_VARIABLE = "HNET_DNA_HOME"


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there on success, remove it on any failure."""
    temporary = _name_beside(path, "tmp")
    with _held(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)) as file:
        mode = os.fstat(file).st_mode
        try:
            yield temporary
            temporary.chmod(mode)  # some libraries write files that nobody else may read
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def refuse_filled(folder: Path, advice: str = "choose another folder") -> None:
    """Refuse a folder to create that holds anything already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--out {folder} exists already; {advice}")


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; rename it there on success, remove it on any failure."""
    refuse_filled(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = _name_beside(path, "new")
    new.mkdir()
    with _held(os.open(new, os.O_RDONLY)):
        try:
            yield new
            new.replace(path)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _name_beside(path: Path, ending: str) -> Path:
    """Return a free hidden name beside `path`, and remove what writers of `path` left that were killed."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+-[0-9a-f]{{8}}\.{ending}")
    for old in path.parent.iterdir() if path.parent.is_dir() else ():
        if left.fullmatch(old.name):
            with suppress(OSError), _held(os.open(old, os.O_RDONLY if old.is_dir() else os.O_RDWR), strictly=True):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    # Not the process id alone: two machines may share the folder.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.{ending}")


@contextmanager
def _held(opened: int, strictly: bool = False) -> Iterator[int]:
    """Lock an open file or folder for as long as this process works on it; the system unlocks it at its death.

    Not every network file system has locks: there, writing goes on without (not `strictly`), and nothing is removed.
    """
    try:
        with nullcontext() if strictly else suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield opened
    finally:
        os.close(opened)


def home() -> Path:
    """Return the folder for downloaded genomes and stores: $HNET_DNA_HOME, else the user's cache folder."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("hnet-dna")
