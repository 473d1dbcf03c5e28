"""A memory of k-mers: what the last k bases say by themselves, so that the network need not learn it by heart.

Two kinds, each for several k:

- Tables (k of 2 to 11) hold a trained vector for each of the 4^k words, added to the base's embedding.
- Counted words (k of 8 to 30) hold how often each base followed a word in the training part, both strands, for words
  that it has at least twice. What they say of the next base, as logits, is added to the embedding, where encoder and
  router read it, and to the logits, as far as the network trusts it: a factor for each k by the number of times that
  the word was seen, and by the decoder's vector.

A position of the training part would find itself among the counts. So in training its own occurrence is taken out, and
words that without it are too rare to be kept are not seen: what is left is the memory that the other positions would
have made. Nothing can be learnt by heart then, however many epochs. Counts that are stored rounded stay as they are, as
they mostly would without one occurrence; one less than a rounded count would give away the base that follows.

The last k - 1 letters are the state. A word with a letter other than A, C, G, T, or that would reach beyond the start
of the sequence, says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from hnet_dna.config.schema import ModelConfig
from hnet_dna.model.rows import Rows, last_positions
from hnet_dna.model.words import ROUNDED, WordTable
from hnet_dna.sequence.alphabet import alphabet

LEAST = 2  # occurrences of a word that is kept
OTHER = 4  # the letter of all ids that are not A, C, G, T
PRIOR = 0.05  # added to each count
SEEN = (1, 2, 3, 4, 8, 16, 64)  # where the kinds of "seen so often" begin; 0 times is the kind before them


class Recall(NamedTuple):
    """What the memory says at each position.

    Attributes:
        vector: (B, L, D) for the embedding.
        evidence: (B, L, K, 4) logits of the next base by each counted word, 0 where none is known.
        seen: (B, L, K) which kind of "seen so often" each word is.
    """

    vector: Tensor
    evidence: Tensor
    seen: Tensor


class Memory(nn.Module):
    """The tables and counted words of a model."""

    letter_of_id: Tensor
    base_ids: Tensor
    bounds: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        base_ids = alphabet(config.alphabet).base_ids
        width, kinds = config.stage(0).d_model, len(SEEN) + 1
        self.longest = max(config.table_orders + config.word_orders)
        self.tables = nn.ModuleDict({str(k): nn.Embedding(4**k, config.table_width) for k in config.table_orders})
        self.words = nn.ModuleDict({str(k): WordTable(k) for k in config.word_orders})
        if self.tables:
            self.widen = nn.Linear(config.table_width, width, bias=False)
        if self.words:
            self.read_evidence = nn.Linear(5 * len(self.words), width, bias=False)
            self.trust = nn.Linear(width, len(self.words), bias=False)
            self.trust_by_count = nn.Parameter(torch.zeros(len(self.words), kinds))
        letter_of_id = torch.full((config.vocab_size,), OTHER)
        letter_of_id[list(base_ids)] = torch.arange(4)
        self.register_buffer("letter_of_id", letter_of_id, persistent=False)
        self.register_buffer("base_ids", torch.tensor(base_ids), persistent=False)
        self.register_buffer("bounds", torch.tensor(SEEN), persistent=False)

    def forward(self, ids: Tensor, rows: Rows, letters: Tensor | None) -> tuple[Recall, Tensor]:
        """Recall what is known after each of ids (B, L); `letters` (B, K-1) came before, None at the start.

        Returns:
            What is recalled, and the last letters for the next piece.
        """
        new = self.letter_of_id[ids]
        past = new.new_full((len(ids), self.longest - 1), OTHER) if letters is None else letters
        number, run = _words_ending(torch.cat([past, new], dim=1), self.longest, new.shape[1])
        dtype = next(self.parameters()).dtype
        vector = torch.zeros((), dtype=dtype, device=ids.device)
        if self.tables:
            for k, table in self.tables.items():
                here = run >= int(k)
                vector = vector + table(_last(number, int(k)).masked_fill(~here, 0)) * here[..., None]
            vector = self.widen(vector)
        evidence, seen = self._counted(number, run, self._next(new, rows), dtype)
        if self.words:
            known = (seen > 0).to(dtype) * (1 + seen.to(dtype))
            vector = vector + self.read_evidence(torch.cat([evidence, known[..., None]], dim=-1).flatten(-2))
        return Recall(vector, evidence, seen), last_positions(past, new, rows, self.longest - 1)

    def add_to(self, logits: Tensor, recall: Recall, vectors: Tensor) -> Tensor:
        """Add to logits (B, L, V) what the counted words say, as far as the decoder's vectors (B, L, D) trust it."""
        if not self.words:
            return logits
        k = torch.arange(len(self.words), device=logits.device)
        trust = self.trust_by_count[k, recall.seen] + self.trust(vectors)
        said = (trust[..., None] * recall.evidence).sum(dim=-2)
        return logits.to(said.dtype).index_add(-1, self.base_ids, said)

    @property
    def counted(self) -> dict[int, WordTable]:
        """The counted words, by k."""
        return {int(k): cast(WordTable, table) for k, table in self.words.items()}

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Take the numbers of words from weights of the whole model that are about to be loaded."""
        for k, table in self.counted.items():
            counts = weights.get(f"memory.words.{k}.counts")
            if counts is not None and counts.ndim == 2:
                table.resize(len(counts))

    def _next(self, letters: Tensor, rows: Rows) -> Tensor | None:
        """Return the letter that follows each position in training, `OTHER` where that is not among the inputs."""
        if not self.training:
            return None
        after = torch.cat([letters[:, 1:], letters.new_full((len(letters), 1), OTHER)], dim=1)
        last = torch.arange(letters.shape[1], device=letters.device) == rows.length[:, None] - 1
        return after.masked_fill(last, OTHER)

    def _counted(self, number: Tensor, run: Tensor, after: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        evidence, kinds = [], []
        for k, table in self.counted.items():
            counts = table(_last(number, k)) * (run >= k)[..., None]
            if after is not None:
                own = nn.functional.one_hot(after, 5)[..., :4] * (counts < ROUNDED)
                counts = (counts - own).clamp(min=0) * (after != OTHER)[..., None]
                counts = counts * (counts.sum(dim=-1, keepdim=True) >= LEAST)
            total = counts.sum(dim=-1)
            share = (counts.to(dtype) + PRIOR).log() - (total[..., None].to(dtype) / 4 + PRIOR).log()
            evidence.append(share * (total > 0)[..., None])
            kinds.append(torch.bucketize(total, self.bounds, right=True))
        if not evidence:
            none = number.new_zeros(*number.shape, 0)
            return none[..., None].expand(*none.shape, 4).to(dtype), none
        return torch.stack(evidence, dim=-2), torch.stack(kinds, dim=-1)


def _words_ending(letters: Tensor, longest: int, length: int) -> tuple[Tensor, Tensor]:
    """Return the number of the last `longest` letters (B, length), and how many of the last are A, C, G or T.

    `letters` is (B, longest - 1 + length). The number counts other letters as A; only as many of its last letters as
    are A, C, G, T in a row may be used.
    """
    number = letters.new_zeros(len(letters), length)
    run = letters.new_zeros(len(letters), length)
    unbroken = torch.ones_like(number, dtype=torch.bool)
    for back in range(longest):
        letter = letters[:, longest - 1 - back : longest - 1 - back + length]
        unbroken = unbroken & (letter != OTHER)
        run = run + unbroken
        number = number + (torch.where(unbroken, letter, 0) << 2 * back)
    return number, run


def _last(number: Tensor, k: int) -> Tensor:
    """Return the number of the last k letters of a word."""
    return number & ((1 << 2 * k) - 1)
