"""How functions that take long report their progress: to a callback, which may print it, draw a bar, or do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from hnet_dna.files import is_stream

SMALL = 1 << 24  # bytes; a file up to this size is read ahead so far that the share read says nothing of the work done


@dataclass(frozen=True)
class Progress:
    """How far one piece of work has come.

    Attributes:
        what: the work, such as `embedding`. A function may do several pieces of work, one after the other.
        done: units done so far, those of an earlier run included.
        total: units in all, None where that is not known beforehand.
        unit: of `done` and `total`, such as `sequences`; empty where the work is not counted.
        share: of the work that is done, 0 to 1, where only that is known.
        about: what the work is about, such as the name of a file.
        part: what is being done now, where the work has parts.
        finished: whether this is the last report on this piece of work.
    """

    what: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    share: float | None = None
    about: str = ""
    part: str = ""
    finished: bool = False


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Do nothing with a report."""


class Work:
    """Reports one piece of work: when it begins, as it goes on, and when it ends without an error; a context manager.

    Args:
        on_progress: called with each report.
        what, total, unit, done, about: see `Progress`.
    """

    def __init__(
        self,
        on_progress: OnProgress,
        what: str,
        total: int | None = None,
        unit: str = "",
        *,
        done: int = 0,
        about: str = "",
    ) -> None:
        self._on_progress = on_progress
        self._progress = Progress(what, done, total, unit, about=about)

    def __enter__(self) -> Work:
        """Report the beginning."""
        self._report()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report the end."""
        if kind is None:
            self._report(finished=True)

    def add(self, count: int) -> None:
        """Report that `count` more units are done."""
        self._report(done=self._progress.done + count)

    def reach(self, done: int) -> None:
        """Report that `done` units are done, in all."""
        self._report(done=done)

    def at(self, part: str = "", share: float | None = None) -> None:
        """Report which part of the work is being done, and the share of that part where it is known.

        Without a part, the share is that of the work.
        """
        self._report(part=part, share=share)

    def read(self, done: int, size: int | None) -> None:
        """Report how many bytes of the input have been read; for `hnet_dna.text.watched`.

        The share read stands for the share of the work if the file is large and the total is unknown.
        """
        if self._progress.total is None and size and size > SMALL:
            self._report(share=done / size)

    def _report(self, **changes: object) -> None:
        self._progress = replace(self._progress, **changes)  # type: ignore[arg-type]
        self._on_progress(self._progress)


@contextmanager
def counting_bytes(on_progress: OnProgress, what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a callback for the bytes that are done, and how many there are in all, or None.

    The work begins with its first call, since there may be nothing to do.
    """
    with ExitStack() as stack:
        work: Work | None = None

        def on_bytes(done: int, total: int | None) -> None:
            nonlocal work
            if work is None:
                work = stack.enter_context(Work(on_progress, what, total, "bytes", done=done))
            work.reach(done)

        yield on_bytes


def is_small(source: str | Path) -> bool:
    """Return whether a file can be read twice, and is small enough to count its records before the work begins."""
    path = Path(source)
    return str(source) != "-" and path.is_file() and not is_stream(path) and path.stat().st_size <= SMALL
