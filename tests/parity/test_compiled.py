"""`train.compile` on a CPU: layers become one graph each, for all lengths, and compute what they compute uncompiled.

The kernels run under Triton's interpreter, called where a GPU's launcher would be, so that PyTorch's compiler treats
them as on a GPU; its last part, which writes code for a GPU, is left out (`backend="aot_eager"`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from helpers import small_config

if find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.interpreter import InterpretedFunction, _patch_lang
from triton.runtime.jit import JITFunction

from hnet_dna.model.lm import HNetLM
from hnet_dna.model.rows import Rows
from hnet_dna.model.stack import Layer, compile_layers
from hnet_dna.ops import BACKENDS, Choice, serve, use_backend

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's tracer warns of itself
SHAPE = {
    "attn_cfg": {"num_heads": 2, "rotary_emb_dim": 4, "window_size": -1},
    "ssm_cfg": {"d_state": 16, "head_dim": 16, "chunk_size": 16},
    "chunk_cfg": {"routing": "fixed", "stride": 2},
}


class Driver:
    """Says that there is a GPU, so that the compiler finds out which arguments a kernel writes to."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0


@pytest.fixture
def graphs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve the CPU by the `triton` backend and compile without writing code; counts what is compiled."""
    from torch._dynamo.utils import counters

    compile_, backend = torch.compile, request.param
    monkeypatch.setattr(torch, "compile", lambda f, **options: compile_(f, backend=backend, fullgraph=True, **options))
    before = triton.runtime.driver._active
    triton.runtime.driver.set_active(Driver())
    monkeypatch.setitem(serve._choices, ("triton", "cpu"), Choice(BACKENDS["triton"], "interpreted"))
    torch._dynamo.reset()
    counters.clear()
    with use_backend("triton"):
        yield counters["stats"]
    triton.runtime.driver.set_active(before)
    torch._dynamo.reset()


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, tuple[Any, Any]] = {}

    def interpret(kernel: Any) -> tuple[Any, Any]:
        if id(kernel) not in kept:
            function = InterpretedFunction(kernel.fn)
            kept[id(kernel)] = function, function.rewrite()
        return kept[id(kernel)]

    def run(kernel: Any, *arguments: Any, grid: Any, num_warps: int = 4, warmup: bool = False, **options: Any) -> None:
        interpret(kernel)[0][grid](*arguments, **options)

    def inside(kernel: Any, *arguments: Any, **options: Any) -> Any:
        """Call a kernel from a kernel, and leave the language as it was."""
        function, scope = interpret(kernel)[1], _patch_lang(kernel.fn)
        try:
            return function(*arguments, **options)
        finally:
            scope.restore()

    monkeypatch.setattr(JITFunction, "run", run)
    monkeypatch.setattr(JITFunction, "__call__", inside)


@pytest.mark.parametrize("graphs", ["aot_eager"], indirect=True)
def test_a_compiled_layer_computes_what_it_did(interpreted: None, graphs: Any) -> None:
    torch.manual_seed(0)
    config = small_config(arch_layout=["M1"], d_model=[24], d_intermediate=[32], **SHAPE)
    layer = next(module for module in HNetLM(config).modules() if isinstance(module, Layer))
    results: dict[tuple[int, bool], list[torch.Tensor]] = {}
    for compiled in (False, True):
        if compiled:
            compile_layers(layer)
        for length in (3, 5):
            layer.zero_grad(set_to_none=True)
            generator = torch.Generator().manual_seed(length)
            x = torch.randn(2, length, 24, generator=generator).requires_grad_()
            out, _ = layer(x, Rows.of(torch.tensor([length, 2]), length, last=True), None)
            (out * torch.cos(torch.arange(out.numel())).view(out.shape)).sum().backward()
            grads = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
            assert x.grad is not None
            results[length, compiled] = [out.detach(), x.grad, *grads]
    for length in (3, 5):
        for actual, expected in zip(results[length, True], results[length, False], strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    assert graphs["unique_graphs"] == 1


@pytest.mark.parametrize("graphs", ["eager"], indirect=True)
def test_one_graph_serves_all_lengths(graphs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of a kind, with any number of bases and chunks; what is computed does not matter, so that nothing is."""
    monkeypatch.setattr(JITFunction, "run", lambda *arguments, **options: None)
    model = HNetLM(small_config(arch_layout=["M1", ["M1T1"], "M1"], d_model=[24] * 2, d_intermediate=[32] * 2, **SHAPE))
    compile_layers(model)
    for length in (70, 99, 128):
        with torch.autocast("cpu", torch.bfloat16):
            model(torch.randint(0, 4, (2, length)), lengths=torch.tensor([length, 40]), last=True)
    assert graphs["unique_graphs"] == 2
