"""Finds the model that makes vectors, now and again later."""

from __future__ import annotations

import logging
from pathlib import Path

from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.pretrained.builtin import builtin_models

_log = logging.getLogger(__name__)


def open_model(model: str | Path | HNetLM) -> tuple[HNetLM, str | None]:
    """Return a model that is ready to predict, and the name by which `load_model` finds it again from any folder.

    The name is the absolute path of a folder, or the name of a built-in model or one on the hub. It is None for a model
    that was made in memory, and not by `load_model`.
    """
    loaded = load_model(model)
    path = Path(loaded.name_or_path)
    if not loaded.name_or_path or path.is_dir():
        return loaded, str(path.resolve()) if loaded.name_or_path else None
    name = path.as_posix()
    if isinstance(model, HNetLM):
        return loaded, name
    origin = "built in; `model` takes your own" if name in builtin_models() else "from the hub"
    _log.info("model: %s (%s)", name, origin)
    return loaded, name
