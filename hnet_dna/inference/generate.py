"""Sampling sequences from a model, base by base, by the same function that trains and streams it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.errors import UsageError
from hnet_dna.files import scratch_file
from hnet_dna.genome.fasta import read_records
from hnet_dna.inference.load import load_model
from hnet_dna.inference.one_base import OneBase
from hnet_dna.inference.stream import forward, forward_one, nothing_before
from hnet_dna.model.hnet import select_rows
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, Work, ignore, is_small
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import Codes, to_text
from hnet_dna.sequence.coerce import as_codes

_BLOCK = 1024  # bases handed over at once
_WIDTH = 60  # letters of a line


@dataclass(frozen=True)
class Sampling:
    """How to choose the next base.

    Attributes:
        temperature: divides the logits; 0 takes the likeliest base.
        top_p: only the likeliest bases that together reach this probability may be chosen.
        seed: decides the choices; the same seed gives the same sequences on the same kind of machine.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise UsageError(f"`top_p` {self.top_p}: expected above 0 and up to 1")
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"`temperature` {self.temperature}: expected 0 or more")


@dataclass(frozen=True)
class Sample:
    """One sampled sequence.

    Attributes:
        sequence: its letters, without the prompt.
        log2p: log-likelihood in bits under the model itself, at temperature 1, given the prompt.
    """

    sequence: str
    log2p: float


def generate(
    model: str | Path | HNetLM,
    length: int,
    *,
    count: int = 1,
    prompt: str = "",
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> list[Sample]:
    """Sample sequences.

    Args:
        model: anything that `load_model` takes.
        length: bases to sample after the prompt.
        count: how many sequences.
        prompt: letters that all of them continue.
        temperature: 1 samples as the model predicts, 0 takes the likeliest base.
        top_p: choose among the likeliest bases that together reach this probability.
        seed: decides the sequences.

    Raises:
        UsageError: a count, temperature or probability out of range.
        SequenceError: the prompt has a letter that is not a nucleotide.

    Example:
        >>> from hnet_dna import generate
        >>> [len(sample.sequence) for sample in generate("five-genomes", 20, count=2)]
        [20, 20]
    """
    if length < 1 or count < 1:
        raise UsageError("`length` and `count`: expected 1 or more")
    blocks = list(
        sample(
            load_model(model),
            length,
            count=count,
            prompt=as_codes(prompt) if prompt else None,
            sampling=Sampling(temperature, top_p, seed),
        )
    )
    codes, log2p = (np.concatenate([block[i] for block in blocks], axis=1) for i in (0, 1))
    return [Sample(to_text(row), float(scores.sum())) for row, scores in zip(codes, log2p, strict=True)]


def generate_to_fasta(
    model: str | Path | HNetLM,
    length: int,
    out: TextIO,
    *,
    count: int = 1,
    prompt: str | Path | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    on_progress: OnProgress = ignore,
) -> None:
    """Write sampled sequences as FASTA, with log2 p and the settings in the header, in constant memory.

    Args:
        model: anything that `load_model` takes.
        length: bases to sample after each prompt.
        out: an open stream.
        count: how many sequences, for each prompt.
        prompt: a FASTA file, or `-` for stdin, whose records are continued.
        temperature, top_p, seed: see `generate`.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError, SequenceError: as `generate` does, or the file cannot be read.

    Example:
        >>> import io
        >>> from hnet_dna import generate_to_fasta
        >>> fasta = io.StringIO()
        >>> generate_to_fasta("five-genomes", 20, fasta, count=2)
        >>> fasta.getvalue().count(">generated_")
        2
    """
    sampling, loaded = Sampling(temperature, top_p, seed), load_model(model)
    prompts: Iterable[tuple[str, Codes | None]] = [("generated", None)] if prompt is None else read_records(prompt)
    known = 1 if prompt is None else sum(1 for _ in read_records(prompt)) if is_small(prompt) else None
    with Work(on_progress, "sampling", None if known is None else known * count * length, "bases") as work:
        for name, codes in prompts:
            log2p = np.zeros(count)
            with ExitStack() as stack:  # the header, which comes first, is known last
                files = [stack.enter_context(io.TextIOWrapper(scratch_file(), encoding="ascii")) for _ in range(count)]
                for block, scores in sample(loaded, length, count=count, prompt=codes, sampling=sampling):
                    for file, row in zip(files, block, strict=True):
                        file.write(to_text(row))
                    log2p += scores.sum(axis=1)
                    work.add(block.size)
                for number, (file, bits) in enumerate(zip(files, log2p.tolist(), strict=True), start=1):
                    out.write(
                        f">{name}_{number} length={length} log2p={bits:.4f} bits_per_base={-bits / length:.4f} "
                        f"temperature={temperature:g} top_p={top_p:g} seed={seed}\n"
                    )
                    file.seek(0)
                    while line := file.read(_WIDTH):
                        out.write(line + "\n")


def sample(
    model: HNetLM, length: int, *, count: int = 1, prompt: Codes | None = None, sampling: Sampling | None = None
) -> Iterator[tuple[Codes, NDArray[np.float64]]]:
    """Sample sequences side by side; memory does not grow with their length.

    Args:
        model: any with an alphabet.
        length: bases to sample after the prompt.
        count: sequences.
        prompt: nucleotide codes that all of them begin with; not part of what is yielded.
        sampling: temperature 1 and seed 0 where it is None.

    Yields:
        Blocks of codes (count, n) and of log2 p (count, n) of the chosen bases under the model itself, at
        temperature 1.
    """
    sampling = sampling or Sampling()
    random = np.random.default_rng(sampling.seed)
    base_ids = list(alphabet(model.config.alphabet).base_ids)
    logits, state = nothing_before(model, 1), None
    for start in range(0, 0 if prompt is None else len(prompt), _BLOCK):
        assert prompt is not None
        output = forward(model, prompt[None, start : start + _BLOCK], state, None)
        logits, state = output.logits[:, -1:], output.state
    rows = torch.zeros(count, dtype=torch.long)
    logits, state = logits[rows.to(logits.device)], None if state is None else select_rows(state, rows)
    one_base, done = OneBase(model), 0
    while done < length:
        size = min(_BLOCK, length - done)
        codes = np.zeros((count, size), dtype=np.uint8)
        kept = np.zeros((count, size, 4))
        for column in range(size):
            scores = logits[:, -1].double().cpu().numpy()[:, base_ids]
            codes[:, column] = _choose(scores, sampling, random)
            kept[:, column] = scores
            output = forward_one(one_base, codes[:, column : column + 1], state)
            logits, state = output.logits, output.state
        done += size
        # Of the whole block at once: a call per base costs as much as the model's smaller layers.
        natural = torch.log_softmax(torch.from_numpy(kept), dim=-1).numpy()
        yield codes, np.take_along_axis(natural, codes[..., None].astype(np.int64), axis=-1)[..., 0] / math.log(2)


def _choose(scores: NDArray[np.float64], sampling: Sampling, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw one base per row from logits (count, 4); in numpy, since this is done for each base."""
    chosen: NDArray[np.int64]
    if sampling.temperature == 0:
        chosen = scores.argmax(axis=1)
        return chosen
    scaled = scores / sampling.temperature
    probs = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    if sampling.top_p < 1:
        probs /= probs.sum(axis=1, keepdims=True)
        order = np.argsort(-probs, axis=1)
        ranked = np.take_along_axis(probs, order, axis=1)
        # A base stays if those likelier than it do not reach top_p yet; so the likeliest always stays.
        ranked[ranked.cumsum(axis=1) - ranked >= sampling.top_p] = 0
        np.put_along_axis(probs, order, ranked, axis=1)
    bounds = probs.cumsum(axis=1)
    draw = random.random((len(probs), 1)) * bounds[:, -1:]
    chosen = (draw >= bounds).sum(axis=1)
    return chosen
