"""Probabilities of bases: always over only A, C, G and T, so that a model that knows nothing costs exactly 2 bits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hnet_dna.ops import at_least_float32
from hnet_dna.sequence.alphabet import Alphabet
from hnet_dna.sequence.codes import LETTER_BITS

IGNORED = -100


def targets_of(codes: Tensor) -> Tensor:
    """Turn nucleotide codes (uint8, any shape) into targets 0 to 3; any letter but A, C, G, T is `IGNORED`."""
    letters = (codes & LETTER_BITS).long()
    return torch.where(letters < 4, letters, IGNORED)


def base_nats(logits: Tensor, targets: Tensor, alphabet: Alphabet) -> Tensor:
    """Return -ln p of each target base.

    Args:
        logits: (B, L, V).
        targets: (B, L) 0 to 3, or `IGNORED`.
        alphabet: says which ids are A, C, G, T.

    Returns:
        (B, L) in float32 or better, 0 where the target is ignored.
    """
    bases = at_least_float32(_of_bases(logits, alphabet.base_ids))
    return F.cross_entropy(bases.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED).view(
        targets.shape
    )


def _of_bases(logits: Tensor, ids: tuple[int, ...]) -> Tensor:
    """Return the logits of A, C, G, T (B, L, 4). A list as an index would be copied to a GPU first, and waited for."""
    first = ids[0]
    if ids == tuple(range(first, first + len(ids))):
        return logits[..., first : first + len(ids)]
    return torch.stack([logits[..., index] for index in ids], dim=-1)
