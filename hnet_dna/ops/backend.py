"""Chooses who serves each scan.

A backend is a pair of functions with the signatures below. `reference` is the slow twin: plain loops that follow the
paper's recurrences letter by letter. `torch` is the fast path on CPU and GPU. Every backend must agree with
`reference` in outputs, states and gradients (tests/parity/test_ops.py).

Shapes: B batch, L positions, H heads, P head width, N state size, M chunks, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.ops.ema import ema_scan_chunked, ema_scan_reference
from hnet_dna.ops.ssd import ssd_scan_chunked, ssd_scan_reference

SsdScan: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
EmaScan: TypeAlias = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Backend:
    """A named implementation of both scans."""

    name: str
    ssd_scan: SsdScan
    ema_scan: EmaScan


BACKENDS: dict[str, Backend] = {
    "reference": Backend("reference", ssd_scan_reference, ema_scan_reference),
    "torch": Backend("torch", ssd_scan_chunked, ema_scan_chunked),
}

_current: ContextVar[Backend] = ContextVar("hnet_dna_backend", default=BACKENDS["torch"])


def current_backend() -> Backend:
    """Return the backend that serves calls made now."""
    return _current.get()


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Serve all scans inside the `with` block by the named backend."""
    if name not in BACKENDS:
        raise UsageError(f"backend {name!r} does not exist. {did_you_mean(name, BACKENDS)}")
    token = _current.set(BACKENDS[name])
    try:
        yield BACKENDS[name]
    finally:
        _current.reset(token)


# torch.compile leaves the scans as they are: they branch on data, and their loops, unrolled, take minutes to compile.
@torch.compiler.disable  # type: ignore[untyped-decorator]
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
    with torch.autocast(x.device.type, enabled=False):
        return _current.get().ssd_scan(x, dt, decay, b, c, state, tile)


@torch.compiler.disable  # type: ignore[untyped-decorator]
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
    with torch.autocast(z.device.type, enabled=False):
        return _current.get().ema_scan(z, p, state)
