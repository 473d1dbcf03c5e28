"""Runs a model over sequences of any length in pieces, with its state carried from piece to piece.

This is the one engine behind evaluation and boundary tracks; memory depends on the piece, never on the sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hnet_dna.model.hnet import InnerState
from hnet_dna.model.likelihood import base_nats, targets_of
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import N_CODE, Codes


class Stream:
    """One sequence through one model: `feed` takes its bases in any pieces."""

    def __init__(self, model: HNetLM) -> None:
        self._model = model
        self._state: InnerState | None = None
        self._letters = alphabet(model.config.alphabet)

    def feed(self, codes: Codes) -> HNetOutput:
        """Run the next bases; the output covers them alone (a batch of one row)."""
        device = self._model.embeddings.weight.device
        ids = torch.from_numpy(self._letters.encode(codes)).to(device).long()[None]
        with torch.inference_mode():
            output: HNetOutput = self._model(ids, self._state)
        self._state = output.state
        return output


@dataclass(frozen=True)
class Score:
    """Sums over bases, to be divided once.

    Attributes:
        bits: -log2 p summed in float64.
        bases: bases A, C, G, T counted.
        positions, chunks: per chunking stage.
    """

    bits: float
    bases: int
    positions: tuple[int, ...]
    chunks: tuple[int, ...]

    @property
    def bits_per_base(self) -> float:
        """Mean bits, NaN over nothing."""
        return self.bits / self.bases if self.bases else float("nan")

    @property
    def positions_per_chunk(self) -> tuple[float, ...]:
        """Mean chunk length of each stage, in positions of that stage."""
        return tuple(p / c if c else float("nan") for p, c in zip(self.positions, self.chunks, strict=True))


def score_segments(
    model: HNetLM, segments: Sequence[Codes], *, rows: int = 8, piece: int = 1024, window: int | None = None
) -> Iterator[tuple[int, Score]]:
    """Score segments without N, several side by side as rows of a batch.

    The first base of each row has nothing before it and costs 2 bits.

    Args:
        model: any H-Net with an alphabet.
        segments: nucleotide codes.
        rows: rows run side by side.
        piece: bases of a row run at once; the state is carried, so it changes speed and memory, not the result.
        window: cut segments into rows of this many bases, each starting without context; None runs each whole.

    Yields:
        (bases done, score of these) after each piece; add the scores up with `total_score`.
    """
    parts = [
        segment[start : start + (window or len(segment))]
        for segment in segments
        for start in range(0, len(segment), window or max(len(segment), 1))
    ]
    parts.sort(key=len, reverse=True)  # rows of a batch end together
    for first in range(0, len(parts), rows):
        yield from _score_rows(model, parts[first : first + rows], piece)


def total_score(scores: Sequence[Score], stages: int) -> Score:
    """Add scores up."""
    return Score(
        sum(score.bits for score in scores),
        sum(score.bases for score in scores),
        tuple(sum(score.positions[s] for score in scores) for s in range(stages)),
        tuple(sum(score.chunks[s] for score in scores) for s in range(stages)),
    )


def _score_rows(model: HNetLM, parts: Sequence[Codes], piece: int) -> Iterator[tuple[int, Score]]:
    letters = alphabet(model.config.alphabet)
    device = model.embeddings.weight.device
    state: InnerState | None = None
    # What the model expects for the next base of each row: nothing at first, which is uniform.
    ahead = torch.zeros(len(parts), 1, model.config.vocab_size, device=device, dtype=model.lm_head.weight.dtype)
    for start in range(0, max(map(len, parts)), piece):
        cut = [part[start : start + piece] for part in parts]
        lengths = torch.tensor([len(c) for c in cut], device=device)
        codes = np.full((len(cut), max(map(len, cut))), N_CODE, dtype=np.uint8)
        for row, bases in enumerate(cut):
            codes[row, : len(bases)] = bases
        with torch.inference_mode():
            ids = torch.from_numpy(letters.encode(codes)).to(device).long()
            output = model(ids, state, lengths=lengths)
            state = output.state
            logits = torch.cat([ahead, output.logits], dim=1)
            # In float64, and divided base by base, so that a uniform model costs exactly 2.
            targets = targets_of(torch.from_numpy(codes).to(device))
            bits = base_nats(logits[:, :-1].double(), targets, letters) / math.log(2)
            ahead = _at(logits, lengths)
        score = Score(
            float(bits.sum()),
            int(((codes & 0x0F) < 4).sum()),
            tuple(int(stage.length.sum()) for stage in output.stages),
            tuple(int(stage.boundary_mask.sum()) for stage in output.stages),
        )
        yield int(lengths.sum()), score


def _at(logits: Tensor, index: Tensor) -> Tensor:
    """Pick the logits after each row's last valid base, (B, 1, V)."""
    return logits[torch.arange(len(index), device=logits.device), index][:, None]
