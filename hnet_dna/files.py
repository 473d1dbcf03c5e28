"""Writing files so that nobody ever meets half of one, and where the package keeps its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from hnet_dna.errors import UsageError

HOME_VARIABLE = "HNET_DNA_HOME"


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it there on success, remove it on any failure."""
    # Not the process id alone: two machines may share the folder.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode
    temporary.unlink()
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
    new = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    new.mkdir(parents=True)
    try:
        yield new
        new.replace(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def home() -> Path:
    """Return the folder for downloaded genomes and stores: $HNET_DNA_HOME, else the user's cache folder."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen) if chosen else user_cache_path("hnet-dna")
