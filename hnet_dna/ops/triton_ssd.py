"""The Mamba-2 scan as Triton kernels of our own, for NVIDIA GPUs with nothing but PyTorch installed.

The signature is documented at `hnet_dna.ops.serve.ssd_scan`. First one program for each head of each sequence walks
over its tiles with the state in registers and writes down the state before each (`_carry`; long sequences that are few
are walked in parts, side by side, and joined); then all tiles are computed at once from these (`_tiles`). The backward
pass does the same from the end (`_carry` again, `_tiles_back`): states are computed anew rather than kept, and five
launches are mostly all that a training step needs.

Within a tile the decay from j to i is the exponential of a difference that is never positive; nothing can overflow, and
no choice depends on data.

Lengths are not specialised: one compiled kernel serves all, that of the check before it too.

Shapes in comments: K tiles of T positions, N state size, P head width.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hnet_dna.ops.fallback import tell_fallback
from hnet_dna.ops.ssd import ssd_scan_chunked
from hnet_dna.ops.triton_launch import ceil_div, launcher

_LARGEST = 128 * 64  # N x P that the registers of one program hold
_LONG, _FEWEST = 512, 16  # tiles of a sequence that is walked in parts, and of each part
_JOINED = 1024  # values of states that one program joins


def ssd_scan_triton(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
) -> tuple[Tensor, Tensor]:
    """Run the kernels; float64, empty input and, with a warning, states too large for them take the tiled form.

    Products of bfloat16 or float16 inputs are of that dtype, and so is y; those of float32 are split into three of
    tf32, which keep all but its last bits. Steps, rates, sums and states are float32.
    """
    held = holds_state(b.shape[-1], x.shape[-1])
    if x.numel() and not held:
        tell_fallback(
            f"a scan with d_state {b.shape[-1]} and head_dim {x.shape[-1]}", f"d_state x head_dim up to {_LARGEST:,}"
        )
    if x.numel() == 0 or torch.float64 in (x.dtype, state.dtype) or not held:
        return ssd_scan_chunked(x, dt, decay, b, c, state, tile)
    dtype = torch.promote_types(torch.promote_types(x.dtype, b.dtype), c.dtype)
    parts = (x.to(dtype), dt.float(), decay.float(), b.to(dtype), c.to(dtype), state.float())
    y, last = _Scan.apply(*(part.contiguous() for part in parts), tile)  # type: ignore[no-untyped-call]
    return y, last


def holds_state(n: int, p: int) -> bool:
    """Tell whether the kernels take heads of such states."""
    states, width = (max(16, triton.next_power_of_2(size)) for size in (n, p))
    return bool(states * width <= _LARGEST)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor, tile: int
    ) -> tuple[Tensor, Tensor]:
        y, last = scan(x, dt, decay, b, c, state, tile)
        ctx.save_for_backward(x, dt, decay, b, c, state)
        ctx.tile = tile
        return y, last

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, dt, decay, b, c, state = ctx.saved_tensors
        grad_y, grad_last = (grad.contiguous() for grad in grads)
        grad_x = torch.empty_like(x)
        grad_dt, grad_decay, of_b, of_c, grad_state = scan_back(
            x, dt, decay, b, c, state, ctx.tile, grad_y.to(x.dtype), grad_last, grad_x, add=False
        )
        return grad_x, grad_dt, grad_decay.sum(dim=(0, 1)), of_b.to(b.dtype), of_c.to(b.dtype), grad_state, None


def scan(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None, tile: int
) -> tuple[Tensor, Tensor]:
    """Launch the kernels on tensors as `_Scan` makes them; None for `state` is zeros."""
    sizes, grid = _sizes(x, b, tile)
    states, last = _states(x, dt, decay, b, state, tile, back=False)
    y = torch.empty_like(x)
    launcher(_tiles)[grid](x, dt, decay, b, c, states, y, **sizes, num_warps=4)
    return y, last


def scan_back(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None, tile: int, grad_y: Tensor,
    grad_last: Tensor | None, grad_x: Tensor, *, add: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Write the gradient of x to `grad_x`, or with `add` add it to what is there.

    Returns:
        Gradients of dt; of decay by tile (B, K, H); of b and c in float32; of the first state.
    """
    sizes, grid = _sizes(x, b, tile)
    states, _ = _states(x, dt, decay, b, state, tile, back=False)
    after, grad_state = _states(grad_y, dt, decay, c, grad_last, tile, back=True)
    grad_dt, grad_decay = torch.empty_like(dt), dt.new_empty(states.shape[:3])
    # b and c are shared by the heads: each writes its part, and the sum does not depend on who came first.
    parts = x.new_empty(2, *b.shape[:2], x.shape[2], b.shape[2])
    launcher(_tiles_back)[grid](
        x, dt, decay, b, c, states, after, grad_y, grad_x, grad_dt, grad_decay, parts,
        **sizes, ADD=add, num_warps=8 if x.dtype == torch.float32 else 4,
    )  # fmt: skip
    of_b, of_c = parts.sum(dim=3, dtype=torch.float32).unbind(0)
    return grad_dt, grad_decay, of_b, of_c, grad_state


def tile_of(x: Tensor, b: Tensor, tile: int) -> int:
    """Return how many positions a tile of the kernels has, which may be fewer than `tile`."""
    positions: int = _sizes(x, b, tile)[0]["T"]
    return positions


def _states(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, state: Tensor | None, tile: int, *, back: bool
) -> tuple[Tensor, Tensor]:
    """Return the state before each tile (B, K, H, N, P) in the precision of x, and that after the last; None is zeros.

    With `back`: the gradient of the state after each tile, x being the gradient of y, b being c, and `state` the
    gradient of the last state; and the gradient of the first.
    """
    batch, length, heads, width = x.shape
    states = x.new_empty(batch, ceil_div(length, tile_of(x, b, tile)), heads, b.shape[2], width)
    parts = _parts(x, b, tile)
    if parts == 1:
        return states, _walk(x, dt, decay, b, state, states, None, tile, parts, back=back)
    totals = torch.empty(batch * parts, heads, dtype=torch.float32, device=x.device)
    ends = _walk(x, dt, decay, b, None, None, totals, tile, parts, back=back)
    starts, last = torch.empty_like(ends), ends.new_empty(batch, *ends.shape[1:])
    size = b.shape[2] * heads * width
    launcher(_join)[batch, ceil_div(size, _JOINED)](
        ends, totals, state, starts, last, parts, H=heads, P=width, SIZE=size, BLOCK=_JOINED, BACK=back,
        START=state is not None, num_warps=4,
    )  # fmt: skip
    _walk(x, dt, decay, b, starts, states, None, tile, parts, back=back)
    return states, last


def _walk(
    x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, state: Tensor | None, states: Tensor | None,
    totals: Tensor | None, tile: int, parts: int, *, back: bool,
) -> Tensor:  # fmt: skip
    """Return the state after the last tile of each part (B parts, N, H, P), from that before its first in `state`.

    Those before each tile go to `states`, the logarithm of what a part keeps of its first state to `totals`.
    """
    batch, _, heads, width = x.shape
    sizes, _ = _sizes(x, b, tile)
    last = torch.empty(batch * parts, b.shape[2], heads, width, dtype=torch.float32, device=x.device)
    sizes["BP"] = _columns(width)
    launcher(_carry)[batch * parts * heads, ceil_div(width, sizes["BP"])](
        x, dt, decay, b, state, states, last, totals, parts=parts, **sizes, BACK=back, START=state is not None,
        KEEP=states is not None, SUM=totals is not None, num_warps=4,
    )  # fmt: skip
    return last


def _columns(width: int) -> int:
    """Return how many columns of a state a program walks with: they do not meet, and more programs hide latency."""
    return 16 if width <= 16 else 32


def _parts(x: Tensor, b: Tensor, tile: int) -> int:
    """Return in how many parts the tiles of a sequence are walked side by side, each twice: first for its own end.

    That is worth its cost where sequences are long and few, so that most of a GPU would watch a few programs walk. The
    length decides only whether they are walked so, not in how many parts: a compiled region serves all long ones.
    """
    batch, length, heads, width = x.shape
    parts = min(4 * processors(x.device) // (batch * heads * ceil_div(width, _columns(width))), _LONG // _FEWEST)
    return parts if parts >= 4 and length >= _LONG * tile_of(x, b, tile) else 1


def processors(device: torch.device) -> int:
    """Return how many multiprocessors a GPU has."""
    count: int = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    return count


def _sizes(x: Tensor, b: Tensor, tile: int) -> tuple[dict[str, Any], tuple[int]]:
    """Return the arguments of all kernels, and how many programs there are that take one tile of one head each."""
    batch, length, heads, width = x.shape
    n = b.shape[-1]
    capability = torch.cuda.get_device_capability(x.device)[0] if x.is_cuda else 9  # the interpreter takes any
    positions = max(16, min(largest_tile(x.dtype, capability), triton.next_power_of_2(tile)))
    sizes = {
        "L": length, "H": heads, "N": n, "P": width, "T": positions,
        "BN": max(16, triton.next_power_of_2(n)), "BP": max(16, triton.next_power_of_2(width)),
        "PRECISION": "tf32x3" if x.dtype == torch.float32 else "tf32",
    }  # fmt: skip
    return sizes, (batch * heads * ceil_div(length, positions),)


def largest_tile(dtype: torch.dtype, capability: int) -> int:
    """Return how many positions of states of 128 x 64 a program takes on GPUs of a (major) compute capability.

    Operands of float32 take twice the room and more. Products of 64 rows are a tenth faster on 9, which reads their
    operands from shared memory, though the gradient then spills some registers; on 8 and 12 they spill more, and on 10
    they do not compile (triton 3.7.1).
    """
    if dtype == torch.float32:
        return 16
    return 64 if capability == 9 else 32


@triton.jit
def _rates(dt, decay, row, inside, head, H: tl.constexpr):
    """Return dt (T), and the logarithm of the decay up to each position, from there to the end, and of all the tile.

    Of the two sums each is exact where its exponential counts, which their difference from the total would not be.
    """
    step = tl.load(dt + row * H + head, mask=inside, other=0.0)
    rate = step * tl.load(decay + head)
    return step, tl.cumsum(rate, axis=0), tl.cumsum(rate, axis=0, reverse=True) - rate, tl.sum(rate, axis=0)


@triton.jit
def decay_between(a, i):
    """Return exp(a_i - a_j) where j <= i, 0 elsewhere, (T, T)."""
    return tl.exp(tl.where(i[:, None] >= i[None, :], a[:, None] - a[None, :], float("-inf")))


@triton.jit(do_not_specialize=["L", "parts"])
def _carry(
    x, dt, decay, b, state, states, last, totals, L, parts, H: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    T: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, PRECISION: tl.constexpr, BACK: tl.constexpr,
    START: tl.constexpr, KEEP: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Walk over the tiles of some columns of one head: S becomes exp(total) S + sum_j w_j b_j x_j^T.

    Here w_j = dt_j exp(total - a_j); with BACK the walk is from the last tile to the first, and w_j = exp(a_j). Each
    part of a sequence has equally many tiles; the last ones may lie behind its end, where nothing changes.
    """
    part, head = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    sequence = part // parts
    i, n, p = tl.arange(0, T), tl.arange(0, BN), tl.program_id(1) * BP + tl.arange(0, BP)
    in_n, in_p = n < N, p < P
    in_state = in_n[:, None] & in_p[None, :]
    at_state = ((part * N + n[:, None]) * H + head) * P + p[None, :]
    carried = tl.zeros([BN, BP], dtype=tl.float32)
    if START:
        carried += tl.load(state + at_state, mask=in_state, other=0.0)
    tiles = tl.cdiv(L, T)
    walked, sum_total = tl.cdiv(tiles, parts), 0.0
    first = (part % parts).to(tl.int32) * walked
    for count in range(walked):
        k = first + (walked - 1 - count if BACK else count)
        position = k * T + i
        inside = position < L
        row = sequence * L + position
        step, a, to_end, total = _rates(dt, decay, row, inside, head, H)
        at_p, at_n = (row[:, None] * H + head) * P + p[None, :], row[:, None] * N + n[None, :]
        xs = tl.load(x + at_p, mask=inside[:, None] & in_p[None, :], other=0.0)
        bs = tl.load(b + at_n, mask=inside[:, None] & in_n[None, :], other=0.0)
        if KEEP:
            here = ((sequence * tiles + k) * H + head) * N * P + n[:, None] * P + p[None, :]
            tl.store(states + here, carried.to(xs.dtype), mask=in_state & (k < tiles))
        weight = tl.exp(a) if BACK else step * tl.exp(to_end)
        weighted = (bs.to(tl.float32) * weight[:, None]).to(xs.dtype)
        carried = carried * tl.exp(total) + tl.dot(tl.trans(weighted), xs, input_precision=PRECISION)
        sum_total += total
    tl.store(last + at_state, carried, mask=in_state)
    if SUM:
        tl.store(totals + part * H + head, sum_total, mask=tl.program_id(1) == 0)


@triton.jit(do_not_specialize=["parts"])
def _join(
    ends, totals, state, starts, last, parts, H: tl.constexpr, P: tl.constexpr, SIZE: tl.constexpr,
    BLOCK: tl.constexpr, BACK: tl.constexpr, START: tl.constexpr,
):  # fmt: skip
    """Walk over the parts of a sequence with some values of the state, from what each part makes of none."""
    sequence, value = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside, head = value < SIZE, (value // P) % H
    carried = tl.zeros([BLOCK], dtype=tl.float32)
    if START:
        carried += tl.load(state + sequence * SIZE + value, mask=inside, other=0.0)
    for count in range(parts):
        part = sequence * parts + (parts - 1 - count if BACK else count)
        tl.store(starts + part * SIZE + value, carried, mask=inside)
        kept = tl.exp(tl.load(totals + part * H + head, mask=inside, other=0.0))
        carried = carried * kept + tl.load(ends + part * SIZE + value, mask=inside, other=0.0)
    tl.store(last + sequence * SIZE + value, carried, mask=inside)


@triton.jit(do_not_specialize=["L"])
def _tiles(
    x, dt, decay, b, c, states, y, L, H: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    T: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute y of one head in one tile: y_i = sum_j (c_i . b_j) exp(a_i - a_j) dt_j x_j + exp(a_i) c_i S."""
    tiles = tl.cdiv(L, T)
    k, both = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    sequence, head = (both // H).to(tl.int64), both % H
    i, n, p = tl.arange(0, T), tl.arange(0, BN), tl.arange(0, BP)
    in_n, in_p = n < N, p < P
    position = k * T + i
    inside = position < L
    row = sequence * L + position
    step, a, _, _ = _rates(dt, decay, row, inside, head, H)
    at_p, in_rows = (row[:, None] * H + head) * P + p[None, :], inside[:, None] & in_p[None, :]
    at_n, in_row = row[:, None] * N + n[None, :], inside[:, None] & in_n[None, :]
    xs = tl.load(x + at_p, mask=in_rows, other=0.0)
    bs = tl.load(b + at_n, mask=in_row, other=0.0)
    cs = tl.load(c + at_n, mask=in_row, other=0.0)
    here = ((sequence * tiles + k) * H + head) * N * P + n[:, None] * P + p[None, :]
    before = tl.load(states + here, mask=in_n[:, None] & in_p[None, :], other=0.0)
    scores = tl.dot(cs, tl.trans(bs), input_precision=PRECISION) * decay_between(a, i) * step[None, :]
    ys = tl.dot(cs, before, input_precision=PRECISION) * tl.exp(a)[:, None]
    ys += tl.dot(scores.to(xs.dtype), xs, input_precision=PRECISION)
    tl.store(y + at_p, ys.to(xs.dtype), mask=in_rows)


@triton.jit(do_not_specialize=["L"])
def _tiles_back(
    x, dt, decay, b, c, states, afters, grad_y, grad_x, grad_dt, grad_decay, of_maps,
    L, H: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    T: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, PRECISION: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of one head in one tile, from the state before it and the gradient of that after it.

    With g_ij the gradient of the score s_ij = c_i . b_j, the gradient of a at i is what leaves i less what arrives
    there, sum_j g_ij s_ij - sum_j g_ji s_ji, and the same for both states. Sums of both signs run over the same rounded
    products, so that what should cancel does.
    """
    tiles = tl.cdiv(L, T)
    k, both = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    sequence, head = (both // H).to(tl.int64), both % H
    i, n, p = tl.arange(0, T), tl.arange(0, BN), tl.arange(0, BP)
    in_n, in_p = n < N, p < P
    in_state = in_n[:, None] & in_p[None, :]
    position = k * T + i
    inside = position < L
    row = sequence * L + position
    step, a, to_end, total = _rates(dt, decay, row, inside, head, H)
    at_p, in_rows = (row[:, None] * H + head) * P + p[None, :], inside[:, None] & in_p[None, :]
    at_n, in_row = row[:, None] * N + n[None, :], inside[:, None] & in_n[None, :]
    xs = tl.load(x + at_p, mask=in_rows, other=0.0)
    gys = tl.load(grad_y + at_p, mask=in_rows, other=0.0)
    bs = tl.load(b + at_n, mask=in_row, other=0.0)
    cs = tl.load(c + at_n, mask=in_row, other=0.0)
    kept, left, right = decay_between(a, i), tl.exp(a), tl.exp(to_end)
    scores = tl.dot(cs, tl.trans(bs), input_precision=PRECISION)
    g = tl.dot(gys, tl.trans(xs), input_precision=PRECISION) * kept * step[None, :]
    along = tl.sum(g * scores, axis=1) - tl.sum(g * scores, axis=0)
    low, kept_scores = g.to(xs.dtype), (scores * kept).to(xs.dtype)

    here = ((sequence * tiles + k) * H + head) * N * P + n[:, None] * P + p[None, :]
    at_head = (row[:, None] * H + head) * N + n[None, :]
    before = tl.load(states + here, mask=in_state, other=0.0)
    after = tl.load(afters + here, mask=in_state, other=0.0)
    through = tl.exp(total) * tl.sum(tl.sum(after.to(tl.float32) * before.to(tl.float32), axis=1), axis=0)
    of_c = tl.dot(gys, tl.trans(before), input_precision=PRECISION) * left[:, None]
    along += tl.sum(of_c * cs.to(tl.float32), axis=1)
    of_c += tl.dot(low, bs, input_precision=PRECISION)
    # Of b first, of c after it.
    behind = (tl.num_programs(0) // (tiles * H)).to(tl.int64) * L * H * N
    tl.store(of_maps + behind + at_head, of_c.to(xs.dtype), mask=in_row)
    of_b = tl.dot(xs, tl.trans(after), input_precision=PRECISION) * (step * right)[:, None]
    future = tl.sum(of_b * bs.to(tl.float32), axis=1)
    of_b += tl.dot(tl.trans(low), cs, input_precision=PRECISION)
    tl.store(of_maps + at_head, of_b.to(xs.dtype), mask=in_row)
    of_input = tl.dot(bs, after, input_precision=PRECISION) * right[:, None]
    of_input += tl.dot(tl.trans(kept_scores), gys, input_precision=PRECISION)
    of_x = of_input * step[:, None]
    if ADD:
        of_x += tl.load(grad_x + at_p, mask=in_rows, other=0.0).to(tl.float32)
    tl.store(grad_x + at_p, of_x.to(xs.dtype), mask=in_rows)

    of_rate = tl.cumsum(along - future, axis=0, reverse=True) + (through + tl.sum(future, axis=0))
    of_step = tl.sum(of_input * xs.to(tl.float32), axis=1) + of_rate * tl.load(decay + head)
    tl.store(grad_dt + row * H + head, of_step, mask=inside)
    tl.store(grad_decay + (sequence * tiles + k) * H + head, tl.sum(of_rate * step, axis=0))
