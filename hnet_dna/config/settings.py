"""What a run is asked to be: a preset, a configuration file over it, and single settings over both.

preset = "tiny"             # start from a named shape; optional where [model] is complete

[model]                     # any field of the model's configuration
chunk_cfg = { smoothing = false }

[train]                     # any field of the recipe
learning_rate = 2e-3
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hnet_dna.config.presets import PRESETS, preset_tables
from hnet_dna.config.recipe import GROUPS, Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.config.values import integer, readers, text
from hnet_dna.errors import ConfigError, UsageError, did_you_mean, shown
from hnet_dna.sequence.alphabet import alphabet

DEFAULT_PRESET = "tiny"
_TABLES = ("model", "train")


@dataclass(frozen=True)
class Settings:
    """A resolved request.

    Attributes:
        preset: the name it started from, empty for none.
        model: shape of the model.
        recipe: how to train it.
    """

    preset: str
    model: ModelConfig
    recipe: Recipe

    def to_toml(self) -> str:
        """Return the complete configuration file that asks for the same, the recipe in its groups."""
        import tomli_w

        tables = self.tables()
        lines = [tomli_w.dumps({"model": tables["model"]}), "", "[train]"]
        for group in GROUPS:
            lines += ["", f"# {group.TITLE}", tomli_w.dumps({name: tables["train"][name] for name in readers(group)})]
        return "\n".join(line.removesuffix("\n") for line in lines) + "\n"

    def tables(self) -> dict[str, Any]:
        """Return the same as tables of such a file."""
        model = {name: value for name, value in self.model.to_dict().items() if value is not None}
        return {"model": model, "train": _lists(self.recipe.to_dict())}


def resolve(
    preset: str | None = None,
    config: Path | None = None,
    settings: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    letters: str | None = None,
    began: Settings | None = None,
    parent: Mapping[str, Any] | None = None,
) -> Settings:
    """Combine what was asked for, the later ones winning.

    Args:
        preset: a preset's name; the configuration file's own, or `tiny`, where None.
        config: a TOML file.
        settings: texts such as `train.learning_rate=1e-3`; values are TOML, bare words are taken as text.
        options: fields of the recipe that have an option of their own.
        letters: name of the alphabet; the configuration's own, or dna, where None.
        began: what all of this is laid over, in place of the default preset: the settings of a run that goes on.
        parent: likewise, the tables `model` and `train` of a model whose weights a run begins with; the recipe is that
            of the default preset where `train` is missing.

    Raises:
        ConfigError: the file has an unknown key, with a suggestion, or an impossible value.
        UsageError: single settings, options or letters have; or what a run that goes on cannot be.
    """
    file = _read(config) if config else {}
    asked = preset or file.pop("preset", None)
    file.pop("preset", None)
    tables: dict[str, Any] = {"model": {}, "train": {}}
    if began is not None:
        if asked is not None and asked != began.preset:
            raise UsageError(
                f"`resume`: the run began with {f'preset {began.preset}' if began.preset else 'no preset'}, which "
                f"cannot change; asked for {asked}"
            )
        asked, tables = began.preset, began.tables()
    elif parent is not None:
        if asked is not None:
            raise UsageError(f"`from_` says what the model is, and so does preset {asked}; leave the preset out")
        asked, tables = "", {"train": preset_tables(DEFAULT_PRESET)["train"], **parent}
    else:
        if asked is None and "arch_layout" not in file.get("model", {}):
            asked = DEFAULT_PRESET
        if asked is not None:
            start = preset_tables(asked)
            tables = {name: start.get(name, {}) for name in _TABLES}
    below = _merge(tables, file)
    above = below
    for setting in settings:
        above = _merge(above, _setting(setting))
    above = _merge(above, {"train": dict(options or {})})
    try:
        return _checked(asked, above, letters)
    except ConfigError as error:
        problem = str(error)
    if config is not None:
        try:
            _checked(asked, below)
        except ConfigError:
            raise ConfigError(f"{config}: {problem}") from None
    raise UsageError(problem)


def _checked(preset: str | None, tables: Mapping[str, Any], letters: str | None = None) -> Settings:
    named = text("model.alphabet", tables["model"].get("alphabet", "dna") if letters is None else letters)
    try:
        chosen = alphabet(named)
    except ConfigError as error:
        raise ConfigError(str(error) if letters else f"model.alphabet: {error}") from None
    model = {"vocab_size": chosen.vocab_size, **tables["model"], "alphabet": chosen.name}
    if integer(1)("model.vocab_size", model["vocab_size"]) != chosen.vocab_size:
        raise ConfigError(
            f"model.vocab_size: alphabet {chosen.name} has {chosen.vocab_size} ids, got {model['vocab_size']}"
        )
    try:
        shape = ModelConfig.from_dict(model)
    except ConfigError as error:
        raise ConfigError(f"model.{error}") from None
    return Settings(preset or "", shape, Recipe.from_dict(tables["train"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        value = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"`config` {path}: no such file; expected a TOML file with the tables model and train"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"`config` {path} is not text; expected TOML with the tables model and train") from None
    except OSError as error:
        raise ConfigError(f"`config` {path}: cannot be read ({error})") from None
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, lists in lists without end
        raise ConfigError(f"{path}: not TOML: {error}") from None
    known = ("preset", "about", "published_parameters", *_TABLES)
    for name in value:
        if name not in known:
            raise ConfigError(f"{path}: {name}: unknown. {did_you_mean(name, known)}")
    for name in ("about", "published_parameters"):  # what a preset says about itself
        value.pop(name, None)
    for name in _TABLES:
        if not isinstance(value.get(name, {}), Mapping):
            raise ConfigError(f"{path}: [{name}]: expected a table, got {shown(value[name])}")
    if value.get("preset") not in (None, *PRESETS):
        named = str(value["preset"])
        raise ConfigError(f"{path}: preset {named!r}: no such preset. {did_you_mean(named, PRESETS)}")
    return value


def _setting(setting: str) -> dict[str, Any]:
    key, equals, value = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or parts[0] not in _TABLES or not all(parts):
        raise UsageError(f"`settings` {setting}: expected model.FIELD=VALUE or train.FIELD=VALUE")
    try:
        table = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # not TOML, or nothing that it can hold
        table = {}
    parsed: Any = table["value"] if len(table) == 1 else value.strip()
    for part in reversed(parts):
        parsed = {part: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one set of tables over another; a table that both have is merged, anything else replaced."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lists(item) for name, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value
