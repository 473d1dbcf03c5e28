"""hnet-dna: H-Nets (hierarchical networks with dynamic chunking) for nucleotide sequences."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnet_dna.config.schema import ModelConfig as ModelConfig
    from hnet_dna.embedding.embedder import embed as embed
    from hnet_dna.embedding.transformer import SequenceEmbedder as SequenceEmbedder
    from hnet_dna.inference.load import load_model as load_model
    from hnet_dna.model.lm import HNetLM as HNetLM
    from hnet_dna.model.lm import HNetOutput as HNetOutput

__version__ = "0.1.0"

# Resolved on first use, so that importing the package, and `hnet-dna --help`, does not wait for torch.
_LAZY = {
    "HNetLM": "hnet_dna.model.lm",
    "HNetOutput": "hnet_dna.model.lm",
    "ModelConfig": "hnet_dna.config.schema",
    "SequenceEmbedder": "hnet_dna.embedding.transformer",
    "embed": "hnet_dna.embedding.embedder",
    "load_model": "hnet_dna.inference.load",
}

__all__ = ["HNetLM", "HNetOutput", "ModelConfig", "SequenceEmbedder", "__version__", "embed", "load_model"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'hnet_dna' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
