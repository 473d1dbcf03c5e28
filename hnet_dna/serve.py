"""Serves a folder to browsers on this machine, with the byte ranges that genome browsers request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hnet_dna.errors import UsageError


class _RangeHandler(SimpleHTTPRequestHandler):
    """Serves files, and byte ranges of files, which the handler of the standard library does not."""

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer a byte range by status 206 and these bytes, and other requests as the base class does."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file() or (wanted[2] and int(wanted[2]) < int(wanted[1])):
            super().do_GET()
            return
        size = path.stat().st_size
        first, last = int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)
        if first >= size:
            self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            self.wfile.write(file.read(last - first + 1))


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface, on a free port; yield the address of its index.html.

    Raises:
        UsageError: the folder has no index.html.
    """
    if not (folder / "index.html").is_file():
        raise UsageError(
            f"{folder}: no page, index.html; expected a folder written by 'hnet-dna explain' or 'hnet-dna hub'"
        )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_RangeHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
