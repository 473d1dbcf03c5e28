"""One base at a time on a CPU: the model's function over (input, state) in numpy.

A base of `tiny` is a third of a million multiply-adds; the time goes into calls. PyTorch takes a few hundred of them
for a base, each with dispatch, autograd's bookkeeping and modules around it; numpy takes fewer and cheaper ones. The
twin is the model itself, and tests compare outputs and states.

Shapes: B rows, one position each, D width, E inner width, C channels of the convolution, K taps, H heads, P head
width, N state size, K also the positions that attention still sees.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.model.hnet import ChunkingStage, Innermost, InnerState, MemoryState, StageOutput, StageState
from hnet_dna.model.lm import HNetLM, HNetOutput
from hnet_dna.model.memory import OTHER, PRIOR, SEEN, Memory, Recall
from hnet_dna.model.mixer import (
    REFERENCE_ANGLES,
    Attention,
    AttentionState,
    Mamba2,
    MambaState,
    rotary_frequencies,
)
from hnet_dna.model.router import EMA_CLAMP, Router, RouterState
from hnet_dna.model.stack import Layer, Stack
from hnet_dna.ops.norm import EPS

Array: TypeAlias = NDArray[Any]
# The states' own types, with arrays for tensors.
_MambaState: Any = MambaState
_AttentionState: Any = AttentionState
_RouterState: Any = RouterState
_MemoryState: Any = MemoryState
_Recall: Any = Recall


class OneBase:
    """Called as the model is, `(ids (B, 1), state)`, with the same result; states may go from one to the other.

    It computes with the weights as they are when it is made. What numpy does not serve goes to the model: other
    devices and dtypes, autocast, gradients, k-mers, routers other than the plain cosine, and a first base.

    Attributes:
        model: the twin.
        serves: whether numpy serves this model at all.
    """

    def __init__(self, model: HNetLM) -> None:
        self.model = model
        self.serves = _serves(model)
        self._arrays: Any = None  # the state returned last, before it became tensors: the next base mostly follows it
        self._tensors: InnerState | None = None
        if self.serves:
            self._embeddings, self._head = _array(model.embeddings.weight), _array(model.lm_head.weight).T
            self._stage = _stage(model.backbone)
            self._memory = None if model.memory is None else _Memory(model.memory)

    def __call__(self, ids: Tensor, state: InnerState | None) -> HNetOutput:
        """Predict what follows one more base of each row."""
        before = self._arrays if state is not None and state is self._tensors else _arrays(state)
        if before is None or not self.serves or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            output: HNetOutput = self.model(ids, state)
            return output
        with np.errstate(over="ignore"):  # exp(-x) of a gate that is shut: x / (1 + inf) = 0, as it should be
            if self._memory is None:
                out, stages, after = self._stage(self._embeddings[ids[:, 0].numpy()], before)
                scores = out @ self._head
            else:
                recall, letters = self._memory(ids[:, 0].numpy(), before.letters)
                out, stages, inner = self._stage(self._embeddings[ids[:, 0].numpy()] + recall.vector, before.inner)
                scores = self._memory.add_to(out @ self._head, recall, out)
                after = _MemoryState(letters, inner)
        logits = torch.from_numpy(scores)[:, None]
        self._arrays, self._tensors = after, _tensors(after)
        return HNetOutput(logits, tuple(map(_stage_output, stages)), self._tensors)


class _Decision(NamedTuple):
    """A router's decision: probability and boundary (B, 0 or 1), and which rows (B,) had a position at all."""

    prob: Array
    boundary: Array
    present: Array


class _Memory:
    def __init__(self, memory: Memory) -> None:
        self.letter_of_id, self.base_ids = _array(memory.letter_of_id), _array(memory.base_ids)
        self.tables = [(int(k), _array(cast(nn.Embedding, table).weight)) for k, table in memory.tables.items()]
        self.widen = _array(memory.widen.weight).T if memory.tables else None
        self.words = memory.counted
        if self.words:
            self.keys = {k: _array(table.keys) for k, table in self.words.items()}
            self.counts = {k: _array(table.all_counts()) for k, table in self.words.items()}
            self.evidence, self.trust = _array(memory.read_evidence.weight).T, _array(memory.trust.weight).T
            self.by_count = _array(memory.trust_by_count)

    def __call__(self, ids: Array, before: Array) -> tuple[Any, Array]:
        letters = np.concatenate([before, self.letter_of_id[ids][:, None]], axis=1)
        unbroken = np.logical_and.accumulate(letters[:, ::-1] != OTHER, axis=1)
        run = np.add.reduce(unbroken, axis=1)
        number = np.add.reduce(np.where(unbroken, letters[:, ::-1], 0) << 2 * np.arange(letters.shape[1]), axis=1)
        vector: Any = 0
        for k, table in self.tables:
            vector = vector + table[np.where(run >= k, number & ((1 << 2 * k) - 1), 0)] * (run >= k)[:, None]
        if self.widen is not None:
            vector = vector @ self.widen
        if not self.words:
            return _Recall(vector, None, None), letters[:, 1:]
        dtype = self.evidence.dtype
        evidence = np.zeros((len(ids), len(self.words), 4), dtype=dtype)
        seen = np.zeros(evidence.shape[:2], dtype=np.int64)
        for index, (k, words) in enumerate(self.words.items()):
            if not len(self.keys[k]):
                continue
            key = words.key(number & ((1 << 2 * k) - 1))
            place = np.minimum(np.searchsorted(self.keys[k], key), len(self.keys[k]) - 1)
            known = np.flatnonzero((self.keys[k][place] == key) & (run >= k))
            if not len(known):
                continue
            counts = self.counts[k][place[known]].astype(dtype)
            total = np.add.reduce(counts, axis=1, keepdims=True)
            evidence[known, index] = np.log(counts + PRIOR) - np.log(total / 4 + PRIOR)
            seen[known, index] = np.searchsorted(SEEN, total[:, 0], side="right")
        kinds = np.where(seen > 0, 1 + seen, 0).astype(dtype)
        read = np.concatenate([evidence, kinds[..., None]], axis=2).reshape(len(ids), -1)
        return _Recall(vector + read @ self.evidence, evidence, seen), letters[:, 1:]

    def add_to(self, logits: Array, recall: Any, vectors: Array) -> Array:
        if self.words:
            trust = self.by_count[np.arange(len(self.words)), recall.seen] + vectors @ self.trust
            logits[:, self.base_ids] += np.add.reduce(trust[..., None] * recall.evidence, axis=1)
        return logits


class _Mamba:
    def __init__(self, mixer: Mamba2) -> None:
        inner, states = mixer.d_inner, mixer.d_state
        self.gate, self.joined = slice(0, inner), slice(inner, 2 * inner + 2 * states)  # plain slices: np.split is slow
        self.rates = slice(2 * inner + 2 * states, None)
        self.inputs, self.b, self.c = slice(0, inner), slice(inner, inner + states), slice(inner + states, None)
        self.heads = (mixer.n_heads, mixer.head_dim)
        self.in_proj, self.out_proj = _array(mixer.in_proj.weight).T, _array(mixer.out_proj.weight).T
        assert mixer.conv1d.bias is not None
        self.taps, self.bias = _array(mixer.conv1d.weight)[:, 0].T.copy(), _array(mixer.conv1d.bias)
        self.dt_bias, self.skip = _array(mixer.dt_bias), _array(mixer.D)[:, None]
        self.decay = _array(-torch.exp(mixer.A_log.float())).astype(self.skip.dtype)  # in float32, as the mixer's
        self.norm = _array(mixer.norm.weight)

    def __call__(self, u: Array, state: Any) -> tuple[Array, Any]:
        past, ssm = state
        projected = u @ self.in_proj
        z, xbc, dt = projected[:, self.gate], projected[:, self.joined], projected[:, self.rates]
        conv = np.concatenate([past, xbc[:, None]], axis=1)
        xbc = _silu(np.add.reduce(conv * self.taps, axis=1) + self.bias)
        b, c = xbc[:, self.b], xbc[:, self.c]
        x = xbc[:, self.inputs].reshape(-1, *self.heads)
        dt = np.logaddexp(0, dt + self.dt_bias)
        ssm = ssm * np.exp(dt * self.decay)[:, None, :, None]
        ssm += b[:, :, None, None] * (dt[:, :, None] * x)[:, None]
        y = (c[:, None] @ ssm.reshape(*c.shape, -1)).reshape(x.shape)
        y += x * self.skip
        gated = y.reshape(len(y), -1) * _silu(z)
        return _rms_norm(gated, self.norm) @ self.out_proj, _MambaState(conv[:, 1:], ssm)


class _Attention:
    def __init__(self, mixer: Attention) -> None:
        self.heads, self.window = mixer.num_heads, mixer.window
        self.qkv, self.out_proj = _array(mixer.Wqkv.weight).T, _array(mixer.out_proj.weight).T
        self.half, self.period = mixer.rotary_dim // 2, mixer.period
        frequencies = rotary_frequencies(mixer.rotary_dim, mixer.period, torch.device("cpu"))
        self.frequencies = _array(frequencies) if self.half else None

    def __call__(self, x: Array, state: Any) -> tuple[Array, Any]:
        parts = (x @ self.qkv).reshape(len(x), 3, self.heads, -1)
        query, key, value = self._rotate(parts, state.seen)
        keys = np.concatenate([state.key, key[:, None]], axis=1)
        values = np.concatenate([state.value, value[:, None]], axis=1)
        scores = keys.transpose(0, 2, 1, 3) @ query[..., None]  # (B, H, K, 1)
        scores *= x.dtype.type(1 / np.sqrt(query.shape[-1]))
        past = state.key.shape[1]
        if state.seen.min() < past:  # slots before a row's first position exist only to align the rows
            unseen = np.arange(past + 1) < (past - state.seen)[:, None]
            scores[np.broadcast_to(unseen[:, None, :, None], scores.shape)] = -np.inf
        scores -= np.maximum.reduce(scores, axis=2, keepdims=True)
        np.exp(scores, out=scores)
        mixed = (
            scores.transpose(0, 1, 3, 2) @ values.transpose(0, 2, 1, 3) / np.add.reduce(scores, axis=2, keepdims=True)
        )
        drop = max(keys.shape[1] - self.window, 0) if self.window >= 0 else 0
        after = _AttentionState(keys[:, drop:], values[:, drop:], state.seen + 1)
        return mixed.reshape(len(x), -1) @ self.out_proj, after

    def _rotate(self, parts: Array, seen: Array) -> tuple[Array, Array, Array]:
        """Return queries, keys and values (B, H, P) of parts (B, 3, H, P), the first two turned by their position."""
        if self.half:
            angle = seen[:, None] * self.frequencies
            if self.period or seen.max() >= REFERENCE_ANGLES:  # as rotary_angles does
                as_reference = (seen < REFERENCE_ANGLES)[:, None] & (self.period == 0)
                angle = np.where(as_reference, angle, np.remainder(angle, 2 * np.pi))
            angle = angle.astype(np.float32)[:, None, None]
            cos, sin = np.cos(angle).astype(parts.dtype), np.sin(angle).astype(parts.dtype)
            first, second = parts[:, :2, :, : self.half], parts[:, :2, :, self.half : 2 * self.half]
            turned = first * cos - second * sin, first * sin + second * cos
            parts[:, :2, :, : self.half], parts[:, :2, :, self.half : 2 * self.half] = turned
        return parts[:, 0], parts[:, 1], parts[:, 2]


class _Stack:
    def __init__(self, stack: Stack) -> None:
        self.layers = []
        for layer in stack.layers:
            assert isinstance(layer, Layer)
            mixer = _Mamba(layer.mixer) if isinstance(layer.mixer, Mamba2) else _Attention(layer.mixer)
            mlp = None
            if layer.has_mlp:
                mlp = (_array(layer.norm2.weight), _array(layer.mlp.fc1.weight).T, _array(layer.mlp.fc2.weight).T)
            self.layers.append((_array(layer.norm1.weight), mixer, mlp))
        self.norm = _array(stack.rmsnorm.weight)

    def __call__(self, x: Array, state: Any) -> tuple[Array, Any]:
        after = []
        for (norm, mixer, mlp), before in zip(self.layers, state, strict=True):
            mixed, layer_state = mixer(_rms_norm(x, norm), before)
            x = x + mixed
            if mlp is not None:
                norm2, fc1, fc2 = mlp
                both = _rms_norm(x, norm2) @ fc1
                half = both.shape[1] // 2
                x = x + (both[:, :half] * _silu(both[:, half:])) @ fc2
            after.append(layer_state)
        return _rms_norm(x, self.norm), tuple(after)


class _Innermost:
    def __init__(self, stage: Innermost) -> None:
        self.stack, self.pad = _Stack(stage.main_network), _pad(stage)

    def __call__(self, x: Array, state: Any) -> tuple[Array, list[_Decision], Any]:
        out, state = self.stack(_widen(x, self.pad), state)
        return out[:, : x.shape[1]], [], state

    def idle(self, rows: int) -> list[_Decision]:
        return []


class _Chunking:
    def __init__(self, stage: ChunkingStage) -> None:
        self.encoder, self.decoder, self.pad = _Stack(stage.encoder), _Stack(stage.decoder), _pad(stage)
        router = stage.routing_module
        self.query, self.key = _array(router.q_proj_layer.weight).T, _array(router.k_proj_layer.weight).T
        self.inner = _stage(stage.main_network)
        self.residual, self.bias = _array(stage.residual_proj.weight).T, _array(stage.residual_proj.bias)
        self.smoothing, self.straight_through = stage.smoothing, stage.straight_through

    def __call__(self, x: Array, state: Any) -> tuple[Array, list[_Decision], Any]:
        u, encoder = self.encoder(_widen(x, self.pad), state.encoder)
        cosine = np.add.reduce(_unit(state.router.last @ self.query) * _unit(u @ self.key), axis=1)
        prob = np.where(state.router.seen == 0, 1, np.clip((1 - cosine) / 2, 0, 1)).astype(u.dtype)
        boundary = prob > 1 - prob
        router = _RouterState(u, state.router.seen + 1, state.router.since)

        inner, average = state.inner, state.average
        if boundary.all():
            z, outputs, inner = self.inner(u, inner)
            average = self._smooth(z, prob, average)
        elif not boundary.any():
            outputs = self.inner.idle(len(u))
        else:
            rows = np.flatnonzero(boundary)
            z, part, changed = self.inner(u[rows], _rows(inner, rows))
            outputs = [
                _Decision(*(_scatter(np.zeros((len(u), *a.shape[1:]), a.dtype), a, rows) for a in d)) for d in part
            ]
            inner = _merge(inner, changed, rows)
            average = _scatter(average, self._smooth(z, prob[rows], average[rows]), rows)
        smooth = average
        if not self.straight_through:
            smooth = smooth * np.where(boundary, prob, 1 - prob)[:, None]
        out, decoder = self.decoder(smooth + (u @ self.residual + self.bias), state.decoder)
        decision = _Decision(prob[:, None], boundary[:, None], np.ones(len(u), dtype=bool))
        after = StageState(encoder, router, inner, average, decoder)
        return out[:, : x.shape[1]], [decision, *outputs], after

    def _smooth(self, z: Array, prob: Array, average: Array) -> Array:
        if not self.smoothing:
            return z
        p = np.clip(prob.astype(np.float32), EMA_CLAMP, 1 - EMA_CLAMP)
        keep = np.exp(-np.log(1 / (1 - p)).astype(z.dtype))
        smooth: Array = p.astype(z.dtype)[:, None] * z + keep[:, None] * average
        return smooth

    def idle(self, rows: int) -> list[_Decision]:
        nothing = np.zeros((rows, 0), dtype=self.bias.dtype)
        return [_Decision(nothing, nothing > 0, np.zeros(rows, dtype=bool)), *self.inner.idle(rows)]


def _serves(model: HNetLM) -> bool:
    weight = model.embeddings.weight
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64):
        return False
    if model.bf16_products or model.config.kmer:
        return False
    if len({parameter.dtype for parameter in model.parameters()}) > 1:
        return False
    for module in model.modules():
        if isinstance(module, Router) and (module.routing != "cosine" or module.max_chunk):
            return False
    return True


def _stage(stage: nn.Module) -> _Chunking | _Innermost:
    if isinstance(stage, ChunkingStage):
        return _Chunking(stage)
    assert isinstance(stage, Innermost)
    return _Innermost(stage)


def _array(parameter: Tensor) -> Array:
    array: Array = parameter.detach().numpy()
    return array


def _pad(stage: ChunkingStage | Innermost) -> Array | None:
    return None if stage.pad_dimension is None else _array(stage.pad_dimension)


def _widen(x: Array, pad: Array | None) -> Array:
    return x if pad is None else np.concatenate([x, np.broadcast_to(pad, (len(x), len(pad)))], axis=1)


def _silu(x: Array) -> Array:
    quotient: Array = x / (1 + np.exp(-x))
    return quotient


def _rms_norm(x: Array, weight: Array) -> Array:
    mean = np.add.reduce(x * x, axis=1, keepdims=True) / x.shape[1]
    normed: Array = x / np.sqrt(mean + x.dtype.type(EPS)) * weight
    return normed


def _unit(x: Array) -> Array:
    unit: Array = x / np.maximum(np.sqrt(np.add.reduce(x * x, axis=1, keepdims=True)), 1e-12)
    return unit


def _map(value: Any, *others: Any, call: Any, views: Any = None) -> Any:
    """Apply a function to each leaf of a state, and to those at the same place in other states.

    `views`, where given, is applied to a whole state of attention instead of its leaves.
    """
    if isinstance(value, StageState):
        named = {name: [getattr(each, name) for each in (value, *others)] for name in vars(value)}
        return StageState(**{name: _map(*each, call=call, views=views) for name, each in named.items()})
    if views and isinstance(value, AttentionState):
        return views(value, *others)
    if isinstance(value, tuple):
        parts = [_map(*each, call=call, views=views) for each in zip(value, *others, strict=True)]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return call(value, *others)


class _NothingYet(Exception):
    """A part of a state has seen nothing and so is None."""


def _arrays(state: InnerState | None) -> Any:
    """Return a state of arrays that share memory with the tensors; None where it, or part of it, has seen nothing."""
    if state is None:
        return None

    def array(value: Tensor | None) -> Array:
        if value is None:
            raise _NothingYet
        return _array(value)

    try:
        return _map(state, call=array)
    except _NothingYet:
        return None


def _tensors(state: Any) -> InnerState:
    after: InnerState = _map(state, call=torch.from_numpy)
    return after


def _rows(state: Any, rows: Array) -> Any:
    return _map(state, call=lambda array: array[rows])


def _merge(state: Any, changed: Any, rows: Array) -> Any:
    def leaves(old: Array, new: Array) -> Array:
        return _scatter(old, new, rows)

    def views(old: Any, new: Any) -> Any:  # rows that went on may see one position more than there was room for
        seen = leaves(old.seen, new.seen)
        room = min(int(seen.max()), new.key.shape[1])
        key, value = (leaves(_right(a, room), _right(b, room)) for a, b in ((old.key, new.key), (old.value, new.value)))
        return _AttentionState(key, value, seen)

    return _map(state, changed, call=leaves, views=views)


def _right(slots: Array, room: int) -> Array:
    """Return the last `room` slots of (B, K, ...), after empty ones where there are fewer."""
    missing = max(room - slots.shape[1], 0)
    empty = np.zeros((len(slots), missing, *slots.shape[2:]), slots.dtype)
    return np.concatenate([empty, slots[:, slots.shape[1] + missing - room :]], axis=1)


def _scatter(old: Array, new: Array, rows: Array) -> Array:
    merged = old.copy()
    merged[rows] = new
    return merged


def _stage_output(decision: _Decision) -> StageOutput:
    count = torch.from_numpy(decision.present.astype(np.int64))
    return StageOutput(torch.from_numpy(decision.prob), torch.from_numpy(decision.boundary), count)
