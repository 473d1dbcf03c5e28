"""Where commands write: stdout, or files that are checked before anything is read, and whole or absent at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hnet_dna.errors import UsageError


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None] = ()) -> None:
    """Refuse files to write that cannot be, or that would replace what is read, or one another.

    Args:
        outputs: by their option; None where it is not given.
        inputs: files that the command reads; what is no file, such as the name of a known genome, is nobody's.
    """
    read = {Path(path).resolve() for path in inputs if path is not None}
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if str(path) == "-":
            raise UsageError(f"{option} -: expected the name of a file; text without --out goes to stdout")
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file in it")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
        place = path.resolve()
        if place in read:
            raise UsageError(f"{option} {path} is a file that is read; give another name")
        if place in taken:
            raise UsageError(f"{option} {path} is the file of {taken[place]} too; give another name")
        taken[place] = option


@contextmanager
def output(out: Path | None) -> Iterator[TextIO]:
    """Yield stdout, or a stream that becomes the file `out` if all goes well, by bgzip if its name ends in .gz."""
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    from hnet_dna.tracks.bgzip import text_file

    with text_file(out) as stream:
        yield stream


def shares_terminal(out: Path | None) -> bool:
    """Say whether data goes to a terminal, where a progress bar would run through it."""
    return out is None and sys.stdout.isatty()
