"""hnet-dna: H-Nets (hierarchical networks with dynamic chunking) for nucleotide sequences."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hnet_dna.annotation.extract import extract
    from hnet_dna.config.schema import ModelConfig
    from hnet_dna.data.genome_mix import GenomeMix, MixEntry
    from hnet_dna.embedding.embedder import embed
    from hnet_dna.embedding.table import read_table
    from hnet_dna.embedding.transformer import SequenceEmbedder
    from hnet_dna.embedding.write import embed_to_table
    from hnet_dna.evaluation.run import evaluate
    from hnet_dna.explanation.figures.dependencies import plot_dependencies
    from hnet_dna.explanation.figures.karyotype import plot_karyotype
    from hnet_dna.explanation.figures.locus import plot_locus
    from hnet_dna.explanation.figures.mutations import plot_mutations
    from hnet_dna.explanation.mutated import mutate_to_files
    from hnet_dna.explanation.report import explain
    from hnet_dna.finetuning.benchmark import benchmark
    from hnet_dna.finetuning.run import finetune
    from hnet_dna.genome.describe import describe_genome
    from hnet_dna.genome.genome import Genome
    from hnet_dna.genome.known import annotation_path, fetch_genome, known_genomes
    from hnet_dna.genome.open import open_genome
    from hnet_dna.hub.write import write_hub
    from hnet_dna.inference.base_scores import score, score_regions, write_region_scores
    from hnet_dna.inference.dependencies import dependencies
    from hnet_dna.inference.generate import generate, generate_to_fasta
    from hnet_dna.inference.load import load_model
    from hnet_dna.inference.mutate import mutate
    from hnet_dna.inference.variants import score_variants
    from hnet_dna.model.lm import HNetLM, HNetOutput
    from hnet_dna.ops.doctor import doctor
    from hnet_dna.probing.base_prediction import predict_bases
    from hnet_dna.probing.effect_benchmark import benchmark_variants
    from hnet_dna.probing.prediction import predict
    from hnet_dna.probing.prediction_file import predict_to_file
    from hnet_dna.probing.run import probe
    from hnet_dna.sequence.coerce import as_codes
    from hnet_dna.sequence.interval import Interval
    from hnet_dna.tracks.bed import write_bed
    from hnet_dna.tracks.bigbed import write_bigbed
    from hnet_dna.tracks.chunks import Chunks
    from hnet_dna.tracks.merge import merge_tracks
    from hnet_dna.tracks.mutations import write_mutations
    from hnet_dna.tracks.outputs import TrackFiles
    from hnet_dna.tracks.segment import segment
    from hnet_dna.tracks.to_files import score_to_files, segment_to_files
    from hnet_dna.tracks.vcf import score_vcf
    from hnet_dna.tracks.windows import write_summary
    from hnet_dna.tracks.write import write_bedgraph, write_bigwig
    from hnet_dna.training.demo import demo
    from hnet_dna.training.plan import plan
    from hnet_dna.training.run import Run, pretrain, resume

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
    "TrackFiles": "hnet_dna.tracks.outputs",
    "annotation_path": "hnet_dna.genome.known",
    "as_codes": "hnet_dna.sequence.coerce",
    "benchmark": "hnet_dna.finetuning.benchmark",
    "benchmark_variants": "hnet_dna.probing.effect_benchmark",
    "demo": "hnet_dna.training.demo",
    "dependencies": "hnet_dna.inference.dependencies",
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
    "generate_to_fasta": "hnet_dna.inference.generate",
    "known_genomes": "hnet_dna.genome.known",
    "load_model": "hnet_dna.inference.load",
    "merge_tracks": "hnet_dna.tracks.merge",
    "mutate": "hnet_dna.inference.mutate",
    "mutate_to_files": "hnet_dna.explanation.mutated",
    "open_genome": "hnet_dna.genome.open",
    "plan": "hnet_dna.training.plan",
    "plot_dependencies": "hnet_dna.explanation.figures.dependencies",
    "plot_karyotype": "hnet_dna.explanation.figures.karyotype",
    "plot_locus": "hnet_dna.explanation.figures.locus",
    "plot_mutations": "hnet_dna.explanation.figures.mutations",
    "predict": "hnet_dna.probing.prediction",
    "predict_bases": "hnet_dna.probing.base_prediction",
    "predict_to_file": "hnet_dna.probing.prediction_file",
    "pretrain": "hnet_dna.training.run",
    "probe": "hnet_dna.probing.run",
    "read_table": "hnet_dna.embedding.table",
    "resume": "hnet_dna.training.run",
    "score": "hnet_dna.inference.base_scores",
    "score_regions": "hnet_dna.inference.base_scores",
    "score_to_files": "hnet_dna.tracks.to_files",
    "score_variants": "hnet_dna.inference.variants",
    "score_vcf": "hnet_dna.tracks.vcf",
    "segment": "hnet_dna.tracks.segment",
    "segment_to_files": "hnet_dna.tracks.to_files",
    "write_bed": "hnet_dna.tracks.bed",
    "write_bedgraph": "hnet_dna.tracks.write",
    "write_bigbed": "hnet_dna.tracks.bigbed",
    "write_bigwig": "hnet_dna.tracks.write",
    "write_hub": "hnet_dna.hub.write",
    "write_mutations": "hnet_dna.tracks.mutations",
    "write_region_scores": "hnet_dna.inference.base_scores",
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
    "TrackFiles",
    "__version__",
    "annotation_path",
    "as_codes",
    "benchmark",
    "benchmark_variants",
    "demo",
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
    "generate_to_fasta",
    "known_genomes",
    "load_model",
    "merge_tracks",
    "mutate",
    "mutate_to_files",
    "open_genome",
    "plan",
    "plot_dependencies",
    "plot_karyotype",
    "plot_locus",
    "plot_mutations",
    "predict",
    "predict_bases",
    "predict_to_file",
    "pretrain",
    "probe",
    "read_table",
    "resume",
    "score",
    "score_regions",
    "score_to_files",
    "score_variants",
    "score_vcf",
    "segment",
    "segment_to_files",
    "write_bed",
    "write_bedgraph",
    "write_bigbed",
    "write_bigwig",
    "write_hub",
    "write_mutations",
    "write_region_scores",
    "write_summary",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'hnet_dna' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
