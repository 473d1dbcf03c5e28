"""Folds that do not leak: groups stay together, and so do sequences that are alike.

Groups are those of the labels (contigs, families) where given. Otherwise sequences that share half of their k-mers with
another, on either strand, form one group; copies are the extreme case. So no test sequence has a near twin in training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.probe.dataset import Labels, Task, check_labels

_K = 12
_SHARED = 0.5
_COMMON = 200  # k-mers of more sequences than this say nothing about descent
_OTHERWISE = "another column of groups (--group); without one, folds go by similarity, where sequences are known"
_COMPLEMENT = str.maketrans("ACGT", "TGCA")


@dataclass(frozen=True)
class Folds:
    """Which fold each row is tested in.

    Attributes:
        fold: (N,) from 0.
        group: (N,) rows of one group are in one fold.
        rule: how groups were found, in words.
        copies: rows whose sequence occurs before, on either strand.
    """

    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    rule: str
    copies: int


def make_folds(labels: Labels, task: Task, count: int, seed: int) -> Folds:
    """Assign rows to folds, classes balanced as far as groups allow.

    Raises:
        SequenceError: where no number of folds would do.
        UsageError: where fewer folds or other groups would.
    """
    check_labels(labels, task, count)
    sequences = [s.upper().replace("U", "T") for s in labels.sequences] if labels.sequences else None
    copies = len(sequences) - len({_canonical(s) for s in sequences}) if sequences else 0
    if labels.groups is not None:
        names = {name: index for index, name in enumerate(dict.fromkeys(labels.groups))}
        group, rule = np.array([names[name] for name in labels.groups]), f"by group ({len(names):,} groups)"
    elif sequences is not None:
        group = similar_groups(sequences)
        rule = f"by similarity of sequences ({len(set(group.tolist())):,} groups of {len(sequences):,} sequences)"
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
    return Folds(fold, group, rule, copies)


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
        what, otherwise = f"sequences that share half of their {_K}-mers make {made}", "the column of groups (--group)"
    else:
        column = labels.columns.get("groups")
        what = f"column {column} has {made}" if column else f"the contigs of the table make {made}"
        otherwise = _OTHERWISE if column else "more contigs"
    if found == 1:
        raise SequenceError(f"{labels.path}: {what}, and folds need at least 2; what helps is {otherwise}")
    raise UsageError(f"{labels.path}: {what}, fewer than {folds} folds; use --folds {found} or {otherwise}")


def similar_groups(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Return a group number per sequence: connected by sharing half of the smaller one's k-mers, on either strand."""
    words = []
    holders: dict[str, list[int]] = defaultdict(list)
    for index, sequence in enumerate(sequences):
        k = min(_K, max(len(sequence), 1))
        own = {_canonical(sequence[i : i + k]) for i in range(max(len(sequence) - k + 1, 1))}
        words.append(own)
        for word in own:
            holders[word].append(index)
    parent = list(range(len(sequences)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, own in enumerate(words):
        shared: dict[int, int] = defaultdict(int)
        for word in own:
            found = holders[word]
            if len(found) <= _COMMON:
                for other in found:
                    if other < index:
                        shared[other] += 1
        for other, count in shared.items():
            if count >= _SHARED * min(len(own), len(words[other])):
                parent[root(index)] = root(other)
    first: dict[int, int] = {}
    return np.array([first.setdefault(root(index), len(first)) for index in range(len(sequences))])


def _canonical(sequence: str) -> str:
    return min(sequence, sequence.translate(_COMPLEMENT)[::-1])
