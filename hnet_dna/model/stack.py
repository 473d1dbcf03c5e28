"""A stack of pre-norm layers, with the residual stream in float32 or better."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hnet_dna.config.layout import LayerSpec
from hnet_dna.config.schema import StageConfig
from hnet_dna.model.mixer import Attention, AttentionState, Mamba2, MambaState, RMSNorm, SwiGLU, rotary_frequencies
from hnet_dna.model.rows import Rows
from hnet_dna.ops import at_least_float32

StackState: TypeAlias = "tuple[MambaState | AttentionState, ...]"


class Layer(nn.Module):
    """One mixer and perhaps one MLP, each reading the normalised residual stream and adding to it."""

    def __init__(self, spec: LayerSpec, config: StageConfig, tile: int) -> None:
        super().__init__()
        self.norm1 = RMSNorm(config.d_model, for_products=True)
        self.mixer = Mamba2(config, tile) if spec.mixer == "mamba" else Attention(config)
        if spec.has_mlp:
            self.norm2 = RMSNorm(config.d_model, for_products=True)
            self.mlp = SwiGLU(config)
        self.has_mlp = spec.has_mlp
        self.compiled: Callable[[Layer, Tensor, Rows], Tensor] | None = None  # in training, set by `compile_layers`

    def forward(
        self, residual: Tensor, rows: Rows, state: MambaState | AttentionState | None
    ) -> tuple[Tensor, MambaState | AttentionState | None]:
        """Add to the residual stream (B, L, D); return it and the mixer's state."""
        if self.compiled is not None and rows.last and state is None and torch.is_grad_enabled():
            return self.compiled(self, residual, rows), None
        return self.add_to(residual, rows, state)

    def add_to(
        self, residual: Tensor, rows: Rows, state: MambaState | AttentionState | None
    ) -> tuple[Tensor, MambaState | AttentionState | None]:
        """Do what `forward` does, uncompiled."""
        add: Callable[..., tuple[Tensor, MambaState | AttentionState | None]] = self.mixer.add_to
        residual, state = add(residual, self.norm1, rows, state)
        if self.has_mlp:
            residual = self.mlp.add_to(residual, self.norm2)
        return residual, state


def compile_layers(model: nn.Module) -> None:
    """Compile the layers of a model for training, each by itself: what lies between them depends on the data.

    One function serves all layers, so that those of a kind share a graph.
    """
    from hnet_dna.ops.compiled import region  # imports the compiler

    compiled = region(_add_in_training)
    for module in model.modules():
        if isinstance(module, Layer):
            module.compiled = compiled
        if isinstance(module, Attention):  # computed here, the compiler takes them as they are
            rotary_frequencies(module.rotary_dim, module.period, module.out_proj.weight.device)


def _add_in_training(layer: Layer, residual: Tensor, rows: Rows) -> Tensor:
    return layer.add_to(residual, rows, None)[0]


class Stack(nn.Module):
    """Layers in a row, then a norm."""

    def __init__(self, layers: tuple[LayerSpec, ...], config: StageConfig, tile: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(spec, config, tile) for spec in layers)
        self.rmsnorm = RMSNorm(config.d_model)
        self.height = sum(spec.height for spec in layers)
        # In training: the largest batch, in positions, whose layers keep what their backward pass needs. The layers of
        # a larger one keep only their inputs and run again; results are the same. None sets no limit.
        self.keep: int | None = None

    def forward(self, x: Tensor, rows: Rows, state: StackState | None) -> tuple[Tensor, StackState | None]:
        """Run x (B, L, D) through the layers; return the same shape and one state per layer."""
        residual = at_least_float32(x)
        crowded = self.keep is not None and x.shape[0] * x.shape[1] > self.keep
        after: list[MambaState | AttentionState] = []
        for index, layer in enumerate(self.layers):
            before = None if state is None else state[index]
            if crowded and torch.is_grad_enabled():
                residual, layer_state = checkpoint(layer, residual, rows, before, use_reentrant=False)
            else:
                residual, layer_state = layer(residual, rows, before)
            after.append(layer_state)
        return self.rmsnorm(residual), None if rows.last else tuple(after)
