"""The router's variants and floor, and what the ablation switches change."""

from __future__ import annotations

import pytest
import torch
from helpers import lively_model, small_config

from hnet_dna.errors import ConfigError
from hnet_dna.model.hnet import ChunkingStage
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.router import Router, Routing, dechunk
from hnet_dna.model.rows import Rows

ONE_STAGE = {"arch_layout": ["m1", ["M1"], "m1"], "d_model": [16, 24], "d_intermediate": [0, 32], "attn_cfg": {}}


def one_stage(**chunk_cfg: object) -> HNetLM:
    return lively_model(small_config(**ONE_STAGE, chunk_cfg=chunk_cfg))


def router(**chunk_cfg: object) -> Router:
    stage = one_stage(**chunk_cfg).backbone
    assert isinstance(stage, ChunkingStage)
    return stage.routing_module


def test_fixed_and_random_controls_set_the_stated_share() -> None:
    u = torch.randn(2, 9001, 16, dtype=torch.float64)
    fixed, _ = router(routing="fixed", stride=4)(u, Rows.full(u), None)
    assert fixed.boundary[0].nonzero()[:, 0].tolist() == list(range(0, 9001, 4))
    random, _ = router(routing="random", stride=4)(u, Rows.full(u), None)
    assert float(random.boundary[:, 1:].float().mean()) == pytest.approx(0.25, abs=0.02)
    gaps = random.boundary[0].nonzero()[:, 0].diff().double()
    # Chunk lengths of a fair coin are geometric: their standard deviation is sqrt(1 - 1/4) x 4.
    assert float(gaps.std()) == pytest.approx(12**0.5, abs=0.3)


def test_linear_router_learns_and_differs_from_the_cosine() -> None:
    model = one_stage(routing="linear")
    output = model(torch.randint(0, 4, (2, 50)))
    output.stages[0].boundary_prob.sum().backward()
    names = {n: p.grad for n, p in model.named_parameters() if "routing_module" in n}
    assert set(names) == {"backbone.routing_module.score.weight", "backbone.routing_module.score.bias"}
    assert all(grad is not None and bool(grad.abs().sum() > 0) for grad in names.values())


def test_no_chunk_is_longer_than_the_floor_allows() -> None:
    u = torch.randn(1, 1, 16, dtype=torch.float64).expand(3, 400, 16).clone()  # nothing changes: no natural boundary
    u[1, 130:] += torch.randn(16, dtype=torch.float64)
    free = router()
    bound = router(max_chunk=7)
    bound.load_state_dict(free.state_dict())
    with torch.no_grad():
        for layer in (free, bound):  # identical maps: p is exactly how far a vector turns away from the last
            layer.q_proj_layer.weight.copy_(torch.eye(16))
            layer.k_proj_layer.weight.copy_(torch.eye(16))
        u[1, 130:] = -u[1, :1]
    natural, _ = free(u, Rows.full(u), None)
    assert natural.boundary[1].nonzero()[:, 0].tolist() == [0, 130]
    forced, _ = bound(u, Rows.full(u), None)
    assert forced.boundary[0].nonzero()[:, 0].tolist() == list(range(0, 400, 7))
    assert forced.boundary[1].nonzero()[:, 0].tolist() == [*range(0, 130, 7), *range(130, 400, 7)]
    torch.testing.assert_close(forced.prob, natural.prob)


def test_without_smoothing_chunks_come_back_as_they_are() -> None:
    ids = torch.randint(0, 4, (1, 60))
    smooth, plain = one_stage(), one_stage(smoothing=False)
    plain.load_state_dict(smooth.state_dict())
    assert not torch.allclose(smooth(ids).logits, plain(ids).logits)


def test_straight_through_is_a_matter_of_gradients_alone() -> None:
    ids = torch.randint(0, 4, (1, 60))
    ste, scaled = one_stage(), one_stage(straight_through=False)
    scaled.load_state_dict(ste.state_dict())
    stage = ste(ids).stages[0]
    assert bool(((stage.boundary_prob > 0) & (stage.boundary_prob < 1)).any())
    assert not torch.allclose(ste(ids).logits, scaled(ids).logits)


def test_straight_through_passes_the_confidence_the_gradient_of_a_factor() -> None:
    torch.manual_seed(0)
    z, p = torch.randn(2, 3, 5, dtype=torch.float64), torch.rand(2, 8, dtype=torch.float64)
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[:, [0, 3, 5]] = True
    rows, position = Rows.full(z), torch.tensor([[0, 3, 5]]).expand(2, -1)
    weight, gradients = torch.randn(2, 8, 5, dtype=torch.float64), []
    for straight_through in (True, False):
        inputs = [z.clone().requires_grad_(), p.clone().requires_grad_()]
        routing = Routing(inputs[1], mask)
        # Without smoothing, the confidence is the only way to p.
        out, _ = dechunk(inputs[0], rows, position, routing, None, smoothing=False, straight_through=straight_through)
        if straight_through:
            assert torch.equal(out, z[:, [0, 0, 0, 1, 1, 2, 2, 2]])
            ste = routing.confidence - routing.confidence.detach() + 1.0
            by_autograd = torch.autograd.grad((out.detach() * ste[..., None] * weight).sum(), inputs[1])
        gradients.append(torch.autograd.grad((out * weight).sum(), inputs))
    torch.testing.assert_close(gradients[0][1], by_autograd[0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])
    assert not torch.allclose(gradients[0][0], gradients[1][0])  # z's is not scaled by the confidence


@pytest.mark.parametrize(
    ("chunk_cfg", "message"),
    [
        ({"routing": "cosin"}, r"chunk_cfg.routing: Did you mean cosine\?"),
        ({"stride": 1}, r"chunk_cfg.stride: expected 2 or more, got 1"),
        ({"max_chunk": -1}, r"chunk_cfg.max_chunk: expected 0"),
        ({"smoothing": 1}, "chunk_cfg.smoothing: expected true or false"),
        ({"smooth": True}, r"chunk_cfg.smooth: unknown field. Did you mean smoothing\?"),
    ],
)
def test_impossible_switches_are_named(chunk_cfg: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_config(**ONE_STAGE, chunk_cfg=chunk_cfg)
