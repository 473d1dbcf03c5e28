"""What kernels can take of their input: the rest goes to slower code, said once for each reason, never in silence."""

from __future__ import annotations

import warnings
from functools import cache

from torch import Tensor


@cache
def tell_fallback(what: str, limit: str) -> None:
    """Warn that inputs are beyond a kernel's limit, the first time that these are."""
    warnings.warn(
        f"the Triton kernels take {limit}; {what} runs as PyTorch operations, several times slower", stacklevel=2
    )


def row_stride(x: Tensor) -> int:
    """Return how far apart in memory the rows of x (..., D) lie; a dimension of 1 may have any stride."""
    return x.shape[-1] if x.is_contiguous() else x.stride(-2)
