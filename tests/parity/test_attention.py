"""Attention: blocks of a window against every query and key at once, and rotations at any distance from the start."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import small_config

from hnet_dna.model.mixer import Attention, rotary_angles


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
    found = attention._attend(query, key, value, torch.tensor(seen))

    i, j = torch.arange(past, past + length)[:, None], torch.arange(past + length)
    hidden = (j > i) | (j < past - torch.tensor(seen)[:, None, None])
    if window >= 0:
        hidden = hidden | (j < i - window)
    scores = torch.einsum("bihp,bjhp->bhij", query, key) / 3**0.5
    expected = torch.einsum("bhij,bjhp->bihp", scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1), value)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(found)
    for f, e in zip(
        *(torch.autograd.grad((out * weight).sum(), [query, key, value]) for out in (found, expected)), strict=True
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
