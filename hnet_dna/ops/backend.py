"""Chooses who serves the scans, and the convolution and norms around them.

A backend is a set of functions with the signatures below. `reference` is the slow twin: plain loops that follow the
paper's recurrences letter by letter. `torch` is the fast path in plain PyTorch, on CPU and GPU. `triton` has kernels of
our own for NVIDIA GPUs, and needs nothing but PyTorch. `mamba` takes the Mamba-2 scan from mamba-ssm instead, and the
convolution from causal-conv1d where that is installed. Every backend must agree with `reference` in outputs, states and
gradients (tests/parity, `hnet-dna doctor`).

The choice is made once per kind of device, at the first call: what `HNET_DNA_BACKEND` names, else the first of
`PREFERRED` that can serve and passes its check. `use_backend` overrides it. A backend that is asked for is never
replaced by another.

Shapes: B batch, L positions, H heads, P head width, N state size, M chunks, D width.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.ops import causal_conv1d, mamba_ssm
from hnet_dna.ops.check import Check, check_backend
from hnet_dna.ops.conv import causal_conv_silu_reference, causal_conv_silu_shifted
from hnet_dna.ops.ema import ema_scan_chunked, ema_scan_reference
from hnet_dna.ops.norm import gated_rms_norm as gated_rms_norm_torch
from hnet_dna.ops.norm import gated_rms_norm_reference, rms_norm_reference
from hnet_dna.ops.norm import rms_norm as rms_norm_torch
from hnet_dna.ops.ssd import ssd_scan_chunked, ssd_scan_reference

SsdScan: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
EmaScan: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
CausalConv: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, list[int]], tuple[Tensor, ...]]
RmsNorm: TypeAlias = Callable[[Tensor, Tensor, torch.dtype], Tensor]
GatedRmsNorm: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, torch.dtype], Tensor]

VARIABLE = "HNET_DNA_BACKEND"


def _none(device: str) -> str | None:
    del device
    return None


@dataclass(frozen=True)
class Backend:
    """A named implementation of all ops; `obstacle` says what keeps it from serving a kind of device, if anything.

    A backend whose kernels come from a `package`, or are compiled by it where they run, is compared with the reference
    before it serves.
    """

    name: str
    ssd_scan: SsdScan
    ema_scan: EmaScan
    causal_conv_silu: CausalConv
    rms_norm: RmsNorm
    gated_rms_norm: GatedRmsNorm
    obstacle: Callable[[str], str | None] = _none
    package: str | None = None


def _kernels(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module that imports triton, which not every machine has, when it is first called."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"hnet_dna.ops.{module}"), name)(*arguments)

    return call


def _obstacle_of_triton(device: str) -> str | None:
    if find_spec("triton") is None:
        return "triton is not installed"
    return None if device == "cuda" else f"triton's kernels run on an NVIDIA GPU, not on {device}"


def _obstacle_of_mamba(device: str) -> str | None:
    return mamba_ssm.obstacle(device) or (causal_conv1d.obstacle() if causal_conv1d.installed() else None)


@dataclass(frozen=True)
class Choice:
    """The backend that serves a kind of device, and why."""

    backend: Backend
    why: str


_ema_triton = _kernels("triton_ema", "ema_scan_triton")
_conv_triton = _kernels("triton_conv", "causal_conv_silu_triton")
_norms_triton = (
    _kernels("triton_norm", "rms_norm_triton"),
    _kernels("triton_norm", "gated_rms_norm_triton"),
)

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
    ),
    "mamba": Backend(
        "mamba",
        mamba_ssm.ssd_scan_mamba,
        _ema_triton,  # mamba-ssm has no moving average, and its kernels need triton in any case
        causal_conv1d.causal_conv_silu_cuda if causal_conv1d.installed() else _conv_triton,
        *_norms_triton,
        _obstacle_of_mamba,
        package="mamba_ssm",
    ),
}
PREFERRED = {"cuda": ("triton", "mamba", "torch")}

_log = logging.getLogger(__name__)
# Of the whole process: a backward pass on a GPU runs in threads of its own, and layers that are run again there have to
# be served as in the forward pass.
_asked: str | None = None
_choices: dict[tuple[str | None, str], Choice] = {}
_checks: dict[tuple[str, str], tuple[Check, ...]] = {}


def current_backend(device: str = "cpu") -> Backend:
    """Return the backend that serves tensors on `device` ("cpu", "cuda") in calls made now.

    Raises:
        UsageError: it was asked for, by `use_backend` or by `HNET_DNA_BACKEND`, and cannot serve them.
    """
    return current_choice(device).backend


def current_choice(device: str = "cpu") -> Choice:
    """Return the backend that serves tensors on `device`, and why; raises as `current_backend` does."""
    key = (_asked, device)
    choice = _choices.get(key)
    return _choose(key) if choice is None else choice


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Serve all ops inside the `with` block by the named backend, in all threads.

    Raises:
        UsageError: no such backend, or one that cannot serve this machine's GPU, or its CPU where it has none.
    """
    global _asked
    backend = _choose((name, "cuda" if torch.cuda.is_available() else "cpu")).backend
    before, _asked = _asked, name
    try:
        yield backend
    finally:
        _asked = before


def _choose(key: tuple[str | None, str]) -> Choice:
    if key not in _choices:
        asked, device = key
        if asked is not None:
            choice = Choice(_usable(asked, device, f"backend {asked!r}"), "use_backend asks for it")
        elif asked := os.environ.get(VARIABLE):
            choice = Choice(_usable(asked, device, f"{VARIABLE}={asked}"), f"{VARIABLE} asks for it")
        else:
            choice = _default(device)
        _choices[key] = choice
    return _choices[key]


def _usable(name: str, device: str, who: str) -> Backend:
    if name not in BACKENDS:
        raise UsageError(f"{who}: no such backend. {did_you_mean(name, BACKENDS)}")
    if trouble := trouble_with(BACKENDS[name], device):
        raise UsageError(
            f"{who} cannot serve tensors on {device}: {trouble}. Choose torch, or see docs/backends.md for installing "
            "mamba-ssm; hnet-dna doctor shows the rest"
        )
    return BACKENDS[name]


def _default(device: str) -> Choice:
    passed_over: list[str] = []
    for backend in (BACKENDS[name] for name in PREFERRED.get(device, ("torch",))):
        trouble = trouble_with(backend, device)
        if trouble is None:
            return Choice(backend, "; ".join(passed_over) or f"the fastest on {device}")
        passed_over.append(f"{backend.name} cannot serve: {trouble}")
        if backend.package and find_spec(backend.package):  # what is there should serve; what is not is no fault
            warnings.warn(f"backend {backend.name} is passed over: {trouble}", stacklevel=2)
    raise AssertionError("torch serves every device")


def trouble_with(backend: Backend, device: str) -> str | None:
    """Return why `backend` may not serve tensors on `device`: an obstacle, or a failed check."""
    if obstacle := backend.obstacle(device):
        return obstacle
    if backend.package is None:
        return None
    return next((check.trouble for check in checks_of(backend, device) if check.trouble), None)


def checks_of(backend: Backend, device: str) -> tuple[Check, ...]:
    """Compare `backend` with the reference on `device`, once per process."""
    key = (backend.name, device)
    if key not in _checks:
        if device == "cuda" and backend.package:
            _log.info(f"backend {backend.name}: its kernels, compiled when first used, are compared with plain loops")
        _checks[key] = check_backend(backend, device)
    return _checks[key]


def _serve(name: str, device: str, first: Tensor, *rest: Tensor | int | list[int] | torch.dtype) -> Any:
    # Triton launches on the current GPU, whichever the tensors are on.
    here = torch.cuda.device(first.device) if device == "cuda" else nullcontext()
    with torch.autocast(device, enabled=False), here:
        return getattr(current_backend(device), name)(first, *rest)


_run = _serve


def leave_uncompiled() -> None:
    """Keep torch.compile out of the ops: scans branch on data, and their loops, unrolled, take minutes to compile.

    Called by whoever compiles, since it imports the compiler, which takes as long as the rest of PyTorch.
    """
    global _run
    _run = torch.compiler.disable(_serve)  # type: ignore[no-untyped-call]


def ssd_scan(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Run the selective state-space recurrence of Mamba-2 from `state`.

        S_t = exp(dt_t * decay) S_(t-1) + dt_t * b_t x_t^T          y_t = c_t S_t

    A position with dt = 0 leaves the state as it is, which is how padding is skipped.

    Args:
        x: (B, L, H, P) inputs.
        dt: (B, L, H) step sizes, 0 or more.
        decay: (H,) negative rates (the model's A).
        b, c: (B, L, N) input and output maps, shared by the heads.
        state: (B, N, H, P) state before the first position.
        tile: positions handled by one matrix product; it changes speed, never the result.

    Returns:
        y (B, L, H, P) in the dtype of x or better, and the state (B, N, H, P) after the last position, in float32 or
        better.
    """
    found: tuple[Tensor, Tensor] = _run("ssd_scan", x.device.type, x, dt, decay, b, c, state, tile)
    return found


def ema_scan(z: Tensor, p: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth chunk vectors by an exponential moving average whose weight is the boundary probability.

        out_j = p_j z_j + (1 - p_j) out_(j-1)

    A chunk with p = 0 leaves the average as it is, which is how padding is skipped.

    Args:
        z: (B, M, D) chunk vectors, float32 or float64.
        p: (B, M) weights in [0, 1), float32.
        state: (B, D) average before the first chunk.

    Returns:
        out (B, M, D) and the average (B, D) after the last chunk.
    """
    found: tuple[Tensor, Tensor] = _run("ema_scan", z.device.type, z, p, state)
    return found


def causal_conv_silu(past: Tensor, x: Tensor, weight: Tensor, bias: Tensor, widths: list[int]) -> tuple[Tensor, ...]:
    """Compute silu(y) in groups of channels, y_t = bias + sum_k weight[:, k] x_(t+k-K+1).

    Args:
        past: (B, K-1, C), the positions before the piece.
        x: (B, L, C), the piece.
        weight: (C, K), the last tap being the current position.
        bias: (C,).
        widths: channels of each group, C in sum.

    Returns:
        One tensor (B, L, width) per group, in the dtype of x.
    """
    found: tuple[Tensor, ...] = _run("causal_conv_silu", x.device.type, past, x, weight, bias, widths)
    return found


def rms_norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x / rms(x) * weight in `dtype`, for x (..., D) and weight (D,); statistics are float32 or better."""
    found: Tensor = _run("rms_norm", x.device.type, x, weight, dtype)
    return found


def gated_rms_norm(y: Tensor, x: Tensor, skip: Tensor, gate: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute what follows a scan: v / rms(v) * weight, v = (y + skip x) silu(gate), statistics in float32 or better.

    Args:
        y: (B, L, H, P), what the scan gave.
        x: (B, L, H, P), what it read.
        skip: (H,), how much of x is added to y (the model's D).
        gate: (B, L, H P).
        weight: (H P,).
        dtype: of the result.

    Returns:
        (B, L, H P).
    """
    found: Tensor = _run("gated_rms_norm", y.device.type, y, x, skip, gate, weight, dtype)
    return found
