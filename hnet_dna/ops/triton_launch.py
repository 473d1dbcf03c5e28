"""How kernels are launched: as they are, or so that PyTorch's compiler sees them in the operations that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_seen = False


def launcher(kernel: Any) -> Any:
    """Return what is launched as `launcher(kernel)[grid](...)`."""
    return torch.library.wrap_triton(kernel) if _seen else kernel


@contextmanager
def seen_by_compiler() -> Iterator[None]:
    """Launch kernels in the `with` block so that the compiler takes them into its graphs, if it is looking."""
    global _seen
    before, _seen = _seen, True
    try:
        yield
    finally:
        _seen = before


def ceil_div(size: int, by: int) -> int:
    """Return size / by, rounded up; sizes may be symbols of the compiler."""
    return -(-size // by)
