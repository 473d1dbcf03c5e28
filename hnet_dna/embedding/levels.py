"""Where in the network a vector is taken.

    bases -> encoder ->  [ router -> chunks -> main network ]  -> decoder -> next base
             `encoder`                         `chunk`            `decoder`

`encoder` and `decoder` give a vector per base. `chunk` gives one per chunk of the outermost stage and `chunk:1` one per
chunk of the next stage, each as wide as the network inside that stage. An isotropic model has only `decoder`, the
output of its one stack. A model of k-mers has no level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from hnet_dna.errors import UsageError
from hnet_dna.inference.stream import forward
from hnet_dna.model.hnet import ChunkingStage, Innermost, InnerState
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import Codes


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
        return ["decoder"]
    return ["encoder", "decoder", "chunk", *(f"chunk:{stage}" for stage in range(1, model.n_chunking_stages))]


class LevelReader:
    """Runs a model and keeps the output of one of its levels."""

    def __init__(self, model: HNetLM, level: str) -> None:
        if model.config.kmer:
            raise UsageError(f"this model reads {model.config.kmer}-mers: it has no vectors per base to embed")
        if level not in level_names(model):
            raise UsageError(f"`level` {level!r}: this model has {', '.join(level_names(model))}")
        self._model, self.level = model, level
        self._stage = int(level.partition(":")[2] or 0) if level.startswith("chunk") else None
        self._module, self.width = self._find()

    def read(
        self, codes: Codes, state: InnerState | None = None, lengths: Tensor | None = None
    ) -> tuple[list[Vectors], InnerState | None]:
        """Run codes (B, L), rows of which `lengths` bases are valid; return the vectors of each row, and the state."""
        kept: list[Tensor] = []
        handle = self._module.register_forward_hook(lambda module, inputs, output: kept.append(output[0]))
        try:
            output = forward(self._model, codes, state, lengths)
        finally:
            handle.remove()
        vectors = []
        for row in range(len(codes)):
            length = codes.shape[1] if lengths is None else int(lengths[row])
            position = np.arange(length)
            weight = np.ones(length, dtype=np.float32)
            for index, stage in enumerate(output.stages):
                if self._stage is None and index > 0:
                    break
                weight = stage.boundary_prob[row, : len(position)].float().cpu().numpy()
                if self._stage is None:
                    break
                mask = stage.boundary_mask[row, : len(position)].cpu().numpy()
                position, weight = position[mask], weight[mask]
                if index == self._stage:
                    break
            if kept:
                value = kept[0][row, : len(position)].float().cpu().numpy()
            else:  # no chunk begins in this piece, so that the inner network did not run
                value = np.zeros((0, self.width), dtype=np.float32)
            vectors.append(Vectors(value, weight, position.astype(np.int64)))
        return vectors, output.state

    def _find(self) -> tuple[nn.Module, int]:
        stage: nn.Module = self._model.backbone
        if isinstance(stage, Innermost):
            return stage.main_network, self._model.config.stage(0).d_model
        assert isinstance(stage, ChunkingStage)
        if self._stage is None:
            module = stage.encoder if self.level == "encoder" else stage.decoder
            return module, self._model.config.stage(0).d_model
        for _ in range(self._stage):
            inner = stage.main_network
            assert isinstance(inner, ChunkingStage)
            stage = inner
        inside = stage.main_network
        module = inside.decoder if isinstance(inside, ChunkingStage) else inside.main_network
        assert isinstance(module, nn.Module)
        return module, self._model.config.stage(self._stage + 1).d_model
