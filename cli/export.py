"""`hnet-dna export` and `hnet-dna import`: models to and from the reference implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnet_dna.errors import UsageError
from hnet_dna.files import folder_beside, refuse_filled

from . import options, show


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help=options.MODEL_HELP)],
    out: options.NewFolder,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="Format to write; reference is the only one.")
    ] = "reference",
    pt: Annotated[
        bool, typer.Option("--pt", help="Also write model.pt, which the reference's generate.py reads.")
    ] = False,
) -> None:
    """Write a model in the form that the reference implementation reads (github.com/goombalab/hnet).

    The folder gets config.json and model.safetensors, with the reference's names of weights. The reference has only
    Mamba-2 heads of width 64, the usual rotation and its own routing: any other model is refused. Its files do not name
    the alphabet, so give --alphabet when you import them.

    Example: hnet-dna export run --out reference --pt
    """
    if format != "reference":
        raise UsageError(f"--format {format}: expected reference")
    refuse_filled(out)
    from hnet_dna.model.lm import HNetLM

    loaded = HNetLM.from_pretrained(model)
    with folder_beside(out) as folder:
        loaded.save_reference(folder, pt=pt)
    show.wrote([out], what="the reference's files")


def import_(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="JSON configuration of the reference implementation.")
    ],
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="Its weights as safetensors; a .pt file has to be converted.")
    ],
    out: options.NewFolder,
    alphabet: Annotated[
        str | None,
        typer.Option(
            metavar="ALPHABET",
            help="Letters of the model: dna, rna, iupac or bytes. Default: bytes if vocab_size is 256, else none; a "
            "model without letters cannot read sequences.",
        ),
    ] = None,
) -> None:
    """Make a model folder from a config and weights of the reference implementation (github.com/goombalab/hnet).

    Weights are read only from safetensors. A .pt or .bin file is a pickle, which may run code when it is read: convert
    it yourself first. The error that refuses it says how.

    Example: hnet-dna import config.json model.safetensors --out imported --alphabet dna
    """
    refuse_filled(out)
    from hnet_dna.model.lm import HNetLM

    loaded = HNetLM.from_reference(config, weights, alphabet)
    with folder_beside(out) as folder:
        loaded.save_pretrained(folder)
    letters = loaded.config.alphabet
    show.wrote([out], what=f"{loaded.config}; alphabet: {letters or 'none'}")
