"""Presets against what was published, and the cost model against torch's own counter."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers import small_config
from torch.utils.flop_counter import FlopCounterMode

from hnet_dna.config.presets import PRESETS, preset, preset_tables
from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.config.settings import resolve
from hnet_dna.errors import ConfigError, UsageError
from hnet_dna.model.cost import cost_of
from hnet_dna.model.lm import HNetLM

PUBLISHED = [name for name in PRESETS if "published_parameters" in preset_tables(name)]


def test_the_papers_models_are_there() -> None:
    assert set(PUBLISHED) == {
        "t9", "m10", "m3t1-t15-m4", "m3t1-m15-m4", "m4-t15-m4", "m4-m15-m4", "m4-t1m13t1-m4", "dnahnet-like",
        "genezip-like",
    }  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name: str) -> None:
    settings = resolve(name)
    cost = cost_of(settings.model, [3.0, 2.0], 8192)
    assert cost.parameters == pytest.approx(preset_tables(name)["published_parameters"], rel=0.03)


@pytest.mark.parametrize(
    "name", ["tiny", "tiny-mamba2", "tiny-transformer", "tiny-hybrid", "tiny-6mers", "tiny-memory", "small"]
)
def test_parameters_by_stage_are_the_models(name: str) -> None:
    config = preset(name, "dna", 5)
    assert cost_of(config, [3.0], 1024).parameters == sum(p.numel() for p in HNetLM(config).parameters())


def test_twins_of_tiny_take_as_many_operations() -> None:
    tiny = cost_of(preset("tiny", "dna", 5), [3.0], 1024).forward_flops
    for name in ("tiny-mamba2", "tiny-transformer", "tiny-hybrid", "tiny-6mers"):
        assert cost_of(preset(name, "dna", 5), [3.0], 1024).forward_flops == pytest.approx(tiny, rel=0.05), name


@pytest.mark.parametrize(
    ("layout", "attention"),
    [
        (["m2", ["M2"], "m2"], {}),
        (["m1T1", ["T1m1"], "t1"], {"num_heads": 2, "window_size": [15, -1]}),
        (["m1", ["m1", ["M1"], "m1"], "m1"], {}),
        (["M1T1"], {"num_heads": 2, "window_size": 15}),
    ],
)
def test_operations_are_those_counted_by_torch(layout: list[object], attention: dict[str, object]) -> None:
    """A router that sets a boundary at every third position makes the target ratio exact."""
    stages = {"m2": 2, "m1T1": 2, "m1": 3, "M1T1": 1}[str(layout[0])]
    config = small_config(
        arch_layout=layout, d_model=[32] * stages, d_intermediate=[128] * stages, attn_cfg=attention,
        ssm_cfg={"d_state": 16, "head_dim": 16, "chunk_size": 32}, chunk_cfg={"routing": "fixed", "stride": 3},
    )  # fmt: skip
    model = HNetLM(config)
    length = 3 * 3 * 128
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(0, 4, (1, length)))
    estimate = cost_of(config, [3.0, 3.0], length).forward_flops
    # What the counter cannot see or does otherwise: the convolution (3 %), and attention's masked blocks, which
    # compute positions that are then hidden.
    assert estimate * length == pytest.approx(counter.get_total_flops(), rel=0.06 if not attention else 0.5)


def test_training_memory_is_of_the_right_size() -> None:
    """Numbers kept for backward, against what autograd really saves."""
    config = preset("tiny", "dna", 5)
    config = ModelConfig.from_dict({**config.to_dict(), "chunk_cfg": {"routing": "fixed", "stride": 3}})
    model = HNetLM(config)
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    bases = 4 * 1023
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.randint(0, 4, (4, 1023)))
        output.logits.logsumexp(-1).sum()
    cost = cost_of(config, [3.0], 1023)
    assert cost.training_bytes(bases) - cost.training_bytes(0) == pytest.approx(sum(saved.values()), rel=0.2)


def test_later_settings_win(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        'preset = "tiny"\n[model]\nd_model = [64, 96]\nchunk_cfg = { smoothing = false }\n'
        "[train]\nbatch = 2\nclip = 2\nratio_targets = 4\n"
    )
    settings = resolve(None, file, ["train.batch=6", "model.chunk_cfg.routing=fixed"], {"batch": 8, "seed": 3})
    assert settings.preset == "tiny"
    assert settings.model.d_model == (64, 96)
    assert settings.model.d_state == (32, 32), "the preset's"
    assert (settings.model.smoothing, settings.model.routing) == (False, ("fixed", "fixed"))
    assert (settings.recipe.batch, settings.recipe.clip, settings.recipe.seed) == (8, 2.0, 3)
    assert settings.recipe.ratio_targets == (4,)


@pytest.mark.parametrize("name", PRESETS)
def test_written_settings_ask_for_the_same(name: str, tmp_path: Path) -> None:
    settings = resolve(name, settings=["train.window_warmup=[[0.1, 256]]", 'train.held_out=["chrI"]'])
    (tmp_path / "settings.toml").write_text(settings.to_toml())
    again = resolve(None, tmp_path / "settings.toml")
    assert (again.model, again.recipe) == (settings.model, settings.recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modle]\n", "c.toml: modle: unknown. Did you mean model?"),
        ("[train]\nlerning_rate = 1\n", "train.lerning_rate: unknown field. Did you mean learning_rate?"),
        ("[train]\nbatch = 2.5\n", "train.batch: expected an integer, got 2.5"),
        ("[train]\nschedule = 'wds'\n", "train.schedule: Did you mean wsd?"),
        ("[train]\naccumulate = 3\n", "train.accumulate: expected a divisor of batch 4, got 3"),
        ("[train]\nbetas = [0.9]\n", "train.betas: expected two numbers"),
        ("[train]\nratio_targets = ['a']\n", "expected a number, got 'a'"),
        ("[model]\nd_modl = 3\n", "model.d_modl: unknown field. Did you mean d_model?"),
        ("[model]\nvocab_size = 7\n", "alphabet dna has 5 ids, got 7"),
        ("preset = 'tinny'\n", "c.toml: preset 'tinny': no such preset. Did you mean tiny"),
        ("preset = 3\n", "c.toml: preset '3': no such preset"),
        ("model = 3\n", "[model]: expected a table"),
        ("x = = 1\n", "c.toml: not TOML"),
    ],
)
def test_a_wrong_file_is_told_where(text: str, message: str, tmp_path: Path) -> None:
    """Also where single settings that are right lie over it."""
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(None, tmp_path / "c.toml", ["train.seed=1"])
    assert message in str(caught.value)
    assert "c.toml: " in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.lr=1", "train.lr: unknown field. Did you mean learning_rate or lr_multipliers?"),
        ("train.learning_rate=abc", "train.learning_rate: expected a number, got 'abc'"),
        ("model.alphabet=protein", "alphabet 'protein' does not exist"),
    ],
)
def test_a_wrong_setting_is_a_matter_of_usage(setting: str, message: str, tmp_path: Path) -> None:
    """Whether or not there is a file, which is right."""
    (tmp_path / "c.toml").write_text("[train]\nbatch = 2\n")
    for config in (None, tmp_path / "c.toml"):
        with pytest.raises(UsageError) as caught:
            resolve(None, config, [setting])
        assert message in str(caught.value)


def test_options_may_complete_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[train]\naccumulate = 3\n")
    assert resolve(None, tmp_path / "c.toml", options={"batch": 6}).recipe.accumulate == 3


@pytest.mark.parametrize("text", ["train.batch", "batch=3", "=3", "run.batch=3", "train.=3"])
def test_a_setting_has_a_table_a_field_and_a_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected model.FIELD=VALUE or train.FIELD=VALUE"):
        resolve(settings=[text])


def test_settings_are_laid_over_those_of_a_run_that_goes_on() -> None:
    began = resolve("tiny", settings=["train.batch=2", "model.chunk_cfg.smoothing=false"])
    assert resolve(began=began) == began
    assert resolve("tiny", settings=["train.batch=2"], began=began) == began
    changed = resolve(settings=["train.clip=2"], began=began)
    assert (changed.recipe.clip, changed.recipe.batch, changed.model) == (2, 2, began.model)
    with pytest.raises(UsageError, match="began with preset tiny, which cannot change; asked for m10"):
        resolve("m10", began=began)


def test_recipe_defaults_are_those_of_the_docs() -> None:
    recipe = Recipe()
    assert (recipe.ratio_targets, recipe.ratio_weights, recipe.schedule) == ((3.0,), (0.02,), "wsd")
    assert math.isclose(recipe.ratio_weight(5), 0.02)
