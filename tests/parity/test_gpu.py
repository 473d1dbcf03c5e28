"""On a GPU: every backend against the plain loops, the model against itself on a CPU, bfloat16, pieces, padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from helpers import lively_model, small_config

from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.stream import read_sources
from hnet_dna.model.lm import HNetLM
from hnet_dna.ops import BACKENDS, use_backend
from hnet_dna.ops.check import check_backend

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
# Heads as wide, and states as large, as the kernels' smallest blocks.
SHAPE = {"ssm_cfg": {"d_state": 16, "head_dim": 16, "chunk_size": 32}, "d_model": [32, 32, 64]}
MAMBA = small_config(arch_layout=["m2", ["M1", ["m1M1"], "m1"], "m1"], attn_cfg={}, **SHAPE)
ALL = small_config(attn_cfg={"num_heads": [2, 2, 4], "rotary_emb_dim": [4, 0, 4], "window_size": [9, 5, 3]}, **SHAPE)


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    name = str(request.param)
    if obstacle := BACKENDS[name].obstacle(DEVICE):
        pytest.skip(obstacle)
    with use_backend(name):
        yield name


def loss_of(model: HNetLM, ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.float().flatten(0, 1), ids[:, 1:].flatten())


def test_scans_agree_with_the_loops_in_float32_and_bfloat16(backend: str) -> None:
    checks = check_backend(BACKENDS[backend], DEVICE)
    assert {check.precision for check in checks} == {"float32", "bfloat16"}
    assert [check.trouble for check in checks] == [None] * len(checks)


@pytest.mark.parametrize("config", [MAMBA, ALL], ids=["mamba", "all layers"])
def test_a_model_is_the_same_on_a_cpu(config: object, backend: str) -> None:
    """In float64, where no rounding decides where a chunk begins; mamba-ssm's kernels leave it to the tiles."""
    torch.manual_seed(0)
    ids = torch.randint(0, 5, (2, 301))
    model = lively_model(config)  # type: ignore[arg-type]
    results = []
    for device in ("cpu", DEVICE):
        model.to(device).zero_grad(set_to_none=True)
        loss = loss_of(model, ids.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        # Copies, since a gradient goes with its parameter to the next device.
        results.append([loss.detach().cpu(), *(p.grad.cpu().clone() for p in model.parameters() if p.grad is not None)])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_autocast_changes_products_alone(backend: str) -> None:
    """Boundaries, probabilities and states stay in float32; loss and gradients move by bfloat16's rounding.

    Fixed boundaries: a router's would move with the rounding of what it reads.
    """
    config = small_config(
        arch_layout=["m2", ["M2"], "m1"], d_model=[32, 64], d_intermediate=[0, 64], attn_cfg={},
        ssm_cfg=SHAPE["ssm_cfg"], chunk_cfg={"routing": "fixed"},
    )  # fmt: skip
    torch.manual_seed(0)
    model = HNetLM(config).to(DEVICE)
    ids = torch.randint(0, 4, (2, 301), device=DEVICE)
    grads, losses = [], []
    for low in (False, True):
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=low):
            output, loss = model(ids), loss_of(model, ids)
        assert output.stages[0].boundary_prob.dtype == torch.float32
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert losses[1] != losses[0]
    assert float((grads[1] - grads[0]).norm() / grads[0].norm()) < 0.1


def test_pieces_equal_the_whole(backend: str) -> None:
    model = lively_model(ALL).to(DEVICE)
    ids = torch.randint(0, 5, (2, 200), device=DEVICE)
    with torch.inference_mode():
        whole, state, parts = model(ids).logits, None, []
        for piece in torch.split(ids, [1, 63, 0, 100, 36], dim=1):
            output = model(piece, state)
            state = output.state
            parts.append(output.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-6)


def test_chunks_come_in_few_shapes() -> None:
    model = lively_model(MAMBA).to(DEVICE)
    shapes = set()
    for _ in range(5):
        ids = torch.randint(0, 4, (2, 300), device=DEVICE)
        with torch.inference_mode():
            shapes.add(model(ids).stages[1].boundary_prob.shape[1])
    assert all(shape % 64 == 0 or shape == 300 for shape in shapes)


def test_sequences_side_by_side_are_as_one_by_one_and_boundaries_never_make_it_wait() -> None:
    """The first in float64, so that no rounding moves a boundary."""
    model = lively_model(MAMBA).to(DEVICE).eval()
    codes = [np.random.default_rng(i).integers(0, 4, 400 + 90 * i, dtype=np.uint8) for i in range(5)]
    bits, masks = [], []
    for streams in (1, 3):
        sources = [[Piece(str(i), 0, each, uracils=0)] for i, each in enumerate(codes)]
        ran = sorted(read_sources(sources, model, streams=streams, piece=300), key=lambda one: (one[0], one[1].start))
        bits.append(np.concatenate([result.bits for _, _, result in ran]))
        masks.append(np.concatenate([result.stages[0].mask for _, _, result in ran]))
    np.testing.assert_allclose(bits[1], bits[0], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(masks[1], masks[0])
    model.float()  # float64 is served by PyTorch, whose scan looks at the data
    for mode in ("default", "error"):  # at the first call backends are checked, which waits
        torch.cuda.set_sync_debug_mode(mode)
        try:
            list(read_sources(sources, model, stage=0, streams=3, piece=300))
        finally:
            torch.cuda.set_sync_debug_mode("default")
