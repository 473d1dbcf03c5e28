"""The run folder: a model folder that also explains how it came about and can be resumed.

config.json, model.safetensors   the model so far; `HNetLM.from_pretrained(run)` reads them
run.json                         settings, budget, seed, data, versions, command; resumptions and what they changed
settings.toml                    the same settings as a file that `pretrain` takes
metrics.jsonl                    one line per few steps, and per validation
events.jsonl                     resumptions, steps left out, collapsed routers, damaged checkpoints
checkpoints/step-00000123/       model, optimizer and state from which `resume` goes on; the last few are kept
best/                            the model with the fewest bits per base on the validation part
results.json                     the final table
README.md                        the model card
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hnet_dna.config.schema import ModelConfig
from hnet_dna.config.settings import Settings
from hnet_dna.data.mix_sampler import MixPosition
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.run_record import BEST_FOLDER, CHECKPOINTS_FOLDER, RUN_FILE, describe_data
from hnet_dna.errors import CheckpointError
from hnet_dna.files import folder_beside, refuse_filled, write_beside
from hnet_dna.model.lm import HNetLM
from hnet_dna.ops import current_backend
from hnet_dna.pretrained.folder import CARD_FILE, WEIGHTS_FILE, write_model
from hnet_dna.training.card import model_card
from hnet_dna.training.progress import Progress
from hnet_dna.training.ranks import Ranks, share_of, whole

SETTINGS_FILE = "settings.toml"
METRICS_FILE = "metrics.jsonl"
EVENTS_FILE = "events.jsonl"
RESULTS_FILE = "results.json"
_OPTIMIZER_FILE = "optimizer.safetensors"
_STATE_FILE = "state.json"


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint is made of, copied to the CPU, so that training can go on while it is written.

    Attributes:
        config: of the model.
        weights: the model's state dict.
        moments: of the optimizer, named KIND.PARAMETER.
        progress: how far training had come.
    """

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    moments: Mapping[str, torch.Tensor]
    progress: Progress

    @classmethod
    def of(cls, model: HNetLM, optimizer: torch.optim.Optimizer | None, progress: Progress) -> Snapshot:
        """Copy the state of training; all ranks have to call this, since each holds a share."""
        names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        moments = {
            f"{key}.{names[parameter]}": _copy(value)
            for parameter, state in (optimizer.state if optimizer else {}).items()
            for key, value in state.items()
        }
        weights = {name: _copy(tensor) for name, tensor in model.state_dict().items()}
        return cls(model.config, weights, moments, deepcopy(progress))


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, fill: Callable[[RunFolder], None] = lambda run: None) -> None:
        """Make the folder with what `fill` writes, whole or not at all.

        One that holds anything is refused, so that no run overwrites another.
        """
        other = "choose another folder"
        refuse_filled(
            self.path, f"{other}, or go on with `resume`" if self.begun() else f"it holds no run to go on with; {other}"
        )
        with folder_beside(self.path) as new:
            fill(RunFolder(new))

    def begun(self) -> bool:
        """Return whether a run has begun here."""
        return (self.path / RUN_FILE).is_file()

    def describe(self, value: dict[str, Any], settings: Settings) -> None:
        """Write run.json and settings.toml."""
        self._write_json(self.path / RUN_FILE, value)
        with write_beside(self.path / SETTINGS_FILE) as temporary:
            temporary.write_text(settings.to_toml())

    def describe_resumption(
        self,
        step: int,
        settings: Settings,
        budget: dict[str, Any],
        changed: dict[str, list[Any]],
        command: Iterable[str],
    ) -> None:
        """Record that the run goes on at a step, and with what: its settings and its budget from now on.

        Results of that step are removed, since they are not those of the model that will be in the folder.
        `changed` has the old and the new value of each setting that is not as it was.
        """
        record = self.description()
        lengths = {f"budget.{name}": [record["budget"][name], value] for name, value in budget.items()}
        changed = changed | {name: values for name, values in lengths.items() if values[0] != values[1]}
        record["recipe"], record["budget"] = settings.recipe.to_dict(), budget
        resumption = {
            "step": step,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": list(command),
            "changed": changed,
        }
        record["resumptions"] = [*record.get("resumptions", ()), resumption]  # runs of older versions have none
        (self.path / RESULTS_FILE).unlink(missing_ok=True)
        self.describe(record, settings)
        changes = ", ".join(f"{name} from {old} to {new}" for name, (old, new) in changed.items())
        self.log_event({"step": step, "event": "resumed" + (f": {changes}" if changes else "")})

    def description(self) -> dict[str, Any]:
        """Read run.json."""
        return self._read_json(self.path / RUN_FILE)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        self._append(METRICS_FILE, record)

    def log_event(self, record: dict[str, Any]) -> None:
        """Append a line to events.jsonl."""
        self._append(EVENTS_FILE, record)

    @property
    def evaluated(self) -> bool:
        """Whether results.json is there, which is of the state that the run has now."""
        return (self.path / RESULTS_FILE).exists()

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json."""
        self._write_json(self.path / RESULTS_FILE, results)

    def write_card(self, model: HNetLM, results: dict[str, Any] | None) -> None:
        """Write README.md, the model card."""
        with write_beside(self.path / CARD_FILE) as path:
            path.write_text(model_card(self.description(), results, model.config), encoding="utf-8")

    def save(
        self,
        model: HNetLM,
        optimizer: torch.optim.Optimizer | None,
        progress: Progress,
        *,
        keep: int = 2,
        ranks: Ranks | None = None,
    ) -> None:
        """Take a snapshot and write it, on the first rank; all ranks have to call this."""
        snapshot = Snapshot.of(model, optimizer, progress)
        if ranks is None or ranks.first:
            self.write(snapshot, keep=keep)

    def write(self, snapshot: Snapshot, *, keep: int = 2) -> None:
        """Write a checkpoint beside the others, put it in its place, then the model itself; drop the oldest.

        A checkpoint is found by its folder's name only once it is complete, and a full disk leaves the ones before as
        they were.
        """
        progress = snapshot.progress
        final = self._checkpoint(progress.step)
        new = final.with_name(f".{final.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        try:
            write_model(new, snapshot.config, snapshot.weights)
            with write_beside(new / _OPTIMIZER_FILE) as path:
                save_file(dict(snapshot.moments), path)
            digests = {name: _sha256(new / name) for name in (WEIGHTS_FILE, _OPTIMIZER_FILE)}
            self._write_json(new / _STATE_FILE, {"progress": asdict(progress), "sha256": digests})
            shutil.rmtree(final, ignore_errors=True)
            new.rename(final)
        except OSError as error:
            last = self._steps()
            if not last:
                raise  # no run has begun
            raise CheckpointError(
                f"{final}: the checkpoint cannot be written ({error.strerror or error}); the last one is that of step "
                f"{last[-1]}. Make room, then go on with `resume`"
            ) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
        for step in self._steps()[:-keep]:
            shutil.rmtree(self._checkpoint(step), ignore_errors=True)
        write_model(self.path, snapshot.config, snapshot.weights)

    def save_best(self, model: HNetLM, reason: dict[str, Any], ranks: Ranks) -> None:
        """Write the best model so far, and what makes it the best."""
        weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
        if ranks.first:
            write_model(self.path / BEST_FOLDER, model.config, weights)
            self._write_json(self.path / BEST_FOLDER / "best.json", reason)

    def has_checkpoint(self) -> bool:
        """Return whether there is anything to resume from."""
        return bool(self._steps())

    def load(self, model: HNetLM, optimizer: torch.optim.Optimizer, ranks: Ranks | None = None) -> Progress:
        """Put the last checkpoint that is whole into a model and its optimizer, and trim the metrics to its step.

        The model may already be spread over the ranks. Instead of a damaged checkpoint the one before it is
        read, and events.jsonl names it; if all are damaged, the error names all of them.
        """
        damaged = []
        for step in reversed(self._steps()):
            folder = self._checkpoint(step)
            try:
                progress = self._load(folder, model, optimizer)
            except (SafetensorError, OSError, KeyError, TypeError) as error:
                damaged.append(f"{folder}: damaged checkpoint ({error})")
                continue
            if ranks is None or ranks.first:
                self._trim(METRICS_FILE, progress.step)
                self._trim(EVENTS_FILE, progress.step)
                for message in damaged:
                    self.log_event({"step": progress.step, "event": message})
            return progress
        if damaged:
            raise CheckpointError("; ".join(damaged))
        raise CheckpointError(f"{self.path} holds no checkpoint to resume from")

    def _load(self, folder: Path, model: HNetLM, optimizer: torch.optim.Optimizer) -> Progress:
        state = self._read_json(folder / _STATE_FILE)
        for name, digest in state["sha256"].items():
            if _sha256(folder / name) != digest:
                raise CheckpointError(f"the checksum of {name} is wrong")
        weights, moments = load_file(folder / WEIGHTS_FILE), load_file(folder / _OPTIMIZER_FILE)
        parameters = dict(model.named_parameters())
        saved = state["progress"]
        progress = Progress(**{**saved, "position": _position(saved["position"])})
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if name in weights:
                    tensor.copy_(share_of(weights[name], tensor))
        for key, tensor in moments.items():
            kind, name = key.split(".", 1)
            parameter = parameters[name]
            # Step counts are whole on every rank, and where fused AdamW wants them: beside their parameter.
            moved = tensor.to(parameter.device) if kind == "step" else share_of(tensor, parameter)
            optimizer.state[parameter][kind] = moved
        return progress

    def _checkpoint(self, step: int) -> Path:
        return self.path / CHECKPOINTS_FOLDER / f"step-{step:08d}"

    def _steps(self) -> list[int]:
        """Return the steps of all complete checkpoints, rising."""
        return sorted(int(folder.name[5:]) for folder in (self.path / CHECKPOINTS_FOLDER).glob("step-*"))

    def _append(self, name: str, record: dict[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _trim(self, name: str, step: int) -> None:
        path = self.path / name
        if not path.exists():
            return
        lines = []
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    lines.append(line)
            except (json.JSONDecodeError, KeyError):
                break  # a line cut short by a kill
        with write_beside(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in lines))

    def _write_json(self, path: Path, value: dict[str, Any]) -> None:
        with write_beside(path) as temporary:
            temporary.write_text(json.dumps(value, indent=2) + "\n")

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            raise CheckpointError(f"{self.path} is not a run folder: {path.name} is missing") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} is not JSON ({error})") from None
        return value


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    complete = whole(tensor)
    return complete if tensor.is_cuda else complete.clone()


def _position(saved: dict[str, Any]) -> MixPosition:
    if "epoch" in saved:  # of a run by version 0.1
        return MixPosition(0, (saved["epoch"],), (saved["index"],))
    return MixPosition(saved["drawn"], tuple(saved["epochs"]), tuple(saved["indices"]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_run(
    settings: Settings,
    parameters: int,
    mixture: Mixture,
    budget: dict[str, Any],
    command: Iterable[str],
    ranks: Ranks,
) -> dict[str, Any]:
    """Collect what run.json holds."""
    return {
        "command": list(command),
        "resumptions": [],
        "budget": budget,
        "preset": settings.preset,
        "recipe": settings.recipe.to_dict(),
        "model": settings.model.to_dict(),
        "parameters": parameters,
        "data": describe_data(mixture),
        "versions": {
            "hnet-dna": version("hnet-dna"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": {
            "system": platform.platform(),
            "device": torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "ranks": ranks.size,
            "backend": current_backend(ranks.device.type).name,
        },
    }
