"""The backends: who can serve the scans, and the convolution and norms around them.

A backend is a set of functions with the signatures of `hnet_dna.ops.serve`. `reference` is the slow twin: plain loops
that follow the paper's recurrences letter by letter. `torch` is the fast path in plain PyTorch, on CPU and GPU.
`triton` has kernels of our own for NVIDIA GPUs, and needs nothing but PyTorch. `mamba` takes the Mamba-2 scan from
mamba-ssm instead. Every backend must agree with `reference` in outputs, states and gradients (tests/parity,
`hnet-dna doctor`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hnet_dna.ops import mamba_ssm
from hnet_dna.ops.conv import causal_conv_silu_reference, causal_conv_silu_shifted
from hnet_dna.ops.ema import ema_scan_chunked, ema_scan_reference
from hnet_dna.ops.layers import MambaPast, MambaWeights, MlpWeights
from hnet_dna.ops.norm import gated_rms_norm as gated_rms_norm_torch
from hnet_dna.ops.norm import gated_rms_norm_reference, rms_norm_reference
from hnet_dna.ops.norm import rms_norm as rms_norm_torch
from hnet_dna.ops.spread import spread_gather
from hnet_dna.ops.ssd import ssd_scan_chunked, ssd_scan_reference

SsdScan: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
EmaScan: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
CausalConv: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, list[int]], tuple[Tensor, ...]]
RmsNorm: TypeAlias = Callable[[Tensor, Tensor, torch.dtype], Tensor]
GatedRmsNorm: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, torch.dtype], Tensor]
MambaLayer: TypeAlias = Callable[
    [Tensor, MambaWeights, Tensor, "MambaPast | None", int, torch.dtype], "tuple[Tensor, Tensor, Tensor] | None"
]
Spread: TypeAlias = Callable[[Tensor, Tensor], Tensor]
MlpLayer: TypeAlias = Callable[[Tensor, MlpWeights, torch.dtype], "Tensor | None"]


def _none(device: str) -> str | None:
    del device
    return None


@dataclass(frozen=True)
class Backend:
    """A named implementation of all ops; `obstacle` says what keeps it from serving a kind of device, if anything.

    A backend whose kernels come from a `package`, or are compiled by it where they run, is compared with the reference
    before it serves. One without `mamba_layer` and `mlp_layer` serves their parts one by one.
    """

    name: str
    ssd_scan: SsdScan
    ema_scan: EmaScan
    causal_conv_silu: CausalConv
    rms_norm: RmsNorm
    gated_rms_norm: GatedRmsNorm
    obstacle: Callable[[str], str | None] = _none
    package: str | None = None
    mamba_layer: MambaLayer | None = None
    mlp_layer: MlpLayer | None = None
    spread: Spread = spread_gather


def _kernels(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that imports triton, which not every machine has, when it is first called."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"hnet_dna.ops.{module}"), name)(*arguments)

    return call


def _obstacle_of_triton(device: str) -> str | None:
    if find_spec("triton") is None:
        return "triton is not installed"
    return None if device == "cuda" else f"triton's kernels run on an NVIDIA GPU, not on {device}"


_ema_triton = _kernels("triton_ema", "ema_scan_triton")
_conv_triton = _kernels("triton_conv", "causal_conv_silu_triton")
_norms_triton = (
    _kernels("triton_norm", "rms_norm_triton"),
    _kernels("triton_norm", "gated_rms_norm_triton"),
)
_spread_triton = _kernels("triton_spread", "spread_triton")
_mlp_triton = _kernels("triton_layers", "mlp_layer_triton")

BACKENDS: dict[str, Backend] = {
    "reference": Backend(
        "reference",
        ssd_scan_reference,
        ema_scan_reference,
        causal_conv_silu_reference,
        rms_norm_reference,
        gated_rms_norm_reference,
    ),
    "torch": Backend(
        "torch", ssd_scan_chunked, ema_scan_chunked, causal_conv_silu_shifted, rms_norm_torch, gated_rms_norm_torch
    ),
    "triton": Backend(
        "triton",
        _kernels("triton_ssd", "ssd_scan_triton"),
        _ema_triton,
        _conv_triton,
        *_norms_triton,
        _obstacle_of_triton,
        package="triton",
        mamba_layer=_kernels("triton_layers", "mamba_layer_triton"),
        mlp_layer=_mlp_triton,
        spread=_spread_triton,
    ),
    "mamba": Backend(
        "mamba",
        mamba_ssm.ssd_scan_mamba,
        _ema_triton,  # mamba-ssm has no moving average, and its kernels need triton in any case
        _conv_triton,
        *_norms_triton,
        mamba_ssm.obstacle,
        package="mamba_ssm",
        mlp_layer=_mlp_triton,
        spread=_spread_triton,
    ),
}
