"""The run folder: a model folder that also explains how it came about and can be resumed.

config.json, model.safetensors   the model so far; `HNetLM.from_pretrained(run)` reads them
run.json                         recipe, budget, seed, data, versions, command
metrics.jsonl                    one line per logged step
checkpoint/                      model, optimizer and position from which --resume goes on
results.json                     the final table
README.md                        the model card
"""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hnet_dna.data.genome import Genome
from hnet_dna.data.split import Split, base_counts
from hnet_dna.data.windows import Position
from hnet_dna.errors import CheckpointError, UsageError
from hnet_dna.files import write_beside
from hnet_dna.model.lm import CARD_FILE, WEIGHTS_FILE, HNetLM
from hnet_dna.train.model_card import model_card
from hnet_dna.train.recipe import Recipe

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
RESULTS_FILE = "results.json"
_CHECKPOINT = "checkpoint"
_OPTIMIZER_FILE = "optimizer.safetensors"
_STATE_FILE = "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        step: optimizer steps taken.
        seconds: time spent training.
        position: where the window sampler stands.
        window: bases per window in the last step; 0 before the first.
    """

    step: int = 0
    seconds: float = 0.0
    position: Position = field(default_factory=Position)
    window: int = 0


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the folder; one that holds anything is refused, so that no run overwrites another."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"--out {self.path} exists already; choose another folder, or go on with --resume")
        self.path.mkdir(parents=True, exist_ok=True)

    def describe(self, value: dict[str, Any]) -> None:
        """Write run.json."""
        self._write_json(self.path / RUN_FILE, value)

    def description(self) -> dict[str, Any]:
        """Read run.json."""
        return self._read_json(self.path / RUN_FILE)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.path / METRICS_FILE).open("a") as file:
            file.write(json.dumps(record) + "\n")

    def write_results(self, results: dict[str, Any]) -> None:
        """Write results.json."""
        self._write_json(self.path / RESULTS_FILE, results)

    def write_card(self, model: HNetLM, results: dict[str, Any] | None) -> None:
        """Write README.md, the model card."""
        with write_beside(self.path / CARD_FILE) as path:
            path.write_text(model_card(self.description(), results, model.config), encoding="utf-8")

    def save(self, model: HNetLM, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write a checkpoint beside the last one, then put it in its place; then the model itself."""
        new, old = self.path / f".{_CHECKPOINT}.new", self.path / f".{_CHECKPOINT}.old"
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        model.save_pretrained(new)
        names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        tensors = {
            f"{key}.{names[parameter]}": value.detach().cpu().contiguous()
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
        }
        save_file(tensors, new / _OPTIMIZER_FILE)
        self._write_json(new / _STATE_FILE, asdict(progress))
        final = self.path / _CHECKPOINT
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        model.save_pretrained(self.path)

    def has_checkpoint(self) -> bool:
        """Tell whether there is anything to resume from."""
        return self._checkpoint_path() is not None

    def load(self, model: HNetLM, optimizer: torch.optim.Optimizer) -> Progress:
        """Put the last checkpoint into a model and its optimizer, and trim the metrics to its step."""
        folder = self._checkpoint_path()
        if folder is None:
            raise CheckpointError(f"{self.path} holds no checkpoint to resume from")
        try:
            model.load_weights(load_file(folder / WEIGHTS_FILE))
            tensors = load_file(folder / _OPTIMIZER_FILE)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder}: damaged checkpoint ({error})") from None
        parameters = dict(model.named_parameters())
        for key, tensor in tensors.items():
            kind, name = key.split(".", 1)
            parameter = parameters[name]
            # AdamW keeps its step counts on the CPU.
            value = tensor if kind == "step" else tensor.to(parameter.device)
            optimizer.state[parameter][kind] = value
        state = self._read_json(folder / _STATE_FILE)
        progress = Progress(state["step"], state["seconds"], Position(**state["position"]), state["window"])
        self._trim_metrics(progress.step)
        return progress

    def _checkpoint_path(self) -> Path | None:
        # A kill between the two renames of `save` leaves the previous checkpoint under its old name.
        for name in (_CHECKPOINT, f".{_CHECKPOINT}.new", f".{_CHECKPOINT}.old"):
            folder = self.path / name
            if (folder / _STATE_FILE).is_file():
                return folder
        return None

    def _trim_metrics(self, step: int) -> None:
        path = self.path / METRICS_FILE
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


def describe_run(
    model: HNetLM, recipe: Recipe, genome: Genome, split: Split, budget: dict[str, Any], command: list[str]
) -> dict[str, Any]:
    """Collect what run.json holds."""
    return {
        "command": command,
        "budget": budget,
        "recipe": recipe.to_dict(),
        "model": model.config.to_dict(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": {
            "genome": str(genome.source.resolve()),
            "contigs": {contig.name: {"length": contig.length, "md5": contig.md5} for contig in genome.contigs},
            "split_rule": split.rule,
            "split": {
                part: [asdict(interval) for interval in getattr(split, part)] for part in ("train", "valid", "test")
            },
            "bases": base_counts(genome, split),
        },
        "versions": {
            "hnet-dna": version("hnet-dna"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "machine": {"system": platform.platform(), "threads": torch.get_num_threads()},
    }
