"""Muon beside a plain loop over matrices, and beside PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import lively_model, small_config
from torch import Tensor

from hnet_dna.config.recipe import Recipe
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.muon import matrices, newton_schulz
from hnet_dna.training.optim import build_optimizer, is_decayed, set_learning_rate, stage_multipliers

RECIPE = Recipe(optimizer="muon", lr_multipliers=(1.0, 0.5, 0.25), learning_rate=1e-2)


def plain_step(weight: Tensor, momentum: Tensor, gradient: Tensor, rate: float, decay: float) -> tuple[Tensor, Tensor]:
    """One matrix after the other, as the method is written down."""
    momentum = 0.95 * momentum + 0.05 * gradient
    x = 0.05 * gradient + 0.95 * momentum
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    x = x / x.norm()
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    x = x.T if turned else x
    return weight - rate * decay * weight - rate * 0.2 * math.sqrt(max(x.shape)) * x, momentum


def test_every_matrix_moves_as_in_the_plain_loop() -> None:
    model = lively_model(small_config())
    rows = matrices(model)
    optimizer = build_optimizer(model, model.config, RECIPE)
    set_learning_rate(optimizer, RECIPE.learning_rate)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    weights = {
        n: [b.clone() for b in torch.split(p.detach(), rows[p])] for n, p in model.named_parameters() if p in rows
    }
    momenta = {n: [torch.zeros_like(b) for b in blocks] for n, blocks in weights.items()}
    for step in range(3):
        torch.manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        for name, parameter in model.named_parameters():
            if parameter not in rows:
                continue
            assert parameter.grad is not None
            for i, gradient in enumerate(torch.split(parameter.grad, rows[parameter])):
                weights[name][i], momenta[name][i] = plain_step(
                    weights[name][i], momenta[name][i], gradient, rates[id(parameter)], 0.1 if is_decayed(name) else 0.0
                )
            torch.testing.assert_close(parameter.detach(), torch.cat(weights[name]), rtol=0, atol=1e-10, msg=name)


def test_a_whole_matrix_moves_as_by_pytorch() -> None:
    """PyTorch's products are in bfloat16."""
    for shape in ((24, 24), (24, 40), (64, 24)):
        gradient = torch.randn(shape)
        theirs = torch.nn.Parameter(torch.zeros(shape))
        theirs.grad = gradient.clone()
        torch.optim.Muon([theirs], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()  # type: ignore[no-untyped-call]
        wide = gradient if shape[0] <= shape[1] else gradient.T
        ours = -0.2 * math.sqrt(max(shape)) * newton_schulz(wide[None])[0]
        ours = ours if shape[0] <= shape[1] else ours.T
        assert float((ours - theirs.detach()).norm() / ours.norm()) < 0.02


def test_singular_values_come_near_one() -> None:
    values = torch.linalg.svdvals(newton_schulz(torch.randn(3, 20, 50, dtype=torch.float64)))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_matrices_are_those_inside_the_network() -> None:
    model = HNetLM(small_config())
    rows = matrices(model)
    by_name = {".".join(name.split(".")[-2:]): rows[p] for name, p in model.named_parameters() if p in rows}
    assert set(by_name) == {
        "in_proj.weight", "out_proj.weight", "Wqkv.weight", "fc1.weight", "fc2.weight", "q_proj_layer.weight",
        "k_proj_layer.weight", "residual_proj.weight",
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        assert (parameter in rows) == (
            parameter.ndim == 2 and not name.startswith(("embeddings", "lm_head"))
        ), name  # fmt: skip
        assert sum(rows.get(parameter, [len(parameter)])) == len(parameter), name
    assert len(by_name["Wqkv.weight"]) == 3
    twin = HNetLM(small_config(arch_layout=["m1T1"], d_model=[24], d_intermediate=[32], attn_cfg={}, kmer=3))
    assert {p.shape for p in matrices(twin)} & {twin.embeddings.weight.shape, twin.lm_head.weight.shape} == set()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_every_parameter_is_served_once_at_the_rate_of_its_stage(optimizer: str) -> None:
    model = HNetLM(small_config())
    recipe = Recipe.from_dict({**RECIPE.to_dict(), "optimizer": optimizer})
    built = build_optimizer(model, model.config, recipe)
    served = [id(p) for group in built.param_groups for p in group["params"]]
    assert sorted(served) == sorted(map(id, model.parameters()))
    assert {group["lr_multiplier"] for group in built.param_groups} == set(stage_multipliers(model.config, recipe))
