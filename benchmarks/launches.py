"""Counts what training and reading ask of a GPU, without one: launches, waits, and bytes kept for the backward pass.

    python benchmarks/launches.py [m10 t9 m3t1-m15-m4]

The step runs on the CPU with the `triton` backend, whose kernels are replaced by stubs, and under autocast, as on a
GPU. A launch is a kernel of ours or an operation of PyTorch that computes; views and allocations are none. What PyTorch
does by several kernels (a sort, a sum over a large tensor) counts once; the optimizer is not counted. Waits are where
the processor reads what a GPU would have computed, or copies a list there. Bytes are those of the tensors that autograd
keeps, for each further base; values are zeros, and a third of the positions begin chunks, by decree. Scores are those
that attention computes over those that it needs. A piece is read in two sequences side by side. To read what it gave is
a wait only if nothing has been launched since.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hnet_dna.config.layout import parse_stack
from hnet_dna.config.settings import resolve
from hnet_dna.data.batches import Batch
from hnet_dna.data.windows import Position
from hnet_dna.genome.fasta import Piece
from hnet_dna.inference import stream
from hnet_dna.inference.streams import Coming
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.router import Router
from hnet_dna.model.rows import Rows
from hnet_dna.ops import BACKENDS, Choice, serve, use_backend
from hnet_dna.training.ranks import Ranks
from hnet_dna.training.step import Step

PRESETS = ("m10", "t9", "m3t1-m15-m4")
TILE = 128  # queries, and keys, that PyTorch's flash attention takes at once with heads of 64
ROWS, WINDOW, CHUNK = 2, 96, 3
_aten = torch.ops.aten
_ROOM = (_aten.empty, _aten.empty_like, _aten.new_empty, _aten.empty_strided, _aten.new_empty_strided)
_FREE = {
    *_ROOM,
    _aten.promote_types,
    _aten.detach,
    _aten.alias,
    _aten._unsafe_view,
    _aten.lift_fresh,
    _aten.resize_,
    _aten.is_same_size,
}
_READS = {_aten._local_scalar_dense, _aten.nonzero, _aten.masked_select, _aten.equal, _aten.is_nonzero}
_INDEXED = {_aten.index, _aten.index_put_, _aten.index_put, _aten._index_put_impl_, _aten._unsafe_index}


@dataclass
class Counts:
    """What a step asked for."""

    launches: int = 0
    waits: int = 0
    names: dict[str, int] = field(default_factory=dict)

    def launch(self, name: str) -> None:
        """Count a kernel."""
        self.launches += 1
        self.names[name] = self.names.get(name, 0) + 1

    def wait(self, name: str) -> None:
        """Count a wait."""
        self.waits += 1
        self.names[f"wait: {name}"] = self.names.get(f"wait: {name}", 0) + 1


class _Operations(TorchDispatchMode):
    """Counts what reaches PyTorch's kernels, in backward passes too; products give zeros, to save the time."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func.overloadpacket, kwargs or {}
        if packet in _ROOM:
            return func(*args, **kwargs).zero_()
        if packet in _READS or (packet in _INDEXED and any(_is_mask(i) for i in args[1])):
            self._counts.wait(str(packet))
        elif packet not in _FREE and not _is_view(func):
            self._counts.launch(str(packet))
        if packet is _aten.mm and "out" not in kwargs:
            return args[0].new_zeros(args[0].shape[0], args[1].shape[1])
        return func(*args, **kwargs)


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype == torch.bool


def _is_view(func: Any) -> bool:
    return any(value.alias_info is not None and not value.alias_info.is_write for value in func._schema.returns)


class _Calls(TorchFunctionMode):
    """Counts the waits that PyTorch's kernels do not see: values that go to Python, and lists that come from there."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        listed = name == "__getitem__" and any(isinstance(part, list) for part in _parts(args[1]))
        # `numpy` is none: it takes what is on the CPU only.
        if name in ("tolist", "cpu", "tensor") or listed:
            self._counts.wait(name)
        return func(*args, **(kwargs or {}))


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


@contextmanager
def stubs(counts: Counts) -> Iterator[None]:
    """Serve the CPU by the `triton` backend, whose kernels only count."""
    from triton.runtime.jit import JITFunction

    def run(kernel: Any, *arguments: Any, **options: Any) -> None:
        counts.launch(kernel.fn.__name__)

    key = ("triton", "cpu")
    with ExitStack() as stack:
        stack.enter_context(patch.object(JITFunction, "run", run))
        stack.enter_context(patch.dict(serve._choices, {key: Choice(BACKENDS["triton"], "stubs")}))
        stack.enter_context(patch.object(Router, "_probability", _by_decree(Router._probability)))
        stack.enter_context(patch.object(Rows, "rounded", _counted_wait(counts)))
        stack.enter_context(use_backend("triton"))
        yield


def _counted_wait(counts: Counts) -> Any:
    """Return `Rows.rounded`, which reads what the router has decided."""
    rounded = Rows.rounded

    def counted(*arguments: Any, **options: Any) -> Rows:
        counts.wait("Rows.rounded")
        return rounded(*arguments, **options)

    return counted


def _by_decree(computed: Any) -> Any:
    def probability(router: Router, u: Tensor, last: Tensor, position: Tensor) -> Tensor:
        begins = torch.ops.aten.zeros_like(position, dtype=torch.float32)
        begins[:, ::CHUNK] = 1.0
        begins[1:, 0:1] = 0.0  # rows have different numbers of chunks, as nearly always
        begins[1:, CHUNK : 2 * CHUNK] = 0.0
        learned: Tensor = computed(router, u, last, position)
        return learned * 0 + begins

    return probability


class Counted:
    """A preset's training step, whose parts are counted."""

    def __init__(self, preset: str) -> None:
        settings = resolve(preset, settings=(f"train.batch={ROWS}", "train.precision=bf16", "train.window=8192"))
        torch.manual_seed(0)
        self._model = HNetLM(settings.model).train()
        self._step = Step(self._model, settings.recipe, Ranks())

    def measure(self) -> tuple[Counts, float]:
        """Return what a step asks for, and the bytes that it keeps for each further base, weights left out."""
        _, large = self._run(2 * WINDOW)  # what is made once is made here
        counts, small = self._run(WINDOW)
        return counts, (large - small) / (ROWS * WINDOW)

    def _run(self, window: int) -> tuple[Counts, int]:
        codes = torch.zeros(ROWS, window + 1, dtype=torch.uint8)
        batch = Batch(codes, torch.full((ROWS,), window), torch.zeros(ROWS, dtype=torch.int64), (), Position(0, 0))
        self._model.zero_grad(set_to_none=True)
        parameters = {p.untyped_storage().data_ptr() for p in self._model.parameters()}
        kept: dict[int, Tensor] = {}  # held, so that no address comes twice

        def keep(tensor: Tensor) -> Tensor:
            if (place := tensor.untyped_storage().data_ptr()) not in parameters:
                kept[place] = tensor
            return tensor

        counts = Counts()
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with stubs(counts), hooks, _Calls(counts), _Operations(counts):
            self._step.run(batch).tolist()  # read once a step, as the training loop does
        return counts, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def reading(preset: str, *, boundaries: bool) -> Counts:
    """Return what each further piece asks for: of `segment`, which finds boundaries only, or of `score`."""
    torch.manual_seed(0)
    model = HNetLM(resolve(preset).model).eval()
    _read(model, boundaries, 1)  # what is made once is made here
    few, more = _read(model, boundaries, 3), _read(model, boundaries, 4)
    names = {name: number - few.names.get(name, 0) for name, number in more.names.items()}
    return Counts(more.launches - few.launches, more.waits - few.waits, names)


def _read(model: HNetLM, boundaries: bool, pieces: int) -> Counts:
    counts, started = Counts(), 0

    class Counted(Coming):
        def __init__(self, tensors: Sequence[Tensor]) -> None:
            nonlocal started
            started += 1
            self._number = started
            super().__init__(tensors)

        def read(self) -> list[Any]:
            if self._number == started:
                counts.wait("results")
            return super().read()

    codes = torch.zeros(WINDOW * pieces, dtype=torch.uint8).numpy()
    sources = [[Piece(str(row), 0, codes, uracils=0)] for row in range(ROWS)]
    with patch.object(stream, "Coming", Counted), stubs(counts), _Calls(counts), _Operations(counts):
        stage = 0 if boundaries else None
        for _ in stream.read_sources(sources, model, stage=stage, streams=ROWS, piece=ROWS * WINDOW):
            pass
    return counts


def scores(preset: str) -> float | None:
    """Return how many scores attention computes at base resolution, over those that it needs; None without attention.

    The kernel skips tiles of keys that none of its queries sees.
    """
    settings = resolve(preset)
    length, computed, needed = settings.recipe.window, 0, 0
    for layer in parse_stack(settings.model.layout[0]):
        if layer.mixer != "mamba":
            window = settings.model.stage(0).window_size
            window = length if window < 0 else window
            needed += sum(min(i, window) + 1 for i in range(length))
            for start in range(0, length, TILE):
                tiles = -(-min(start + TILE, length) // TILE) - max(0, start - window) // TILE
                computed += tiles * TILE * TILE
    return computed / needed if needed else None


def main() -> None:
    """Print the counts of each preset."""
    parser = argparse.ArgumentParser(description="Launches, waits and bytes kept of a training step.")
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--names", action="store_true", help="print how often each kernel is launched")
    options = parser.parse_args()
    print(f"{'preset':<16}{'launches':>10}{'waits':>8}{'bytes a base':>15}{'scores':>9}")
    for preset in options.presets:
        (counts, kept), ratio = Counted(preset).measure(), scores(preset)
        print(f"{preset:<16}{counts.launches:>10,}{counts.waits:>8}{kept:>15,.0f}{f'{ratio:.3f}' if ratio else '-':>9}")
        if options.names:
            for name, number in sorted(counts.names.items(), key=lambda item: -item[1]):
                print(f"    {number:>6} {name}")
    print(f"\n{'preset':<16}{'command':<10}{'launches':>10}{'waits':>8}   of a piece")
    for preset in options.presets:
        for command in ("segment", "score") if resolve(preset).model.n_stages > 1 else ("score",):
            counts = reading(preset, boundaries=command == "segment")
            print(f"{preset:<16}{command:<10}{counts.launches:>10,}{counts.waits:>8}")


if __name__ == "__main__":
    main()
