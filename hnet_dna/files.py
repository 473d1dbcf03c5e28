"""Writing files so that no incomplete file is ever visible, and where the package keeps its own."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import platform
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from hnet_dna.errors import BusyError, HNetError, UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

HOME_VARIABLE = "HNET_DNA_HOME"
LOCK_FILE = ".lock"
# A disk, a quota or a limit on the size of files that is used up.
FULL = frozenset(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))
_NO_RESERVATION = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})
_BLOCK = 1 << 20
_PROBE = 1 << 16  # bytes; more than a block of any usual file system


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes `path` on success, and is removed on any failure.

    A file is replaced in one step, so the temporary path lies beside it. A symbolic link stays: the file that it leads
    to is replaced. A device or a pipe stays too, and is written to when all is complete.

    Raises:
        OSError: with the name `path` where there is no room for it, whatever the library that writes makes of that.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file to write", str(path))
    if is_stream(path):
        with ScratchFolder() as scratch:
            temporary = scratch / path.name
            with _reporting_full_disk(temporary, tempfile.gettempdir()):
                yield temporary
            with temporary.open("rb") as written, open_stream(path) as stream:
                shutil.copyfileobj(written, stream)
        return
    target = path.resolve() if path.is_symlink() else path
    with _workplace(target) as folder:
        temporary = folder / target.name
        temporary.touch()
        mode = temporary.stat().st_mode
        temporary.unlink()
        with _reporting_full_disk(temporary, str(path)):
            yield temporary
            temporary.chmod(mode)  # some libraries write files that other users may not read
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(target)


def is_stream(path: Path) -> bool:
    """Tell whether a path names what cannot be replaced: a device, a pipe, or an open file such as /dev/stdout."""
    return descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def is_streamed(source: str | Path) -> bool:
    """Tell whether a source is stdin (`-`), a pipe, or something else that can be read only once."""
    return str(source) == "-" or is_stream(Path(source))


def open_stream(path: Path) -> BinaryIO:
    """Open a device, a pipe or an open file for writing; what is open already goes on where it is."""
    number = descriptor(path)
    return path.open("wb") if number is None else os.fdopen(os.dup(number), "wb")


def descriptor(path: Path) -> int | None:
    """Return the number of the open file that a path such as /dev/stdout or /dev/fd/3 names, if it does."""
    for _ in range(40):  # as many links as Linux follows
        folder = path.parent.resolve()
        if folder in (Path(f"/proc/{os.getpid()}/fd"), Path("/dev/fd")) and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = folder / path.readlink()
    return None


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; rename it there on success, remove it on any failure.

    Raises:
        UsageError: `path` holds anything, before or at the end, or another process is making it.
    """
    refuse_filled(path)
    target = path.resolve() if path.is_symlink() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(target, alone=True) as folder:
        new = folder / target.name
        with _reporting_full_disk(new, str(path)):
            new.mkdir()
            yield new
        try:
            new.replace(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise UsageError(f"{path} was made by another process meanwhile; choose another folder") from None


class ScratchFolder:
    """A temporary folder that goes at the end of a `with` block, or when nothing refers to it any more.

    Its removal is seen to before it is made. `tempfile` does this the other way round, and leaves a folder behind if a
    signal comes in between.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"hnet-dna-{secrets.token_hex(8)}"
        self.remove = weakref.finalize(self, _remove_in, os.getpid(), self.path)
        self.path.mkdir(mode=0o700)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.remove()


def _remove_in(process: int, folder: Path) -> None:
    if os.getpid() == process:  # and not in one that was forked from it, which has a copy of everything
        shutil.rmtree(folder, ignore_errors=True)


class _Scratch(io.FileIO):
    def write(self, data: Buffer) -> int:
        with reporting_full_disk(tempfile.gettempdir()):
            return super().write(data)


def scratch_file() -> io.BufferedRandom:
    """Open a new file that has no name and goes when it is closed, for what is to be read again.

    An error for want of room names the folder for temporary files.
    """
    with tempfile.TemporaryFile() as file:
        return io.BufferedRandom(_Scratch(os.dup(file.fileno()), "r+b"))


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` zero bytes whose place on the disk is taken.

    A file that is mapped into memory without that is no more than a promise: where the disk is full, the first write
    to a page ends the process (SIGBUS).

    Raises:
        OSError: there is no room.
    """
    with path.open("wb") as file, reporting_full_disk(path):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # macOS lacks the call, some file systems do not serve it
            if isinstance(error, OSError) and error.errno not in _NO_RESERVATION:
                raise
            for start in range(0, size, _BLOCK):
                file.write(bytes(min(_BLOCK, size - start)))


@contextmanager
def reporting_full_disk(path: Path | str) -> Iterator[None]:
    """Let an error about a full disk name a file or folder, which an error of writing to an open file does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.errno in FULL and error.filename is None:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise


@contextmanager
def _reporting_full_disk(temporary: Path, name: str) -> Iterator[None]:
    """Turn whatever a library raises for want of room into an OSError about the file `name`."""
    try:
        yield
    except HNetError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            ours = error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(temporary.parent)
            number = error.errno if ours and error.errno in FULL else None
        else:
            number = _number_in(str(error)) or no_room(temporary)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), name) from error


def _number_in(message: str) -> int | None:
    """Return the number that HDF5, Rust and others put into the text of what they raise."""
    match = re.search(r"(?:os error|errno)\W+(\d+)", message, re.IGNORECASE)
    number = int(match[1]) if match else 0
    return number if number in FULL else None


def no_room(path: Path) -> int | None:
    """Try beside a file whether it could be longer; return the number of the error if there is no room."""
    probe = path.with_name(f"{path.name[:100]}.room")
    try:
        with probe.open("wb") as file:
            file.seek(path.stat().st_size if path.is_file() else 0)
            file.write(bytes(_PROBE))
    except OSError as error:
        return error.errno if error.errno in FULL else None
    finally:
        probe.unlink(missing_ok=True)
    return None


def refuse_filled(folder: Path, advice: str = "choose another folder") -> None:
    """Refuse a folder to create that holds anything already, and say what."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`out` {folder} is a file; {advice}")
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if held:
        more = f" and {len(held) - 3:,} more" if len(held) > 3 else ""
        raise UsageError(f"`out` {folder} exists already, with {', '.join(held[:3])}{more}; {advice}")


@contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, so that no second process works in it; a network file system without locks has none.

    Raises:
        BusyError: another process holds it; the message says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        taken = False
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken = True
        except OSError:
            yield
            return
        # Its holder may have removed the folder between these lines.
        if taken or not _is_at(file.fileno(), folder / LOCK_FILE):
            file.seek(0)
            holder = file.read().strip() or "which has just begun"
            raise BusyError(
                f"{folder}: another process is working there ({holder}); wait until it ends, or choose another name"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)
            (folder / LOCK_FILE).unlink(missing_ok=True)


_held: set[TextIO] = set()


def _let_go() -> None:
    """Close the locks that a forked process has of its parent: a worker that outlives a killed job holds none."""
    while _held:
        _held.pop().close()


os.register_at_fork(after_in_child=_let_go)


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is the one that lies at a path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _workplace(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """Make a hidden folder beside `path` and remove it at the end, and those that killed writers of `path` left.

    A folder in use is locked; the system unlocks it when its process dies. Where a network file system has no such
    locks, nothing that is left is removed.

    Raises:
        BusyError: another process is writing `path`, if this one is to be `alone`.
    """
    left = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{8}}\.tmp")
    for old in path.parent.iterdir():
        if name := left.fullmatch(old.name):
            try:
                with _locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    shutil.rmtree(old)
            except BlockingIOError:
                if alone:
                    raise BusyError(f"{path}: process {name[1]} is making it; choose another folder") from None
            except OSError:
                continue
    with ExitStack() as stack:
        yield _new_folder(path, stack)


def _new_folder(path: Path, stack: ExitStack) -> Path:
    while True:
        # Not only the process id: two machines may share the folder.
        folder = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)  # before it is made: a signal may come in between
        folder.mkdir()
        with suppress(OSError):
            stack.enter_context(_locked(folder, fcntl.LOCK_EX))
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
    if chosen := os.environ.get(HOME_VARIABLE):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("hnet-dna")
