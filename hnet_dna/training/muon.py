"""Muon: momentum whose update is orthogonalised, for the matrices inside a network.

The momentum of a matrix mostly points along few directions; a step along all of them with equal strength learns more
(Jordan et al., 2024). Orthogonalised means all singular values near 1, by five Newton-Schulz steps: matrix products
only. Scaled by 0.2 sqrt(longer side), an update is as large as one of AdamW, so that AdamW's rates and decay serve
(arXiv 2502.16982).

PyTorch's own Muon does the same for one whole matrix after the other, always in bfloat16. Here a weight may hold
several matrices below one another, each with an update of its own, and matrices of one shape share their products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from hnet_dna.model.mixer import Attention, Mamba2, SwiGLU

_MOMENTUM = 0.95
_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315  # steepest at 0, where most singular values are; they end in about 0.7 to 1.2
_SCALE = 0.2  # root mean square of AdamW's updates


def matrices(model: nn.Module) -> dict[Tensor, list[int]]:
    """Return the weights inside the network that Muon serves, each with the rows of the matrices that it holds.

    Queries, keys and values are three matrices, gate and value of an MLP two, and what Mamba-2 projects to (gate,
    input, B, C, rates) five. Embeddings, heads, convolutions and vectors are none.
    """
    parts: dict[Tensor, list[int]] = {}
    for module in model.modules():
        if isinstance(module, Attention):
            width = module.out_proj.weight.shape[0]
            parts[module.Wqkv.weight] = [width] * 3
        elif isinstance(module, Mamba2):
            inner, state = module.d_inner, module.d_state
            parts[module.in_proj.weight] = [inner, inner, state, state, module.n_heads]
        elif isinstance(module, SwiGLU):
            parts[module.fc1.weight] = [module.fc1.weight.shape[0] // 2] * 2
    for name, module in model.named_modules():
        # A matrix of one row is a vector; what lies outside the backbone is an embedding or a head.
        if isinstance(module, nn.Linear) and "backbone" in name.split(".") and module.weight.shape[0] > 1:
            parts.setdefault(module.weight, [module.weight.shape[0]])
    return parts


class Muon(torch.optim.Optimizer):
    """Steps of matrices; the state of each is its `momentum`.

    Weights cut into shares (FSDP2) are gathered for the products, and each rank keeps its share of the update.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], rows: Mapping[Tensor, list[int]], lr: float):
        """Take groups of weights with `weight_decay`, and the rows of the matrices in each weight."""
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self._rows = rows

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients as they are."""
        wanted = [
            (parameter, group) for group in self.param_groups for parameter in group["params"]
            if parameter.grad is not None
        ]  # fmt: skip
        pushes = [self._push(parameter, parameter.grad) for parameter, _ in wanted]
        blocks = [
            block
            for (parameter, _), push in zip(wanted, pushes, strict=True)
            for block in torch.split(push, self._rows[parameter])
        ]
        updates = iter(_orthogonal(blocks))
        for parameter, group in wanted:
            update = torch.cat([next(updates) for _ in self._rows[parameter]])
            if isinstance(parameter, DTensor):
                # Every rank has computed the whole, so that none has to send.
                update = distribute_tensor(update, parameter.device_mesh, parameter.placements, src_data_rank=None)
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])

    def _push(self, parameter: nn.Parameter, gradient: Tensor) -> Tensor:
        """Take a gradient into the momentum; return the direction to go, Nesterov's, whole."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        push = gradient.lerp(state["momentum"], _MOMENTUM)
        return push.full_tensor() if isinstance(push, DTensor) else push


def _orthogonal(blocks: list[Tensor]) -> list[Tensor]:
    """Return the update of each matrix, those of one shape computed together."""
    places: dict[tuple[int, int], list[int]] = {}
    for index, block in enumerate(blocks):
        rows, columns = block.shape
        places.setdefault((min(rows, columns), max(rows, columns)), []).append(index)
    updates = list(blocks)
    for (short, long), indices in places.items():
        wide = torch.stack([blocks[i] if blocks[i].shape == (short, long) else blocks[i].T for i in indices])
        for i, update in zip(indices, newton_schulz(wide).mul_(_SCALE * math.sqrt(long)), strict=True):
            updates[i] = update if blocks[i].shape == (short, long) else update.T
    return updates


def newton_schulz(x: Tensor) -> Tensor:
    """Bring the singular values of matrices x (M, rows, columns), rows <= columns, near 1, their vectors kept.

    In bfloat16 on a GPU, where that is fast and exact enough; in x's own dtype elsewhere.
    """
    dtype = x.dtype
    if x.is_cuda and dtype == torch.float32:
        x = x.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x.to(dtype)


class Together(torch.optim.Optimizer):
    """Several optimizers as one: their groups in a row, and one state by parameter."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._parts = parts
        for part in parts:
            part.state = self.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step of each."""
        for part in self._parts:
            part.step()
