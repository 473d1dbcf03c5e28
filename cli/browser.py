"""Shows a folder with a page in a web browser."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import join

from . import show


def hub_of(tracks: Sequence[Path], genome: str, model: Path) -> str | None:
    """Return the command that shows tracks of a genome in a browser; None if there are none."""
    if not tracks:
        return None
    hub = ["hnet-dna", "hub", show.unused("browser"), "--genome", genome, "--model", str(model)]
    return join([*hub, "--tracks", *map(str, tracks), "--serve"])


def browse(folder: Path, *, open_: bool = False) -> None:
    """Serve a folder, and open its page in a web browser if asked, until the user presses Ctrl-C."""
    import webbrowser

    from hnet_dna.serve import serve

    with serve(folder) as address, suppress(KeyboardInterrupt):  # also while the browser opens
        show.notes.print(f"{address}  (Ctrl-C ends)")
        if open_:
            webbrowser.open(address)
        threading.Event().wait()
