"""Serves every op by the backend that suits the device.

The choice is made once per kind of device, at the first call: what `HNET_DNA_BACKEND` names, else the first of
`PREFERRED` that can serve and passes its check. `use_backend` overrides it. A backend that is asked for is never
replaced by another.

Parts of layers are served as one op each where the backend has them so; else the caller puts them together.

Shapes: B batch, L positions, H heads, P head width, N state size, M chunks, D width.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.ops.backend import BACKENDS, Backend
from hnet_dna.ops.check import Check, check_backend
from hnet_dna.ops.layers import MambaPast, MambaWeights, MlpWeights

VARIABLE = "HNET_DNA_BACKEND"


@dataclass(frozen=True)
class Choice:
    """The backend that serves a kind of device, and why."""

    backend: Backend
    why: str


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
        if backend.package and find_spec(
            backend.package
        ):  # what is there should serve; an absent package is not an error
            warnings.warn(f"backend {backend.name} is skipped: {trouble}", stacklevel=2)
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


def serve_now(name: str, device: str, first: Tensor, *rest: Any) -> Any:
    """Run an op of the backend that serves a kind of device, outside autocast; None where the backend has none."""
    function = getattr(current_backend(device), name)
    if function is None:
        return None
    # Triton launches on the current GPU, whichever the tensors are on.
    here = torch.cuda.device(first.device) if device == "cuda" else nullcontext()
    with torch.autocast(device, enabled=False), here:
        return function(first, *rest)


def _run(name: str, device: str, first: Tensor, *rest: Any) -> Any:
    return (_traced if torch.compiler.is_compiling() else serve_now)(name, device, first, *rest)


_traced: Callable[..., Any] = serve_now


def trace_by(run: Callable[..., Any]) -> None:
    """Let a function with the arguments of `serve_now` serve where torch.compile is looking."""
    global _traced
    _traced = run


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
    result: tuple[Tensor, Tensor] = _run("ssd_scan", x.device.type, x, dt, decay, b, c, state, tile)
    return result


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
    result: tuple[Tensor, Tensor] = _run("ema_scan", z.device.type, z, p, state)
    return result


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
    result: tuple[Tensor, ...] = _run("causal_conv_silu", x.device.type, past, x, weight, bias, widths)
    return result


def rms_norm(x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x / rms(x) * weight in `dtype`, for x (..., D) and weight (D,); statistics are float32 or better."""
    result: Tensor = _run("rms_norm", x.device.type, x, weight, dtype)
    return result


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
    result: Tensor = _run("gated_rms_norm", y.device.type, y, x, skip, gate, weight, dtype)
    return result


def mamba_layer(
    residual: Tensor, weights: MambaWeights, length: Tensor, past: MambaPast | None, tile: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Add to the residual stream what a Mamba-2 mixer makes of its norm; `mamba_layer_reference` has the parameters.

    Returns:
        The residual stream (B, L, D), what the convolution read (B, L, C) and the last state, which have no gradients
        from a backend with kernels; or None where the backend has no such op for these inputs.
    """
    result: tuple[Tensor, Tensor, Tensor] | None = _run(
        "mamba_layer", residual.device.type, residual, weights, length, past, tile, dtype
    )
    return result


def mlp_layer(residual: Tensor, weights: MlpWeights, dtype: torch.dtype) -> Tensor | None:
    """Add to the residual stream (B, L, D) what an MLP makes of its norm; None where the backend has no such op."""
    result: Tensor | None = _run("mlp_layer", residual.device.type, residual, weights, dtype)
    return result


def spread(z: Tensor, index: Tensor) -> Tensor:
    """Give each position the vector of its run.

    Args:
        z: (B, M, D).
        index: (B, L) the run of each position, 0 to M - 1, never falling along a row.

    Returns:
        (B, L, D), z[b, index[b, l]].
    """
    result: Tensor = _run("spread", z.device.type, z, index)
    return result
