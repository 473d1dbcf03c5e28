from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hnet_dna import HNetLM
from hnet_dna.errors import CheckpointError

REFERENCE: dict[str, Any] = {
    "arch_layout": ["m1", ["m1T1", ["T1"], "m1"], "m1"],
    "d_model": [32, 32, 64],
    "d_intermediate": [0, 100, 100],
    "vocab_size": 16,
    "ssm_cfg": {"chunk_size": 16, "d_conv": 4, "d_state": 8, "expand": 2},
    "attn_cfg": {"num_heads": [4, 4, 8], "rotary_emb_dim": [4, 4, 8], "window_size": [7, 7, -1]},
    "tie_embeddings": True,
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tie_embeddings": False},
        {"arch_layout": ["M2T1"], "d_model": [32], "d_intermediate": [100]},  # surplus entries of the groups are unused
        {"arch_layout": ["m1", ["m1", ["m1", ["T1"], "m1"], "m1"], "m1"], "d_model": [32] * 4,
         "d_intermediate": [64] * 4, "attn_cfg": {"num_heads": 4, "rotary_emb_dim": 4, "window_size": -1}},
    ],
    ids=["tied", "untied", "isotropic", "three stages"],
)  # fmt: skip
def test_reference_config_and_state_dict_load(change: dict[str, Any], tmp_path: Path) -> None:
    config = {**REFERENCE, **change}
    torch.manual_seed(3)
    source = HNetLM.from_reference(config, HNetLM.from_reference(config, _weights(config)).state_dict())
    again = HNetLM.from_reference(json.dumps(config), source.state_dict())
    source.save_pretrained(tmp_path / "m")
    loaded = HNetLM.from_pretrained(tmp_path / "m")
    ids = torch.randint(0, 16, (2, 30))
    expected = source(ids).logits
    assert torch.equal(again(ids).logits, expected)
    assert torch.equal(loaded(ids).logits, expected)
    assert len(source(ids).stages) == source.n_chunking_stages
    tied = config["tie_embeddings"]
    assert ("lm_head.weight" in load_file(tmp_path / "m" / "model.safetensors")) is not tied
    assert (loaded.lm_head.weight is loaded.embeddings.weight) is tied


def _weights(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state dict of the right shapes."""
    from hnet_dna.config.schema import ModelConfig

    trimmed = dict(config)
    stages = len(config["d_model"])
    for group in ("ssm_cfg", "attn_cfg"):
        trimmed[group] = {n: v[:stages] if isinstance(v, list) else v for n, v in config[group].items()}
    return HNetLM(ModelConfig.from_dict(trimmed)).state_dict()


def test_misfit_weights_are_named() -> None:
    weights = dict(HNetLM.from_reference(REFERENCE, _weights(REFERENCE)).state_dict())
    missing = {n: t for n, t in weights.items() if "residual_proj.bias" not in n}
    with pytest.raises(CheckpointError, match=r"missing backbone\.residual_proj\.bias"):
        HNetLM.from_reference(REFERENCE, missing)
    with pytest.raises(CheckpointError, match="surplus extra"):
        HNetLM.from_reference(REFERENCE, {**weights, "extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has shape \(3,\), expected \(16, 32\)"):
        HNetLM.from_reference(REFERENCE, {**weights, "embeddings.weight": torch.zeros(3)})


def test_input_must_be_a_batch() -> None:
    model = HNetLM.from_reference(REFERENCE, _weights(REFERENCE))
    with pytest.raises(ValueError, match="expected \\(batch, length\\)"):
        model(torch.zeros(5, dtype=torch.long))
