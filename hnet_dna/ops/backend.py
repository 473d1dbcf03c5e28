"""Chooses who serves each scan, and the convolution before one.

A backend is a triple of functions with the signatures below. `reference` is the slow twin: plain loops that follow the
paper's recurrences letter by letter. `torch` is the fast path on CPU and GPU. `mamba` runs the Mamba-2 scan by
mamba-ssm's kernels on NVIDIA GPUs, and the convolution by causal-conv1d's where that is installed. Every backend must
agree with `reference` in outputs, states and gradients (tests/parity, `hnet-dna doctor`).

The choice is made once per kind of device, at the first call: what `HNET_DNA_BACKEND` names, else `mamba` on a GPU
where it is installed and passes its check, else `torch`. `use_backend` overrides it. A backend that is asked for is
never replaced by another.

Shapes: B batch, L positions, H heads, P head width, N state size, M chunks, D width.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.ops import causal_conv1d, mamba_ssm
from hnet_dna.ops.check import Check, check_backend
from hnet_dna.ops.conv import causal_conv_silu_reference, causal_conv_silu_shifted
from hnet_dna.ops.ema import ema_scan_chunked, ema_scan_reference
from hnet_dna.ops.ssd import ssd_scan_chunked, ssd_scan_reference

SsdScan: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
EmaScan: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
CausalConv: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, list[int]], tuple[Tensor, ...]]

VARIABLE = "HNET_DNA_BACKEND"


def _none(device: str) -> str | None:
    del device
    return None


@dataclass(frozen=True)
class Backend:
    """A named implementation of all ops; `obstacle` says what keeps it from serving a kind of device, if anything.

    A backend that is `foreign`, somebody else's code, is compared with the reference before it serves.
    """

    name: str
    ssd_scan: SsdScan
    ema_scan: EmaScan
    causal_conv_silu: CausalConv
    obstacle: Callable[[str], str | None] = _none
    foreign: bool = False


def _obstacle_of_mamba(device: str) -> str | None:
    return mamba_ssm.obstacle(device) or (causal_conv1d.obstacle() if causal_conv1d.installed() else None)


@dataclass(frozen=True)
class Choice:
    """The backend that serves a kind of device, and why."""

    backend: Backend
    why: str


BACKENDS: dict[str, Backend] = {
    "reference": Backend("reference", ssd_scan_reference, ema_scan_reference, causal_conv_silu_reference),
    "torch": Backend("torch", ssd_scan_chunked, ema_scan_chunked, causal_conv_silu_shifted),
    "mamba": Backend(
        "mamba",
        mamba_ssm.ssd_scan_mamba,
        ema_scan_chunked,  # mamba-ssm has no moving average; the tiled one is a few matrix products on a GPU
        causal_conv1d.causal_conv_silu_cuda if causal_conv1d.installed() else causal_conv_silu_shifted,
        _obstacle_of_mamba,
        foreign=True,
    ),
}

_asked: ContextVar[str | None] = ContextVar("hnet_dna_backend", default=None)
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
    key = (_asked.get(), device)
    choice = _choices.get(key)
    return _choose(key) if choice is None else choice


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Serve all ops inside the `with` block by the named backend.

    Raises:
        UsageError: no such backend, or one that cannot serve this machine's GPU, or its CPU where it has none.
    """
    backend = _choose((name, "cuda" if torch.cuda.is_available() else "cpu")).backend
    token = _asked.set(name)
    try:
        yield backend
    finally:
        _asked.reset(token)


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
    torch_backend, mamba = BACKENDS["torch"], BACKENDS["mamba"]
    if device != "cuda":
        return Choice(torch_backend, f"the fast one on {device}")
    trouble = trouble_with(mamba, device)
    if trouble is None:
        return Choice(mamba, "mamba-ssm is installed and agrees with the reference")
    if mamba_ssm.installed():
        warnings.warn(f"backend torch serves instead of mamba: {trouble}", stacklevel=2)
    return Choice(torch_backend, f"mamba cannot serve: {trouble}")


def trouble_with(backend: Backend, device: str) -> str | None:
    """Return why `backend` may not serve tensors on `device`: an obstacle, or a failed check if it is foreign."""
    if obstacle := backend.obstacle(device):
        return obstacle
    if not backend.foreign:
        return None
    return next((check.trouble for check in checks_of(backend, device) if check.trouble), None)


def checks_of(backend: Backend, device: str) -> tuple[Check, ...]:
    """Compare `backend` with the reference on `device`, once per process."""
    key = (backend.name, device)
    if key not in _checks:
        _checks[key] = check_backend(backend, device)
    return _checks[key]


def _serve(name: str, device: str, *arguments: Tensor | int | list[int]) -> Any:
    with torch.autocast(device, enabled=False):
        return getattr(current_backend(device), name)(*arguments)


_run = _serve


def leave_uncompiled() -> None:
    """Keep torch.compile out of the scans: they branch on data, and their loops, unrolled, take minutes to compile.

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
        y (B, L, H, P) and the state (B, N, H, P) after the last position, in float32 or better.
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
