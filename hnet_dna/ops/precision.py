"""The rules for what is computed in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 or float64, for sums and decisions that bfloat16 would spoil; float64 stays as it is."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


@contextmanager
def bfloat16_products(device: str) -> Iterator[None]:
    """Run matrix products in bfloat16 on a kind of device ("cpu", "cuda"), and nothing that decides.

    A GPU also rounds the operands of products that stay in float32 to 10 bits, which bfloat16 rounds to 7: beside
    products in bfloat16 those (router, what goes past the chunks, logits) would take the longest. Sums, probabilities
    and averages are no products, and stay as they are.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with torch.autocast(device, torch.bfloat16):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
