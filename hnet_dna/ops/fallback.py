"""What a backend's kernels cannot take goes to slower code: said once for each reason, never in silence."""

from __future__ import annotations

import warnings
from functools import cache


@cache
def tell_fallback(what: str, limit: str) -> None:
    """Warn that inputs are beyond a kernel's limit, the first time that these are."""
    warnings.warn(
        f"the Triton kernels take {limit}; {what} runs as PyTorch operations, several times slower", stacklevel=2
    )
