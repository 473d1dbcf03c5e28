"""What commands read from pipes, which give what they hold once only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hnet_dna.errors import UsageError
from hnet_dna.files import descriptor, is_stream


def check_pipes(inputs: Mapping[str, str | Path | None]) -> None:
    """Refuse a pipe, or stdin (`-`), that two options would read.

    Args:
        inputs: what is read, by its option or argument; None where it is not given.
    """
    taken: dict[int | Path, str] = {}
    for option, source in inputs.items():
        if source is None:
            continue
        path = Path(source)
        pipe = 0 if str(source) == "-" else descriptor(path)
        key = path.resolve() if pipe is None and is_stream(path) else pipe
        if key is None:
            continue
        if key in taken:
            raise UsageError(f"{option} {source}: {taken[key]} reads it too, and a pipe can be read once; name a file")
        taken[key] = option
