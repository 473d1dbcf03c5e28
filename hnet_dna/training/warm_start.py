"""Begins a run from the weights of another model: what may differ from that model, and how its weights are taken over.

What changes no weight may differ, and so may what adds some: a wider alphabet, more orders of the memory. Added weights
begin as in a new model, or as those of the letter that stood for theirs so far. Words are counted anew by whoever
begins the run: in training a position's own occurrence is taken out of the counts, which is right only if it is in them
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hnet_dna.config.schema import ModelConfig
from hnet_dna.errors import UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import LETTERS

_FREE = {
    "attn_cfg.window_size", "chunk_cfg.max_chunk", "chunk_cfg.stride", "memory_cfg.max_words", "ssm_cfg.chunk_size",
}  # fmt: skip
_GROWING = {"alphabet", "vocab_size", "memory_cfg.table_orders", "memory_cfg.word_orders"}
_PER_LETTER = ("embeddings.weight", "lm_head.weight")
# Weights that have a part for each order of words, as views whose first axis is the order.
_PER_WORD_ORDER: dict[str, Callable[[Tensor], Tensor]] = {
    "memory.read_evidence.weight": lambda weight: weight.view(len(weight), -1, 5).transpose(0, 1),
    "memory.trust.weight": lambda weight: weight,
    "memory.trust_by_count": lambda weight: weight,
}


@dataclass(frozen=True)
class Parent:
    """The model that a run begins from.

    Attributes:
        name: as it was asked for.
        model: the model itself.
        changed: the old and the new value of each field of its shape that differs.
    """

    name: str
    model: HNetLM
    changed: dict[str, list[Any]]


def refuse_other_shape(parent: ModelConfig, asked: ModelConfig, name: str) -> dict[str, list[Any]]:
    """Refuse a model that cannot begin from the weights of a parent of this name.

    Returns:
        The old and the new value of each field that differs.
    """
    before, after = _fields(parent), _fields(asked)
    changed = {}
    for field in after:
        old, new = before.get(field), after[field]
        if old == new:
            continue
        if field == "memory_cfg.table_width" and not parent.table_orders:
            old = new  # there was no table
        if field not in _FREE | _GROWING and old != new:
            raise UsageError(
                f"`from_` {name}: model.{field} is {old} there and decides the weights; asked for {new}. These can "
                f"differ: {', '.join(sorted(_FREE | _GROWING))}"
            )
        changed[f"model.{field}"] = [old, new]
    for field in ("table_orders", "word_orders"):
        if lost := sorted(set(getattr(parent, field)) - set(getattr(asked, field))):
            raise UsageError(
                f"`from_` {name}: model.memory_cfg.{field} has {', '.join(map(str, lost))} there; orders can be added, "
                "not taken away"
            )
    _letters(parent, asked, name)
    return changed


def take_over(parent: HNetLM, model: HNetLM) -> None:
    """Put the weights of a parent into a new model, whose shape `refuse_other_shape` has let pass."""
    old, new = parent.state_dict(), model.state_dict()
    ids = _letters(parent.config, model.config, parent.name_or_path)
    with torch.no_grad():
        for name, tensor in new.items():
            if name.startswith("memory.words.") or name not in old:
                continue  # words are counted anew
            if name in _PER_LETTER and ids and not model.config.kmer:
                tensor[list(ids)] = old[name][list(ids.values())]
            elif name in _PER_WORD_ORDER:
                _take_orders(_PER_WORD_ORDER[name](tensor), _PER_WORD_ORDER[name](old[name]), parent, model)
            else:
                tensor.copy_(old[name])


def _take_orders(new: Tensor, old: Tensor, parent: HNetLM, model: HNetLM) -> None:
    """Copy what belongs to each order of words, (orders, ...)."""
    for place, order in enumerate(parent.config.word_orders):
        new[model.config.word_orders.index(order)] = old[place]


def _fields(config: ModelConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        if isinstance(value, Mapping):
            fields |= {f"{name}.{inner}": item for inner, item in value.items()}
        else:
            fields[name] = value
    return fields


def _letters(parent: ModelConfig, asked: ModelConfig, name: str) -> dict[int, int]:
    """Return the parent's id for each id of the new alphabet's letters; refuse a narrower alphabet."""
    if parent.alphabet == asked.alphabet:
        return {}
    if parent.alphabet is None:
        raise UsageError(f"`from_` {name}: its ids do not stand for letters, so that nothing can be trained on")
    before, after = alphabet(parent.alphabet), alphabet(asked.alphabet)
    ids: dict[int, int] = {}
    for letter in range(len(LETTERS)):
        known = ids.setdefault(after.ids[letter], before.ids[letter])
        if known != before.ids[letter]:
            raise UsageError(
                f"`from_` {name}: alphabet {before.name} tells letters apart that {after.name} does not; the alphabet "
                "can become wider, not narrower"
            )
    return ids
