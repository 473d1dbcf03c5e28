"""`hnet-dna generate`: sample sequences."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options, show
from .outputs import check_outputs, output, shares_terminal


def generate(
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    length: Annotated[int, typer.Option(metavar="N", help="Bases to sample for each sequence.", min=1)] = 1000,
    count: Annotated[int, typer.Option(metavar="N", help="Number of sequences, for each prompt.", min=1)] = 1,
    prompt: Annotated[str | None, typer.Option(metavar="FASTA", help="Sequences to continue; '-' reads stdin.")] = None,
    temperature: Annotated[
        float,
        typer.Option(metavar="X", help="1 samples from the model's probabilities, 0 takes the likeliest base.", min=0),
    ] = 1.0,
    top_p: Annotated[
        float,
        typer.Option(metavar="X", help="Sample only among the likeliest bases that together reach this probability."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sampling.", min=0)] = 0,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Sample sequences as FASTA; the header has their log-likelihood in bits, without the prompt.

    Example: hnet-dna generate --model run --length 2000 --count 3 --seed 7
    """
    written = check_outputs({"--out": out}, [prompt, model])
    from hnet_dna.inference.generate import generate_to_fasta

    loaded = show.load_model(model, device, precision)
    with output(out) as stream, show.Reports(quiet=quiet, on_data=shares_terminal(out)) as reports:
        generate_to_fasta(
            loaded, length, stream, count=count, prompt=prompt, temperature=temperature, top_p=top_p, seed=seed,
            on_progress=reports,
        )  # fmt: skip
    show.wrote(written, quiet)
