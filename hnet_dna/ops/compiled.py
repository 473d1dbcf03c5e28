"""torch.compile and the ops: what the compiler sees, and what it is kept out of.

Where the kernels of `triton` serve a part of a layer or a norm, the compiler gets that as an operator whose kernels it
sees (`hnet_dna.ops.triton_compiled`), so that a layer is one graph. All else is left out: the scans in PyTorch branch
on data, and their loops, unrolled, take minutes.

Imported only by whoever compiles, since the compiler takes as long to import as the rest of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from hnet_dna.errors import UsageError
from hnet_dna.ops import serve, window
from hnet_dna.ops.backend import BACKENDS

_Function = TypeVar("_Function", bound=Callable[..., Any])
_VARIANTS = 64  # graphs of one function: kinds of layers, their widths, and sizes that kernels treat differently
_untraced = torch.compiler.disable(serve.serve_now)  # type: ignore[no-untyped-call]
_operators: dict[str, Callable[..., Any]] = {}


def region(function: _Function) -> _Function:
    """Compile a function of layers, for any lengths of its tensors.

    Raises:
        UsageError: this version of PyTorch cannot show kernels to its compiler.
    """
    _prepare()
    return cast(_Function, torch.compile(function, dynamic=True))


@cache
def _prepare() -> None:
    if find_spec("triton") is not None:
        if not hasattr(torch.library, "triton_op"):
            raise UsageError(f"`train.compile` needs PyTorch 2.6 or newer, and this is {torch.__version__}")
        _operators.update(import_module("hnet_dna.ops.triton_compiled").OPERATORS)
    for function in (window.serves_window, _kernels_serve):
        torch.compiler.assume_constant_result(function)  # type: ignore[no-untyped-call]
    config = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, limit, max(getattr(config, limit), _VARIANTS))
    serve.trace_by(_run)


def _kernels_serve(name: str, device: str) -> bool:
    """Tell whether an op is served by the kernels of `triton`, which other backends have for some."""
    return getattr(serve.current_backend(device), name) is getattr(BACKENDS["triton"], name)


def _run(name: str, device: str, first: Tensor, *rest: Any) -> Any:
    if name in _operators and _kernels_serve(name, device):
        with torch.autocast(device, enabled=False):
            result = _operators[name](first, *rest)
        if result is not None:
            return result
    return _untraced(name, device, first, *rest)
