"""The causal convolution by the CUDA kernels of causal-conv1d, where it is installed.

The signature is documented at `hnet_dna.ops.backend.causal_conv_silu`. Unlike the scans' kernels these are compiled, so
that the package needs a CUDA compiler where no wheel fits, and nothing here depends on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from hnet_dna.ops.conv import causal_conv_silu_shifted

_PACKAGE = "causal_conv1d"
_TAPS = range(2, 5)  # that the kernels have
_CHANNELS = 8  # channels are read in groups of so many


def installed() -> bool:
    """Say whether causal-conv1d is there, in whatever state."""
    return find_spec(_PACKAGE) is not None


def obstacle() -> str | None:
    """Return what keeps an installed causal-conv1d from serving, or None if nothing does."""
    try:
        _kernel()
    except Exception as error:  # whatever an extension that does not fit torch or the driver may raise
        return f"causal-conv1d does not import ({type(error).__name__}: {error}); uninstall it to do without"
    return None


def causal_conv_silu_cuda(
    past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]
) -> tuple[Tensor, ...]:
    """Call `causal_conv1d_fn` on channels-last tensors; what its kernels lack takes shifted products."""
    channels, taps = weight.shape
    if x.dtype == torch.float64 or not x.numel() or taps not in _TAPS or channels % _CHANNELS:
        return causal_conv_silu_shifted(past, x, weight, bias, widths)
    y = _kernel()(
        x.contiguous().transpose(1, 2),  # theirs is (B, C, L), channels next to each other in memory
        weight.contiguous(),
        bias.contiguous(),
        initial_states=past.contiguous().transpose(1, 2),
        activation="silu",
    )
    return torch.split(y.transpose(1, 2), widths, dim=-1)


def _kernel() -> Callable[..., Any]:
    kernel: Callable[..., Any] = importlib.import_module(_PACKAGE).causal_conv1d_fn
    return kernel
