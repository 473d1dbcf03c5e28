"""The Mamba-2 scan by the Triton kernels of mamba-ssm, for NVIDIA GPUs.

The signature is documented at `hnet_dna.ops.serve.ssd_scan`. mamba-ssm needs no compiled extension for this: its
package imports `selective_scan_cuda`, transformers and more on the way in, but the SSD kernels themselves need only
triton, einops and packaging, so that they are imported past the package's `__init__`.

They come with some ten block sizes each, over a hundred in all. Triton would compile every one and time it on the GPU,
anew in each process: minutes before the first base. Here each kernel has one (`_BLOCKS`).
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hnet_dna.ops.ssd import ssd_scan_chunked

_PACKAGE = "mamba_ssm"
# Of the block sizes that a kernel offers, those nearest to these, and among equals the one with most warps.
_BLOCKS = {
    "BLOCK_SIZE_M": 64, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32, "BLOCK_SIZE_CS": 32,  # sides of matrix products
    "BLOCK_SIZE_H": 16,  # heads
    "BLOCK_SIZE": 512,  # values of a state
}  # fmt: skip


def installed() -> bool:
    """Say whether mamba-ssm is there, in whatever state."""
    return find_spec(_PACKAGE) is not None


def obstacle(device: str) -> str | None:
    """Return what keeps the kernels from serving tensors on `device` ("cpu", "cuda"), or None if nothing does."""
    if not installed():
        return "mamba-ssm is not installed"
    try:
        _kernel()
    except Exception as error:  # whatever a package that does not fit torch, triton or Python may raise
        return f"mamba-ssm {_version()} does not import ({type(error).__name__}: {error})"
    return None if device == "cuda" else f"mamba-ssm runs on an NVIDIA GPU, not on {device}"


def ssd_scan_mamba(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Call `mamba_chunk_scan_combined` with steps that are softplus'ed already, and one group of b and c.

    x, b and c go in as they are: under autocast the products are bfloat16's, as in the models of mamba-ssm. float64,
    which the kernels lack, and empty input, for which they launch nothing and divide by 0, take the tiled form.
    """
    if x.numel() == 0 or torch.float64 in (x.dtype, state.dtype):
        return ssd_scan_chunked(x, dt, decay, b, c, state, tile)
    dtype = torch.promote_types(torch.promote_types(x.dtype, b.dtype), c.dtype)
    chunk = max(16, 1 << (tile - 1).bit_length())  # the smallest side of a tensor core's product; a power of two
    y, last = _kernel()(
        x.to(dtype),
        dt.float(),
        decay.float(),
        b.to(dtype)[:, :, None],
        c.to(dtype)[:, :, None],
        chunk,
        initial_states=state.float().permute(0, 2, 3, 1),  # theirs is (B, H, P, N)
        return_final_states=True,
    )
    return y, last.permute(0, 3, 1, 2)


@cache
def _kernel() -> Callable[..., Any]:
    if _PACKAGE in sys.modules:
        module = importlib.import_module(f"{_PACKAGE}.ops.triton.ssd_combined")
    else:
        with _without_init():
            module = importlib.import_module(f"{_PACKAGE}.ops.triton.ssd_combined")
            _fix_blocks()  # of this private copy only
    kernel: Callable[..., Any] = module.mamba_chunk_scan_combined
    return kernel


@contextmanager
def _without_init() -> Iterator[None]:
    """Let submodules of mamba-ssm be imported without its `__init__`, and leave no trace in `sys.modules`.

    Whoever imports mamba_ssm later gets the whole package, or its own error.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}")
    bare = ModuleType(_PACKAGE)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = bare
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name == _PACKAGE or name.startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]


def _fix_blocks() -> None:
    """Leave one choice of block sizes to each kernel that has been imported, so that none is timed."""
    for name in [name for name in sys.modules if name.startswith(f"{_PACKAGE}.ops.triton.")]:
        for kernel in vars(sys.modules[name]).values():
            if configs := getattr(kernel, "configs", None):
                kernel.configs = [min(configs, key=_distance)]


def _distance(config: Any) -> tuple[float, int]:
    sizes = [(size, _BLOCKS[name]) for name, size in config.kwargs.items() if name in _BLOCKS]
    return sum(abs(math.log2(size / wanted)) for size, wanted in sizes), -config.num_warps


def _version() -> str:
    try:
        return version("mamba-ssm")
    except PackageNotFoundError:
        return "(no version)"
