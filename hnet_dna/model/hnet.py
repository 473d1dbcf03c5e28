"""The recursion: encode, route, chunk, run the inner stage, dechunk, decode. The innermost stage is one stack.

Parameter names are the reference's (`backbone.encoder...`, `backbone.main_network...`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.config.layout import Layout, parse_stack
from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.kmers import KmerState
from hnet_dna.model.mixer import AttentionState, join_attention
from hnet_dna.model.router import Router, RouterState, Routing, chunk, dechunk
from hnet_dna.model.rows import Rows
from hnet_dna.model.stack import Stack, StackState
from hnet_dna.ops import at_least_float32


@dataclass(frozen=True)
class StageOutput:
    """The router's decisions of one stage, over that stage's own positions.

    Positions of stage 0 are bases, those of stage 1 are chunks of stage 0, and so on.

    Attributes:
        boundary_prob: (B, L) in [0, 1], 0 at padding.
        boundary_mask: (B, L) bool, True where a chunk begins, False at padding.
        length: (B,) valid positions of each row.
    """

    boundary_prob: Tensor
    boundary_mask: Tensor
    length: Tensor


@dataclass(frozen=True)
class StageState:
    """What a stage remembers between pieces of a sequence.

    `inner` is None until its first chunk begins. `average` and `decoder` stay None if only boundaries are computed,
    and so does `inner` at the innermost stage that was asked for.
    """

    encoder: StackState | None
    router: RouterState | None
    inner: InnerState | None
    average: Tensor | None
    decoder: StackState | None


class MemoryState(NamedTuple):
    """What a model with a memory remembers: the last letters (B, K-1), right-aligned, and all that others do."""

    letters: Tensor | None
    inner: InnerState | None


InnerState: TypeAlias = "StageState | StackState | KmerState | MemoryState"
_START = StageState(None, None, None, None, None)


class Innermost(nn.Module):
    """The innermost stage, or the whole of an isotropic model: a stack over vectors widened by `pad_dimension`."""

    def __init__(self, config: ModelConfig, layout: Layout, index: int) -> None:
        super().__init__()
        stage = config.stage(index)
        self.main_network = Stack(parse_stack(layout[0]), stage, config.chunk_size)
        self.pad_dimension = _pad_parameter(config, index)

    def forward(
        self, x: Tensor, rows: Rows, state: StackState | None
    ) -> tuple[Tensor, tuple[StageOutput, ...], StackState | None]:
        """Run x (B, L, Din); return the same shape, no stage outputs, and the state."""
        if x.shape[1] == 0:
            return x, (), state
        out, state = self.main_network(_widen(x, self.pad_dimension), rows, state)
        return out[..., : x.shape[-1]], (), state


class ChunkingStage(nn.Module):
    """A stage with a router: everything between its encoder and decoder works on chunks."""

    def __init__(self, config: ModelConfig, layout: Layout, index: int) -> None:
        super().__init__()
        assert len(layout) == 3
        stage = config.stage(index)
        self.encoder = Stack(parse_stack(layout[0]), stage, config.chunk_size)
        self.main_network = build_stage(config, layout[1], index + 1)
        self.decoder = Stack(parse_stack(layout[2]), stage, config.chunk_size)
        self.routing_module = Router(stage)
        # In float32 and zero at the start: at first the decoder gets the encoder only through the chunks.
        self.residual_proj = nn.Linear(stage.d_model, stage.d_model)
        self.pad_dimension = _pad_parameter(config, index)
        self.smoothing, self.straight_through = config.smoothing, config.straight_through

    def forward(
        self, x: Tensor, rows: Rows, state: StageState | None
    ) -> tuple[Tensor, tuple[StageOutput, ...], StageState | None]:
        """Run x (B, L, Din).

        Returns:
            The same shape; the outputs of this stage and all inner ones, outermost first; the state.
        """
        state = state or _START
        if state.encoder is not None and state.decoder is None:
            raise ValueError(
                "this state is from a call that computed only boundaries; the whole model cannot continue from it"
            )
        if x.shape[1] == 0:
            return x, self._no_outputs(x), state
        u, encoder, routing, router = self._route(x, rows, state)
        inner_x, position, inner_rows = chunk(u, routing.boundary, last=rows.last)
        z, inner_outputs, inner = self.main_network(inner_x, inner_rows, state.inner)
        smooth, average = dechunk(
            z,
            inner_rows,
            position,
            routing,
            state.average,
            smoothing=self.smoothing,
            straight_through=self.straight_through,
        )
        mixed = smooth + self._residual(u)
        out, decoder = self.decoder(mixed.to(u.dtype), rows, state.decoder)
        output = StageOutput(routing.prob, routing.boundary, rows.length)
        after = None if rows.last else StageState(encoder, router, inner, average, decoder)
        return out[..., : x.shape[-1]], (output, *inner_outputs), after

    def boundaries(
        self, x: Tensor, rows: Rows, state: StageState | None, inner_stages: int
    ) -> tuple[tuple[StageOutput, ...], StageState]:
        """Find the boundaries of this stage and of so many inside it for x (B, L, Din), and run nothing else.

        What lies inside a stage, and its decoder, have no part in its boundaries.
        """
        state = state or _START
        if x.shape[1] == 0:
            return self._no_outputs(x)[: inner_stages + 1], state
        u, encoder, routing, router = self._route(x, rows, state)
        inner_outputs: tuple[StageOutput, ...] = ()
        inner = state.inner
        if inner_stages:
            assert isinstance(self.main_network, ChunkingStage)
            inner_x, _, inner_rows = chunk(u, routing.boundary)
            inner_outputs, inner = self.main_network.boundaries(
                inner_x, inner_rows, cast("StageState | None", inner), inner_stages - 1
            )
        output = StageOutput(routing.prob, routing.boundary, rows.length)
        return (output, *inner_outputs), StageState(encoder, router, inner, None, None)

    def _route(
        self, x: Tensor, rows: Rows, state: StageState
    ) -> tuple[Tensor, StackState | None, Routing, RouterState | None]:
        u, encoder = self.encoder(_widen(x, self.pad_dimension), rows, state.encoder)
        routing, router = self.routing_module(u, rows, state.router)
        return u, encoder, routing, router

    def _residual(self, u: Tensor) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            u = at_least_float32(u)
            return F.linear(u, self.residual_proj.weight.to(u.dtype), self.residual_proj.bias.to(u.dtype))

    def _no_outputs(self, x: Tensor) -> tuple[StageOutput, ...]:
        """Stage outputs for an empty piece."""
        prob = at_least_float32(torch.zeros(x.shape[:2], dtype=x.dtype))
        output = StageOutput(
            prob.to(x.device),
            torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device),
            torch.zeros(x.shape[0], dtype=torch.long, device=x.device),
        )
        inner = self.main_network._no_outputs(x) if isinstance(self.main_network, ChunkingStage) else ()
        return (output, *inner)


def build_stage(config: ModelConfig, layout: Layout, index: int = 0) -> Innermost | ChunkingStage:
    """Build stage `index` and everything inside it."""
    return Innermost(config, layout, index) if len(layout) == 1 else ChunkingStage(config, layout, index)


def stage_of(name: str) -> int:
    """Return the stage that a parameter belongs to, 0 for the embedding and the head.

    `main_network` nests once per stage, and once more for the stack of the innermost stage.
    """
    depth = 0
    parts = name.split(".")
    for part, following in pairwise(parts):
        if part == "main_network" and following != "layers" and following != "rmsnorm":
            depth += 1
    return depth


def select_rows(state: InnerState, index: Tensor) -> InnerState:
    """Return a state whose row i is row `index[i]` of the given one, as when a beginning has several endings."""
    selected: InnerState = _select(state, index)
    return selected


def _select(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    if isinstance(value, StageState):
        return StageState(**{name: _select(part, index) for name, part in vars(value).items()})
    if isinstance(value, tuple):
        parts = [_select(part, index) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def join_rows(states: Sequence[InnerState]) -> InnerState:
    """Return a state whose rows are those of several states, one after the other, as when endings run side by side."""
    joined: InnerState = _join(list(states))
    return joined


def _join(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(values)
    if isinstance(first, StageState):
        return StageState(**{name: _join([getattr(value, name) for value in values]) for name in vars(first)})
    if isinstance(first, AttentionState):
        return join_attention(values)
    if isinstance(first, tuple):
        parts = [_join(list(part)) for part in zip(*values, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    if any(value is not None for value in values):
        raise ValueError("states of which only some have seen anything cannot be joined")
    return first


def _pad_parameter(config: ModelConfig, index: int) -> nn.Parameter | None:
    """One trained vector that widens every position from the outer stage's width to this one's."""
    outer = config.stage(max(index - 1, 0)).d_model
    extra = config.stage(index).d_model - outer
    return nn.Parameter(torch.zeros(extra)) if extra else None


def _widen(x: Tensor, pad: nn.Parameter | None) -> Tensor:
    if pad is None:
        return x
    return torch.cat([x, pad.to(x.dtype).expand(*x.shape[:-1], -1)], dim=-1)
