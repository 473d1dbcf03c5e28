"""Named starting points: each is a configuration file in this folder, in the format of files of settings."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import UsageError, did_you_mean

_FOLDER = files(__name__)
PRESETS = sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir() if entry.name.endswith(".toml"))


def preset_tables(name: str) -> dict[str, Any]:
    """Return a preset's tables: `model`, `train`, and what it says about itself."""
    if name not in PRESETS:
        raise UsageError(f"`preset` {name}: no such preset. {did_you_mean(name, PRESETS)}")
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text())


def preset(name: str, alphabet: str, vocab_size: int) -> ModelConfig:
    """Return the model shape of a preset for an alphabet."""
    return ModelConfig.from_dict({**preset_tables(name)["model"], "alphabet": alphabet, "vocab_size": vocab_size})
