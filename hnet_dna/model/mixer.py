"""The layers' inner parts: Mamba-2, windowed or global attention, SwiGLU.

Shapes: B batch, L positions, D width, E inner width, H heads, P head width, N state size, W window.
Each mixer is one function over (x, rows, state): a whole sequence, a piece of it and a single base take the same path.
Parameter names are the reference's, so that its checkpoints load as they are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.config.schema import StageConfig
from hnet_dna.model.rows import Rows, last_positions
from hnet_dna.ops import (
    MambaPast,
    MambaWeights,
    MlpWeights,
    at_least_float32,
    causal_conv_silu,
    gated_rms_norm,
    mamba_layer,
    mlp_layer,
    rms_norm,
    ssd_scan,
    swiglu,
    window_attention,
)

REFERENCE_ANGLES = 1 << 13  # positions whose angles are products in float32


def query_block(window: int) -> int:
    """Return how many queries of windowed attention share their keys: few, since most see only part of them."""
    return max(32, -(-window // 3))


class RMSNorm(nn.Module):
    """x / rms(x) * weight, the statistics in float32 or better.

    The output has the weight's dtype; under autocast, if it is only `for_products`, the dtype they would cast it to.
    """

    def __init__(self, width: int, *, for_products: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.for_products = for_products

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of x."""
        return rms_norm(x, self.weight, self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Of the output."""
        return _dtype_of_products(self.weight) if self.for_products else self.weight.dtype


def _dtype_of_products(weight: Tensor) -> torch.dtype:
    """Return what autocast would cast a weight to before a product, which is its own dtype without."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _parted_linear(x: Tensor, weight: Tensor, widths: list[int]) -> list[Tensor]:
    """Multiply x by the parts of a weight, each into a tensor of its own.

    The parts of one product would lie in memory with gaps, which slows every pass over them, and their gradients would
    have to be joined first. The weight is cast once, where autocast would cast each part.
    """
    parts = torch.split(weight.to(_dtype_of_products(weight)), widths)
    return [F.linear(x, part) for part in parts]


class MambaState(NamedTuple):
    """What a Mamba-2 mixer remembers: the last inputs of its convolution (B, K-1, C), and S (B, N, H, P)."""

    conv: Tensor
    ssm: Tensor


class Mamba2(nn.Module):
    """Mamba-2 mixer with one group, as `mamba_ssm.Mamba2` computes it (gate before the norm)."""

    def __init__(self, config: StageConfig, tile: int) -> None:
        super().__init__()
        self.tile = tile
        self.d_inner, self.d_state, self.d_conv = config.d_inner, config.d_state, config.d_conv
        self.head_dim = config.head_dim
        self.n_heads = config.d_inner // config.head_dim
        channels = self.d_inner + 2 * self.d_state
        self.in_proj = nn.Linear(config.d_model, self.d_inner + channels + self.n_heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, self.d_conv, groups=channels)
        self.dt_bias = nn.Parameter(torch.zeros(self.n_heads))
        self.A_log = nn.Parameter(torch.zeros(self.n_heads))
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.norm = RMSNorm(self.d_inner, for_products=True)
        self.out_proj = nn.Linear(self.d_inner, config.d_model, bias=False)

    def add_to(
        self, residual: Tensor, norm: RMSNorm, rows: Rows, state: MambaState | None
    ) -> tuple[Tensor, MambaState | None]:
        """Add to the residual stream (B, L, D) what the mixer makes of its norm; return also the state."""
        # The one op of it gives states no gradients.
        if rows.last or not torch.is_grad_enabled():
            weights = MambaWeights(
                norm.weight, self.in_proj.weight, self.conv1d.weight.flatten(1), cast(Tensor, self.conv1d.bias),
                self.dt_bias, self.A_log, self.D, self.norm.weight, self.out_proj.weight,
            )  # fmt: skip
            past = None if state is None else MambaPast(state.conv, state.ssm)
            outputs = mamba_layer(residual, weights, rows.length, past, self.tile, norm.dtype)
            if outputs is not None:
                residual, xbc, ssm = outputs
                if rows.last:
                    return residual, None
                old = xbc.new_zeros(xbc.shape[0], self.d_conv - 1, xbc.shape[-1]) if past is None else past.conv
                return residual, MambaState(last_positions(old.to(xbc.dtype), xbc, rows, self.d_conv - 1), ssm)
        mixed, after = self(norm(residual), rows, state)
        return residual + mixed, after

    def forward(self, u: Tensor, rows: Rows, state: MambaState | None) -> tuple[Tensor, MambaState | None]:
        """Mix u (B, L, D) along positions; return the same shape and the state after each row's last position."""
        batch, bias = u.shape[0], self.conv1d.bias
        assert bias is not None
        widths = [self.d_inner, self.d_inner + 2 * self.d_state, self.n_heads]
        z, xbc, dt = _parted_linear(u, self.in_proj.weight, widths)
        if state is None:
            conv = xbc.new_zeros(batch, self.d_conv - 1, xbc.shape[-1])
            ssm = xbc.new_zeros(batch, self.d_state, self.n_heads, self.head_dim)
            state = MambaState(conv, at_least_float32(ssm))
        past = state.conv.to(xbc.dtype)
        weight, bias = self.conv1d.weight[:, 0].to(xbc.dtype), bias.to(xbc.dtype)
        x, b, c = causal_conv_silu(past, xbc, weight, bias, [self.d_inner, self.d_state, self.d_state])
        x = x.reshape(*x.shape[:2], self.n_heads, self.head_dim)
        # The scan's rates stay in float32 under autocast; A is rounded to float32 even in a float64 model, because
        # the reference does so and its checkpoints were trained that way.
        scan_dtype = state.ssm.dtype
        decay = -torch.exp(self.A_log.float()).to(scan_dtype)
        dt = rows.zero_padding(F.softplus(dt.to(scan_dtype) + self.dt_bias))
        y, ssm = ssd_scan(x, dt, decay, b, c, state.ssm, self.tile)
        out = gated_rms_norm(y, x, self.D, z, self.norm.weight, self.norm.dtype)
        if rows.last:
            return self.out_proj(out), None
        return self.out_proj(out), MambaState(last_positions(past, xbc, rows, self.d_conv - 1), ssm)


class AttentionState(NamedTuple):
    """Keys and values still visible (B, K, H, P), right-aligned, and positions seen so far (B,).

    K is at most the window; with global attention it grows with the sequence.
    """

    key: Tensor
    value: Tensor
    seen: Tensor


def join_attention(states: list[AttentionState]) -> AttentionState:
    """Return the rows of several states, one after the other."""
    room = max(state.key.shape[1] for state in states)
    key, value = (torch.cat([_grow(getattr(state, name), room) for state in states]) for name in ("key", "value"))
    return AttentionState(key, value, torch.cat([state.seen for state in states]))


class Attention(nn.Module):
    """Causal softmax attention with half-rotated position encoding and an optional window."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.num_heads, self.rotary_dim, self.period = config.num_heads, config.rotary_emb_dim, config.rotary_period
        self.window = config.window_size
        self.Wqkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def add_to(
        self, residual: Tensor, norm: RMSNorm, rows: Rows, state: AttentionState | None
    ) -> tuple[Tensor, AttentionState | None]:
        """Add to the residual stream (B, L, D) what the mixer makes of its norm; return also the state."""
        mixed, after = self(norm(residual), rows, state)
        return residual + mixed, after

    def forward(self, x: Tensor, rows: Rows, state: AttentionState | None) -> tuple[Tensor, AttentionState | None]:
        """Mix x (B, L, D) along positions; return the same shape and the keys and values still in view."""
        batch, length, width = x.shape
        both, value = self.Wqkv(x).unflatten(-1, (3, self.num_heads, width // self.num_heads)).split([2, 1], dim=2)
        value = value[:, :, 0]
        if state is None:
            empty = value.new_zeros(batch, 0, *value.shape[2:])
            state = AttentionState(empty, empty, torch.zeros(batch, dtype=torch.long, device=x.device))
        position = state.seen[:, None] + torch.arange(length, device=x.device)
        query, key = self._rotate(both, position).unbind(2)
        after = None if rows.last else self._after(state, key, value, rows)
        if state.key.shape[1]:
            key, value = torch.cat([state.key, key], 1), torch.cat([state.value, value], 1)
        out = None
        if 0 <= self.window < length - 1 and key.shape[1] == length:
            out = window_attention(query, key, value, self.window)
        if out is None:
            out = self._attend(query, key, value, state.seen)
        return self.out_proj(out.flatten(-2)), after

    def _after(self, state: AttentionState, key: Tensor, value: Tensor, rows: Rows) -> AttentionState:
        """Return the state after keys and values (B, L, H, P)."""
        seen = state.seen + rows.length
        if self.window >= 0 and rows.longest > 1:
            # Known without waiting for a GPU. There may be more slots than any row has seen, which nobody looks at.
            keep = state.key.shape[1] + rows.longest
        else:
            keep = int(seen.max()) if state.key.shape[1] else rows.longest
        if self.window >= 0:
            keep = min(keep, self.window)
        return AttentionState(
            last_positions(_grow(state.key, keep), key, rows, keep),
            last_positions(_grow(state.value, keep), value, rows, keep),
            seen,
        )

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        """Attend from query (B, L, H, P) to key (B, K+L, H, P).

        Of the first K slots, a row has its last seen (B,); None where it has all of them.
        """
        length, past = query.shape[1], key.shape[1] - query.shape[1]
        block = length if self.window < 0 else min(query_block(self.window), length)
        # Slots before a block that its queries may see; where one block is the whole, the past is all there is.
        before = past if block == length else -(-self.window // block) * block
        if not past and (before or block == length):
            # The first queries of a sequence see its start: nothing lies before it that would have to be masked.
            first = min(before, length) if before else length
            covered = self.window < 0 or first <= self.window + 1
            visible = None if covered else self._visible(first, first, query.device)[None]
            out = _attention(query[:, :first], key[:, :first], value[:, :first], visible)
            if first == length:
                return out
            return torch.cat([out, self._attend(query[:, first:], key, value, None)], dim=1)

        visible = self._visible(block, before + block, query.device)
        if block == length:
            if seen is not None:  # slots before a row's first position exist only to align the rows
                slot = torch.arange(before + block, device=query.device)
                return _attention(query, key, value, visible & (slot >= (past - seen)[:, None, None]))
            return _attention(query, key, value, visible[None])

        count = -(-length // block)
        # Only the first blocks see slots before a row's first position.
        head = 0 if seen is None else min(before // block, count)
        queries = _blocks(query, block, 0, 0, count, head)
        keys, values = (_blocks(x, block, before, past, count, head) for x in (key, value))
        masks = [visible[None], visible[None]]
        if seen is not None:
            slot = torch.arange(head, device=query.device)[:, None] * block
            slot = slot + torch.arange(before + block, device=query.device)
            started = slot >= (before - seen)[:, None, None]  # (B, head, before + block)
            masks[0] = (visible & started[:, :, None]).flatten(0, 1)
        outs = [
            _attention(*part).reshape(len(query), -1, *query.shape[2:])
            for part in zip(queries, keys, values, masks, strict=True)
            if len(part[0])
        ]
        return torch.cat(outs, dim=1)[:, :length]

    def _visible(self, queries: int, slots: int, device: torch.device) -> Tensor:
        """Return which of `slots` each of the last `queries` positions among them sees, (queries, slots)."""
        i = torch.arange(slots - queries, slots, device=device)[:, None]
        j = torch.arange(slots, device=device)
        visible = j <= i
        return visible if self.window < 0 else visible & (j >= i - self.window)

    def _rotate(self, x: Tensor, position: Tensor) -> Tensor:
        """Rotate the first `rotary_dim` dims of queries and keys x (B, L, 2, H, P) in halves."""
        if self.rotary_dim == 0:
            return x
        angle = rotary_angles(position, self.rotary_dim, self.period)[:, :, None, None]
        turned: Tensor = _Rotation.apply(x, angle.cos().to(x.dtype), angle.sin().to(x.dtype))  # type: ignore[no-untyped-call]
        return turned


def _blocks(x: Tensor, block: int, before: int, past: int, count: int, head: int) -> tuple[Tensor, Tensor]:
    """Cut x (B, past + L, H, P) into `count` blocks of L, each with the `before` slots that precede it.

    Returns the first `head` blocks of each row (B head, before + block, H, P), and the others; what x has not is 0.
    """
    blocks: tuple[Tensor, Tensor] = _Blocks.apply(x, block, before, past, count, head)  # type: ignore[no-untyped-call]
    return blocks


class _Blocks(torch.autograd.Function):
    """Slots are copied to each block that sees them; autograd would sum gradients of x's size, one per copy."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, block: int, before: int, past: int, count: int, head: int
    ) -> tuple[Tensor, Tensor]:
        slots, begin = x.shape[1], before - past
        end = before + count * block - begin - slots
        ctx.shape, ctx.block, ctx.head, ctx.begin = (len(x), begin + slots + end, *x.shape[2:]), block, head, begin
        ctx.slots = slots
        padded = F.pad(x, (0, 0, 0, 0, begin, end)) if begin or end else x
        seen = padded.unfold(1, before + block, block).movedim(-1, 2)  # (B, count, before + block, H, P)
        parts = (seen[:, :head], seen[:, head:])
        first, others = (torch.empty_like(part, memory_format=torch.contiguous_format).copy_(part) for part in parts)
        return first.flatten(0, 1), others.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        total = grads[0].new_zeros(ctx.shape)
        blocks = total.view(len(total), -1, ctx.block, *total.shape[2:])
        for start, grad in zip((0, ctx.head), grads, strict=True):
            grad = grad.reshape(len(total), -1, grad.shape[1] // ctx.block, ctx.block, *total.shape[2:])
            for shift in range(grad.shape[2]):
                blocks[:, start + shift : start + shift + grad.shape[1]] += grad[:, :, shift]
        return total[:, ctx.begin : ctx.begin + ctx.slots], None, None, None, None, None


class _Rotation(torch.autograd.Function):
    """Turns pairs (x_i, x_(i + half)) by angles; their gradient turns back; autograd takes twice the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(grads[0], cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = cos.shape[-1]
    first, second, rest = torch.split(x, [half, half, x.shape[-1] - 2 * half], dim=-1)
    swapped = torch.cat([second, first], dim=-1).mul_(torch.cat([-sin, sin], dim=-1))
    turned = swapped.addcmul_(x[..., : 2 * half], torch.cat([cos, cos], dim=-1))
    return torch.cat([turned, rest], dim=-1) if rest.shape[-1] else turned


def rotary_angles(position: Tensor, dim: int, period: int) -> Tensor:
    """Return the angles (..., dim / 2) in float32 by which positions (...) turn, the fastest first.

    The reference's angles are products in float32. Those of the first positions are the same here, to the last bit;
    further on, where that product would be rounded by more than a neighbour differs, the angle is taken within a turn.
    """
    angle = position.double()[..., None] * rotary_frequencies(dim, period, position.device)
    as_reference = (position < REFERENCE_ANGLES)[..., None] & (period == 0)
    return torch.where(as_reference, angle, angle.remainder(2 * math.pi)).float()


_frequencies: dict[tuple[int, int, torch.device], Tensor] = {}  # a compiler sees into functools.cache, and computes


def rotary_frequencies(dim: int, period: int, device: torch.device) -> Tensor:
    """Return radians per position of each of dim / 2 rotations, in float64; the reference's are float32 values.

    They are powers taken on the CPU: those of a GPU differ in the last digits, and far from the start so would angles.
    """
    key = (dim, period, device)
    if key not in _frequencies:
        with torch.inference_mode(False):  # kept for calls that want gradients
            exponent = torch.arange(0, dim, 2, dtype=torch.float32, device="cpu") / dim
            frequency = (1.0 / 10000.0**exponent).double()
            _frequencies[key] = (frequency * (2 * math.pi / period) if period else frequency).to(device)
    return _frequencies[key]


def _attention(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
    """Attend from query (B, L, H, P) to key and value (B, K, H, P) where visible (B or 1, L, K).

    None is for L = K positions that see themselves and all before them: kernels skip what they need not compute.
    """
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    mask = None if visible is None else visible[:, None]
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None).transpose(1, 2)


def _grow(past: Tensor, count: int) -> Tensor:
    """Pad `past` (B, K, ...) on the left to at least `count` slots."""
    missing = count - past.shape[1]
    if missing <= 0:
        return past
    return torch.cat([past.new_zeros(past.shape[0], missing, *past.shape[2:]), past], dim=1)


class SwiGLU(nn.Module):
    """Gated MLP: fc2(silu(gate) * value), fc1 giving value and gate in this order."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, 2 * config.mlp_width, bias=False)
        self.fc2 = nn.Linear(config.mlp_width, config.d_model, bias=False)

    def add_to(self, residual: Tensor, norm: RMSNorm) -> Tensor:
        """Add to the residual stream (B, L, D) what the MLP makes of its norm."""
        weights = MlpWeights(norm.weight, self.fc1.weight, self.fc2.weight)
        added = mlp_layer(residual, weights, norm.dtype)
        return residual + self(norm(residual)) if added is None else added

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position of x (B, L, D) by itself."""
        value, gate = _parted_linear(x, self.fc1.weight, [self.fc2.in_features] * 2)
        out: Tensor = self.fc2(swiglu(value, gate))
        return out
