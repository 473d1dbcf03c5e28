"""Being asked to stop: by a scheduler that preempts (SIGTERM), or by Ctrl-C (SIGINT)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}  # 75 is EX_TEMPFAIL of sysexits.h: try again later


class StopRequest:
    """Whether a signal has come, and which exit code goes with it (0: none has)."""

    exit_code: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note a signal instead of dying of it; a second Ctrl-C acts as ever.

    A second SIGTERM changes nothing: schedulers send it to every process of a job, and torchrun hands it on to its own.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        request.exit_code = _CODES[signal.Signals(number)]
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in _CODES:
        before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
