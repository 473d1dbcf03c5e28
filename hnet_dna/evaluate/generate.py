"""Sampling sequences from a model, base by base, by the same function that trains and streams it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.evaluate.stream import forward, forward_one, nothing_before
from hnet_dna.model.hnet import select_rows
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.one_base import OneBase
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import Codes

_BLOCK = 1024  # bases handed over at once


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


def generate(
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
    random = torch.Generator().manual_seed(sampling.seed)
    base_ids = torch.tensor(alphabet(model.config.alphabet).base_ids, device=model.embeddings.weight.device)
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
            scores = logits[:, -1].index_select(1, base_ids).double().cpu()
            chosen = _choose(scores, sampling, random)
            codes[:, column] = chosen.numpy()
            kept[:, column] = scores.numpy()
            output = forward_one(one_base, codes[:, column : column + 1], state)
            logits, state = output.logits, output.state
        done += size
        # Of the whole block at once: a call per base costs as much as the model's smaller layers.
        natural = torch.log_softmax(torch.from_numpy(kept), dim=-1).numpy()
        yield codes, np.take_along_axis(natural, codes[..., None].astype(np.int64), axis=-1)[..., 0] / math.log(2)


def _choose(scores: Tensor, sampling: Sampling, random: torch.Generator) -> Tensor:
    """Draw one base per row from logits (count, 4) in float64."""
    if sampling.temperature == 0:
        return scores.argmax(dim=-1)
    probs = torch.softmax(scores / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ranked, order = probs.sort(dim=-1, descending=True)
        # A base stays if those likelier than it do not reach top_p yet; so the likeliest always stays.
        ranked = torch.where(ranked.cumsum(dim=-1) - ranked < sampling.top_p, ranked, 0.0)
        probs = torch.zeros_like(probs).scatter(1, order, ranked)
    return torch.multinomial(probs, 1, generator=random)[:, 0]
