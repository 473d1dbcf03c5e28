"""What is asked of a run: arguments become settings and a budget, and one that goes on says what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.config.settings import Settings, resolve
from hnet_dna.data.run_record import find_run
from hnet_dna.data.split import is_share
from hnet_dna.errors import CheckpointError, ConfigError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.progress import Budget
from hnet_dna.training.run_folder import RunFolder

_FILES = ("split", "regions", "chunk_lengths")
_OF_ITS_DATA = {
    "held_out",
    "split",
    "regions",
    "chunk_lengths",
    "freeze",
}  # what a run that begins from another does not inherit
# What a run that goes on may change: how fast, how often, how far a step goes, and what to do in trouble; not what it
# learns from.
_CHANGEABLE = {
    "accumulate", "checkpoint_every", "clip", "compile", "keep_checkpoints", "learning_rate", "on_trouble", "precision",
    "recompute", "shard", "spike_bits", "tensorboard", "validate_bases", "validate_every",
}  # fmt: skip


def settings_for(
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    alphabet: str | None = None,
    held_out: Sequence[str] = (),
    split: str = "",
    regions: str = "",
    window: int | None = None,
    batch: int | None = None,
    window_warmup: Sequence[tuple[float, int]] | None = None,
    repeat_weight: float | None = None,
    seed: int | None = None,
    began: Settings | None = None,
    parent: HNetLM | None = None,
) -> Settings:
    """Combine arguments of `pretrain` into settings.

    They are laid over those of a run that goes on, or over those of the model that a run begins from, where there is
    one.
    """
    fields = {
        "held_out": tuple(held_out) or None,
        "split": split or None,
        "regions": regions or None,
        "window": window,
        "batch": batch,
        "window_warmup": None if window_warmup is None else tuple(window_warmup),
        "repeat_weight": repeat_weight,
        "seed": seed,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    tables = None if parent is None or began is not None else _tables_of(parent)
    asked = resolve(preset, None if config is None else Path(config), tuple(settings), given, alphabet, began, tables)
    return _from_anywhere(asked)


def _from_anywhere(settings: Settings) -> Settings:
    """Name the files of a recipe in full, so that the run can go on from another folder."""
    recipe = settings.recipe
    named = {name: file for name in _FILES if (file := getattr(recipe, name)) and not is_share(file)}
    places: dict[str, Any] = {n: str(Path(file).resolve()) for n, file in named.items() if Path(file).is_file()}
    return replace(settings, recipe=replace(recipe, **places))


def _tables_of(parent: HNetLM) -> dict[str, Any]:
    """Return the shape of a model, and of a run the recipe too, apart from what says which data it read."""
    model = {name: value for name, value in parent.config.to_dict().items() if value is not None}
    del model["vocab_size"]  # follows from the alphabet
    run = None if parent.folder is None else find_run(parent.folder)
    if run is None:
        return {"model": model}
    recipe = settings_of(RunFolder(run).description()).recipe.to_dict()
    return {"model": model, "train": {name: value for name, value in recipe.items() if name not in _OF_ITS_DATA}}


def budget_of(steps: int | None, minutes: float | None) -> Budget | None:
    """Return when to stop; None where nothing is asked for.

    Raises:
        UsageError: both are given, or one is negative or not finite.
    """
    if minutes is not None and steps is not None:
        raise UsageError("give `minutes` or `steps`, not both")
    if minutes is None and steps is None:
        return None
    return Budget(steps, None if minutes is None else minutes * 60)


def settings_of(record: dict[str, Any]) -> Settings:
    """Return the settings in a run's record."""
    try:
        model, recipe = ModelConfig.from_dict(record["model"]), Recipe.from_dict(record["recipe"])
        return _from_anywhere(Settings(record["preset"], model, recipe))
    except (ConfigError, KeyError, TypeError) as error:
        raise CheckpointError(f"run.json does not say what the run is ({error}); is it damaged?") from None


def changes_of(asked: Settings, began: Settings) -> dict[str, list[Any]]:
    """Return the old and the new value of each setting that a run goes on with; refuse what it may not change."""
    changed = {}
    for table, wanted, had in (
        ("model", asked.model.to_dict(), began.model.to_dict()),
        ("train", asked.recipe.to_dict(), began.recipe.to_dict()),
    ):
        for name in {**had, **wanted}:  # a model without a memory has no memory_cfg
            if wanted.get(name) == had.get(name):
                continue
            if name not in _CHANGEABLE:
                raise UsageError(
                    f"`resume`: {table}.{name} cannot change during a run, which began with "
                    f"{had.get(name, 'none')}; asked for {wanted.get(name, 'none')}. "
                    f"Settings that can change: {', '.join(sorted(_CHANGEABLE))}"
                )
            changed[f"{table}.{name}"] = [had[name], wanted[name]]
    return changed
