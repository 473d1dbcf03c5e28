"""Vectors of chunks given to their positions. The signature is documented at `hnet_dna.ops.serve.spread`.

The gradient of a vector is a sum over a run of positions. PyTorch's gather scatters it, which on a GPU adds in the
order in which threads come: not the same bits twice.
"""

from __future__ import annotations

from torch import Tensor


def spread_gather(z: Tensor, index: Tensor) -> Tensor:
    """Pick by PyTorch's gather."""
    return z.gather(1, index[..., None].expand(*index.shape, z.shape[2]))
