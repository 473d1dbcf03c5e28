"""Attention: blocks of a window against every query and key at once, and rotations at any distance from the start."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers import small_config
from torch import Tensor

from hnet_dna.model.mixer import Attention, rotary_angles
from hnet_dna.model.rows import Rows
from hnet_dna.ops import window as windowed


@pytest.mark.parametrize("length", [1, 31, 32, 33, 65, 200])
@pytest.mark.parametrize("window", [0, 1, 9, 63, 64, 70, -1])
@pytest.mark.parametrize("seen", [[0, 0], [3, 0], [50, 200]], ids=["start", "short past", "long past"])
def test_blocks_equal_the_whole(length: int, window: int, seen: list[int]) -> None:
    torch.manual_seed(length)
    config = small_config(
        arch_layout=["t1"], d_model=[6], d_intermediate=[8], attn_cfg={"num_heads": 2, "window_size": window}
    )
    attention = Attention(config.stage(0)).double()
    past = max(seen) if window < 0 else min(max(seen), window)
    query = torch.randn(2, length, 2, 3, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, past + length, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    actual = attention._attend(query, key, value, torch.tensor(seen))

    i, j = torch.arange(past, past + length)[:, None], torch.arange(past + length)
    hidden = (j > i) | (j < past - torch.tensor(seen)[:, None, None])
    if window >= 0:
        hidden = hidden | (j < i - window)
    scores = torch.einsum("bihp,bjhp->bhij", query, key) / 3**0.5
    expected = torch.einsum("bhij,bjhp->bihp", scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1), value)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(actual)
    for f, e in zip(
        *(torch.autograd.grad((out * weight).sum(), [query, key, value]) for out in (actual, expected)), strict=True
    ):
        torch.testing.assert_close(f, e, rtol=0, atol=1e-11)


def test_first_angles_are_the_references() -> None:
    position = torch.arange(8192)
    frequency = 1.0 / 10000.0 ** (torch.arange(0, 16, 2, dtype=torch.float32) / 16)
    assert torch.equal(rotary_angles(position, 16, 0), position.float()[:, None] * frequency)


@pytest.mark.parametrize("period", [0, 3])
def test_neighbours_differ_by_as_much_at_the_end_of_a_chromosome(period: int) -> None:
    """A product in float32 would round each angle by whole turns there."""
    step = rotary_angles(torch.tensor([1]), 16, period) - rotary_angles(torch.tensor([0]), 16, period)
    for start in (9_000, 248_956_420):
        angle = rotary_angles(torch.arange(start, start + 50), 16, period).double()
        apart = torch.remainder(angle.diff(dim=0) - step + math.pi, 2 * math.pi) - math.pi
        assert apart.abs().max() < 2e-6


def test_a_period_of_three_keeps_the_phase_of_codons() -> None:
    fastest = rotary_angles(torch.arange(3_000_000, 3_000_006), 16, 3)[:, 0]
    phase = torch.tensor([0, 1, 2, 0, 1, 2]) * (2 * math.pi / 3)
    torch.testing.assert_close(fastest.cos(), phase.cos(), rtol=0, atol=2e-6)
    torch.testing.assert_close(fastest.sin(), phase.sin(), rtol=0, atol=2e-6)


def flash(
    query: Tensor, key: Tensor, value: Tensor, first: None, second: None, queries: int, keys: int, dropout: float,
    causal: bool, debug: bool, *, window_size_left: int, window_size_right: int,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Stand in for PyTorch's operation, by its documentation: a window of keys to the left and right of a query."""
    assert (first, second, dropout, debug) == (None, None, 0.0, False)
    assert queries == query.shape[1]
    assert keys == key.shape[1]
    i, j = torch.arange(queries)[:, None], torch.arange(keys)
    seen = (j >= i - window_size_left) & (j <= i + (0 if causal else window_size_right))
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen)
    return attended.transpose(1, 2), torch.empty(0)


@pytest.mark.parametrize(("length", "reach"), [(2, 0), (33, 9), (65, 63), (66, 64), (200, 70)])
def test_one_kernel_with_a_window_equals_blocks(length: int, reach: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(
        arch_layout=["t1"], d_model=[16], d_intermediate=[8],
        attn_cfg={"num_heads": 2, "rotary_emb_dim": 4, "window_size": reach},
    )  # fmt: skip
    attention = Attention(config.stage(0)).double()
    x = torch.randn(2, length, 16, dtype=torch.float64, requires_grad=True)
    rows = Rows.of(torch.tensor([length, length // 2]), length)
    used: list[int] = []
    results = []

    def counted(*given: Any, **named: Any) -> tuple[Tensor, ...]:
        used.append(length)
        return flash(*given, **named)

    monkeypatch.setattr(windowed, "_trouble", lambda device: None)
    monkeypatch.setattr(windowed, "_flash", counted)
    for kernel in (False, True):
        monkeypatch.setattr(windowed, "_takes", lambda query: kernel)  # noqa: B023
        out, state = attention(x, rows, None)
        more, _ = attention(x[:, :5], Rows.full(x[:, :5]), state)  # after a past, in blocks
        weight = torch.cos(torch.arange(out.numel())).view(out.shape)
        grads = torch.autograd.grad((rows.zero_padding(out) * weight).sum(), [x, *attention.parameters()])
        results.append([rows.zero_padding(out), more, *state, *grads])
    assert len(used) == (1 if reach else 2)  # a window of nothing has no past
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_pytorch_has_the_operation_with_a_window_and_its_gradient() -> None:
    query, key, value = (
        torch.randn(2, 16, 2, 8, device="meta", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)
    )
    out = windowed._run(query, key, value, 5)
    assert [grad.shape for grad in torch.autograd.grad(out.sum(), [query, key, value])] == [out.shape] * 3


def one_too_many(*given: Any, window_size_left: int, **named: Any) -> tuple[Tensor, ...]:
    return flash(*given, window_size_left=window_size_left + 1, **named)


@pytest.mark.parametrize(
    ("kernel", "warning"),
    [(flash, ""), (lambda *given, **named: 1 / 0, "raises ZeroDivisionError"), (one_too_many, "differs")],
)
def test_the_kernel_is_compared_before_it_serves(kernel: Any, warning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = windowed._error
    monkeypatch.setattr(windowed, "_flash", kernel)
    monkeypatch.setattr(windowed, "_error", lambda device: error(torch.device("cpu")))
    windowed._trouble.cache_clear()
    try:
        if warning:
            with pytest.warns(UserWarning, match=f"{warning}.*blocks serve"):
                assert windowed._trouble(0)
        else:
            assert windowed._trouble(0) is None
    finally:
        windowed._trouble.cache_clear()
