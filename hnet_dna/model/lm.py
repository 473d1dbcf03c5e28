"""The language model: embedding, stages, head; and its folder on disk (`config.json` + `model.safetensors`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import ModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import CheckpointError, ConfigError
from hnet_dna.files import write_beside
from hnet_dna.model import hub, reference
from hnet_dna.model.builtin import builtin_models
from hnet_dna.model.hnet import ChunkingStage, InnerState, StageOutput, build_stage
from hnet_dna.model.init import init_embeddings, init_memory, init_stages
from hnet_dna.model.kmers import KmerStage
from hnet_dna.model.memory import Memory, MemoryState, Recall
from hnet_dna.model.rows import Rows

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"

_BARE_CARD = """---
library_name: hnet-dna
tags: [dna, genomics, h-net]
---

An H-Net for nucleotide sequences, made by hnet-dna: `HNetLM.from_pretrained("owner/name")`.
"""


@dataclass(frozen=True)
class HNetOutput:
    """What one call of the model gives.

    Attributes:
        logits: (B, L, V); those at position t predict the token at t + 1, also in a model of k-mers.
        stages: one entry per chunking stage, outermost first; empty for an isotropic model.
        state: pass it to the next call to go on where this piece ended.
    """

    logits: Tensor
    stages: tuple[StageOutput, ...]
    state: InnerState | None


@dataclass(frozen=True)
class BoundaryOutput:
    """What `HNetLM.boundaries` gives.

    Attributes:
        stages: one entry per chunking stage that was asked for, outermost first.
        state: pass it to the next call of `boundaries`; `HNetLM.__call__` refuses it.
    """

    stages: tuple[StageOutput, ...]
    state: InnerState | None


class HNetLM(nn.Module, ModelHubMixin):
    """An H-Net over token ids: `out = model(ids)`, then `model(more_ids, state=out.state)`.

    Training, streaming a chromosome in pieces and generating base by base are this one function. The state stays
    bounded when every attention layer has a window.

    Attributes:
        config: its shape.
        card: text of the model card in the folder that it was read from, None without one; `push_to_hub` uploads it.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build a freshly initialised model; torch's generator decides the weights."""
        super().__init__()
        self.config = config
        self.card: str | None = None
        # A model of k-mers embeds one more: any k-mer with a letter other than A, C, G, T, which is never predicted.
        entries, classes = (4**config.kmer + 1, 4**config.kmer) if config.kmer else (config.vocab_size,) * 2
        self.embeddings = nn.Embedding(entries, config.stage(0).d_model)
        self.backbone = KmerStage(config) if config.kmer else build_stage(config, config.layout)
        self.lm_head = nn.Linear(config.stage(0).d_model, classes, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.embeddings.weight
        init_embeddings(self.embeddings, self.lm_head)
        init_stages(self.backbone)
        # Last, so that the weights of all else are those of a model without a memory.
        self.memory = Memory(config) if config.has_memory else None
        if self.memory is not None:
            init_memory(self.memory)

    def forward(
        self, input_ids: Tensor, state: InnerState | None = None, *, lengths: Tensor | None = None
    ) -> HNetOutput:
        """Predict the next token at every position.

        Args:
            input_ids: (B, L) integers; L may be 0.
            state: the state after the pieces before this one, None at the start of the sequences.
            lengths: (B,) valid positions of each row, padding on the right; None where all rows are full.

        Returns:
            Logits, stage outputs over this piece, and the state after it. Values at padding are meaningless.
        """
        rows = _rows(input_ids, lengths)
        if isinstance(self.backbone, KmerStage):
            logits, after = self.backbone(input_ids, rows, cast(Any, state), self.embeddings, self.lm_head)
            return HNetOutput(logits, (), after)
        x, recall, inner, letters = self._read(input_ids, rows, state)
        out, stages, after = self.backbone(x, rows, cast(Any, inner))
        logits = self.lm_head(out)
        if self.memory is not None and recall is not None:
            logits = self.memory.add_to(logits, recall, out)
        return HNetOutput(logits, stages, self._state(letters, after))

    def boundaries(
        self, input_ids: Tensor, state: InnerState | None = None, *, stage: int, lengths: Tensor | None = None
    ) -> BoundaryOutput:
        """Find the boundaries of stages 0 to `stage` alone: the same as `__call__` gives, at a part of its cost.

        Nothing inside a stage, nor its decoder, has a part in its boundaries, so none of it is run.

        Args:
            input_ids: (B, L) integers; L may be 0.
            state: the state after the pieces before this one, from this method; None at the start of the sequences.
            stage: the innermost chunking stage that is wanted.
            lengths: (B,) valid positions of each row, padding on the right; None where all rows are full.
        """
        if not 0 <= stage < self.n_chunking_stages:
            raise ValueError(
                f"stage {stage}: this model has {self.n_chunking_stages} chunking stages, the first being 0"
            )
        rows = _rows(input_ids, lengths)
        x, _, inner, letters = self._read(input_ids, rows, state)
        outputs, after = cast(ChunkingStage, self.backbone).boundaries(x, rows, cast(Any, inner), stage)
        return BoundaryOutput(outputs, self._state(letters, after))

    def _read(
        self, ids: Tensor, rows: Rows, state: InnerState | None
    ) -> tuple[Tensor, Recall | None, InnerState | None, Tensor | None]:
        """Embed ids (B, L); return also what the memory recalls, the state inside, and the last letters."""
        x = self.embeddings(ids)
        if self.memory is None:
            return x, None, state, None
        before = cast("MemoryState | None", state) or MemoryState(None, None)
        recall, letters = self.memory(ids, rows, before.letters)
        return x + recall.vector, recall, before.inner, letters

    def _state(self, letters: Tensor | None, inner: InnerState | None) -> InnerState | None:
        return inner if self.memory is None else MemoryState(letters, inner)

    @property
    def n_chunking_stages(self) -> int:
        """Number of routers."""
        return self.config.n_stages - 1

    def digest(self) -> str:
        """Return a SHA-256 of the configuration and all weights, by which results name the model they come from."""
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @classmethod
    def from_reference(
        cls,
        config: Mapping[str, Any] | str | Path,
        state_dict: Mapping[str, Tensor] | Path,
        alphabet: str | None = None,
    ) -> HNetLM:
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

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load a state dict, refusing missing, surplus and misshapen tensors by name."""
        weights = dict(state_dict)
        if self.memory is not None:
            self.memory.make_room(weights)
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

    def save_pretrained(self, save_directory: str | Path, **hub_options: Any) -> str | None:
        """Write `config.json` and `model.safetensors` into a folder, each beside its place and then renamed.

        Any option is one of `huggingface_hub.ModelHubMixin.save_pretrained`, which then also writes the model card.
        """
        if hub_options:
            return super().save_pretrained(save_directory, **hub_options)
        weights = {n: t.detach().cpu().contiguous() for n, t in self.state_dict().items()}
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
        with hub.failures_told(f"{repo_id}: not uploaded to the hub", options.get("branch")):
            return super().push_to_hub(repo_id, **options)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, **download: Any
    ) -> HNetLM:
        """Read what `save_pretrained` wrote: from a folder, from the package or from the hub. Nothing is unpickled.

        The model is ready to be used, as after `eval()`: while training, a memory of k-mers leaves out what it reads.

        Args:
            pretrained_model_name_or_path: a folder; or, where no such folder exists, the name of a built-in model, or
                owner/name on the hub.
            revision: branch, tag or commit on the hub.
            download: options of `huggingface_hub.snapshot_download`, such as token, cache_dir, local_files_only.
        """
        folder = Path(pretrained_model_name_or_path)
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
            raise CheckpointError(f"{folder} is a folder, and a revision is of a name on the hub; leave it out")
        _require(folder, CONFIG_FILE, WEIGHTS_FILE)
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
        if (folder / CARD_FILE).is_file():
            model.card = (folder / CARD_FILE).read_text(encoding="utf-8", errors="replace")
        return model.eval()


def _rows(input_ids: Tensor, lengths: Tensor | None) -> Rows:
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids: expected (batch, length), got shape {tuple(input_ids.shape)}")
    return Rows.full(input_ids) if lengths is None else Rows.of(lengths, input_ids.shape[1])


def write_model(folder: Path, config: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a model folder from a configuration and complete weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tied = {"lm_head.weight"} if config.tie_embeddings else set()
    with write_beside(folder / WEIGHTS_FILE) as path:
        save_file({name: tensor for name, tensor in weights.items() if name not in tied}, path)
    with write_beside(folder / CONFIG_FILE) as path:
        path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")


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
