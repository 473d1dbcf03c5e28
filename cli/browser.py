"""Shows a folder with a page in a web browser."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from . import show


def browse(folder: Path, *, open_: bool = False) -> None:
    """Serve a folder, and open its page in a web browser if asked, until the user presses Ctrl-C."""
    import webbrowser

    from hnet_dna.serve import serve

    with serve(folder) as address, suppress(KeyboardInterrupt):  # also while the browser opens
        show.notes.print(f"{address}  (Ctrl-C ends)")
        if open_:
            webbrowser.open(address)
        threading.Event().wait()
