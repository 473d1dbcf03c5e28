"""`hnet-dna generate`: sample sequences."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from hnet_dna.files import scratch_file

from . import options, show
from .outputs import check_outputs, output, shares_terminal

if TYPE_CHECKING:
    from hnet_dna.inference.generate import Sampling
    from hnet_dna.model.lm import HNetLM
    from hnet_dna.sequence.codes import Codes

_WIDTH = 60


def generate(
    model: options.Model = options.BUILT_IN,
    device: options.Device = None,
    precision: options.InPrecision = "fp32",
    length: Annotated[int, typer.Option(metavar="N", help="Bases to sample.", min=1)] = 1000,
    count: Annotated[int, typer.Option(metavar="N", help="Number of sequences, for each prompt.", min=1)] = 1,
    prompt: Annotated[
        str | None, typer.Option(metavar="FASTA", help="Continue these records; '-' reads stdin.")
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(metavar="X", help="1 samples from the model's probabilities, 0 takes the likeliest base.", min=0),
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option(metavar="X", help="Sample only the likeliest bases, up to this probability together.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sequences.", min=0)] = 0,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Sample sequences as FASTA, with their log-likelihood (bits, without the prompt) in the header.

    Example: hnet-dna generate --model run --length 2000 --count 3 --seed 7
    """
    check_outputs({"--out": out}, [prompt, model])
    from hnet_dna.genome.fasta import read_records
    from hnet_dna.inference.generate import Sampling

    sampling = Sampling(temperature, top_p, seed)
    loaded = show.load_model(model, device, precision)
    prompts: Iterable[tuple[str, Codes | None]] = [("generated", None)] if prompt is None else read_records(prompt)
    known = 1 if prompt is None else sum(1 for _ in read_records(prompt)) if show.is_small(prompt) else None
    total = None if known is None else known * count * length
    with (
        output(out) as stream,
        show.Progress("sampling", total, "bases", quiet=quiet, on_data=shares_terminal(out)) as progress,
    ):
        for name, codes in prompts:
            _write(loaded, name, codes, length, count, sampling, stream, progress)


def _write(
    model: HNetLM,
    name: str,
    prompt: Codes | None,
    length: int,
    count: int,
    sampling: Sampling,
    stream: TextIO,
    progress: show.Progress,
) -> None:
    """Sample into temporary files, since the header that comes first is known last."""
    from hnet_dna.inference.generate import sample
    from hnet_dna.sequence.codes import to_text

    log2p = [0.0] * count
    with ExitStack() as stack:
        files = [stack.enter_context(io.TextIOWrapper(scratch_file(), encoding="ascii")) for _ in range(count)]
        for codes, scores in sample(model, length, count=count, prompt=prompt, sampling=sampling):
            for row, file in enumerate(files):
                file.write(to_text(codes[row]))
                log2p[row] += float(scores[row].sum())
            progress.add(codes.size)
        for row, file in enumerate(files):
            stream.write(
                f">{name}_{row + 1} length={length} log2p={log2p[row]:.4f} bits_per_base={-log2p[row] / length:.4f} "
                f"temperature={sampling.temperature:g} top_p={sampling.top_p:g} seed={sampling.seed}\n"
            )
            file.seek(0)
            while line := file.read(_WIDTH):
                stream.write(line + "\n")
