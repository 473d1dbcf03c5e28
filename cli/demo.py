"""`hnet-dna demo`: the whole tour on the genome in the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options, show
from . import pretrain as pretrain_command
from .segment import write_bed


def demo(
    out: options.NewFolder = Path("hnet-dna-demo"),
    minutes: Annotated[float, typer.Option(metavar="X", help="Train this long.", min=0.0)] = 4.0,
) -> None:
    """Pretrain on the yeast genome, evaluate on a held-out chromosome, and write its chunks.

    Takes the training time and about a minute more on two CPU cores.

    Example: hnet-dna demo --minutes 1 --out quick-look
    """
    import torch

    from hnet_dna.data.bundled import bundled_genome
    from hnet_dna.data.split import split_genome
    from hnet_dna.files import refuse_filled, write_beside
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.alphabet import alphabet
    from hnet_dna.sequence.codes import to_text
    from hnet_dna.train.ranks import Ranks, best_device
    from hnet_dna.train.run_folder import RunFolder
    from hnet_dna.train.settings import resolve
    from hnet_dna.train.trainer import Budget
    from hnet_dna.train.words import learn_words

    refuse_filled(out)
    run = RunFolder(out / "run")
    settings = resolve("tiny")
    genome = pretrain_command.open_genome(str(bundled_genome().fasta), alphabet(settings.model.alphabet))
    split = split_genome(genome)
    torch.manual_seed(settings.recipe.seed)
    ranks = Ranks(device=best_device())
    model = HNetLM(settings.model)
    learn_words(model, genome, split)
    model = model.to(ranks.device)
    budget = Budget(seconds=minutes * 60)
    pretrain_command.begin(run, model, settings, genome, split, budget, ranks)
    comparison = pretrain_command.train_and_compare(model, genome, split, settings.recipe, budget, run, ranks=ranks)
    assert comparison is not None
    show.results.print(show.comparison_table(comparison, f"tiny ({model.config})"))

    (held_out,) = split.held_out
    fasta, bed = out / f"{held_out.contig}.fa", out / f"{held_out.contig}.chunks.bed"
    sequence = to_text(genome.codes(held_out))
    with write_beside(fasta) as temporary:
        lines = "\n".join(sequence[start : start + 80] for start in range(0, len(sequence), 80))
        temporary.write_text(f">{held_out.contig}\n{lines}\n")
    with write_beside(bed) as temporary, temporary.open("w") as stream:
        count = write_bed(fasta, model, stream)
    show.results.print(
        f"\n{count:,} chunks of {held_out.contig}: {bed}\n"
        f"  its sequence: {fasta}\n"
        f"  genes to show beside them: {bundled_genome().annotation}\n"
        f"  the model: {run.path} (config, weights, metrics.jsonl, results.json)\n"
        "Next:\n"
        f"  load {fasta} as genome in IGV, then {bed}\n"
        f"  hnet-dna segment YOUR.fa --model {run.path} > boundaries.bed\n"
        "  hnet-dna pretrain --genome YOUR.fa --out run --minutes 30",
        soft_wrap=True,
    )
