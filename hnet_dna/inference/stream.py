"""Runs a model over sequences of any length and gives its results base by base, in constant memory.

This is the one engine behind evaluation, tracks and scores. What lies between two runs of N is one stretch, and one
sequence to the model. A long stretch is run in pieces with the model's state carried from piece to piece; short
stretches are run side by side as rows of a batch, so that a genome of many scaffolds costs no more per base than a
chromosome. Neither changes the results. A model with global attention, whose state would grow without bound, is run
in windows that overlap by a stated context instead.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.one_base import OneBase
from hnet_dna.model.hnet import InnerState
from hnet_dna.model.likelihood import base_nats, targets_of
from hnet_dna.model.lm import BoundaryOutput, HNetLM, HNetOutput
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import N_CODE, Codes, stretches

_log = logging.getLogger(__name__)
PIECE = 1 << 13  # bases of a stretch run at once; it changes speed and memory, not the results
_TIMES_ON_GPU = 16  # so many times as many keep a GPU busy
_ROWS = 64  # of a batch of short stretches; more on a GPU
_GATHERED = 8  # pieces of short stretches that are gathered before they are run


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
class Chunked(Part):
    """Consecutive bases, and where a model begins chunks in them.

    Attributes:
        stages: chunking stages, outermost first. The first base of a stretch begins a chunk by definition (p = 1).
    """

    stages: tuple[StagePositions, ...]


@dataclass(frozen=True)
class Bases(Chunked):
    """Consecutive bases, and all that a model makes of them.

    Attributes:
        bits: (L,) -log2 p of each base given those before it, in float64; 0 where it is not A, C, G or T. The first
            base of a stretch has nothing before it and costs 2 bits.
    """

    bits: NDArray[np.float64]


class Stream:
    """One sequence through one model: `feed` takes its bases in any pieces.

    The model's weights stay as they are while it is fed.
    """

    def __init__(self, model: HNetLM) -> None:
        self._model, self._one_base = model, OneBase(model)
        self._state: InnerState | None = None

    def feed(self, codes: Codes) -> HNetOutput:
        """Run the next bases; the output covers only them (a batch of one row)."""
        if len(codes) == 1:
            output = forward_one(self._one_base, codes[None], self._state)
        else:
            output = forward(self._model, codes[None], self._state, None)
        self._state = output.state
        return output


def piece_of(model: HNetLM) -> int:
    """Return how many bases are best run at once where a model is.

    One long piece keeps a GPU as busy as many streams side by side would, and is exact as any other. Windows of a model
    with global attention have part in its results, and are the same everywhere.
    """
    on_gpu = model.lm_head.weight.is_cuda and not model.config.has_global_attention
    return PIECE * (_TIMES_ON_GPU if on_gpu else 1)


def annotate(
    pieces: Iterable[Piece], model: HNetLM, *, piece: int | None = None, context: int = PIECE
) -> Iterator[Bases]:
    """Run a model over pieces of contigs and yield its results in their order.

    Args:
        pieces: consecutive bases, contig by contig; a gap between two pieces begins a new stretch, as N does.
        model: any with an alphabet.
        piece: the most bases run, and yielded, at once; `piece_of` the model where None.
        context: bases that a window overlaps the one before it, where the model has global attention.
    """
    ahead, piece = nothing_before(model, 1), piece or piece_of(model)
    for ran in _run(parts(pieces, piece), model, partial(forward, model), piece, context):
        part, output = ran.part, ran.output
        if part.first:
            ahead = nothing_before(model, 1)
        logits = torch.cat([ahead, output.logits[ran.row : ran.row + 1, ran.skip : ran.skip + len(part.codes)]], dim=1)
        ahead = logits[:, -1:]
        bits = bits_of(model, logits[:, :-1], part.codes[None])[0]
        yield Bases(part.contig, part.start, part.codes, part.first, part.last, _stages(ran), bits)


def find_boundaries(
    pieces: Iterable[Piece], model: HNetLM, stage: int, *, piece: int | None = None, context: int = PIECE
) -> Iterator[Chunked]:
    """Yield only the boundaries of stages 0 to `stage`: those of `annotate`, for a part of the work."""
    piece = piece or piece_of(model)
    for ran in _run(parts(pieces, piece), model, partial(forward_boundaries, model, stage), piece, context):
        part = ran.part
        yield Chunked(part.contig, part.start, part.codes, part.first, part.last, _stages(ran))


def log_windows(model: HNetLM) -> None:
    """Log how a model with global attention reads long contigs, since it cannot be streamed exactly."""
    if model.config.has_global_attention:
        _log.info(
            "this model has global attention: long contigs are run in windows of %s bases, half of them context, and "
            "far bases do not see each other",
            f"{2 * PIECE:,}",
        )


def parts(pieces: Iterable[Piece], size: int = PIECE) -> Iterator[Part]:
    """Cut pieces at runs of N and into parts of at most `size` bases, each knowing whether its stretch goes on."""
    held: Part | None = None
    for piece in pieces:
        for stretch_start, stretch_end in stretches(piece.codes):
            for start in range(stretch_start, stretch_end, size):
                codes = piece.codes[start : min(start + size, stretch_end)]
                follows = (
                    held is not None
                    and held.contig == piece.record
                    and held.start + len(held.codes) == piece.start + start
                )
                if held is not None:
                    yield Part(held.contig, held.start, held.codes, held.first, not follows)
                held = Part(piece.record, piece.start + start, codes, not follows, False)
    if held is not None:
        yield Part(held.contig, held.start, held.codes, held.first, True)


_Output = TypeVar("_Output", HNetOutput, BoundaryOutput)
_Forward: TypeAlias = "Callable[[Codes, InnerState | None, Tensor | None], _Output]"


@dataclass(frozen=True)
class _Ran(Generic[_Output]):
    """A part, and the row of an output that is about it, after `skip` positions of context."""

    part: Part
    output: _Output
    row: int
    skip: int


def _run(
    parts: Iterable[Part], model: HNetLM, run: _Forward[_Output], piece: int, context: int
) -> Iterator[_Ran[_Output]]:
    """Run parts, in their order: one after the other those of a long stretch, side by side whole stretches."""
    windowed = model.config.has_global_attention
    group: list[Part] = []
    state: InnerState | None = None
    before: Codes = np.zeros(0, dtype=np.uint8)
    for part in parts:
        if part.first and part.last:
            group.append(part)
            if sum(len(p.codes) for p in group) >= _GATHERED * piece:
                yield from _run_group(group, run, piece)
                group = []
            continue
        yield from _run_group(group, run, piece)
        group = []
        if part.first:
            state, before = None, before[:0]
        codes = np.concatenate([before, part.codes])
        output = run(codes[None], state, None)
        yield _Ran(part, output, 0, len(before))
        if windowed:
            before = codes[len(codes) - min(context, len(codes)) :]
        else:
            state = output.state
    yield from _run_group(group, run, piece)


def _run_group(group: list[Part], run: _Forward[_Output], piece: int) -> Iterator[_Ran[_Output]]:
    """Run whole stretches in batches of like length, and yield them in their order."""
    done: dict[int, _Ran[_Output]] = {}
    order = sorted(range(len(group)), key=lambda i: len(group[i].codes), reverse=True)
    while order:
        longest = len(group[order[0]].codes)
        rows = max(1, min(_ROWS * max(1, piece // PIECE), piece // longest))
        batch, order = order[:rows], order[rows:]
        codes = np.full((len(batch), longest), N_CODE, dtype=np.uint8)
        for row, index in enumerate(batch):
            codes[row, : len(group[index].codes)] = group[index].codes
        output = run(codes, None, torch.tensor([len(group[index].codes) for index in batch]))
        for row, index in enumerate(batch):
            done[index] = _Ran(group[index], output, row, 0)
    for index in range(len(group)):
        yield done[index]


def forward(model: HNetLM, codes: Codes, state: InnerState | None, lengths: Tensor | None) -> HNetOutput:
    """Run a model without gradients over codes (B, L), whose rows have `lengths` valid bases (all where None)."""
    ids = _ids(model, codes)
    with torch.inference_mode():
        output: HNetOutput = model(ids, state, lengths=None if lengths is None else lengths.to(ids.device))
    return output


def forward_boundaries(
    model: HNetLM, stage: int, codes: Codes, state: InnerState | None, lengths: Tensor | None
) -> BoundaryOutput:
    """Find the boundaries of stages 0 to `stage` only, as `forward` would find them."""
    ids = _ids(model, codes)
    with torch.inference_mode():
        return model.boundaries(ids, state, stage=stage, lengths=None if lengths is None else lengths.to(ids.device))


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


def _stages(ran: _Ran[_Output]) -> tuple[StagePositions, ...]:
    """Pick what an output says of a part."""
    stages = []
    positions = np.arange(ran.skip + len(ran.part.codes))
    for stage in ran.output.stages:
        prob = stage.boundary_prob[ran.row, : len(positions)].float().cpu().numpy()
        mask = stage.boundary_mask[ran.row, : len(positions)].cpu().numpy()
        kept = int(np.searchsorted(positions, ran.skip))
        stages.append(StagePositions(positions[kept:] - ran.skip + ran.part.start, prob[kept:], mask[kept:]))
        positions = positions[mask]
    return tuple(stages)
