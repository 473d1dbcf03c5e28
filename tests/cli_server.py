"""A command `hnet-dna` that starts at once: what it is asked runs in a fork of a process that has imported everything.

Workflows start the command dozens of times, and each start would spend seconds on importing torch. The fork has the
arguments, folder, environment and streams of the one who asked, and dies when that one is killed.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

CLIENT = """#!{python} -IS
import array, json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect({address!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
there.sendmsg([len(asked).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
there.sendall(asked)
answer = there.recv(1)
sys.exit(answer[0] if answer else 70)
"""


@contextmanager
def fast_command(folder: Path) -> Iterator[Path]:
    """Yield a folder for the front of PATH, with the command in it."""
    address = str(folder / "s")
    client = folder / "bin" / "hnet-dna"
    client.parent.mkdir(parents=True)
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE, env=environment)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield client.parent
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _serve(address: str) -> None:
    import sklearn.pipeline  # noqa: F401

    import hnet_dna.embedding.embedder
    import hnet_dna.evaluation.compare
    import hnet_dna.probing.run
    import hnet_dna.tracks.segment
    import hnet_dna.training.run  # noqa: F401

    (script,) = entry_points(group="console_scripts", name="hnet-dna")
    app = script.load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        there, _ = listener.accept()
        if os.fork():
            there.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        there.sendall(bytes([_answer(there, app)]))
        os._exit(0)


def _answer(there: socket.socket, app: object) -> int:
    """Run what was asked in a process of its own; kill it if the one who asked has gone."""
    head, control, _, _ = there.recvmsg(8, socket.CMSG_LEN(3 * array.array("i").itemsize))
    streams = array.array("i")
    streams.frombytes(control[0][2])
    asked, length = b"", int.from_bytes(head, "big")
    while len(asked) < length:
        asked += there.recv(length - len(asked))
    arguments, folder, environment = json.loads(asked)
    worker = os.fork()
    if worker == 0:
        there.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["hnet-dna", *arguments]
        code = 70
        try:
            assert callable(app)
            app(arguments)
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(bool(done.code))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    while True:
        gone, status = os.waitpid(worker, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if select.select([there], [], [], 0.02)[0]:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)
            os._exit(1)


if __name__ == "__main__":
    _serve(sys.argv[1])
