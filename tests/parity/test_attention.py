"""Windowed attention in blocks against every query and key at once: outputs and gradients, after any past."""

from __future__ import annotations

import pytest
import torch
from helpers import small_config

from hnet_dna.model.mixer import Attention


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
