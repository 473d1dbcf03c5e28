"""A tokenised baseline: k-mers of DNA into one stack, read out base by base so that its bits compare with all others.

    bases    A  C  G | T  T  A | G  C  .        k = 3
    stack    begin     ACG       TTA
    predicts ACG       TTA       GC.

A sequence is cut into k-mers from its start, whatever pieces it arrives in. After each k-mer the head gives 4^k logits
for the next one. Within a k-mer, the next base has the k-mers' probability given the letters of it already seen, so
that the nats of a k-mer's bases add up to the nats of the k-mer exactly.

A k-mer with a letter other than A, C, G, T is one token, the last, whatever the rest of it. It is never predicted; the
bases after such a letter, up to the k-mer's end, are predicted as after an A in its place.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hnet_dna.config.layout import parse_stack
from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import ConfigError
from hnet_dna.model.rows import Rows, gather_positions, last_positions
from hnet_dna.model.stack import Stack, StackState
from hnet_dna.ops import at_least_float32
from hnet_dna.sequence.alphabet import alphabet

OTHER_LOGIT = -1e4  # of ids that are not A, C, G, T: finite in every dtype, and exactly 0 after a softmax
_OTHER = 4


class KmerState(NamedTuple):
    """What a model of k-mers remembers of each row.

    The stack's state; its vector (B, D) after the last whole k-mer, which predicts the one under way; the last k - 1
    letters (B, k-1), right-aligned; and how many of them belong to the k-mer under way (B,), 0 to k - 1.
    """

    inner: StackState
    vector: Tensor
    letters: Tensor
    phase: Tensor


class KmerStage(nn.Module):
    """The stage of a model of k-mers: from ids of bases to logits of bases, by a stack over k-mers."""

    letter_of_id: Tensor
    base_ids: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        base_ids = alphabet(config.alphabet).base_ids
        if max(base_ids) >= config.vocab_size:
            raise ConfigError(
                f"vocab_size: k-mers need the ids of A, C, G, T ({base_ids}), vocab_size is {config.vocab_size}"
            )
        stage = config.stage(0)
        self.kmer, self.vocab_size = config.kmer, config.vocab_size
        self.begin = nn.Parameter(torch.zeros(stage.d_model))
        self.main_network = Stack(parse_stack(config.layout[0]), stage, config.chunk_size)
        letter_of_id = torch.full((config.vocab_size,), _OTHER)
        letter_of_id[list(base_ids)] = torch.arange(4)
        self.register_buffer("letter_of_id", letter_of_id, persistent=False)
        self.register_buffer("base_ids", torch.tensor(base_ids), persistent=False)

    def forward(
        self, ids: Tensor, rows: Rows, state: KmerState | None, embeddings: nn.Embedding, head: nn.Linear
    ) -> tuple[Tensor, KmerState]:
        """Predict the next base at every position.

        Args:
            ids: (B, L) of bases.
            rows: their lengths.
            state: after the pieces before, None at the start of the sequences.
            embeddings: of the 4^k k-mers, A first and the first letter counting most, and of all others together.
            head: to logits of the 4^k k-mers, in the same order.

        Returns:
            Logits (B, L, V), which are ln p for A, C, G, T, and the state.
        """
        k, (batch, length) = self.kmer, ids.shape
        letters = self.letter_of_id[ids]
        past, phase = (state.letters, state.phase) if state else (letters.new_zeros(batch, k - 1), rows.length * 0)
        # Each row on a grid of whole k-mers, the one under way first. What lies beyond a row's end is never looked at.
        count = (phase + rows.length) // k
        padded = int(count.max())
        joined = torch.cat([past, letters], dim=1)
        index = (k - 1 - phase)[:, None] + torch.arange((padded + 1) * k, device=ids.device)
        grid = gather_positions(joined, index.clamp(max=joined.shape[1] - 1)).view(batch, padded + 1, k)
        other = grid == _OTHER
        number = _number(grid.masked_fill(other, 0))

        token = number.masked_fill(other.any(dim=-1), 4**k)[:, :padded]
        vectors, inner = self._run(embeddings(token), count, state)
        log_p = _next_letter(head(vectors), number, k).flatten(1, 2)
        place = phase[:, None] + torch.arange(1, length + 1, device=ids.device)  # of the base predicted, in the grid
        bases = gather_positions(log_p, place.clamp(max=log_p.shape[1] - 1))
        logits = bases.new_full((batch, length, self.vocab_size), OTHER_LOGIT).index_copy(2, self.base_ids, bases)
        after = KmerState(
            inner,
            gather_positions(vectors, count[:, None])[:, 0],
            last_positions(past, letters, rows, k - 1),
            (phase + rows.length) % k,
        )
        return logits, after

    def _run(self, x: Tensor, count: Tensor, state: KmerState | None) -> tuple[Tensor, StackState]:
        """Run whole k-mers x (B, M, D), `count` in each row.

        Returns:
            (B, 1+M, D), the vector before the first of these k-mers and those after each, and the stack's state.
        """
        if state is None:
            x = torch.cat([self.begin.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
            vectors, inner = self.main_network(x, Rows.of(count + 1, x.shape[1]), None)
            return vectors, inner
        if x.shape[1] == 0:
            return state.vector[:, None], state.inner
        vectors, inner = self.main_network(x, Rows.of(count, x.shape[1]), state.inner)
        return torch.cat([state.vector[:, None], vectors], dim=1), inner


def _number(letters: Tensor) -> Tensor:
    """Read the last dimension of letters 0 to 3 (..., k) as a number in base 4."""
    k = letters.shape[-1]
    return (letters << 2 * torch.arange(k - 1, -1, -1, device=letters.device)).sum(dim=-1)


def _next_letter(logits: Tensor, number: Tensor, k: int) -> Tensor:
    """Return ln p of each letter at each offset of a k-mer, given the letters before that offset.

    Args:
        logits: (B, M, 4^k) of k-mers.
        number: (B, M) of the k-mer that came; at each offset only its letters before are looked at.
        k: letters of a k-mer.

    Returns:
        (B, M, k, 4) in float32 or better.
    """
    table = at_least_float32(logits)
    picked = []
    for left in range(1, k + 1):  # letters not yet seen, the one predicted included
        table = table.view(*number.shape, -1, 4)  # (B, M, 4^(k-left), 4): prefix, next letter
        prefix = number >> 2 * left
        picked.append(gather_positions(table.flatten(0, 1), prefix.flatten()[:, None]))
        if left < k:
            table = table.logsumexp(dim=-1)
    return torch.cat(picked[::-1], dim=1).log_softmax(dim=-1).view(*number.shape, k, 4)
