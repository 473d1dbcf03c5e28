"""Signals that end the program: SIGTERM of a scheduler or `kill`, and SIGHUP of a terminal that closes."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

_AGAIN = 0.5  # seconds


class Terminated(BaseException):
    """A signal has come: all that is open closes behind it, as with Ctrl-C, so that no temporary file stays."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def termination() -> Iterator[None]:
    """Raise `Terminated` for a signal in this block; one that is ignored, as under nohup, stays so.

    A second signal while the first one unwinds changes nothing: schedulers send it to every process of a job, and
    some of these hand it on. What is raised while a compiled module is imported may be dropped without a word (pysam
    does so), so it is raised again until it unwinds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    first = 0

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal first
        error = sys.exception()
        while error is not None:
            if isinstance(error, Terminated):
                return
            error = error.__context__
        first = first or number
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        raise Terminated(first)

    before: dict[signal.Signals, Any] = {}
    try:
        with _waiting(signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with suppress(FileNotFoundError):  # it is an error only where such a folder is needed
                tempfile.gettempdir()  # writes a file to see whether it can, and keeps the answer
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, end)
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, end)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _waiting(*signals: signal.Signals) -> Iterator[None]:
    """Let signals come at the end of this block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
