"""The reference implementation's files (github.com/goombalab/hnet): a JSON config and a state dict, both directions.

Tensors have one name here and there, so only the configuration is translated. Only safetensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hnet_dna.config.layout import n_stages, parse_layout
from hnet_dna.config.schema import ModelConfig, setting_path
from hnet_dna.config.values import json_object
from hnet_dna.errors import CheckpointError, ConfigError, shown
from hnet_dna.files import write_beside
from hnet_dna.sequence.alphabet import alphabet as find_alphabet

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PT_FILE = "model.pt"

HEAD_DIM = 64  # of the reference's Mamba-2
_DECHUNK_HEAD_DIM = 32  # its moving average over chunks runs in heads of this many channels

_TOP = ("d_model", "d_intermediate", "vocab_size", "tie_embeddings")
_GROUPS = {
    "ssm_cfg": ("chunk_size", "d_conv", "d_state", "expand"),
    "attn_cfg": ("num_heads", "rotary_emb_dim", "window_size"),
}
# The alphabet is dropped; the last two mean nothing without a memory, which is refused.
_DROPPED = {"alphabet", "table_width", "max_words"}
_KNOWN = {"layout", *_TOP, *_GROUPS["ssm_cfg"], *_GROUPS["attn_cfg"]}
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


def read_config(config: Mapping[str, Any] | str | Path, alphabet: str | None = None) -> ModelConfig:
    """Read a config of the reference: a dict, JSON text, or a file.

    Args:
        config: its fields; lists may have more entries than there are stages, as the reference's have.
        alphabet: whose ids the model was trained on. Without it a vocabulary of 256 is bytes, any other has no letters.
    """
    where = str(config) if isinstance(config, Path) else "reference config"
    try:
        text = config.read_text() if isinstance(config, Path) else config
    except OSError as error:
        raise ConfigError(f"{config}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not JSON ({error})") from None
    value = json_object(text, where) if isinstance(text, str) else text
    try:
        return _read_fields(value, alphabet)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def read_weights(weights: Mapping[str, Tensor] | Path) -> Mapping[str, Tensor]:
    """Read a state dict from a safetensors file; one in memory is returned as it is."""
    if not isinstance(weights, Path):
        return weights
    if not weights.is_file():
        raise CheckpointError(f"{weights}: no such file; expected the weights as safetensors")
    if weights.suffix.lower() in _PICKLES:
        new = weights.with_suffix(".safetensors").name
        raise CheckpointError(
            f"{weights}: {weights.suffix} files are pickles, which run code when they are read, so this program reads "
            "none. Convert it once, where you trust it, then give the new file: "
            'python -c "import torch, safetensors.torch as s; '
            f"w = torch.load('{weights.name}', map_location='cpu', weights_only=True); "
            f"s.save_file({{n: t.clone().contiguous() for n, t in w.items()}}, '{new}')\""
        )
    try:
        return load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{weights} is not a readable safetensors file ({error})") from None


def to_reference(config: ModelConfig) -> dict[str, Any]:
    """Return the reference's config, with only its fields; a `ConfigError` names what it cannot represent.

    The alphabet is dropped: the reference knows ids, not letters.
    """
    refused = {}
    for field in fields(config):
        if not field.init or field.name in _KNOWN | _DROPPED:
            continue
        value = getattr(config, field.name)
        default = field.default if field.default is not MISSING else None
        # Of a field for each stage, the default is one entry for all.
        same = set(value) == set(default) if isinstance(value, tuple) and isinstance(default, tuple) else False
        if not same and value != default:
            refused[field.name] = value, default
    if refused:
        raise ConfigError(_refusal(refused))
    for index in range(config.n_stages - 1):
        width = config.stage(index).d_model
        if width % _DECHUNK_HEAD_DIM:
            raise ConfigError(
                f"d_model[{index}] is {width}: the reference needs widths of chunking stages divisible by "
                f"{_DECHUNK_HEAD_DIM}, so it cannot run this model"
            )
    full = config.to_dict()
    written = {"arch_layout": full["arch_layout"], **{name: full[name] for name in _TOP if name != "tie_embeddings"}}
    for group, names in _GROUPS.items():
        written[group] = {name: full[group][name] for name in names}
    # The reference's own files have one number for all stages here.
    written["ssm_cfg"] = {
        n: v[0] if isinstance(v, list) and len(set(v)) == 1 else v for n, v in written["ssm_cfg"].items()
    }
    return {**written, "tie_embeddings": full["tie_embeddings"]}


def write(config: ModelConfig, weights: Mapping[str, Tensor], folder: Path, *, pt: bool = False) -> None:
    """Write the folder that the reference reads: `config.json`, `model.safetensors`, with `pt` also `model.pt`.

    The last is a plain state dict by `torch.save`, as the reference's loader takes it. A model that the reference
    cannot represent is a `ConfigError`, and nothing is written.

    Args:
        config: the model's shape.
        weights: all tensors, none of which share memory.
        folder: made where it does not exist.
        pt: also write `model.pt`.
    """
    fields_there = to_reference(config)
    folder.mkdir(parents=True, exist_ok=True)
    with write_beside(folder / WEIGHTS_FILE) as path:
        save_file(dict(weights), path)
    if pt:
        # Given a stream: given a path, torch puts the temporary name into the file.
        with write_beside(folder / PT_FILE) as path, path.open("wb") as stream:
            torch.save(dict(weights), stream)
    with write_beside(folder / CONFIG_FILE) as path:
        path.write_text(json.dumps(fields_there, indent=2) + "\n")


def _read_fields(value: Mapping[str, Any], alphabet: str | None) -> ModelConfig:
    value = {"alphabet": "bytes" if value.get("vocab_size") == 256 else None, **value}
    if alphabet is not None:
        letters = find_alphabet(alphabet)
        if value.get("vocab_size") != letters.vocab_size:
            raise ConfigError(
                f"vocab_size is {value.get('vocab_size')}, but alphabet {alphabet} has {letters.vocab_size} ids; "
                "choose the alphabet that the model was trained on, or none"
            )
        value["alphabet"] = alphabet
    stages = n_stages(parse_layout(value.get("arch_layout")))
    for group in _GROUPS:  # the reference indexes its lists by stage and ignores surplus entries
        section = {} if value.get(group) is None else value[group]
        if not isinstance(section, Mapping):
            raise ConfigError(f"{group}: expected an object, got {shown(section)}")
        value[group] = {n: v[:stages] if isinstance(v, list) else v for n, v in section.items()}
    value["ssm_cfg"] = {"head_dim": HEAD_DIM, **value["ssm_cfg"]}
    return ModelConfig.from_dict(value)


def _refusal(refused: Mapping[str, tuple[Any, Any]]) -> str:
    """Name all fields at once, since each costs a training to mend."""
    reasons = [f"{name} is {_short(value)} and not {_short(only)}" for name, (value, only) in refused.items()]
    options = [f"--set model.{setting_path(name)}={_short(only).lower()}" for name, (_, only) in refused.items()]
    return (
        f"{', '.join(reasons)}: the reference supports no other value, so it cannot run this model; one trained with "
        f"{' '.join(options)} can be exported"
    )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(map(str, value if len(set(value)) > 1 else value[:1])) or "[]"
    return str(value)
