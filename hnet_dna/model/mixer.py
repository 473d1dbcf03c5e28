"""The layers' inner parts: Mamba-2, windowed or global attention, SwiGLU.

Shapes: B batch, L positions, D width, E inner width, H heads, P head width, N state size, W window.
Each mixer is one function over (x, rows, state): a whole sequence, a piece of it and a single base take the same path.
Parameter names are the reference's, so that its checkpoints load as they are.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.config.schema import StageConfig
from hnet_dna.model.rows import Rows, last_positions
from hnet_dna.ops import causal_conv_silu, gated_rms_norm, rms_norm, ssd_scan, swiglu

REFERENCE_ANGLES = 1 << 13  # positions whose angles are products in float32


def query_block(window: int) -> int:
    """Return how many queries of windowed attention share their keys: few, since most see only part of them."""
    return max(32, -(-window // 3))


class RMSNorm(nn.Module):
    """x / rms(x) * weight, the statistics in float32 or better; the output has the weight's dtype."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of x."""
        return rms_norm(x, self.weight)


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
        self.norm = RMSNorm(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, config.d_model, bias=False)

    def forward(self, u: Tensor, rows: Rows, state: MambaState | None) -> tuple[Tensor, MambaState]:
        """Mix u (B, L, D) along positions; return the same shape and the state after each row's last position."""
        batch, bias = u.shape[0], self.conv1d.bias
        assert bias is not None
        widths = [self.d_inner, self.d_inner + 2 * self.d_state, self.n_heads]
        # Three products, since the gradients of one would have to be joined first, a pass as long as the product.
        z, xbc, dt = (F.linear(u, weight) for weight in torch.split(self.in_proj.weight, widths))
        if state is None:
            conv = xbc.new_zeros(batch, self.d_conv - 1, xbc.shape[-1])
            scan_dtype = torch.float64 if xbc.dtype == torch.float64 else torch.float32
            ssm = torch.zeros(batch, self.d_state, self.n_heads, self.head_dim, dtype=scan_dtype, device=u.device)
            state = MambaState(conv, ssm)
        past = state.conv.to(xbc.dtype)
        conv_state = last_positions(past, xbc, rows, self.d_conv - 1)
        weight, bias = self.conv1d.weight[:, 0].to(xbc.dtype), bias.to(xbc.dtype)
        x, b, c = causal_conv_silu(past, xbc, weight, bias, [self.d_inner, self.d_state, self.d_state])
        x = x.reshape(*x.shape[:2], self.n_heads, self.head_dim)
        # The scan's rates stay in float32 under autocast; A is rounded to float32 even in a float64 model, because
        # the reference does so and its checkpoints were trained that way.
        scan_dtype = state.ssm.dtype
        decay = -torch.exp(self.A_log.float()).to(scan_dtype)
        dt = rows.zero_padding(F.softplus(dt.to(scan_dtype) + self.dt_bias))
        y, ssm = ssd_scan(x, dt, decay, b, c, state.ssm, self.tile)
        y = torch.addcmul(y, x, self.D[:, None]).flatten(-2)
        return self.out_proj(gated_rms_norm(y, z, self.norm.weight)), MambaState(conv_state, ssm)


class AttentionState(NamedTuple):
    """Keys and values still visible (B, K, H, P), right-aligned, and positions seen so far (B,).

    K is at most the window; with global attention it grows with the sequence.
    """

    key: Tensor
    value: Tensor
    seen: Tensor


class Attention(nn.Module):
    """Causal softmax attention with half-rotated position encoding and an optional window."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.num_heads, self.rotary_dim, self.period = config.num_heads, config.rotary_emb_dim, config.rotary_period
        self.window = config.window_size
        self.Wqkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Tensor, rows: Rows, state: AttentionState | None) -> tuple[Tensor, AttentionState]:
        """Mix x (B, L, D) along positions; return the same shape and the keys and values still in view."""
        batch, length, width = x.shape
        both, value = self.Wqkv(x).unflatten(-1, (3, self.num_heads, width // self.num_heads)).split([2, 1], dim=2)
        value = value[:, :, 0]
        if state is None:
            empty = value.new_zeros(batch, 0, *value.shape[2:])
            state = AttentionState(empty, empty, torch.zeros(batch, dtype=torch.long, device=x.device))
        position = state.seen[:, None] + torch.arange(length, device=x.device)
        query, key = self._rotate(both, position).unbind(2)
        seen = state.seen + rows.length
        keep = int(seen.max())
        if self.window >= 0:
            keep = min(keep, self.window)
        after = AttentionState(
            last_positions(_grow(state.key, keep), key, rows, keep),
            last_positions(_grow(state.value, keep), value, rows, keep),
            seen,
        )
        out = self._attend(query, torch.cat([state.key, key], 1), torch.cat([state.value, value], 1), state.seen)
        return self.out_proj(out.flatten(-2)), after

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """Attend from query (B, L, H, P) to key (B, K+L, H, P), of which the first K may reach before the start."""
        length, past = query.shape[1], key.shape[1] - query.shape[1]
        block = length if self.window < 0 else min(query_block(self.window), length)
        # Slots before the block that its queries may see; where one block is the whole, the past is all there is.
        before = past if block == length else -(-self.window // block) * block
        i = torch.arange(before, before + block, device=query.device)[:, None]
        j = torch.arange(before + block, device=query.device)
        visible = j <= i
        if self.window >= 0:
            visible = visible & (j >= i - self.window)
        if block == length:
            # Slots of `past` before a row's first position exist only to align the rows.
            return _attention(query, key, value, visible & (j >= (past - seen)[:, None, None]))

        count, back = -(-length // block), before // block
        end = count * block - length
        blocks = (len(query), -1, block, *query.shape[2:])
        query = F.pad(query, (0, 0, 0, 0, 0, end)).reshape(blocks)

        def views(x: Tensor) -> Tensor:
            """Return what each block sees of x: (B, blocks, before + block, H, P)."""
            x = F.pad(x, (0, 0, 0, 0, before - past, end)).reshape(blocks)
            return torch.cat([x[:, shift : shift + count] for shift in range(back + 1)], dim=2)

        key, value = views(key), views(value)
        # Only the first blocks see slots before a row's first position.
        head = min(back, count)
        slot = torch.arange(head, device=query.device)[:, None] * block + j
        started = slot >= (before - seen)[:, None, None]  # (B, head, before + block)
        first = (visible & started[:, :, None]).flatten(0, 1)
        parts = zip(*(torch.split(x, [head, count - head], dim=1) for x in (query, key, value)), strict=True)
        outs = []
        for part, mask in zip(parts, (first, visible[None]), strict=True):
            q, k, v = (x.flatten(0, 1) for x in part)
            out = _attention(q, k, v, mask)
            outs.append(out.reshape(len(query), -1, *query.shape[2:]))
        return torch.cat(outs, dim=1).flatten(1, 2)[:, :length]

    def _rotate(self, x: Tensor, position: Tensor) -> Tensor:
        """Rotate the first `rotary_dim` dims of queries and keys x (B, L, 2, H, P) in halves."""
        if self.rotary_dim == 0:
            return x
        angle = rotary_angles(position, self.rotary_dim, self.period)[:, :, None, None]
        turned: Tensor = _Rotation.apply(x, angle.cos().to(x.dtype), angle.sin().to(x.dtype))  # type: ignore[no-untyped-call]
        return turned


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


def rotary_frequencies(dim: int, period: int, device: torch.device | None = None) -> Tensor:
    """Return radians per position of each of dim / 2 rotations, in float64; the reference's are float32 values."""
    exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    frequency = (1.0 / 10000.0**exponent).double()
    return frequency * (2 * math.pi / period) if period else frequency


def _attention(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Attend from query (B, L, H, P) to key and value (B, K, H, P) where visible (B or 1, L, K)."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None]).transpose(1, 2)


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

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position of x (B, L, D) by itself."""
        out: Tensor = self.fc2(swiglu(self.fc1(x)))
        return out
