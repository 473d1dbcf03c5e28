"""Runs a model over sequences of any length and gives its results base by base, in constant memory.

This is the one engine behind evaluation, tracks and scores. What lies between two runs of N is one stretch, and one
sequence to the model. A long stretch is run in pieces with the model's state carried from piece to piece; short
stretches are run side by side as rows of a batch, so that a genome of many scaffolds costs no more per base than a
chromosome. Neither changes the results. A model with global attention, whose state would grow without bound, is run
in windows that overlap by a stated context instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.data.fasta import Piece
from hnet_dna.model.hnet import InnerState
from hnet_dna.model.likelihood import base_nats, targets_of
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.model.one_base import OneBase
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import N_CODE, Codes, runs_of_n

PIECE = 1 << 13  # bases of a stretch run at once; it changes speed and memory, not the results
_GROUP = 8 * PIECE  # bases of short stretches gathered before they are run
_ROWS = 64


@dataclass(frozen=True)
class StagePositions:
    """The positions of one chunking stage: every base for the outermost, every chunk of the stage outside for others.

    Attributes:
        position: (K,) first base of each, 0-based in the contig.
        prob: (K,) boundary probability in float32.
        mask: (K,) whether a chunk of this stage begins there.
    """

    position: NDArray[np.int64]
    prob: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Part:
    """Consecutive bases of one stretch.

    Attributes:
        contig: its name.
        start: 0-based position of the first base in the contig.
        codes: (L,) nucleotide codes.
        first, last: whether these bases begin, and end, their stretch.
    """

    contig: str
    start: int
    codes: Codes
    first: bool
    last: bool

    @property
    def end(self) -> int:
        """Position after the last base."""
        return self.start + len(self.codes)


@dataclass(frozen=True)
class Bases(Part):
    """Consecutive bases, and what the model makes of them.

    Attributes:
        bits: (L,) -log2 p of each base given those before it, in float64; 0 where it is not A, C, G or T. The first
            base of a stretch has nothing before it and costs 2 bits.
        stages: each chunking stage, outermost first. The first base of a stretch begins a chunk by definition (p = 1).
    """

    bits: NDArray[np.float64]
    stages: tuple[StagePositions, ...]


class Stream:
    """One sequence through one model: `feed` takes its bases in any pieces.

    The model's weights stay as they are while it is fed.
    """

    def __init__(self, model: HNetLM) -> None:
        self._model, self._one_base = model, OneBase(model)
        self._state: InnerState | None = None

    def feed(self, codes: Codes) -> HNetOutput:
        """Run the next bases; the output covers them alone (a batch of one row)."""
        if len(codes) == 1:
            output = forward_one(self._one_base, codes[None], self._state)
        else:
            output = forward(self._model, codes[None], self._state, None)
        self._state = output.state
        return output


def annotate(pieces: Iterable[Piece], model: HNetLM, *, piece: int = PIECE, context: int = PIECE) -> Iterator[Bases]:
    """Run a model over pieces of contigs and yield its results in their order.

    Args:
        pieces: consecutive bases, contig by contig; a gap between two pieces begins a new stretch, as N does.
        model: any with an alphabet.
        piece: the most bases run, and yielded, at once.
        context: bases that a window overlaps the one before it, where the model has global attention.
    """
    windowed = model.config.has_global_attention
    group: list[Part] = []
    long: _Long | None = None
    for part in parts(pieces, piece):
        if part.first and part.last:
            group.append(part)
            if sum(len(p.codes) for p in group) >= _GROUP:
                yield from _run_group(group, model, piece)
                group = []
            continue
        if group:
            yield from _run_group(group, model, piece)
            group = []
        if part.first or long is None:
            long = _Long(model, context if windowed else None)
        yield long.run(part)
    if group:
        yield from _run_group(group, model, piece)


def parts(pieces: Iterable[Piece], size: int = PIECE) -> Iterator[Part]:
    """Cut pieces at runs of N and into parts of at most `size` bases, each knowing whether its stretch goes on."""
    held: Part | None = None
    for piece in pieces:
        position = 0
        for run_start, run_end in [*runs_of_n(piece.codes).tolist(), (len(piece.codes), len(piece.codes))]:
            for start in range(position, run_start, size):
                codes = piece.codes[start : min(start + size, run_start)]
                follows = (
                    held is not None
                    and held.contig == piece.record
                    and held.start + len(held.codes) == piece.start + start
                )
                if held is not None:
                    yield Part(held.contig, held.start, held.codes, held.first, not follows)
                held = Part(piece.record, piece.start + start, codes, not follows, False)
            position = run_end
    if held is not None:
        yield Part(held.contig, held.start, held.codes, held.first, True)


class _Long:
    """A stretch of several parts."""

    def __init__(self, model: HNetLM, context: int | None) -> None:
        self._model, self._context = model, context
        self._state: InnerState | None = None
        self._ahead = nothing_before(model, 1)
        self._before: Codes = np.zeros(0, dtype=np.uint8)

    def run(self, part: Part) -> Bases:
        """Run the next part."""
        if self._context is None:
            output = forward(self._model, part.codes[None], self._state, None)
            self._state = output.state
            skip, codes = 0, part.codes
        else:
            codes = np.concatenate([self._before, part.codes])
            output = forward(self._model, codes[None], None, None)
            skip = len(self._before)
            self._before = codes[len(codes) - min(self._context, len(codes)) :]
        logits = torch.cat([self._ahead, output.logits[:, skip:]], dim=1)
        self._ahead = logits[:, -1:]
        bits = bits_of(self._model, logits[:, :-1], part.codes[None])[0]
        return _bases(part, bits, output, 0, skip, len(codes))


def _run_group(group: list[Part], model: HNetLM, piece: int) -> Iterator[Bases]:
    """Run whole stretches in batches of like length, and yield them in their order."""
    done: dict[int, Bases] = {}
    order = sorted(range(len(group)), key=lambda i: len(group[i].codes), reverse=True)
    while order:
        longest = len(group[order[0]].codes)
        rows = max(1, min(_ROWS, piece // longest))
        batch, order = order[:rows], order[rows:]
        codes = np.full((len(batch), longest), N_CODE, dtype=np.uint8)
        for row, index in enumerate(batch):
            codes[row, : len(group[index].codes)] = group[index].codes
        lengths = torch.tensor([len(group[index].codes) for index in batch])
        output = forward(model, codes, None, lengths)
        logits = torch.cat([nothing_before(model, len(batch)), output.logits[:, :-1]], dim=1)
        bits = bits_of(model, logits, codes)
        for row, index in enumerate(batch):
            length = len(group[index].codes)
            done[index] = _bases(group[index], bits[row, :length], output, row, 0, length)
    for index in range(len(group)):
        yield done[index]


def forward(model: HNetLM, codes: Codes, state: InnerState | None, lengths: Tensor | None) -> HNetOutput:
    """Run a model without gradients over codes (B, L), whose rows have `lengths` valid bases (all where None)."""
    ids = _ids(model, codes)
    with torch.inference_mode():
        output: HNetOutput = model(ids, state, lengths=None if lengths is None else lengths.to(ids.device))
    return output


def forward_one(one_base: OneBase, codes: Codes, state: InnerState | None) -> HNetOutput:
    """Run one more base of each row without gradients, codes being (B, 1)."""
    ids = _ids(one_base.model, codes)
    with torch.inference_mode():
        return one_base(ids, state)


def _ids(model: HNetLM, codes: Codes) -> Tensor:
    encoded = torch.from_numpy(alphabet(model.config.alphabet).encode(codes))
    return encoded.to(model.embeddings.weight.device).long()


def nothing_before(model: HNetLM, rows: int) -> Tensor:
    """Return logits (rows, 1, V) for a base with nothing before it: all letters alike."""
    weight = model.lm_head.weight
    return torch.zeros(rows, 1, model.config.vocab_size, device=weight.device, dtype=weight.dtype)


def bits_of(model: HNetLM, logits: Tensor, codes: Codes) -> NDArray[np.float64]:
    """Return -log2 p (B, L) of bases under the logits at their own places; 0 where a base is not A, C, G or T."""
    # In float64, and divided base by base, so that a uniform model costs exactly 2.
    targets = targets_of(torch.from_numpy(np.array(codes)).to(logits.device))
    nats = base_nats(logits.double(), targets, alphabet(model.config.alphabet))
    bits: NDArray[np.float64] = (nats / math.log(2)).cpu().numpy()
    return bits


def _bases(part: Part, bits: NDArray[np.float64], output: HNetOutput, row: int, skip: int, length: int) -> Bases:
    """Pick one row of an output, without its first `skip` positions, which are context."""
    stages = []
    positions = np.arange(length)
    for stage in output.stages:
        prob = stage.boundary_prob[row, : len(positions)].float().cpu().numpy()
        mask = stage.boundary_mask[row, : len(positions)].cpu().numpy()
        kept = int(np.searchsorted(positions, skip))
        stages.append(StagePositions(positions[kept:] - skip + part.start, prob[kept:], mask[kept:]))
        positions = positions[mask]
    return Bases(part.contig, part.start, part.codes, part.first, part.last, bits, tuple(stages))
