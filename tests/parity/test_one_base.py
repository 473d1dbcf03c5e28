"""Bases one at a time in numpy against the model itself: outputs, stages, states, and going from one to the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import lively_model, small_config
from torch import Tensor

from hnet_dna.inference.one_base import OneBase
from hnet_dna.model.hnet import StageState
from hnet_dna.model.lm import HNetLM

MAMBA: dict[str, object] = {"attn_cfg": {}}
SERVED = {
    "isotropic": small_config(arch_layout=["M1m1"], d_model=[24], d_intermediate=[32], **MAMBA),
    "one stage": small_config(arch_layout=["m2", ["M2"], "m1"], d_model=[24, 40], d_intermediate=[0, 32], **MAMBA),
    "two stages": small_config(arch_layout=["m1", ["M1", ["m1M1"], "m1"], "m1"], **MAMBA),
    "ablations": small_config(
        arch_layout=["m1", ["m1", ["m1"], "m1"], "m1"],
        chunk_cfg={"smoothing": False, "straight_through": False}, **MAMBA,
    ),
    "attention": small_config(),
    "attention in view of everything": small_config(
        arch_layout=["m1T1", ["T1M1"], "m1"], d_model=[24, 40], d_intermediate=[32, 32],
        attn_cfg={"num_heads": 2, "rotary_emb_dim": 4, "rotary_period": [3, 0], "window_size": [5, -1]}
    ),
    "attention without rotation": small_config(
        arch_layout=["T1", ["T1"], "T1"], d_model=[24, 40], d_intermediate=[32, 32],
        attn_cfg={"num_heads": 2, "rotary_emb_dim": 0, "window_size": 3}
    ),
    "memory of k-mers": small_config(memory_cfg={"table_orders": [2, 3], "table_width": 5, "word_orders": [8, 9, 21]}),
    "tables of k-mers": small_config(memory_cfg={"table_orders": [2]}),
    "words": small_config(memory_cfg={"word_orders": [8, 12]}),
}  # fmt: skip
REFERRED = {
    "forced boundaries": small_config(
        arch_layout=["m1", ["m1", ["m1"], "m1"], "m1"], chunk_cfg={"max_chunk": 2}, **MAMBA
    ),
    "3-mers": small_config(kmer=3, arch_layout=["m1"], d_model=[24], d_intermediate=[0], **MAMBA),
}  # fmt: skip


def leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = vars(value).values() if isinstance(value, StageState) else value
    return [leaf for part in parts for leaf in leaves(part)]


def compare(model: HNetLM, lengths: Tensor, bases: int, tolerance: float) -> None:
    """Feed both the same bases after the same beginnings; then let the model go on from either state."""
    one_base = OneBase(model)
    torch.manual_seed(1)
    rows = len(lengths)
    with torch.no_grad():
        state = twin = model(torch.randint(0, 5, (rows, int(lengths.max()))), lengths=lengths).state
        boundaries = torch.zeros(rows)
        for base in torch.randint(0, 5, (bases, rows, 1)):
            actual, expected = one_base(base, state), model(base, twin)
            torch.testing.assert_close(actual.logits, expected.logits, rtol=0, atol=tolerance)
            for f, e in zip(actual.stages, expected.stages, strict=True):
                assert torch.equal(f.boundary_mask, e.boundary_mask)
                assert torch.equal(f.length, e.length)
                torch.testing.assert_close(f.boundary_prob, e.boundary_prob, rtol=0, atol=tolerance)
            torch.testing.assert_close(leaves(actual.state), leaves(expected.state), rtol=0, atol=tolerance)
            state, twin = actual.state, expected.state
            if actual.stages:
                boundaries += actual.stages[0].boundary_mask[:, 0]
        more = torch.randint(0, 5, (rows, 9))
        torch.testing.assert_close(model(more, state).logits, model(more, twin).logits, rtol=0, atol=tolerance)
    assert model.n_chunking_stages == 0 or 0 < boundaries.sum() < rows * bases, "the test needs bases of both kinds"


@pytest.mark.parametrize("lengths", [[20], [20, 1, 7]], ids=["one row", "three rows"])
@pytest.mark.parametrize("name", SERVED)
def test_bases_one_at_a_time_equal_the_model(name: str, lengths: list[int]) -> None:
    model = lively_model(SERVED[name])
    # The average's weight is float32 in a float64 model, too, and torch's logarithm is not numpy's to the last bit.
    compare(model, torch.tensor(lengths), 25, 1e-6)
    assert OneBase(model).serves


def test_in_float32() -> None:
    compare(lively_model(SERVED["one stage"]).float(), torch.tensor([20, 3]), 25, 1e-4)


@pytest.mark.parametrize("name", REFERRED)
def test_what_numpy_does_not_serve_is_the_models(name: str) -> None:
    model = lively_model(REFERRED[name])
    assert not OneBase(model).serves
    compare(model, torch.tensor([20, 3]), 12, 0)


def test_a_first_base_is_the_models_own() -> None:
    model = lively_model(SERVED["two stages"])
    ids = torch.randint(0, 4, (2, 1))
    with torch.no_grad():
        nothing = model(ids[:, :0]).state
        for state in (None, nothing):
            torch.testing.assert_close(OneBase(model)(ids, state).logits, model(ids).logits, rtol=0, atol=0)


def test_gradients_are_the_models() -> None:
    model = lively_model(SERVED["one stage"])
    state = model(torch.randint(0, 4, (1, 9))).state
    assert OneBase(model)(torch.zeros(1, 1, dtype=torch.long), state).logits.requires_grad
