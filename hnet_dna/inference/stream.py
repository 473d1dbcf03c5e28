"""Runs a model over sequences of any length and gives its results base by base, in constant memory.

This is the one engine behind evaluation, tracks and scores; `hnet_dna.inference.streams` says what runs side by side.
What lies between two runs of N is one stretch, and one sequence to the model. A long stretch is run in pieces with the
model's state carried from piece to piece. That does not change the results. A model with global attention, whose state
would grow without bound, is run in windows that overlap by a stated context instead.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.genome.fasta import Piece
from hnet_dna.inference.one_base import OneBase
from hnet_dna.inference.streams import Batch, Coming, Part, side_by_side, to_device
from hnet_dna.model.hnet import InnerState, StageOutput
from hnet_dna.model.likelihood import base_nats, targets_of
from hnet_dna.model.lm import BoundaryOutput, HNetLM, HNetOutput
from hnet_dna.model.rows import gather_positions
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import Codes

_log = logging.getLogger(__name__)
PIECE = 1 << 13  # bases of a stretch run at once; it changes speed and memory, not the results
_TIMES_ON_GPU = 16  # so many times as many keep a GPU busy
_STREAMS_ON_GPU = 8  # each of them twice as long at once as a window of training
_ROWS = 64  # of a batch of short stretches; more on a GPU


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
class Result:
    """What a model makes of L consecutive bases.

    Attributes:
        stages: chunking stages, outermost first. The first base of a stretch begins a chunk by definition (p = 1).
        bits: (L,) -log2 p of each base given those before it, in float64; 0 where it is not A, C, G or T. The first
            base of a stretch has nothing before it and costs 2 bits. (0,) where only boundaries are wanted.
    """

    stages: tuple[StagePositions, ...]
    bits: NDArray[np.float64]


@dataclass(frozen=True)
class Bases(Part, Result):
    """Consecutive bases, and what a model makes of them."""

    @classmethod
    def of(cls, part: Part, result: Result) -> Bases:
        """Join the two."""
        return cls(**vars(part), **vars(result))


def piece_of(model: HNetLM) -> int:
    """Return how many bases are best run at once where a model is, in all sequences together.

    Windows of a model with global attention have part in its results, and are the same everywhere.
    """
    on_gpu = model.lm_head.weight.is_cuda and not model.config.has_global_attention
    return PIECE * (_TIMES_ON_GPU if on_gpu else 1)


def streams_of(model: HNetLM) -> int:
    """Return how many sequences are best run side by side where a model is.

    A CPU gains little by more than one, and one needs no room on the disk for results that wait for their turn.
    """
    return _STREAMS_ON_GPU if model.lm_head.weight.is_cuda else 1


def read_sources(
    sources: Iterable[Iterable[Piece]],
    model: HNetLM,
    *,
    stage: int | None = None,
    streams: int | None = None,
    piece: int | None = None,
    context: int = PIECE,
) -> Iterator[tuple[int, Part, Result]]:
    """Run a model over sequences side by side; yield the number of a sequence, a part of it, and what is made of it.

    The parts of a sequence come in their order; those of different sequences come as they are run.

    Args:
        sources: pieces of each sequence, contig by contig; a gap between two pieces begins a new stretch, as N does.
        model: any with an alphabet.
        stage: find only the boundaries of stages 0 to this one; all stages and bits where None.
        streams: the most sequences that are run side by side; `streams_of` the model where None.
        piece: the most bases run at once, in all sequences together; `piece_of` the model where None.
        context: bases that a window overlaps the one before it, where the model has global attention.
    """
    piece = piece or piece_of(model)
    ran = side_by_side(
        sources,
        partial(_bases, model) if stage is None else partial(_boundaries, model, stage),
        device=model.lm_head.weight.device,
        streams=streams or streams_of(model),
        piece=piece,
        rows=_ROWS * max(1, piece // PIECE),
        context=context if model.config.has_global_attention else None,
    )
    for source, part, row in ran:
        yield source, part, Result(_stages(part, row), row.bits)


def annotate(
    pieces: Iterable[Piece], model: HNetLM, *, piece: int | None = None, context: int = PIECE
) -> Iterator[Bases]:
    """Run a model over pieces of contigs, one after the other, and yield its results in their order.

    The arguments are those of `read_sources`, `pieces` being one sequence.
    """
    for _, part, result in read_sources([pieces], model, piece=piece, context=context):
        yield Bases.of(part, result)


def log_windows(model: HNetLM) -> None:
    """Log how a model with global attention reads long contigs, since it cannot be streamed exactly."""
    if model.config.has_global_attention:
        _log.info(
            "this model has global attention: long contigs are run in windows of %s bases, half of them context, and "
            "far bases do not see each other",
            f"{2 * PIECE:,}",
        )


@dataclass(frozen=True)
class _Row:
    """What a launch gives of one row, from its first base after the context on.

    Attributes:
        bits: (L,), or (0,) where only boundaries are wanted.
        stages: probability and mask of each stage, context included.
        skip: bases of context.
    """

    bits: NDArray[np.float64]
    stages: list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
    skip: int


def _bases(model: HNetLM, batch: Batch, state: Any) -> tuple[Any, Callable[[], list[_Row]]]:
    """Launch a whole model. The state is its own, and the logits of the base after those that were read."""
    windowed = model.config.has_global_attention
    inner, ahead = (None, nothing_before(model, len(batch.codes))) if state is None else state
    output = forward(model, batch.codes, inner, batch.lengths, last=batch.last or windowed)
    with torch.inference_mode():
        logits = torch.cat([ahead, output.logits], dim=1)  # at the place of the base that they predict
        if batch.skip is not None:
            place = to_device(batch.skip, logits.device)[:, None, None].expand(-1, 1, logits.shape[-1])
            logits = logits.scatter(1, place, ahead)
        bits = _bits(model, logits[:, :-1], batch.codes)
        after = gather_positions(logits, to_device(batch.lengths, logits.device)[:, None])
    return (None if windowed else output.state, after), _rows(batch, output.stages, bits)


def _boundaries(model: HNetLM, stage: int, batch: Batch, state: Any) -> tuple[Any, Callable[[], list[_Row]]]:
    """Launch what finds the boundaries of stages 0 to `stage`."""
    output = forward_boundaries(model, stage, batch.codes, state, batch.lengths)
    return None if model.config.has_global_attention else output.state, _rows(batch, output.stages, None)


def _rows(batch: Batch, stages: Sequence[StageOutput], bits: Tensor | None) -> Callable[[], list[_Row]]:
    """Return what waits for the results of each row."""
    found = [tensor for stage in stages for tensor in (stage.boundary_prob.float(), stage.boundary_mask)]
    coming = Coming(found if bits is None else [*found, bits])

    def read() -> list[_Row]:
        arrays = coming.read()
        of_stages = list(zip(arrays[0 : len(found) : 2], arrays[1 : len(found) : 2], strict=True))
        rows = []
        skips = np.zeros(len(batch.codes), dtype=np.int64) if batch.skip is None else batch.skip.numpy()
        for row, (length, skip) in enumerate(zip(batch.lengths.numpy().tolist(), skips.tolist(), strict=True)):
            own = arrays[-1][row, skip:length] if bits is not None else np.zeros(0)
            rows.append(_Row(own, [(prob[row], mask[row]) for prob, mask in of_stages], skip))
        return rows

    return read


def forward(
    model: HNetLM, codes: Codes, state: InnerState | None, lengths: Tensor | None, *, last: bool = False
) -> HNetOutput:
    """Run a model without gradients over codes (B, L), whose rows have `lengths` valid bases (all where None).

    Lengths on the CPU are known without waiting for a GPU. With `last` nothing follows, and no state is built.
    """
    ids = _ids(model, codes)
    with torch.inference_mode():
        output: HNetOutput = model(ids, state, lengths=lengths, last=last)
    return output


def forward_boundaries(
    model: HNetLM, stage: int, codes: Codes, state: InnerState | None, lengths: Tensor | None
) -> BoundaryOutput:
    """Find the boundaries of stages 0 to `stage` only, as `forward` would find them."""
    ids = _ids(model, codes)
    with torch.inference_mode():
        return model.boundaries(ids, state, stage=stage, lengths=lengths)


def forward_one(one_base: OneBase, codes: Codes, state: InnerState | None) -> HNetOutput:
    """Run one more base of each row without gradients, codes being (B, 1)."""
    ids = _ids(one_base.model, codes)
    with torch.inference_mode():
        return one_base(ids, state)


def _ids(model: HNetLM, codes: Codes) -> Tensor:
    encoded = torch.from_numpy(alphabet(model.config.alphabet).encode(codes))
    return to_device(encoded, model.embeddings.weight.device).long()


def nothing_before(model: HNetLM, rows: int) -> Tensor:
    """Return logits (rows, 1, V) for a base with nothing before it: all letters alike."""
    weight = model.lm_head.weight
    return torch.zeros(rows, 1, model.config.vocab_size, device=weight.device, dtype=weight.dtype)


def _bits(model: HNetLM, logits: Tensor, codes: Codes) -> Tensor:
    """Return -log2 p (B, L) of bases under the logits at their own places; 0 where a base is not A, C, G or T."""
    # In float64, and divided base by base, so that a uniform model costs exactly 2.
    targets = targets_of(to_device(torch.from_numpy(np.array(codes)), logits.device))
    return base_nats(logits.double(), targets, alphabet(model.config.alphabet)) / math.log(2)


def _stages(part: Part, row: _Row) -> tuple[StagePositions, ...]:
    """Say where in its contig the positions of a part are that a row has decided on."""
    stages = []
    positions = np.arange(row.skip + len(part.codes))
    for prob, mask in row.stages:
        prob, mask = prob[: len(positions)], mask[: len(positions)]
        kept = int(np.searchsorted(positions, row.skip))
        stages.append(StagePositions(positions[kept:] - row.skip + part.start, prob[kept:], mask[kept:]))
        positions = positions[mask]
    return tuple(stages)
