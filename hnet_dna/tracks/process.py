"""Runs a writer of a binary track in a process of its own, and asks it what the file holds that it has written.

The library that writes bigBed crashes, or says nothing, where the disk is full. A process that does nothing
else can be ended then, and its file is put in its place only after it has been read back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hnet_dna.files import no_room, write_beside


class TrackProcess:
    """A process that writes a track: lines of JSON and bytes go in, and what the file holds comes out.

    Attributes:
        path: the file that is to be, for messages.
    """

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path, self._process = path, process
        self._ended = False

    def send(self, value: object, data: bytes = b"") -> None:
        """Send a value as a line of JSON, and bytes behind it."""
        assert self._process.stdin is not None
        if not self._ended:
            try:
                self._process.stdin.write(json.dumps(value).encode() + b"\n" + data)
            except BrokenPipeError:  # the process has ended; `finish` asks how
                self._ended = True

    def finish(self) -> dict[str, Any]:
        """End the input, and return what the process says of the file that it has read back.

        Raises:
            RuntimeError: the process has failed.
        """
        answer, trouble = self._process.communicate()
        said = trouble.decode(errors="replace").strip().rpartition("\n")[2]
        try:
            if self._process.returncode == 0:
                held: dict[str, Any] = json.loads(answer)
                return held
        except ValueError:  # a library printed what it could not do, and went on
            said = answer.decode(errors="replace").strip().partition("\n")[0]
        raise RuntimeError(f"{self.path}: the process that writes it ended with {self._process.returncode} ({said})")


@contextmanager
def track_process(script: str, path: Path) -> Iterator[TrackProcess]:
    """Start a script of this folder, which is told the path to write; the file is put in its place after the block.

    The process ends with the block, and where there is no more room.

    Raises:
        OSError: there is no room for the file.
    """
    with write_beside(path) as temporary:
        # -P: the files beside the script are not importable. A session of its own: Ctrl-C reaches us, and we end it.
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name(script)), str(temporary)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                if no_room(temporary):
                    process.kill()
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield TrackProcess(path, process)
        finally:
            done.set()
            process.kill()
            watcher.join()
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(OSError):  # what is still to be written has no reader
                    if pipe is not None:
                        pipe.close()
            process.wait()
