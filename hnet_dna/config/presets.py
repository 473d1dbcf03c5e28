"""Named model shapes."""

from __future__ import annotations

from collections.abc import Callable

from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import UsageError, did_you_mean


def _tiny(alphabet: str, vocab_size: int) -> ModelConfig:
    """Trains on two CPU cores: 0.4 M parameters, one level of chunks, Mamba-2 throughout."""
    return ModelConfig(
        layout=("m2", ("M2",), "m2"),
        d_model=(64, 128),
        d_intermediate=(0, 256),
        vocab_size=vocab_size,
        alphabet=alphabet,
        d_state=(32,),
        head_dim=(32,),
        chunk_size=32,
    )


PRESETS: dict[str, Callable[[str, int], ModelConfig]] = {"tiny": _tiny}


def preset(name: str, alphabet: str, vocab_size: int) -> ModelConfig:
    """Return the model shape of a preset for an alphabet."""
    if name not in PRESETS:
        raise UsageError(f"--preset {name}: no such preset. {did_you_mean(name, PRESETS)}")
    return PRESETS[name](alphabet, vocab_size)
