"""Folds that do not leak: groups stay together, and so do sequences that are alike.

Groups are those of the labels (contigs, families) where given. Otherwise sequences that share half of their k-mers with
another, on either strand, form one group (`hnet_dna.probe.similar`); copies are the extreme case. So no test sequence
has a near twin in training, and where given groups part copies, this is told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.probe.dataset import Labels, Task, check_labels
from hnet_dna.probe.similar import K, copies_of, similar_groups

_OTHERWISE = "another column of groups (--group); without one, folds go by similarity, where sequences are known"


@dataclass(frozen=True)
class Folds:
    """Which fold each row is tested in.

    Attributes:
        fold: (N,) from 0.
        group: (N,) rows of one group are in one fold.
        rule: how groups were found, in words.
        copies: rows whose sequence occurs before, on either strand.
        parted: rows of which a copy is in another fold, as only groups of the labels can have it.
    """

    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    rule: str
    copies: int
    parted: int = 0

    @property
    def largest(self) -> int:
        """Rows of the largest group, which cannot be spread over folds."""
        return int(np.bincount(self.group).max())

    @property
    def sizes(self) -> list[int]:
        """Rows of each fold."""
        return [int(rows) for rows in np.bincount(self.fold)]


def make_folds(labels: Labels, task: Task, count: int, seed: int) -> Folds:
    """Assign rows to folds, classes balanced as far as groups allow.

    Raises:
        SequenceError: where no number of folds would do.
        UsageError: where fewer folds or other groups would.
    """
    check_labels(labels, task, count)
    sequences = labels.sequences
    copy = copies_of(sequences) if sequences else np.arange(len(labels.ids))
    copies = len(copy) - len(np.unique(copy))
    if labels.groups is not None:
        names = {name: index for index, name in enumerate(dict.fromkeys(labels.groups))}
        group, rule = np.array([names[name] for name in labels.groups]), f"by group ({len(names):,} groups)"
    elif sequences:
        group = similar_groups(sequences)
        rule = f"by similarity of sequences ({len(set(group.tolist())):,} groups of {len(sequences):,} sequences)"
    else:
        group, rule = np.arange(len(labels.ids)), "at random, since there are neither groups nor sequences"
    _check_groups(labels, len(np.unique(group)), count, all_copies=copies == len(copy) - 1)
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
    return Folds(fold, group, rule, copies, _parted(copy, fold))


def splitter_of(task: Task, count: int, seed: int) -> StratifiedGroupKFold | GroupKFold:
    """Return what splits rows into folds by group, classes balanced."""
    if task == "classification":
        return StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return GroupKFold(count)


def _parted(copy: NDArray[np.int64], fold: NDArray[np.int64]) -> int:
    """Count the rows of which a copy is in another fold."""
    lowest, highest = np.full(len(copy), len(copy)), np.full(len(copy), -1)
    np.minimum.at(lowest, copy, fold)
    np.maximum.at(highest, copy, fold)
    return int((lowest < highest)[copy].sum())


def _check_groups(labels: Labels, found: int, folds: int, *, all_copies: bool) -> None:
    if found >= folds:
        return
    made = "1 group" if found == 1 else f"{found} groups"
    if labels.groups is None:
        what, otherwise = f"sequences that share half of their {K}-mers make {made}", "a column of groups (--group)"
        if all_copies:
            raise SequenceError(f"{labels.path}: {what}: all are the same, so that there is nothing to tell labels by")
    else:
        column = labels.columns.get("groups")
        what = f"column {column} has {made}" if column else f"the contigs of the table make {made}"
        otherwise = _OTHERWISE if column else "more contigs"
    if found == 1:
        raise SequenceError(f"{labels.path}: {what}, and folds need at least 2; what helps is {otherwise}")
    raise UsageError(f"{labels.path}: {what}, fewer than {folds} folds; use --folds {found} or {otherwise}")
