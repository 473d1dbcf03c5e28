"""The one rule for what is reduced in which precision."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32 or float64, for sums and decisions that bfloat16 would spoil; float64 stays as it is."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
