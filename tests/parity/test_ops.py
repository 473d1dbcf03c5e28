"""Every fast scan against its plain loop: outputs, final states and all gradients, at odd lengths too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.model.mixer import RMSNorm
from hnet_dna.ops import neighbour_cosine, norm, swiglu
from hnet_dna.ops.conv import causal_conv_silu_reference, causal_conv_silu_shifted
from hnet_dna.ops.cosine import neighbour_cosine_reference
from hnet_dna.ops.ema import ema_scan_chunked, ema_scan_reference
from hnet_dna.ops.ssd import ssd_scan_chunked, ssd_scan_reference

DTYPES = [pytest.param(torch.float64, 1e-10, id="float64"), pytest.param(torch.float32, 2e-5, id="float32")]


def relative(actual: Tensor, expected: Tensor) -> float:
    actual, expected = actual.detach(), expected.detach()
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1e-30)) if actual.numel() else 0.0


def compare(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...], inputs: list[Tensor], tolerance: float) -> None:
    weights = [torch.randn_like(e) for e in expected]
    gradients = []
    for outputs in (actual, expected):
        total = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
        assert isinstance(total, Tensor)
        gradients.append(torch.autograd.grad(total, inputs, allow_unused=True))
    for f, e in zip(actual, expected, strict=True):
        assert f.shape == e.shape
        assert relative(f, e) < tolerance
    for index, (f, e) in enumerate(zip(*gradients, strict=True)):
        if e is None or f is None:
            assert f is None or not f.any()
            assert e is None or not e.any()
            continue
        assert torch.isfinite(f).all()
        assert relative(f, e) < 10 * tolerance, f"gradient {index}"


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("length", [0, 1, 2, 15, 16, 17, 77])
@pytest.mark.parametrize("fastest", [1.0, 30.0, 900.0], ids=["factored", "halved", "masked"])
def test_ssd_scan(dtype: torch.dtype, tolerance: float, length: int, fastest: float) -> None:
    torch.manual_seed(length)
    batch, heads, width, n = 2, 3, 5, 4
    x = torch.randn(batch, length, heads, width, dtype=dtype)
    dt = F.softplus(torch.randn(batch, length, heads, dtype=dtype))
    dt = dt * (torch.rand(batch, length, 1, dtype=dtype) > 0.2)  # skipped positions
    # One head is slow, so that the gradient of decay is not a difference of sums that cancel.
    decay = -torch.linspace(0.5, fastest, heads, dtype=dtype)
    b, c = torch.randn(2, batch, length, n, dtype=dtype)
    state = torch.randn(batch, n, heads, width, dtype=dtype)
    inputs = [t.clone().requires_grad_() for t in (x, dt, decay, b, c, state)]
    x, dt, decay, b, c, state = inputs
    fast = ssd_scan_chunked(x, dt, decay, b, c, state, 16)
    compare(fast, ssd_scan_reference(x, dt, decay, b, c, state, 16), inputs, tolerance)


@pytest.mark.parametrize("rate", [4.0, 4.9, 5.5, 8.0, 12.0])
def test_a_state_passes_between_tiles_that_both_decay_fast(rate: float) -> None:
    """In float32, where the factor from one such tile to the next is smallest."""
    torch.manual_seed(0)
    x, dt, b, c = torch.randn(1, 48, 1, 5), torch.ones(1, 48, 1), torch.randn(1, 48, 4), torch.randn(1, 48, 4)
    decay, state = torch.tensor([-rate]), torch.randn(1, 4, 1, 5)
    actual, expected = (scan(x, dt, decay, b, c, state, 16) for scan in (ssd_scan_chunked, ssd_scan_reference))
    for start in (16, 32):  # what is left of the tile before, one position on
        assert relative(actual[0][:, start], expected[0][:, start]) < 2e-5
    assert relative(actual[1], expected[1]) < 2e-5


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 150])
@pytest.mark.parametrize("kind", ["random", "towards 0", "towards 1", "skipped"])
def test_ema_scan(dtype: torch.dtype, tolerance: float, length: int, kind: str) -> None:
    torch.manual_seed(length)
    p = torch.rand(2, length)
    if kind == "towards 0":
        p = p * 1e-3 + 1e-4
    elif kind == "towards 1":
        p = 1 - 1e-4 - p * 1e-3
    p = p.clamp(1e-4, 1 - 1e-4)
    if kind == "skipped":
        p = p * (torch.rand(2, length) > 0.5)
    z, state = torch.randn(2, length, 6, dtype=dtype), torch.randn(2, 6, dtype=dtype)
    inputs = [z.requires_grad_(), p.requires_grad_(), state.requires_grad_()]
    # p is float32 by contract, so its gradient is, too.
    compare(ema_scan_chunked(*inputs), ema_scan_reference(*inputs), inputs, max(tolerance, 1e-7))


def conv_inputs(length: int, taps: int, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(length)
    past, x = torch.randn(2, taps - 1, channels, dtype=dtype), torch.randn(2, length, channels, dtype=dtype)
    weight, bias = torch.randn(channels, taps, dtype=dtype), torch.randn(channels, dtype=dtype)
    return past.requires_grad_(), x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 9])
def test_causal_conv_equals_conv1d(length: int) -> None:
    inputs, widths = conv_inputs(length, 4, 6, torch.float64), [3, 1, 2]
    actual, plain = (conv(*inputs, widths) for conv in (causal_conv_silu_shifted, causal_conv_silu_reference))
    compare(actual, plain, list(inputs), 1e-12)


def test_the_reference_convolution_is_the_sum_of_its_definition() -> None:
    past, x, weight, bias = conv_inputs(5, 3, 2, torch.float64)
    joined = torch.cat([past, x], dim=1)
    (actual,) = causal_conv_silu_reference(past, x, weight, bias, [2])
    for t in range(5):
        y = bias + sum(weight[:, k] * joined[:, t + k] for k in range(3))
        torch.testing.assert_close(actual[:, t], y * torch.sigmoid(y))


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shape", [(7,), (2, 0, 7), (2, 5, 7), (3, 2, 4, 33)])
def test_norms_and_gates_equal_their_definitions(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    x, gate = (3 * torch.randn(shape, dtype=dtype)).requires_grad_(), torch.randn(shape, dtype=dtype).requires_grad_()
    weight = torch.randn(shape[-1], dtype=dtype).requires_grad_()
    plain = norm.rms_norm_reference(x, weight, dtype)
    compare((norm.rms_norm(x, weight, dtype),), (plain,), [x, weight], tolerance)
    compare((swiglu(x, gate),), (norm.swiglu_reference(x, gate),), [x, gate], tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("shape", [(2, 0, 3, 7), (2, 5, 1, 7), (3, 4, 3, 11)])
def test_the_gated_norm_equals_its_definition(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    y, x = torch.randn(2, *shape, dtype=dtype).unbind(0)
    gate, skip = torch.randn(*shape[:2], shape[2] * shape[3], dtype=dtype), torch.randn(shape[2], dtype=dtype)
    weight = torch.randn(gate.shape[-1], dtype=dtype)
    inputs = [part.requires_grad_() for part in (y, x, skip, gate, weight)]
    y, x, skip, gate, weight = inputs
    actual = norm.gated_rms_norm(y, x, skip, gate, weight, dtype)
    compare((actual,), (norm.gated_rms_norm_reference(y, x, skip, gate, weight, dtype),), inputs, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_neighbour_cosine(dtype: torch.dtype, tolerance: float, length: int) -> None:
    torch.manual_seed(length)
    first, query, key = torch.randn(3, 7), torch.randn(3, length, 7), torch.randn(3, length, 7)
    if length > 1:
        key[1, 1] = query[1, 0]  # as near as can be
        key[2, -1] = 0.0
        query[2, 0] = 0.0
    first[2] = 0.0  # as before the first base of a sequence
    inputs = [x.to(dtype).requires_grad_() for x in (first, query, key)]
    # A vector of length 0 stands for one of EPS: its gradient is 1e12 times as large, and hides errors in the others.
    actual, expected = neighbour_cosine(*inputs), neighbour_cosine_reference(*inputs)
    assert actual.shape == expected.shape
    assert relative(actual, expected) < tolerance
    weight = torch.randn_like(expected)
    gradients = [torch.autograd.grad((out * weight).sum(), inputs) for out in (actual, expected)]
    for f, e in zip(*gradients, strict=True):
        assert torch.isfinite(f).all()
        for row in (slice(0, 2), slice(2, 3)):
            assert relative(f[row], e[row]) < 10 * tolerance


def test_norms_of_mixed_precision_follow_the_definition() -> None:
    """Under autocast the gate is bfloat16; a model cast to bfloat16 has such weights. Statistics stay in float32."""
    low, full = torch.bfloat16, torch.float32
    x, weight = torch.randn(2, 5, 2, 4), torch.randn(8)
    inputs = (x, x.to(low), torch.randn(2), torch.randn(2, 5, 8).to(low), weight)
    for dtype in (low, full):
        actual = norm.gated_rms_norm(*inputs, dtype)
        assert actual.dtype == dtype
        assert torch.equal(actual, norm.gated_rms_norm_reference(*inputs, dtype))
    flat = x.flatten(-2)
    assert torch.equal(norm.rms_norm(flat, weight.to(low), low), norm.rms_norm_reference(flat, weight.to(low), low))
    assert norm.rms_norm(flat.to(low), weight, full).dtype == full


def test_norms_feed_products_what_autocast_would_make_of_it() -> None:
    """A cast less; what reads a stack's last norm stays in float32, since boundaries are decided on it."""
    x = torch.randn(2, 5, 8)
    for for_products, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        layer = RMSNorm(8, for_products=for_products)
        plain = layer(x)
        assert plain.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), plain.to(wanted))
