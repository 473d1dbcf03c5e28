"""Attention with a window by one kernel on a GPU: PyTorch's flash attention, with the distance that a query sees.

It skips the blocks of keys that no query of a block sees, so that hardly more scores are computed than are needed;
whoever calls has another way where it does not serve. PyTorch's public function takes no window, and the operation
under it is not promised to stay, so that it is compared with the plain form before it first serves.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor

_flash = torch.ops.aten._flash_attention_forward
_WIDEST = 256  # heads
_ALLOWED = 2e-2  # error of bfloat16, relative to the norm of what is right


def window_attention_reference(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Follow the definition in float32 or better: softmax over a position and the `window` before it."""
    query, key, value = (x.float() if x.dtype != torch.float64 else x for x in (query, key, value))
    i = torch.arange(query.shape[1], device=query.device)
    hidden = (i[None, :] > i[:, None]) | (i[None, :] < i[:, None] - window)
    scores = torch.einsum("bihp,bjhp->bhij", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhij,bjhp->bihp", scores.masked_fill(hidden, -torch.inf).softmax(-1), value)


def window_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor | None:
    """Attend from each position of (B, L, H, P) to itself and the `window` before it; None where no kernel serves."""
    if not _takes(query) or not serves_window(query.device.index or 0):
        return None
    return _run(query, key, value, window)


def serves_window(device: int) -> bool:
    """Tell whether the kernel serves on a GPU; for torch.compile this is a constant."""
    return _trouble(device) is None


def _takes(query: Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= _WIDEST
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _run(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    length = query.shape[1]
    out: Tensor = _flash(
        query, key, value, None, None, length, length, 0.0, True, False,
        window_size_left=window, window_size_right=0,
    )[0]  # fmt: skip
    return out


@cache
def _trouble(device: int) -> str | None:
    """Return what is wrong with the kernel on a GPU, and warn of it once; None where it agrees with the plain form."""
    try:
        error = _error(torch.device("cuda", device))
    except Exception as failure:  # whatever an operation that changes between versions may raise
        trouble: str | None = f"raises {type(failure).__name__}: {failure}"
    else:
        trouble = None if error < _ALLOWED else f"differs from the plain form by {error:.0e}"
    if trouble:
        warnings.warn(
            f"PyTorch's flash attention with a window {trouble}; blocks serve instead, and are slower",
            stacklevel=3,
        )
    return trouble


def _error(device: torch.device) -> float:
    """Return the largest error of outputs and gradients, relative to their norms."""
    make = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 333, 2, 64, generator=make).to(device, torch.bfloat16) for _ in range(3)]
    own = torch.autograd.graph.saved_tensors_hooks(
        lambda x: x, lambda x: x
    )  # not those of a checkpoint around the call
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False), own:
        query, key, value = (tensor.clone().requires_grad_() for tensor in inputs)
        results = []
        for out in (_run(query, key, value, 70), window_attention_reference(query, key, value, 70)):
            weight = torch.cos(torch.arange(out.numel(), device=device)).view(out.shape)
            results.append([out, *torch.autograd.grad((out.float() * weight).sum(), [query, key, value])])
        errors = [(f.double() - e.double()).norm() / e.double().norm() for f, e in zip(*results, strict=True)]
        worst = max(float(error.detach()) for error in errors)
    return worst if worst == worst else float("inf")
