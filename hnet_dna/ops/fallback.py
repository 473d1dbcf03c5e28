"""What kernels are told of their input: what they cannot take goes to slower code, which is said once for each reason."""

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
    """Return how far apart in memory the rows of x (..., D) lie; strides of a contiguous tensor may be anything at 1."""
    return x.shape[-1] if x.is_contiguous() else x.stride(-2)
