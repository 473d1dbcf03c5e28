"""The language model: token ids in; logits, boundaries and a state out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.hnet import ChunkingStage, InnerState, MemoryState, StageOutput, build_stage
from hnet_dna.model.init import init_embeddings, init_kmer_stage, init_memory, init_stages
from hnet_dna.model.kmers import KmerStage
from hnet_dna.model.memory import Memory, Recall
from hnet_dna.model.rows import Rows
from hnet_dna.ops import at_least_float32, bfloat16_products
from hnet_dna.pretrained.folder import PretrainedModel


@dataclass(frozen=True)
class HNetOutput:
    """What one call of the model gives.

    Attributes:
        logits: (B, L, V); those at position t predict the token at t + 1, also in a model of k-mers.
        stages: one entry per chunking stage, outermost first; empty for an isotropic model.
        state: pass it to the next call to continue where this piece ended.
    """

    logits: Tensor
    stages: tuple[StageOutput, ...]
    state: InnerState | None


@dataclass(frozen=True)
class BoundaryOutput:
    """What `HNetLM.boundaries` gives.

    Attributes:
        stages: one entry per chunking stage that was asked for, outermost first.
        state: pass it to the next call of `boundaries`; `HNetLM.__call__` refuses it.
    """

    stages: tuple[StageOutput, ...]
    state: InnerState | None


class HNetLM(PretrainedModel):
    """An H-Net over token ids: `out = model(ids)`, then `model(more_ids, state=out.state)`.

    Training, streaming a chromosome in pieces and generating base by base are this one function. The state stays
    bounded when every attention layer has a window.
    """

    name_or_path: str = ""  # what `load_model` loaded it by; empty for a model made in memory
    bf16_products: bool = False  # whether calls run matrix products in bfloat16, as `load_model` sets it

    def __new__(cls, config: ModelConfig | None = None) -> HNetLM:
        """Make a `KmerLM` where the configuration asks for k-mers in place of bases."""
        kind = KmerLM if cls is HNetLM and config is not None and config.kmer else cls
        model: HNetLM = super().__new__(kind, config)
        return model

    def __init__(self, config: ModelConfig) -> None:
        """Build a freshly initialised model; torch's generator decides the weights."""
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.stage(0).d_model)
        self.backbone = build_stage(config, config.layout)
        self.lm_head = nn.Linear(config.stage(0).d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.embeddings.weight
        init_embeddings(self.embeddings, self.lm_head)
        init_stages(self.backbone)
        # Last, so that the weights of all else are those of a model without a memory.
        self.memory = Memory(config) if config.has_memory else None
        if self.memory is not None:
            init_memory(self.memory)

    def forward(
        self,
        input_ids: Tensor,
        state: InnerState | None = None,
        *,
        lengths: Tensor | None = None,
        last: bool = False,
    ) -> HNetOutput:
        """Predict the next token at every position.

        Args:
            input_ids: (B, L) integers; L may be 0.
            state: the state after the pieces before this one, None at the start of the sequences.
            lengths: (B,) valid positions of each row, padding on the right; None where all rows are full. On the CPU
                they are known without waiting for a GPU.
            last: nothing follows this piece, as in training: the state is None, and none is built.

        Returns:
            Logits, stage outputs over this piece, and the state after it. Values at padding are meaningless.
        """
        rows = _rows(input_ids, lengths, last)
        with self._products(input_ids):
            x, recall, inner, letters = self._read(input_ids, rows, state)
            out, stages, after = self.backbone(x, rows, cast(Any, inner))
            with torch.autocast(out.device.type, enabled=False):  # logits and loss are float32 or better
                logits = F.linear(at_least_float32(out), at_least_float32(self.lm_head.weight))
            if self.memory is not None and recall is not None:
                logits = self.memory.add_to(logits, recall, out)
        return HNetOutput(logits, stages, None if last else self._state(letters, after))

    def boundaries(
        self, input_ids: Tensor, state: InnerState | None = None, *, stage: int, lengths: Tensor | None = None
    ) -> BoundaryOutput:
        """Compute only the boundaries of stages 0 to `stage`: the same as `__call__` gives, at a part of its cost.

        Nothing inside a stage, nor its decoder, has a part in its boundaries, so none of it is run.

        Args:
            input_ids: (B, L) integers; L may be 0.
            state: the state after the pieces before this one, from this method; None at the start of the sequences.
            stage: the innermost chunking stage that is wanted.
            lengths: (B,) valid positions of each row, padding on the right; None where all rows are full.
        """
        if not 0 <= stage < self.n_chunking_stages:
            raise ValueError(
                f"stage {stage}: this model has {self.n_chunking_stages} chunking stages, the first being 0"
            )
        rows = _rows(input_ids, lengths)
        with self._products(input_ids):
            x, _, inner, letters = self._read(input_ids, rows, state)
            outputs, after = cast(ChunkingStage, self.backbone).boundaries(x, rows, cast(Any, inner), stage)
        return BoundaryOutput(outputs, self._state(letters, after))

    def _read(
        self, ids: Tensor, rows: Rows, state: InnerState | None
    ) -> tuple[Tensor, Recall | None, InnerState | None, Tensor | None]:
        """Embed ids (B, L); return also what the memory recalls, the state inside, and the last letters."""
        x = self.embeddings(ids)
        if self.memory is None:
            return x, None, state, None
        before = cast("MemoryState | None", state) or MemoryState(None, None)
        recall, letters = self.memory(ids, rows, before.letters)
        return x + recall.vector, recall, before.inner, letters

    def _products(self, ids: Tensor) -> AbstractContextManager[None]:
        return bfloat16_products(ids.device.type) if self.bf16_products else nullcontext()

    def _state(self, letters: Tensor | None, inner: InnerState | None) -> InnerState | None:
        return inner if self.memory is None else MemoryState(letters, inner)

    def _make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Let the memory have as many words as the weights hold."""
        if self.memory is not None:
            self.memory.make_room(weights)

    @property
    def n_chunking_stages(self) -> int:
        """Number of routers."""
        return self.config.n_stages - 1


class KmerLM(HNetLM):
    """A model whose one stack reads k-mers; it is called as any other, with ids of bases, and predicts bases.

    It is the tokenised baseline that learned chunks are compared with: see `hnet_dna.model.kmers`.
    """

    backbone: KmerStage  # type: ignore[assignment]

    def __init__(self, config: ModelConfig) -> None:
        """Build a freshly initialised model; torch's generator decides the weights."""
        PretrainedModel.__init__(self, config)
        width, kmers = config.stage(0).d_model, 4**config.kmer
        # One embedding more: of any k-mer with a letter other than A, C, G, T, which is never predicted.
        self.embeddings = nn.Embedding(kmers + 1, width)
        self.backbone = KmerStage(config)
        self.lm_head = nn.Linear(width, kmers, bias=False)
        init_embeddings(self.embeddings, self.lm_head)
        init_kmer_stage(self.backbone)
        self.memory = None

    def forward(
        self,
        input_ids: Tensor,
        state: InnerState | None = None,
        *,
        lengths: Tensor | None = None,
        last: bool = False,
    ) -> HNetOutput:
        """Predict the next base at every position; see `HNetLM.forward`."""
        rows = _rows(input_ids, lengths)
        with self._products(input_ids):
            logits, after = self.backbone(input_ids, rows, cast(Any, state), self.embeddings, self.lm_head)
        return HNetOutput(logits, (), None if last else after)


def _rows(input_ids: Tensor, lengths: Tensor | None, last: bool = False) -> Rows:
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids: expected (batch, length), got shape {tuple(input_ids.shape)}")
    if lengths is None:
        return Rows.full(input_ids, last=last)
    return Rows.of(lengths, input_ids.shape[1], input_ids.device, last=last)
