"""Folds that do not leak: groups stay together, and so do sequences that are similar.

Groups are those of the labels (contigs, families) where given. Otherwise they are families of similar sequences, copies
among them (`hnet_dna.probing.families`), so that no test sequence has a near twin in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.probing.dataset import Labels, Task, check_labels
from hnet_dna.probing.families import canonical, families, word_length

_OTHERWISE = "another column of groups (--group); without one, folds go by similarity, where sequences are known"


@dataclass(frozen=True)
class Folds:
    """Which fold each row is tested in.

    Attributes:
        fold: (N,) from 0.
        group: (N,) rows of one group are in one fold.
        rule: how groups were found, in words.
        copies: rows whose sequence occurs in a row before, on either strand.
        parted: of these, rows in another fold than the first such row, which only given groups can cause.
    """

    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    rule: str
    copies: int
    parted: int = 0


def make_folds(labels: Labels, task: Task, count: int, seed: int) -> Folds:
    """Assign rows to folds, classes balanced as far as groups allow.

    Raises:
        SequenceError: where no number of folds would do.
        UsageError: where fewer folds or other groups would.
    """
    check_labels(labels, task, count)
    sequences = labels.sequences or None
    first: dict[str, int] = {}
    original = [first.setdefault(canonical(s), row) for row, s in enumerate(sequences or ())]
    copies = len(original) - len(first)
    if labels.groups is not None:
        names = {name: index for index, name in enumerate(dict.fromkeys(labels.groups))}
        group, rule = np.array([names[name] for name in labels.groups]), f"by group ({len(names):,} groups)"
    elif sequences is not None:
        group = families(sequences)
        sizes = np.bincount(group)
        rule = f"by similarity of sequences ({len(sizes):,} families of {len(sequences):,} sequences"
        rule += (
            f", the largest of {sizes.max():,}, which is more than a fold)" if sizes.max() * count > len(group) else ")"
        )
    else:
        group, rule = np.arange(len(labels.ids)), "at random, since there are neither groups nor sequences"
    _check_groups(labels, len(set(group.tolist())), count)
    splitter = splitter_of(task, count, seed)
    fold = np.zeros(len(labels.ids), dtype=np.int64)
    for index, (train, test) in enumerate(splitter.split(np.zeros(len(fold)), labels.target, group)):
        if not len(test):
            raise UsageError(f"{labels.path}: groups of such sizes leave one of {count} folds empty; use fewer --folds")
        if task == "classification" and len(left := set(labels.target[train].tolist())) < 2:
            raise UsageError(
                f"{labels.path}: folds {rule} leave class {left.pop()} alone to train on where the others are held "
                f"out; change --folds or {_OTHERWISE}"
            )
        fold[test] = index
    parted = int((fold[original] != fold).sum()) if original else 0
    return Folds(fold, group, rule, copies, parted)


def splitter_of(task: Task, count: int, seed: int) -> StratifiedGroupKFold | GroupKFold:
    """Return what splits rows into folds by group, classes balanced."""
    if task == "classification":
        return StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return GroupKFold(count)


def _check_groups(labels: Labels, found: int, folds: int) -> None:
    if found >= folds:
        return
    made = "1 group" if found == 1 else f"{found} groups"
    if labels.groups is None:
        k = word_length(labels.sequences or [""])
        made = "1 family" if found == 1 else f"{found} families"
        what, otherwise = f"by the {k}-mers that they share, the sequences make {made}", "a column of groups (--group)"
    else:
        column = labels.columns.get("groups")
        what = f"column {column} has {made}" if column else f"the contigs of the table make {made}"
        otherwise = _OTHERWISE if column else "more contigs"
    if found == 1:
        raise SequenceError(f"{labels.path}: {what}, and folds need at least 2; what helps is {otherwise}")
    raise UsageError(f"{labels.path}: {what}, fewer than {folds} folds; use --folds {found} or {otherwise}")
