"""What a model costs before it is trained: parameters by stage, arithmetic per base, memory of a training step.

Multiply-adds count as two operations. Chunks are counted at their target ratio, since what a router will choose is not
known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hnet_dna.config.layout import LayerSpec, Layout, inner_layout, parse_stack
from hnet_dna.config.schema import ModelConfig, StageConfig
from hnet_dna.model.hnet import stage_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.mixer import query_block
from hnet_dna.model.words import WordTable

# A batch with this many times the positions that the target ratio gives an inner stage is crowded: in training that
# stage's layers then run again in the backward pass instead of keeping values (`Stack.keep`), which bounds memory.
CROWDED = 2.0
_BACKWARD = 2  # a backward pass takes twice the products of the forward pass
_ADAM_BYTES = 16  # float32 parameter, its gradient, two moments


@dataclass(frozen=True)
class StageCost:
    """One stage of a model.

    Attributes:
        stacks: its own layers as text, outermost parts first.
        positions: per base, at the target ratio.
        parameters: those whose stage it is; stage 0 has the embedding and the head.
        flops: of a forward pass, per base.
    """

    stacks: str
    positions: float
    parameters: int
    flops: float


@dataclass(frozen=True)
class Cost:
    """All stages of a model, outermost first.

    Attributes:
        stages: each stage.
        kept_values: numbers kept for the backward pass per base, at the target ratio.
        worst_values: the most that are alive at once per base, whatever the routers decide.
        word_bytes: the most that the memory's counted words add to the model's file.
    """

    stages: tuple[StageCost, ...]
    kept_values: float
    worst_values: float
    word_bytes: int = 0

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def forward_flops(self) -> float:
        """Operations of a forward pass, per base."""
        return sum(stage.flops for stage in self.stages)

    @property
    def training_flops(self) -> float:
        """Operations of a forward and a backward pass, per base."""
        return (1 + _BACKWARD) * self.forward_flops

    def training_bytes(self, bases: int) -> float:
        """Estimate memory of a step on this many bases: weights, optimizer, and activations kept for backward."""
        return _ADAM_BYTES * self.parameters + 4 * self.kept_values * bases

    def worst_training_bytes(self, bases: int) -> float:
        """Estimate what a step can need at most, whatever the routers decide, up to every base a chunk."""
        return _ADAM_BYTES * self.parameters + 4 * self.worst_values * bases


def cost_of(config: ModelConfig, ratio_targets: Sequence[float], window: int) -> Cost:
    """Count without building the weights.

    Args:
        config: the model's shape.
        ratio_targets: positions per chunk of each chunking stage.
        window: bases of a window, which bounds what attention sees.
    """
    with torch.device("meta"):
        model = HNetLM(config)
    parameters = [0] * config.n_stages
    for name, parameter in model.named_parameters():
        parameters[stage_of(name)] += parameter.numel()
    stages, kept, positions = [], 0.0, 1.0 / max(config.kmer, 1)
    worst, worst_again, most = 0.0, 0.0, positions  # `most`: positions per base where every position begins a chunk
    layout: Layout | None = config.layout
    for index in range(config.n_stages):
        assert layout is not None
        stage = config.stage(index)
        stacks = [part for part in layout if isinstance(part, str)]
        layers = [layer for stack in stacks for layer in parse_stack(stack)]
        flops = sum(_layer_flops(layer, stage, config.chunk_size, positions * window) for layer in layers)
        by_layer = [_layer_values(layer, stage, config.chunk_size, positions * window) for layer in layers]
        values = sum(by_layer)
        between = 0.0
        if index == 0:
            classes = 4**config.kmer if config.kmer else config.vocab_size
            flops += 2 * stage.d_model * classes
            between += 2 * classes
            if config.has_memory:
                flops += _memory_flops(config)
                between += _memory_values(config)
        if len(layout) == 3:
            routing = {"cosine": 4 * stage.d_model**2, "linear": 2 * stage.d_model}.get(stage.routing, 0)
            flops += routing + 2 * stage.d_model**2
            between += 8 * stage.d_model
        stages.append(StageCost(" .. ".join(stacks), positions, parameters[index], positions * flops))
        kept += positions * (values + between)
        if index == 0:
            worst += most * (values + between)
        else:
            # Just not crowded, or all positions with only the layers' inputs and one layer's values at a time.
            worst += max(min(CROWDED * positions, most) * values, most * stage.d_model * len(layers)) + most * between
            worst_again = max(worst_again, most * max(by_layer))
        if index < config.n_stages - 1:
            ratio = stage.stride if stage.routing in ("fixed", "random") else ratio_targets[index]
            positions /= ratio
            most /= stage.stride if stage.routing == "fixed" and not stage.max_chunk else 1
        layout = inner_layout(layout)
    words = sum(WordTable.most_bytes(k, config.max_words) for k in config.word_orders)
    return Cost(tuple(stages), kept, worst + worst_again, words)


def _memory_flops(config: ModelConfig) -> float:
    """Operations of the memory of k-mers per base; looking up a word is none."""
    width, words = config.stage(0).d_model, len(config.word_orders)
    tables = (len(config.table_orders) + 2 * width) * config.table_width if config.table_orders else 0
    return tables + words * (2 * 5 * width + 2 * width + 8)


def _memory_values(config: ModelConfig) -> float:
    """Numbers that the memory keeps for the backward pass per base."""
    tables = (2 * len(config.table_orders) + 1) * config.table_width if config.table_orders else 0
    return tables + 16 * len(config.word_orders)


def _layer_flops(layer: LayerSpec, stage: StageConfig, tile: int, length: float) -> float:
    """Operations of a layer's forward pass per position of its stage."""
    width, inner, state = stage.d_model, stage.d_inner, stage.d_state
    if layer.mixer == "mamba":
        heads = inner // stage.head_dim
        flops: float = 2 * width * (2 * inner + 2 * state + heads) + 2 * inner * width  # projections
        flops += 2 * stage.d_conv * (inner + 2 * state)
        flops += 2 * tile * (state + inner) + 4 * state * inner  # within a tile; to and from the state
    else:
        reach = stage.window_size + 1 if stage.window_size >= 0 else length
        seen = min(reach, length) * (1 - min(reach, length) / (2 * length))  # the first positions see fewer
        flops = 8 * width * width + 4 * seen * width
    return flops + (6 * width * stage.mlp_width if layer.has_mlp else 0)


def _layer_values(layer: LayerSpec, stage: StageConfig, tile: int, length: float) -> float:
    """Numbers that a layer keeps for its backward pass, per position of its stage.

    Fitted to what autograd saves with the `torch` backend in float32, within a tenth.
    """
    width, inner, state = stage.d_model, stage.d_inner, stage.d_state
    if layer.mixer == "mamba":
        mixer = 2.5 * width + 9.2 * inner + 6 * state + state * inner / tile + tile
    else:
        seen = stage.window_size + query_block(stage.window_size) if stage.window_size >= 0 else length
        mixer = 7 * width + min(seen, length)  # the second for the mask
    return mixer + (4 * stage.mlp_width + 3 * width if layer.has_mlp else 0)
