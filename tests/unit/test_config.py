from __future__ import annotations

import json
from typing import Any

import pytest

from hnet_dna.config.layout import layout_text, n_stages, parse_layout, parse_stack
from hnet_dna.config.presets import PRESETS, preset
from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import ConfigError, UsageError

GOOD: dict[str, Any] = {
    "arch_layout": ["m2", ["T1"], "m2"],
    "d_model": [64, 96],
    "d_intermediate": [0, 130],
    "vocab_size": 5,
    "alphabet": "dna",
    "ssm_cfg": {"d_state": 16, "expand": 2, "d_conv": 4, "head_dim": 32},
    "attn_cfg": {"num_heads": [4, 6], "rotary_emb_dim": 8, "window_size": [31, -1]},
}


def test_stack_spells_its_layers() -> None:
    layers = parse_stack("m2T1")
    assert [(layer.mixer, layer.has_mlp, layer.height) for layer in layers] == [
        ("mamba", False, 1),
        ("mamba", False, 1),
        ("attention", True, 2),
    ]


def test_layout_nests() -> None:
    layout = parse_layout(["m4", ["T1m4", ["T26"], "m4T1"], "m4"])
    assert n_stages(layout) == 3
    assert layout_text(layout) == "m4 [T1m4 [T26] m4T1] m4"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (["m1q9"], "column 3"),  # the reference ignores the rest
        (["m"], "column 1"),
        (["m0"], "column 1"),
        ([""], "empty"),
        (["m1", "m1"], "1 item .innermost. or 3"),
        ("m4", "nested list"),
        ([4], "expected a stack"),
    ],
)
def test_bad_layouts(layout: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_layout(layout)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_modle": [64, 96]}, "d_modle: unknown field. Did you mean d_model?"),
        ({"ssm_cfg": {"d_stat": 16}}, "ssm_cfg.d_stat: unknown field. Did you mean d_state?"),
        ({"d_model": [64]}, "the layout has 2 stages, d_model has 1 entries"),
        ({"d_model": [96, 64]}, "widths never shrink inwards"),
        ({"d_intermediate": [0, 0]}, "d_intermediate\\[1\\] must be 1 or more"),  # the reference builds width 0
        ({"ssm_cfg": {"head_dim": 48}}, "divisible by head_dim 48"),
        ({"attn_cfg": {"num_heads": 7}}, "divisible by num_heads 7"),
        ({"attn_cfg": {"num_heads": 6, "rotary_emb_dim": 3}}, "rotary_emb_dim must be even"),
        (
            {"attn_cfg": {"num_heads": 6, "rotary_period": 1}},
            "rotary_period must be 0 .as the reference. or 2 and more",
        ),
        ({"vocab_size": "5"}, "vocab_size: expected an integer"),
        ({"tie_embeddings": 1}, "tie_embeddings: expected true or false"),
    ],
)
def test_bad_configs_name_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict({**GOOD, **change})


def test_json_round_trip() -> None:
    config = ModelConfig.from_dict(GOOD)
    assert ModelConfig.from_json(json.dumps(config.to_dict())) == config
    assert config.stage(1).mlp_width == 256  # rounded up to a multiple of 128
    assert config.stage(0).window_size == 31


def test_presets_build() -> None:
    for name in PRESETS:
        assert preset(name, "dna", 5).vocab_size == 5
    with pytest.raises(UsageError, match="Did you mean tiny"):
        preset("tinny", "dna", 5)
