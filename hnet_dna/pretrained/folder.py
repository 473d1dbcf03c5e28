"""A model's folder on disk, `config.json` and `model.safetensors`, and what reads and writes it.

`PretrainedModel` lets a network be read from, and written to, folders, the Hugging Face hub and files of the reference
implementation. It knows nothing of layers; a network inherits from it. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hnet_dna.config.schema import MODEL_TYPE, ModelConfig
from hnet_dna.errors import CheckpointError, ConfigError
from hnet_dna.files import write_beside
from hnet_dna.pretrained import hub, reference
from hnet_dna.pretrained.builtin import builtin_models

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"

_BARE_CARD = """---
library_name: hnet-dna
tags: [dna, genomics, h-net]
---

An H-Net for nucleotide sequences, made by hnet-dna: `HNetLM.from_pretrained("owner/name")`.
"""


class PretrainedModel(nn.Module, ModelHubMixin):
    """A network that can be read from, and written to, folders, the hub and files of the reference implementation.

    Attributes:
        config: its shape.
        card: text of the model card in the folder that it was read from, None without one; `push_to_hub` uploads it.
        folder: where it was read from; None for a model that was not read from files.
    """

    config: ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.card: str | None = None
        self.folder: Path | None = None

    def digest(self) -> str:
        """Return a SHA-256 of the configuration and all weights, by which results name the model they come from."""
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            # As bytes, since numpy has no bfloat16.
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load a state dict, refusing missing, surplus and misshapen tensors by name."""
        weights = dict(state_dict)
        self._make_room(weights)
        if self.config.tie_embeddings:
            weights.setdefault("lm_head.weight", weights.get("embeddings.weight", torch.empty(0)))
            weights.setdefault("embeddings.weight", weights["lm_head.weight"])
        wanted = self.state_dict()
        problems = [f"missing {name}" for name in wanted if name not in weights]
        problems += [f"surplus {name}" for name in weights if name not in wanted]
        problems += [
            f"{name} has shape {tuple(weights[name].shape)}, expected {tuple(wanted[name].shape)}"
            for name in wanted
            if name in weights and weights[name].shape != wanted[name].shape
        ]
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise CheckpointError(f"the weights do not fit the configuration: {'; '.join(problems[:3])}{more}")
        self.load_state_dict(weights)

    def _make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Prepare for weights whose sizes the configuration leaves open; a network that has such overrides this."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, **download: Any
    ) -> Self:
        """Read what `save_pretrained` wrote: from a folder, from the package or from the hub.

        The model is ready to be used, as after `eval()`: while training, a memory of k-mers leaves out what it reads.

        Args:
            pretrained_model_name_or_path: a folder; or, where no such folder exists, the name of a built-in model, or
                owner/name on the hub.
            revision: branch, tag or commit on the hub.
            download: options of `huggingface_hub.snapshot_download`, such as token, cache_dir, local_files_only.

        Raises:
            CheckpointError: there is no such model, or its weights do not fit its configuration.
            ConfigError: the configuration names an unknown field or an impossible value.
        """
        folder = find_folder(pretrained_model_name_or_path, revision, **download)
        config = read_config(folder)
        try:
            weights = load_file(folder / WEIGHTS_FILE)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder / WEIGHTS_FILE} is not a readable safetensors file ({error})") from None
        model = cls(config)
        try:
            model.load_weights(weights)
        except CheckpointError as error:
            raise CheckpointError(f"{folder}: {error}") from None
        model.folder = folder
        if (folder / CARD_FILE).is_file():
            model.card = (folder / CARD_FILE).read_text(encoding="utf-8", errors="replace")
        return model.eval()

    def save_pretrained(self, save_directory: str | Path, **hub_options: Any) -> str | None:
        """Write `config.json` and `model.safetensors` into a folder, each beside its place and then renamed.

        Any option is one of `huggingface_hub.ModelHubMixin.save_pretrained`, which then also writes the model card.
        """
        if hub_options:
            return super().save_pretrained(save_directory, **hub_options)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_model(Path(save_directory), self.config, weights)
        return None

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write what the hub gets; the mixin calls this."""
        self.save_pretrained(save_directory)
        card = save_directory / CARD_FILE
        if not card.exists():
            card.write_text(self.card or _BARE_CARD, encoding="utf-8")

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload `config.json`, `model.safetensors` and the model card as `README.md`; return the commit's URL.

        Args:
            repo_id: owner/name, made where it does not exist.
            options: of `huggingface_hub.ModelHubMixin.push_to_hub`, such as private, branch, commit_message, token.
        """
        with hub.explaining_failures(f"{repo_id}: not uploaded to the hub", options.get("branch")):
            return super().push_to_hub(repo_id, **options)

    @classmethod
    def from_reference(
        cls,
        config: Mapping[str, Any] | str | Path,
        state_dict: Mapping[str, Tensor] | Path,
        alphabet: str | None = None,
    ) -> Self:
        """Build from a config and a state dict of the reference implementation.

        Args:
            config: dict, JSON text, or a JSON file as a `Path`.
            state_dict: tensors by name, or a safetensors file as a `Path`.
            alphabet: whose ids it was trained on. Without it a vocabulary of 256 is read as the reference's bytes; any
                other has no letters and serves as a bare model.
        """
        model = cls(reference.read_config(config, alphabet))
        weights = reference.read_weights(state_dict)
        try:
            model.load_weights(weights)
        except CheckpointError as error:
            where = f"{state_dict}: " if isinstance(state_dict, Path) else ""
            raise CheckpointError(f"{where}{error}") from None
        return model

    def save_reference(self, folder: str | Path, *, pt: bool = False) -> None:
        """Write a folder that the reference implementation reads: `config.json` and `model.safetensors`.

        Args:
            folder: made where it does not exist.
            pt: also write `model.pt`, a plain state dict by `torch.save`, as the reference's loader takes it.

        Raises:
            ConfigError: the reference cannot represent this model; nothing is written.
        """
        # Copies, since safetensors refuses the shared tensor of tied embeddings and the reference wants both names.
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.state_dict().items()}
        reference.write(self.config, weights, Path(folder), pt=pt)


def find_folder(model: str | Path, revision: str | None = None, **download: Any) -> Path:
    """Return the folder of a model given by folder, by the name of a built-in model or by owner/name on the hub.

    Raises:
        CheckpointError: there is none, it lacks a file, or the name is ambiguous.
    """
    folder = Path(model)
    builtin = builtin_models().get(str(folder))
    if builtin is not None and folder.is_dir():
        raise CheckpointError(f"{folder} is a built-in model and a folder here; give the folder's whole path")
    folder = builtin or folder
    if not folder.is_dir():
        if folder.is_file():
            raise CheckpointError(f"{folder} is a file; give the folder that holds it, {folder.parent}")
        if not hub.is_hub_name(folder.as_posix()):
            _require(folder)
        folder = hub.download(folder.as_posix(), (CONFIG_FILE, WEIGHTS_FILE), revision, **download)
    elif revision is not None:
        raise CheckpointError(f"{folder} is a folder, and only names on the hub have revisions; leave it out")
    _require(folder, CONFIG_FILE, WEIGHTS_FILE)
    return folder


def write_model(folder: Path, config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a model folder from a configuration and complete weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tied = {"lm_head.weight"} if config.tie_embeddings else set()
    with write_beside(folder / WEIGHTS_FILE) as path:
        save_file({name: tensor for name, tensor in weights.items() if name not in tied}, path)
    with write_beside(folder / CONFIG_FILE) as path:
        path.write_text(json.dumps({"model_type": MODEL_TYPE, **config.to_dict()}, indent=2) + "\n")


def read_config(folder: Path) -> ModelConfig:
    """Read the shape of a built-in model or of the one in a folder, whose weights may be missing."""
    folder = builtin_models().get(str(folder), folder)
    _require(folder, CONFIG_FILE)
    try:
        return ModelConfig.from_json((folder / CONFIG_FILE).read_text())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / CONFIG_FILE}: {error}") from None


def _require(folder: Path, *names: str) -> None:
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such model folder; expected {CONFIG_FILE} and {WEIGHTS_FILE} in it, a built-in model "
            f"({', '.join(builtin_models())}), or a name on the hub as owner/name"
        )
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a model folder: {name} is missing")
