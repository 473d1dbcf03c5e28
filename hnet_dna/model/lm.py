"""The language model: embedding, stages, head; and its folder on disk (`config.json` + `model.safetensors`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hnet_dna.config.layout import n_stages, parse_layout
from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import CheckpointError, ConfigError
from hnet_dna.files import write_beside
from hnet_dna.model.hnet import InnerState, StageOutput, build_stage
from hnet_dna.model.init import init_embeddings, init_stages
from hnet_dna.model.rows import Rows

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class HNetOutput:
    """What one call of the model gives.

    Attributes:
        logits: (B, L, V); those at position t predict the token at t + 1.
        stages: one entry per chunking stage, outermost first; empty for an isotropic model.
        state: pass it to the next call to go on where this piece ended.
    """

    logits: Tensor
    stages: tuple[StageOutput, ...]
    state: InnerState | None


class HNetLM(nn.Module):
    """An H-Net over token ids: `out = model(ids)`, then `model(more_ids, state=out.state)`.

    Training, streaming a chromosome in pieces and generating base by base are this one function. The state stays
    bounded when every attention layer has a window.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build a freshly initialised model; torch's generator decides the weights."""
        super().__init__()
        self.config = config
        self.embeddings = nn.Embedding(config.vocab_size, config.stage(0).d_model)
        self.backbone = build_stage(config, config.layout)
        self.lm_head = nn.Linear(config.stage(0).d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.embeddings.weight
        init_embeddings(self.embeddings, self.lm_head)
        init_stages(self.backbone)

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
        if input_ids.ndim != 2:
            raise ValueError(f"input_ids: expected (batch, length), got shape {tuple(input_ids.shape)}")
        rows = Rows.full(input_ids) if lengths is None else Rows.of(lengths, input_ids.shape[1])
        x = self.embeddings(input_ids)
        out, stages, state = self.backbone(x, rows, cast(Any, state))
        return HNetOutput(self.lm_head(out), stages, state)

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
    def from_reference(cls, config: Mapping[str, Any] | str, state_dict: Mapping[str, Tensor]) -> HNetLM:
        """Build from a config (dict or JSON text) and a state dict of the reference implementation.

        A vocabulary of 256 is read as the reference's bytes; any other has no letters and serves as a bare model.
        """
        value = json.loads(config) if isinstance(config, str) else config
        value = {"alphabet": "bytes" if value.get("vocab_size") == 256 else None, **value}
        value["ssm_cfg"] = {"head_dim": 64, **(value.get("ssm_cfg") or {})}
        stages = n_stages(parse_layout(value.get("arch_layout")))
        for group in ("ssm_cfg", "attn_cfg"):  # the reference indexes its lists by stage and ignores surplus entries
            section = value.get(group) or {}
            value[group] = {n: v[:stages] if isinstance(v, list) else v for n, v in section.items()}
        model = cls(ModelConfig.from_dict(value))
        model.load_weights(state_dict)
        return model

    def load_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load a state dict, refusing missing, surplus and misshapen tensors by name."""
        weights = dict(state_dict)
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

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, each beside its place and then renamed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {n: t.detach().cpu().contiguous() for n, t in self.state_dict().items()}
        if self.config.tie_embeddings:
            del weights["lm_head.weight"]
        with write_beside(folder / WEIGHTS_FILE) as path:
            save_file(weights, path)
        with write_beside(folder / CONFIG_FILE) as path:
            path.write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> HNetLM:
        """Read what `save_pretrained` wrote. Nothing is unpickled."""
        folder = Path(folder)
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
        return model


def read_config(folder: Path) -> ModelConfig:
    """Read the shape of the model in a folder; its weights may be missing."""
    _require(folder, CONFIG_FILE)
    try:
        return ModelConfig.from_json((folder / CONFIG_FILE).read_text())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / CONFIG_FILE}: {error}") from None


def _require(folder: Path, *names: str) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such model folder; expected {CONFIG_FILE} and {WEIGHTS_FILE} in it")
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a model folder: {name} is missing")
