"""Where in the network a vector is taken.

    bases -> encoder ->  [ router -> chunks -> main network ]  -> decoder -> next base
             `encoder`                         `chunk`            `decoder`

`encoder` and `decoder` give a vector per base. `chunk` gives one per chunk of the outermost stage and `chunk:1` one per
chunk of the next stage, each as wide as the network inside that stage. An isotropic model has only `decoder`, the
output of its one stack. A model of k-mers has no level. `letters` are the bases themselves, each as four numbers of
which one is 1. `encoder+decoder` and the like are several levels side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.errors import UsageError
from hnet_dna.inference.stream import forward
from hnet_dna.inference.streams import Coming
from hnet_dna.model.hnet import ChunkingStage, Innermost, InnerState, StageOutput
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.router import Router
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, Codes, stretches

LETTERS = "letters"


@dataclass(frozen=True)
class Vectors:
    """The vectors of one row.

    Attributes:
        value: (K, D) float32.
        weight: (K,) boundary probability at each vector's first base, for the boundary-weighted mean.
        position: (K,) first base of each, in the piece.
    """

    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    position: NDArray[np.int64]


def level_names(model: HNetLM) -> list[str]:
    """Return the levels that a model has."""
    if model.config.kmer:
        return []
    if model.n_chunking_stages == 0:
        return ["decoder", LETTERS]
    stages = [f"chunk:{stage}" for stage in range(1, model.n_chunking_stages)]
    return ["encoder", "decoder", "chunk", *stages, LETTERS]


@dataclass(frozen=True)
class _Level:
    """A level: the module that puts it out (None: letters), its width, the stage whose chunks it has (None: bases)."""

    module: nn.Module | None
    width: int
    stage: int | None


class _Enough(Exception):
    """Ends a run of the model once the last of the levels has been put out."""


class LevelReader:
    """Runs a model and keeps the output of one or more of its levels.

    Attributes:
        widths: length of a vector of each level, in their order.
        letters: first of the numbers that are letters, -1 if that level is not among them.
    """

    def __init__(self, model: HNetLM, level: str) -> None:
        if model.config.kmer:
            raise UsageError(f"this model reads {model.config.kmer}-mers: it has no vectors per base to embed")
        names = level.split("+")
        for name in names:
            if name not in level_names(model):
                known = ", ".join(level_names(model))
                raise UsageError(f"`level` {name!r}: this model has {known}, or several joined by +")
        if len(set(names)) < len(names):
            raise UsageError(f"`level` {level!r} names a level twice")
        self._model, self.level = model, level
        self._levels = [_find(model, name) for name in names]
        self.widths = tuple(level.width for level in self._levels)
        self.letters = sum(self.widths[: names.index(LETTERS)]) if LETTERS in names else -1

    def launch_whole(self, codes: Codes, lengths: Tensor) -> Callable[[], list[tuple[Vectors, ...]]]:
        """Launch sequences that end here, as `launch` does. What comes after the levels is not run."""
        routed: list[StageOutput] = []
        kept: dict[int, Tensor] = {}
        wanted = sum(level.module is not None for level in self._levels)

        def stop() -> None:
            if routed and len(kept) == wanted:  # weights of bases come from the outermost router
                raise _Enough

        def route(module: nn.Module, inputs: Any, output: Any) -> None:
            routed.append(StageOutput(output[0].prob, output[0].boundary, inputs[1].length))
            stop()

        routers = [each for each in self._model.modules() if isinstance(each, Router)]
        handles = [router.register_forward_hook(route) for router in routers]
        try:
            with self._keep_in(kept, stop), suppress(_Enough):
                forward(self._model, codes, None, lengths, last=True)
        finally:
            for handle in handles:
                handle.remove()
        return self._rows(codes, lengths, kept, routed)

    def launch(
        self, codes: Codes, lengths: Tensor, state: InnerState | None
    ) -> tuple[InnerState | None, Callable[[], list[tuple[Vectors, ...]]]]:
        """Launch codes (B, L), rows of which `lengths` bases are valid, from a state.

        Returns:
            The state after them, and what waits for each row's vectors by level; none where no chunk begins in the
            piece.
        """
        kept: dict[int, Tensor] = {}
        with self._keep_in(kept):
            output = forward(self._model, codes, state, lengths)
        return output.state, self._rows(codes, lengths, kept, output.stages)

    def _rows(
        self, codes: Codes, lengths: Tensor, kept: dict[int, Tensor], stages: Sequence[StageOutput]
    ) -> Callable[[], list[tuple[Vectors, ...]]]:
        self._add_letters(kept, codes)
        found = [stage.boundary_prob.float() for stage in stages] + [stage.boundary_mask for stage in stages]
        coming = Coming([*found, *(value.float() for value in kept.values())])

        def read() -> list[tuple[Vectors, ...]]:
            arrays = coming.read()
            probs, masks = arrays[: len(stages)], arrays[len(stages) : len(found)]
            return self._of_rows(lengths, dict(zip(kept, arrays[len(found) :], strict=True)), probs, masks)

        return read

    def _of_rows(
        self,
        lengths: Tensor,
        kept: dict[int, NDArray[np.float32]],
        probs: list[NDArray[np.float32]],
        masks: list[NDArray[np.bool_]],
    ) -> list[tuple[Vectors, ...]]:
        values = [kept.get(index) for index in range(len(self._levels))]
        rows = []
        for row, length in enumerate(lengths.numpy().tolist()):
            of_levels = []
            for level, value in zip(self._levels, values, strict=True):
                position = np.arange(length)
                weight = probs[0][row, :length] if probs else np.ones(length, dtype=np.float32)
                for stage in range(0 if level.stage is None else level.stage + 1):
                    weight = probs[stage][row, : len(position)]
                    mask = masks[stage][row, : len(position)]
                    position, weight = position[mask], weight[mask]
                none = np.zeros((0, level.width), dtype=np.float32)
                own = none if value is None else value[row, : len(position)]
                of_levels.append(Vectors(own, weight, position.astype(np.int64)))
            rows.append(tuple(of_levels))
        return rows

    def over_bases(self, sequences: Sequence[Codes]) -> Tensor:
        """Return the vectors of all levels at each base, (B, L, sum of widths), on the model's device.

        A chunk's vector stands at each of its bases. Runs of N are cut out, as everywhere, and have zeros; so has the
        padding at the end of shorter sequences. Gradients flow where they are enabled.
        """
        parts = [(row, start, end) for row, codes in enumerate(sequences) for start, end in stretches(codes)]
        longest = max((end - start for _, start, end in parts), default=0)
        codes = np.full((len(parts), longest), N_CODE, dtype=np.uint8)
        for index, (row, start, end) in enumerate(parts):
            codes[index, : end - start] = sequences[row][start:end]
        device = self._model.embeddings.weight.device
        length = torch.tensor([end - start for _, start, end in parts], dtype=torch.long, device=device)
        whole = max(map(len, sequences), default=0)
        if not longest:
            return torch.zeros(len(sequences), whole, sum(self.widths), device=device)
        ids = torch.from_numpy(alphabet(self._model.config.alphabet).encode(codes)).to(device).long()
        kept: dict[int, Tensor] = {}
        with self._keep_in(kept):
            output = self._model(ids, lengths=None if bool((length == longest).all()) else length, last=True)
        self._add_letters(kept, codes)
        columns = []
        for index, level in enumerate(self._levels):
            value = kept[index]
            if level.stage is not None:
                place = _chunk_of_base(output.stages, level.stage)
                value = value.gather(1, place[..., None].expand(-1, -1, value.shape[-1]))
            columns.append(value.to(device).float())
        ran = torch.cat(columns, dim=-1)
        if len(parts) == len(sequences) and all(len(sequences[row]) == end - start for row, start, end in parts):
            valid = torch.arange(longest, device=device) < length[:, None]
            return ran * valid[..., None]
        placed = ran.new_zeros(len(sequences), whole, ran.shape[-1])
        for index, (row, start, end) in enumerate(parts):
            placed[row, start:end] = ran[index, : end - start]
        return placed

    @contextmanager
    def _keep_in(self, kept: dict[int, Tensor], then: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep what the modules of the levels put out, while the model is run; `then` is called after each."""

        def keep(index: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                kept[index] = output[0]
                then()

            return hook

        handles = [
            level.module.register_forward_hook(keep(index))
            for index, level in enumerate(self._levels)
            if level.module is not None
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add_letters(self, kept: dict[int, Tensor], codes: Codes) -> None:
        for index, level in enumerate(self._levels):
            if level.module is None:
                letters = (codes & np.uint8(LETTER_BITS))[..., None] == np.arange(4)
                kept[index] = torch.from_numpy(letters.astype(np.float32))


def _chunk_of_base(stages: Sequence[StageOutput], stage: int) -> Tensor:
    """Return the number (B, L) of the chunk of a stage that each base lies in."""
    place = stages[0].boundary_mask.cumsum(1) - 1
    for inner in stages[1 : stage + 1]:
        place = (inner.boundary_mask.cumsum(1) - 1).gather(1, place)
    return place


def _find(model: HNetLM, name: str) -> _Level:
    if name == LETTERS:
        return _Level(None, 4, None)
    outermost: nn.Module = model.backbone
    width = model.config.stage(0).d_model
    if isinstance(outermost, Innermost):
        return _Level(outermost.main_network, width, None)
    assert isinstance(outermost, ChunkingStage)
    if not name.startswith("chunk"):
        return _Level(outermost.encoder if name == "encoder" else outermost.decoder, width, None)
    number = int(name.partition(":")[2] or 0)
    stage = outermost
    for _ in range(number):
        inner = stage.main_network
        assert isinstance(inner, ChunkingStage)
        stage = inner
    inside = stage.main_network
    module = inside.decoder if isinstance(inside, ChunkingStage) else inside.main_network
    assert isinstance(module, nn.Module)
    return _Level(module, model.config.stage(number + 1).d_model, number)
