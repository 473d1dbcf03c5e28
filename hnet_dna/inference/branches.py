"""Runs a model over sequences that share their beginnings: what is shared is read once.

States are values. A `Front` is where rows of bases have come to. Reading can go on from it any number of times, with
any of its rows, and the rows of several fronts can be read on side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.inference.one_base import OneBase
from hnet_dna.inference.stream import forward, forward_boundaries, forward_one, nothing_before
from hnet_dna.model.hnet import InnerState, join_rows, select_rows
from hnet_dna.model.lm import BoundaryOutput, HNetLM, HNetOutput
from hnet_dna.ops import at_least_float32
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, Codes, is_acgt

_BATCH_BASES = 1 << 13  # run at once on a CPU; larger batches fall out of its cache
_TIMES_ON_GPU = 32
_ROW = 128  # bases that the copy of a row's state costs as much as


@dataclass(frozen=True)
class Reading:
    """What a model makes of L consecutive bases.

    Attributes:
        codes: (L,) the bases.
        log2p: (L, 4) log2 p of A, C, G and T at each base given those before it, in float64; (0, 4) where boundaries
            only were asked for.
        prob: (L,) probability in float32 that a chunk of the outermost stage begins at each base; (0,) in a model
            without chunks. The last base has none where a branch was not read to its end.
        mask: (L,) whether a chunk begins.
    """

    codes: Codes
    log2p: NDArray[np.float64]
    prob: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def of_bases(self) -> NDArray[np.float64]:
        """Return log2 p of each base, (L,); 0 where it is not A, C, G or T."""
        letters = (self.codes & np.uint8(LETTER_BITS)).astype(np.int64)
        picked = np.take_along_axis(self.log2p, np.minimum(letters, 3)[:, None], axis=1)[:, 0]
        return np.where(is_acgt(self.codes), picked, 0.0)

    def part(self, start: int, end: int) -> Reading:
        """Return bases [start, end)."""
        return Reading(*(getattr(self, name)[start:end] for name in vars(self)))

    @staticmethod
    def joined(parts: Sequence[Reading]) -> Reading:
        """Return consecutive readings as one."""
        return Reading(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


@dataclass(frozen=True)
class Front:
    """Where rows of bases have come to: the model's state, and the logits (B, 1, V) of the next base."""

    state: InnerState | None
    ahead: Tensor

    def select(self, rows: Sequence[int]) -> Front:
        """Return the front whose row i is row `rows[i]` of this one."""
        index = torch.tensor(rows, device=self.ahead.device)
        return Front(None if self.state is None else select_rows(self.state, index), self.ahead[index])

    @staticmethod
    def joined(fronts: Sequence[Front]) -> Front:
        """Return one front with the rows of several, which are either all at a beginning or all past one."""
        states = [front.state for front in fronts if front.state is not None]
        assert len(states) in (0, len(fronts))
        return Front(join_rows(states) if states else None, torch.cat([front.ahead for front in fronts]))


class Branches:
    """Reads rows of bases with one model.

    Args:
        model: any with an alphabet.
        boundaries_only: whether probabilities of bases are not wanted, which saves most of the work. Fronts of the two
            kinds do not mix.
    """

    def __init__(self, model: HNetLM, *, boundaries_only: bool = False) -> None:
        self._model, self._boundaries_only = model, boundaries_only
        self._one_base = None if boundaries_only else OneBase(model)
        self._base_ids = list(alphabet(model.config.alphabet).base_ids)

    @property
    def batch(self) -> int:
        """Bases that are best run at once."""
        return _BATCH_BASES * (_TIMES_ON_GPU if self._model.lm_head.weight.is_cuda else 1)

    @property
    def stride(self) -> int:
        """Bases between fronts that cost little to stop at: 1 where single bases have a fast path."""
        return 1 if self._one_base is not None and self._one_base.serves else 16

    def start(self, rows: int) -> Front:
        """Return the front of rows that nothing has been read of."""
        return Front(None, nothing_before(self._model, rows))

    def advance(self, front: Front, rows: Sequence[Codes]) -> tuple[Front, list[Reading]]:
        """Read on from a front, side by side; return the new front, and what was read for each row."""
        return self._run(front, rows, to_the_end=True, last=False)

    def branch(self, front: Front, owners: Sequence[int], sequences: Sequence[Codes]) -> Iterator[tuple[int, Reading]]:
        """Read sequences, each from the row of the front that owns it; yield number and reading of each, in any order.

        A sequence's last base is predicted and not read, which leaves it without a boundary; where boundaries only are
        wanted, it is read.
        """
        for group in _of_like_length(sequences, self.batch):
            part = front.select([owners[row] for row in group])
            rows = [sequences[row] for row in group]
            _, readings = self._run(part, rows, to_the_end=self._boundaries_only, last=True)
            yield from zip(group, readings, strict=True)

    def _run(self, front: Front, rows: Sequence[Codes], *, to_the_end: bool, last: bool) -> tuple[Front, list[Reading]]:
        """Read rows to their ends or but for their last bases; with `last`, the front that is returned has no state."""
        lengths = torch.tensor([len(row) for row in rows])
        longest = int(lengths.max())
        codes = np.full((len(rows), longest), N_CODE, dtype=np.uint8)
        for place, row in zip(codes, rows, strict=True):
            place[: len(row)] = row
        logits, prob, mask = [], [], []
        read = longest if to_the_end else longest - 1
        most = max(1, self.batch // len(rows))
        for start in range(0, read, most):
            piece = codes[:, start : min(start + most, read)]
            valid = (lengths - start).clamp(0, piece.shape[1])
            known = None if bool((valid == piece.shape[1]).all()) else valid
            output = self._forward(piece, front.state, known, last=last and start + most >= read)
            if isinstance(output, HNetOutput):
                joined = torch.cat([front.ahead, output.logits], dim=1)
                logits.append(self._log2p(joined[:, :-1]))
                ahead = joined[torch.arange(len(rows), device=joined.device), valid.to(joined.device)][:, None]
            else:
                ahead = front.ahead
            if output.stages:
                prob.append(output.stages[0].boundary_prob.float().cpu().numpy())
                mask.append(output.stages[0].boundary_mask.cpu().numpy())
            front = Front(output.state, ahead)
        if not to_the_end:
            logits.append(self._log2p(front.ahead))
        log2p = _joined(logits, np.zeros((len(rows), 0, 4)))
        probs = _joined(prob, np.zeros((len(rows), 0), dtype=np.float32))
        masks = _joined(mask, np.zeros((len(rows), 0), dtype=bool))
        return front, [
            Reading(row, log2p[i, : len(row)], probs[i, : len(row)], masks[i, : len(row)]) for i, row in enumerate(rows)
        ]

    def _forward(
        self, codes: Codes, state: InnerState | None, lengths: Tensor | None, *, last: bool
    ) -> HNetOutput | BoundaryOutput:
        if self._boundaries_only:
            return forward_boundaries(self._model, 0, codes, state, lengths)
        if self._one_base is not None and codes.shape[1] == 1 and lengths is None:
            return forward_one(self._one_base, codes, state)
        return forward(self._model, codes, state, lengths, last=last)

    def _log2p(self, logits: Tensor) -> NDArray[np.float64]:
        # In float64, and divided base by base, so that a uniform model costs exactly 2 bits.
        bases = at_least_float32(logits[..., self._base_ids]).double()
        values: NDArray[np.float64] = (bases.log_softmax(dim=-1) / math.log(2)).cpu().numpy()
        return values


def _joined(parts: list[Any], none: Any) -> Any:
    return np.concatenate(parts, axis=1) if parts else none


def cost(length: int) -> int:
    """Return what a branch of this many bases adds to a batch; its last base is not run, but its state is copied."""
    return max(length - 1, _ROW)


def _of_like_length(sequences: Sequence[Codes], batch: int) -> Iterator[list[int]]:
    """Yield groups of rows of which none is less than half as long as another, nor all together longer than a batch.

    Groups are about equally large, since a small one that is left over takes nearly as long as a full one.
    """
    bases = sum(cost(len(sequence)) for sequence in sequences)
    share = bases / max(1, math.ceil(bases / batch))
    group: list[int] = []
    longest = 0
    for row in sorted(range(len(sequences)), key=lambda row: -len(sequences[row])):
        full = len(group) * cost(longest) >= share or (len(group) + 1) * cost(longest) > batch
        if group and (full or 2 * len(sequences[row]) < longest):
            yield group
            group = []
        if not group:
            longest = len(sequences[row])
        group.append(row)
    if group:
        yield group
