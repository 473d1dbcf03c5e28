"""Sequences, files and models that several tests make."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typer.testing import Result

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import Split
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.effects import How
from hnet_dna.inference.variants import Variant, VariantReader
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.words import WordTable
from hnet_dna.probing.dataset import Labels
from hnet_dna.sequence.strand import Strand
from hnet_dna.training.progress import Budget, Progress, StepReport
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.train_in_folder import train_in_folder
from hnet_dna.training.trainer import TrainingObserver

# Seconds after which what was waited for is said never to happen. No test depends on how fast a machine is.
PATIENCE = 1200


def one_line_error(result: Result) -> str:
    """Assert that a command failed on one clear line, and return it."""
    lines = [line for line in result.stderr.splitlines() if "Error: " in line]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    return lines[0]


def random_dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), size=length))


def write_fasta(path: Path, records: dict[str, str], width: int = 60) -> Path:
    lines = []
    for name, sequence in records.items():
        lines.append(f">{name} description")
        lines += [sequence[start : start + width] for start in range(0, len(sequence), width)]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# Changes to `small_config` that make a model which the reference can represent.
REFERENCE_SHAPE: dict[str, object] = {
    "d_model": [32, 32, 64],
    "ssm_cfg": {"d_state": 8, "chunk_size": 16},
    "attn_cfg": {"num_heads": [4, 4, 8], "rotary_emb_dim": [4, 0, 4], "window_size": [9, 5, 3]},
}


def small_config(**changes: object) -> ModelConfig:
    """A two-stage model with every kind of layer, windows shorter than the sequences and odd widths."""
    value = {
        "arch_layout": ["m1T1", ["t1M1", ["T1m1"], "m1t1"], "m1"],
        "d_model": [24, 24, 40],
        "d_intermediate": [32, 32, 32],
        "vocab_size": 5,
        "alphabet": "dna",
        "ssm_cfg": {"d_state": 8, "head_dim": 8, "chunk_size": 16},
        "attn_cfg": {"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [9, 5, 3]},
    }
    return ModelConfig.from_dict({**value, **changes})


def lively_model(config: ModelConfig, seed: int = 0) -> HNetLM:
    """A float64 model whose every parameter matters, also those that start at zero or one."""
    torch.manual_seed(seed)
    model = HNetLM(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    if model.memory is not None:
        for k, table in model.memory.counted.items():
            fill_at_random(table, k)
    return model.eval()


def fill_at_random(table: WordTable, k: int) -> None:
    """Let a table know 40,000 words of random letters, and the four that repeat one letter."""
    random = np.random.default_rng(k)
    one_letter = [letter * ((4**k - 1) // 3) for letter in range(4)]
    numbers = np.unique(np.append(random.integers(0, 4**k, 40_000), one_letter))
    table.fill(numbers, random.integers(1, 20, (len(numbers), 4)))


def allele_scores(
    genome: Genome, variants: Sequence[Variant], model: HNetLM, *, window: int = 512, strand: Strand = "both"
) -> Iterator[list[float]]:
    """Yield, for each variant in its order, the log-likelihood ratio of each alternative allele, in bits."""
    for effects in VariantReader(genome, model, How(window, strand)).read(variants):
        yield effects.llr.tolist()


def labels_of(target: list[Any], sequences: list[str] | None = None, groups: list[str] | None = None) -> Labels:
    """Return labels as if read from l.csv."""
    columns = {"labels": "label"} | ({"groups": "contig"} if groups else {})
    return Labels(Path("l.csv"), [str(i) for i in range(len(target))], np.array(target), sequences, groups, columns)


# Of runs of `tiny_model` on the genome of `make_genome`.
RECIPE = Recipe(window=64, batch=4, checkpoint_every=0.0, lr_multipliers=(1.0, 0.5, 0.25))


def tiny_model() -> HNetLM:
    """Return a model of two stages that trains in seconds, always with the same weights."""
    torch.manual_seed(0)
    return HNetLM(small_config(arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={}))


def make_genome(tmp_path: Path) -> Genome:
    """Write and open a genome with one longer and one short contig."""
    return open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(4000), "b": random_dna(400, 1)}))


def train(
    model: HNetLM,
    genome: Genome,
    split: Split,
    recipe: Recipe,
    budget: Budget,
    run: RunFolder,
    *,
    on_report: Callable[[StepReport], None] = lambda report: None,
    on_event: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Progress:
    """Train in a run folder that has been created; the callbacks are told what observers are."""

    class Told(TrainingObserver):
        def report(self, report: StepReport) -> None:
            on_report(report)

        def event(self, step: int, message: str) -> None:
            on_event(message)

    mixture = Mixture.of(genome, split, recipe.repeat_weight)
    return train_in_folder(run, model, mixture, recipe, budget, observers=[Told()], **options)
