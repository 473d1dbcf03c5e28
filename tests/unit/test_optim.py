"""Learning rates: of each stage, and in the course of a run."""

from __future__ import annotations

import pytest
from helpers import RECIPE, small_config

from hnet_dna.config.presets import preset
from hnet_dna.config.recipe import Recipe
from hnet_dna.model.hnet import stage_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.optim import build_optimizer, is_decayed, schedule, stage_multipliers


def test_exempt_names_are_pinned() -> None:
    model = HNetLM(small_config())
    ends = {".".join(name.split(".")[-2:]) for name, _ in model.named_parameters() if not is_decayed(name)}
    assert ends == {
        "norm1.weight", "norm2.weight", "norm.weight", "rmsnorm.weight", "conv1d.bias", "residual_proj.bias",
        "mixer.dt_bias", "mixer.A_log", "mixer.D",
    }  # fmt: skip


def test_every_parameter_has_the_rate_of_its_stage() -> None:
    model = HNetLM(small_config())
    assert stage_of("embeddings.weight") == stage_of("lm_head.weight") == stage_of("backbone.residual_proj.weight") == 0
    assert stage_of("backbone.main_network.routing_module.q_proj_layer.weight") == 1
    assert stage_of("backbone.main_network.main_network.pad_dimension") == 2
    assert stage_of("backbone.main_network.main_network.main_network.layers.0.norm1.weight") == 2
    assert stage_of("backbone.main_network.layers.0.norm1.weight") == 0  # isotropic
    optimizer = build_optimizer(model, model.config, RECIPE)
    multipliers = {id(p): group["lr_multiplier"] for group in optimizer.param_groups for p in group["params"]}
    assert len(multipliers) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert multipliers[id(parameter)] == (1.0, 0.5, 0.25)[stage_of(name)], name


def test_schedule_rises_holds_and_falls() -> None:
    recipe = Recipe(warmup=0.1, decay=0.2)
    assert schedule(0.05, recipe) == pytest.approx(0.5)
    assert schedule(0.1, recipe) == schedule(0.5, recipe) == schedule(0.79, recipe) == 1.0
    assert schedule(0.9, recipe) == pytest.approx(0.5)
    assert schedule(1.0, recipe) == 0.0


def test_cosine_schedule_ends_at_a_tenth() -> None:
    recipe = Recipe(schedule="cosine", warmup=0.1, decay=0.0)
    assert schedule(0.05, recipe) == pytest.approx(0.5)
    assert schedule(0.1, recipe) == pytest.approx(1.0)
    assert schedule(0.55, recipe) == pytest.approx(0.55)
    assert schedule(1.0, recipe) == pytest.approx(0.1)


def test_rates_by_equation_11() -> None:
    """The paper's own figures: equal widths and N = 3 on DNA; (3, 3) with widths 1024, 1024, 1536 on text."""
    dna = preset("m3t1-m15-m4", "dna", 5)
    assert stage_multipliers(dna, Recipe(ratio_targets=(3.0,))) == pytest.approx((1.0, 2.89 / 5), abs=1e-3)
    text = small_config(
        arch_layout=["m1", ["m1", ["m1"], "m1"], "m1"], d_model=[1024, 1024, 1536], d_intermediate=[0, 0, 0],
        attn_cfg={},
    )  # fmt: skip
    expected = (1.0, 1.52 / 2.63, 0.71 / 2.63)
    assert stage_multipliers(text, Recipe(ratio_targets=(3.0, 3.0))) == pytest.approx(expected, abs=3e-3)
