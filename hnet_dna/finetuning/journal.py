"""What a fine-tuning leaves behind while it runs, so that it can go on exactly where it was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hnet_dna.errors import CheckpointError, UsageError
from hnet_dna.files import sole_owner, write_beside

_SETTINGS = "settings.json"
_STATE = "state"  # of the optimizer, in the names of tensors


class Journal:
    """The folder of an unfinished fine-tuning: its settings, and the state of each training by its key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, key: str, state: dict[str, Any]) -> None:
        """Keep the state of a training."""
        tensors: dict[str, Tensor] = {}
        for part in ("module", "weights"):
            tensors |= {f"{part}/{name}": value for name, value in state[part].items()}
        optimizer = state["optimizer"]
        for index, values in optimizer["state"].items():
            tensors |= {f"{_STATE}/{index}/{name}": torch.as_tensor(value) for name, value in values.items()}
        plain = {"epoch": state["epoch"], "best": state["best"], "groups": optimizer["param_groups"]}
        owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with write_beside(self._place(key)) as temporary:
            save_file(owned, temporary, {"training": json.dumps(plain)})

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the state of a training, None where it has not begun.

        Raises:
            CheckpointError: it cannot be read.
        """
        place = self._place(key)
        if not place.is_file():
            return None
        try:
            with safe_open(place, framework="pt") as file:
                plain = json.loads(file.metadata()["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{place}: damaged state ({error}); remove it to begin this part again") from None
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "weights": {}}
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            if part == _STATE:
                index, _, what = rest.partition("/")
                optimizer.setdefault(int(index), {})[what] = value
            else:
                parts[part][rest] = value
        state = {"state": optimizer, "param_groups": plain["groups"]}
        return {"epoch": plain["epoch"], "best": plain["best"], **parts, "optimizer": state}

    def _place(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


@contextmanager
def journal_of(out: Path, settings: dict[str, Any], *, resume: bool) -> Iterator[Journal]:
    """Open the journal beside the folder that is to be made; it is removed when all has ended well.

    Raises:
        UsageError: there is one already and `resume` is not asked for, there is none to go on with, or its settings are
            others.
        BusyError: another process works on it.
    """
    folder = out.with_name(f"{out.name}.unfinished")
    recorded = folder / _SETTINGS
    if recorded.is_file() and not resume:
        raise UsageError(f"{folder} is of a fine-tuning that was stopped; go on with it by `resume`, or remove it")
    if resume and not recorded.is_file():
        raise UsageError(f"`resume`: there is no {folder} to go on with")
    settings = json.loads(json.dumps(settings))
    with sole_owner(folder):
        if resume:
            before = json.loads(recorded.read_text())
            if changed := [name for name in settings if before.get(name) != settings[name]]:
                raise UsageError(
                    f"`resume`: {folder} was begun with other {changed[0]}; leave it as it was, or begin elsewhere"
                )
        else:
            with write_beside(recorded) as temporary:
                temporary.write_text(json.dumps(settings, indent=2) + "\n")
        yield Journal(folder)
    shutil.rmtree(folder)
