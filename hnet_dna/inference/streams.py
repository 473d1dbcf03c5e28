"""Runs sequences through a model side by side: as rows of one batch, each with a state of its own.

Every sequence is read lazily, in parts. What lies between two runs of N is one stretch, and one sequence to the model.
A long stretch is a row for as many launches as it has parts, and its state goes from one to the next; when its sequence
has ended, the next sequence takes its place, from a fresh state. Whole short stretches are run in batches of like
length. So no result depends on what runs beside it.

Launching and reading are two steps: what a launch gave is read once the next one has been launched, so that a GPU
always has something to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.genome.fasta import Piece
from hnet_dna.model.hnet import join_rows, select_rows
from hnet_dna.sequence.codes import N_CODE, Codes, stretches

_AHEAD = 1  # launches whose results wait while the next one is launched
_GATHERED = 8  # pieces of short stretches that are gathered before they are run


@dataclass(frozen=True)
class Part:
    """Consecutive bases of one stretch.

    Attributes:
        contig: its name.
        start: 0-based position of the first base in the contig.
        codes: (L,) nucleotide codes.
        first, last: whether these bases begin, and end, their stretch.
    """

    contig: str
    start: int
    codes: Codes
    first: bool
    last: bool

    @property
    def end(self) -> int:
        """Position after the last base."""
        return self.start + len(self.codes)


def parts(pieces: Iterable[Piece], size: Callable[[], int]) -> Iterator[Part]:
    """Cut pieces at runs of N and into parts of at most `size()` bases, each knowing whether its stretch goes on."""
    held: Part | None = None
    for piece in pieces:
        for start, stretch_end in stretches(piece.codes):
            while start < stretch_end:
                codes = piece.codes[start : min(start + size(), stretch_end)]
                follows = held is not None and held.contig == piece.record and held.end == piece.start + start
                if held is not None:
                    yield Part(held.contig, held.start, held.codes, held.first, not follows)
                held = Part(piece.record, piece.start + start, codes, not follows, False)
                start += len(codes)
    if held is not None:
        yield Part(held.contig, held.start, held.codes, held.first, True)


@dataclass(frozen=True)
class Batch:
    """Rows to run.

    Attributes:
        codes: (B, L), padded on the right with N.
        lengths: (B,) of the rows, on the CPU.
        skip: (B,) how many of a row's first bases are context that was run before; None where there is no context.
        last: nothing follows any row, so that no state is wanted.
    """

    codes: Codes
    lengths: Tensor
    skip: Tensor | None
    last: bool


_Result = TypeVar("_Result")
_Got = TypeVar("_Got", covariant=True)


class Launch(Protocol[_Got]):
    """Starts a batch from a state, None at the beginning of all rows; its rows are those of the batch."""

    def __call__(self, batch: Batch, state: Any, /) -> tuple[Any, Callable[[], Sequence[_Got]]]:
        """Return the state after the batch, and what waits for the results of its rows."""
        ...


class Coming:
    """Tensors on their way to the CPU: copied when what makes them has run, without stopping the device."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._copied: torch.cuda.Event | None = None
        for device in {tensor.device for tensor in tensors if tensor.is_cuda}:
            self._copied = torch.cuda.current_stream(device).record_event()

    def read(self) -> list[NDArray[Any]]:
        """Wait for them."""
        if self._copied is not None:
            self._copied.synchronize()
        return [tensor.numpy() for tensor in self._tensors]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, which is not waited for."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def side_by_side(
    sources: Iterable[Iterable[Piece]],
    launch: Launch[_Result],
    *,
    device: torch.device,
    streams: int,
    piece: int,
    rows: int,
    context: int | None = None,
) -> Iterator[tuple[int, Part, _Result]]:
    """Run sequences, and yield the number of a sequence, a part of it, and its result.

    The parts of a sequence come in their order; those of different sequences come as they are run.

    Args:
        sources: pieces of each sequence, contig by contig; a gap between two pieces begins a new stretch, as N does.
            No more of them are open at once than there are streams.
        launch: runs a batch.
        device: where.
        streams: how many sequences are run at once, at most.
        piece: bases run at once, in all rows together.
        rows: the most rows of a batch of whole stretches.
        context: the model has no state to carry; each part is run after so many of the bases before it, and as long as
            `piece` in each row, so that results are the same for any number of streams.
    """
    return _Run(sources, launch, device, streams, piece, rows, context).results()


@dataclass(eq=False)
class _Slot(Generic[_Result]):
    """A part, which has its place among the results before it has one."""

    source: int
    part: Part
    results: list[_Result] = field(default_factory=list)  # one, when it is there


@dataclass(eq=False)
class _Row:
    """A sequence that is being run."""

    source: int
    parts: Iterator[Part]
    place: int = 0  # row of the last launch that its state is in
    before: Codes = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))  # context of its next part


class _Run(Generic[_Result]):
    def __init__(
        self,
        sources: Iterable[Iterable[Piece]],
        launch: Launch[_Result],
        device: torch.device,
        streams: int,
        piece: int,
        rows: int,
        context: int | None,
    ) -> None:
        self._sources, self._launch, self._device = enumerate(sources), launch, device
        self._streams, self._piece, self._most, self._context = streams, piece, rows, context
        self._rows: list[_Row] = []
        self._order: deque[_Slot[_Result]] = deque()
        self._launched: deque[tuple[list[_Slot[_Result]], Callable[[], Sequence[_Result]]]] = deque()
        self._state: Any = None
        self._places = 0  # rows of the state
        self._fresh: Any = None

    def results(self) -> Iterator[tuple[int, Part, _Result]]:
        while len(self._rows) < self._streams and (row := self._next()) is not None:
            self._rows.append(row)
        while self._rows:
            self._round()
            yield from self._ready()
        while self._launched:
            self._read()
        yield from self._ready()

    def _next(self) -> _Row | None:
        """Open the next sequence, if there is one."""
        for source, pieces in self._sources:
            return _Row(source, parts(pieces, self._size))
        return None

    def _size(self) -> int:
        return self._piece if self._context is not None else max(1, self._piece // max(1, len(self._rows)))

    def _round(self) -> None:
        """Launch what each row has next: whole stretches, as many as make a few pieces, or a part of a long one."""
        whole: list[_Slot[_Result]] = []
        going: list[tuple[_Row, _Slot[_Result]]] = []
        share = _GATHERED * self._piece // len(self._rows)
        for row in list(self._rows):
            taken = 0
            while taken < max(1, share):
                part = next(row.parts, None)
                if part is None:
                    following = self._next()
                    if following is None:
                        self._rows.remove(row)
                        break
                    row.source, row.parts = following.source, following.parts
                    continue
                slot: _Slot[_Result] = _Slot(row.source, part)
                self._order.append(slot)
                if not (part.first and part.last):
                    going.append((row, slot))
                    break
                whole.append(slot)
                taken += len(part.codes)
        self._launch_whole(whole)
        if going:
            self._launch_going(going)

    def _launch_whole(self, slots: list[_Slot[_Result]]) -> None:
        """Launch whole stretches in batches of like length."""
        slots.sort(key=lambda slot: len(slot.part.codes), reverse=True)
        while slots:
            count = max(1, min(self._most, self._piece // len(slots[0].part.codes)))
            batch, slots = slots[:count], slots[count:]
            self._start(batch, [slot.part.codes for slot in batch], None, None, last=True)

    def _launch_going(self, going: list[tuple[_Row, _Slot[_Result]]]) -> None:
        """Launch a part of each of several long stretches."""
        for row, slot in going:
            if slot.part.first:
                row.before = row.before[:0]
        state = self._state_of([None if slot.part.first else row.place for row, slot in going])
        skip = None if self._context is None else torch.from_numpy(np.array([len(row.before) for row, _ in going]))
        codes = [np.concatenate([row.before, slot.part.codes]) for row, slot in going]
        slots = [slot for _, slot in going]
        self._state = self._start(slots, codes, skip, state, last=all(slot.part.last for slot in slots))
        self._places = len(going)
        for place, (row, _) in enumerate(going):
            row.place = place
            if self._context is not None:
                row.before = codes[place][max(0, len(codes[place]) - self._context) :]

    def _state_of(self, places: list[int | None]) -> Any:
        """Return the state whose rows are those rows of the last one, and None's that nothing has been read of."""
        if self._state is None or all(place is None for place in places):
            return None
        if places == list(range(self._places)):
            return self._state
        state = self._state
        if None in places:
            if self._fresh is None:
                begun, _ = self._launch(Batch(np.zeros((2, 1), np.uint8), torch.tensor([1, 0]), None, False), None)
                self._fresh = self._select(begun, [1])  # the row of no length: it knows no base, but has all its parts
            state = join_rows([state, self._fresh])
        return self._select(state, [self._places if place is None else place for place in places])

    def _select(self, state: Any, places: list[int]) -> Any:
        return select_rows(state, to_device(torch.from_numpy(np.array(places)), self._device))

    def _start(
        self, slots: list[_Slot[_Result]], rows: Sequence[Codes], skip: Tensor | None, state: Any, *, last: bool
    ) -> Any:
        """Launch rows; return the state after them."""
        lengths = np.array([len(row) for row in rows])
        codes = np.full((len(rows), lengths.max()), N_CODE, dtype=np.uint8)
        for place, row in zip(codes, rows, strict=True):
            place[: len(row)] = row
        after, results = self._launch(Batch(codes, torch.from_numpy(lengths), skip, last), state)
        self._launched.append((slots, results))
        if len(self._launched) > _AHEAD:
            self._read()
        return after

    def _read(self) -> None:
        """Read the results of the oldest launch."""
        slots, results = self._launched.popleft()
        for slot, result in zip(slots, results(), strict=True):
            slot.results.append(result)

    def _ready(self) -> Iterator[tuple[int, Part, _Result]]:
        """Yield results up to the first part that has none yet."""
        while self._order and self._order[0].results:
            slot = self._order.popleft()
            yield slot.source, slot.part, slot.results[0]
