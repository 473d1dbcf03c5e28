"""hnet-dna: H-Nets (hierarchical networks with dynamic chunking) for nucleotide sequences."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnet_dna.annotation.extract import extract as extract
    from hnet_dna.config.schema import ModelConfig as ModelConfig
    from hnet_dna.data.genome_mix import GenomeMix as GenomeMix
    from hnet_dna.data.genome_mix import MixEntry as MixEntry
    from hnet_dna.embedding.embedder import embed as embed
    from hnet_dna.embedding.table import read_table as read_table
    from hnet_dna.embedding.transformer import SequenceEmbedder as SequenceEmbedder
    from hnet_dna.embedding.write import embed_to_table as embed_to_table
    from hnet_dna.evaluation.run import evaluate as evaluate
    from hnet_dna.explanation.figures.dependencies import plot_dependencies as plot_dependencies
    from hnet_dna.explanation.figures.karyotype import plot_karyotype as plot_karyotype
    from hnet_dna.explanation.figures.locus import plot_locus as plot_locus
    from hnet_dna.explanation.figures.mutations import plot_mutations as plot_mutations
    from hnet_dna.explanation.report import explain as explain
    from hnet_dna.finetuning.benchmark import benchmark as benchmark
    from hnet_dna.finetuning.run import finetune as finetune
    from hnet_dna.genome.describe import describe_genome as describe_genome
    from hnet_dna.genome.genome import Genome as Genome
    from hnet_dna.genome.known import annotation_path as annotation_path
    from hnet_dna.genome.known import fetch_genome as fetch_genome
    from hnet_dna.genome.known import known_genomes as known_genomes
    from hnet_dna.genome.open import open_genome as open_genome
    from hnet_dna.hub.write import write_hub as write_hub
    from hnet_dna.inference.base_scores import score as score
    from hnet_dna.inference.dependencies import dependencies as dependencies
    from hnet_dna.inference.generate import generate as generate
    from hnet_dna.inference.load import load_model as load_model
    from hnet_dna.inference.mutate import mutate as mutate
    from hnet_dna.inference.variants import score_variants as score_variants
    from hnet_dna.model.lm import HNetLM as HNetLM
    from hnet_dna.model.lm import HNetOutput as HNetOutput
    from hnet_dna.ops.doctor import doctor as doctor
    from hnet_dna.probing.base_prediction import predict_bases as predict_bases
    from hnet_dna.probing.effect_benchmark import benchmark_variants as benchmark_variants
    from hnet_dna.probing.prediction import predict as predict
    from hnet_dna.probing.run import probe as probe
    from hnet_dna.sequence.coerce import as_codes as as_codes
    from hnet_dna.sequence.interval import Interval as Interval
    from hnet_dna.tracks.bed import write_bed as write_bed
    from hnet_dna.tracks.bigbed import write_bigbed as write_bigbed
    from hnet_dna.tracks.chunks import Chunks as Chunks
    from hnet_dna.tracks.merge import merge_tracks as merge_tracks
    from hnet_dna.tracks.mutations import write_mutations as write_mutations
    from hnet_dna.tracks.segment import segment as segment
    from hnet_dna.tracks.vcf import score_vcf as score_vcf
    from hnet_dna.tracks.windows import write_summary as write_summary
    from hnet_dna.tracks.write import write_bedgraph as write_bedgraph
    from hnet_dna.tracks.write import write_bigwig as write_bigwig
    from hnet_dna.training.plan import plan as plan
    from hnet_dna.training.run import Run as Run
    from hnet_dna.training.run import pretrain as pretrain
    from hnet_dna.training.run import resume as resume

__version__ = "0.1.0"

# Resolved on first use, so that importing the package, and `hnet-dna --help`, does not wait for torch.
_LAZY = {
    "Chunks": "hnet_dna.tracks.chunks",
    "Genome": "hnet_dna.genome.genome",
    "GenomeMix": "hnet_dna.data.genome_mix",
    "HNetLM": "hnet_dna.model.lm",
    "HNetOutput": "hnet_dna.model.lm",
    "Interval": "hnet_dna.sequence.interval",
    "MixEntry": "hnet_dna.data.genome_mix",
    "ModelConfig": "hnet_dna.config.schema",
    "Run": "hnet_dna.training.run",
    "SequenceEmbedder": "hnet_dna.embedding.transformer",
    "as_codes": "hnet_dna.sequence.coerce",
    "benchmark": "hnet_dna.finetuning.benchmark",
    "benchmark_variants": "hnet_dna.probing.effect_benchmark",
    "dependencies": "hnet_dna.inference.dependencies",
    "annotation_path": "hnet_dna.genome.known",
    "describe_genome": "hnet_dna.genome.describe",
    "doctor": "hnet_dna.ops.doctor",
    "embed": "hnet_dna.embedding.embedder",
    "embed_to_table": "hnet_dna.embedding.write",
    "evaluate": "hnet_dna.evaluation.run",
    "explain": "hnet_dna.explanation.report",
    "extract": "hnet_dna.annotation.extract",
    "fetch_genome": "hnet_dna.genome.known",
    "finetune": "hnet_dna.finetuning.run",
    "generate": "hnet_dna.inference.generate",
    "known_genomes": "hnet_dna.genome.known",
    "load_model": "hnet_dna.inference.load",
    "merge_tracks": "hnet_dna.tracks.merge",
    "mutate": "hnet_dna.inference.mutate",
    "open_genome": "hnet_dna.genome.open",
    "plan": "hnet_dna.training.plan",
    "plot_dependencies": "hnet_dna.explanation.figures.dependencies",
    "plot_karyotype": "hnet_dna.explanation.figures.karyotype",
    "plot_locus": "hnet_dna.explanation.figures.locus",
    "plot_mutations": "hnet_dna.explanation.figures.mutations",
    "predict": "hnet_dna.probing.prediction",
    "predict_bases": "hnet_dna.probing.base_prediction",
    "pretrain": "hnet_dna.training.run",
    "probe": "hnet_dna.probing.run",
    "read_table": "hnet_dna.embedding.table",
    "resume": "hnet_dna.training.run",
    "score": "hnet_dna.inference.base_scores",
    "score_variants": "hnet_dna.inference.variants",
    "score_vcf": "hnet_dna.tracks.vcf",
    "segment": "hnet_dna.tracks.segment",
    "write_bed": "hnet_dna.tracks.bed",
    "write_bedgraph": "hnet_dna.tracks.write",
    "write_bigbed": "hnet_dna.tracks.bigbed",
    "write_bigwig": "hnet_dna.tracks.write",
    "write_hub": "hnet_dna.hub.write",
    "write_mutations": "hnet_dna.tracks.mutations",
    "write_summary": "hnet_dna.tracks.windows",
}

__all__ = [
    "Chunks",
    "Genome",
    "GenomeMix",
    "HNetLM",
    "HNetOutput",
    "Interval",
    "MixEntry",
    "ModelConfig",
    "Run",
    "SequenceEmbedder",
    "__version__",
    "annotation_path",
    "as_codes",
    "benchmark",
    "benchmark_variants",
    "dependencies",
    "describe_genome",
    "doctor",
    "embed",
    "embed_to_table",
    "evaluate",
    "explain",
    "extract",
    "fetch_genome",
    "finetune",
    "generate",
    "known_genomes",
    "load_model",
    "merge_tracks",
    "mutate",
    "open_genome",
    "plan",
    "plot_dependencies",
    "plot_karyotype",
    "plot_locus",
    "plot_mutations",
    "predict",
    "predict_bases",
    "pretrain",
    "probe",
    "read_table",
    "resume",
    "score",
    "score_variants",
    "score_vcf",
    "segment",
    "write_bed",
    "write_bedgraph",
    "write_bigbed",
    "write_bigwig",
    "write_hub",
    "write_mutations",
    "write_summary",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'hnet_dna' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
