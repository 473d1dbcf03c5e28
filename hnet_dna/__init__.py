"""hnet-dna: H-Nets (hierarchical networks with dynamic chunking) for nucleotide sequences."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnet_dna.annotation.extract import extract as extract
    from hnet_dna.config.schema import ModelConfig as ModelConfig
    from hnet_dna.embedding.embedder import embed as embed
    from hnet_dna.embedding.transformer import SequenceEmbedder as SequenceEmbedder
    from hnet_dna.explanation.figures.locus import plot_locus as plot_locus
    from hnet_dna.explanation.report import explain as explain
    from hnet_dna.genome.describe import describe_genome as describe_genome
    from hnet_dna.genome.genome import Genome as Genome
    from hnet_dna.genome.known import fetch_genome as fetch_genome
    from hnet_dna.genome.known import known_genomes as known_genomes
    from hnet_dna.genome.open import open_genome as open_genome
    from hnet_dna.inference.load import load_model as load_model
    from hnet_dna.model.lm import HNetLM as HNetLM
    from hnet_dna.model.lm import HNetOutput as HNetOutput
    from hnet_dna.sequence.coerce import as_codes as as_codes

__version__ = "0.1.0"

# Resolved on first use, so that importing the package, and `hnet-dna --help`, does not wait for torch.
_LAZY = {
    "Genome": "hnet_dna.genome.genome",
    "HNetLM": "hnet_dna.model.lm",
    "HNetOutput": "hnet_dna.model.lm",
    "ModelConfig": "hnet_dna.config.schema",
    "SequenceEmbedder": "hnet_dna.embedding.transformer",
    "as_codes": "hnet_dna.sequence.coerce",
    "describe_genome": "hnet_dna.genome.describe",
    "embed": "hnet_dna.embedding.embedder",
    "explain": "hnet_dna.explanation.report",
    "extract": "hnet_dna.annotation.extract",
    "fetch_genome": "hnet_dna.genome.known",
    "known_genomes": "hnet_dna.genome.known",
    "load_model": "hnet_dna.inference.load",
    "open_genome": "hnet_dna.genome.open",
    "plot_locus": "hnet_dna.explanation.figures.locus",
}

__all__ = [
    "Genome",
    "HNetLM",
    "HNetOutput",
    "ModelConfig",
    "SequenceEmbedder",
    "__version__",
    "as_codes",
    "describe_genome",
    "embed",
    "explain",
    "extract",
    "fetch_genome",
    "known_genomes",
    "load_model",
    "open_genome",
    "plot_locus",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'hnet_dna' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
