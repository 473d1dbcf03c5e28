"""Folds that do not leak: groups stay together, and so do similar sequences.

Groups are those of the labels (contigs, families) where given. Otherwise they are families of similar sequences, copies
included (`hnet_dna.probing.families`), so that no sequence held out has a near twin among those trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.plural import counted
from hnet_dna.probing.dataset import Labels, Task, check_labels
from hnet_dna.probing.families import families, first_copies, word_length

TRAIN, VALID = -1, -2
_PARTS = {"train": TRAIN, "valid": VALID, "test": 0}
_OTHERWISE = "another column of groups (`group`); without one, folds go by similarity, where sequences are known"


@dataclass(frozen=True)
class Folds:
    """The fold in which each row is held out.

    Attributes:
        fold: (N,) from 0; where a split was given, 0 for test rows, and `TRAIN` and `VALID` for the others.
        group: (N,) numbers; rows of one group are in one fold.
        rule: how groups were found, in words.
        copies: rows whose sequence occurs in an earlier row, on either strand.
        parted: of these, rows in another fold than the first such row, which only given groups can cause; of a given
            split, test rows whose sequence is also trained on.
        copied: (N,) of a given split, rows to train on whose sequence is also a test row's; None without such a split.
    """

    fold: NDArray[np.int64]
    group: NDArray[np.int64]
    rule: str
    copies: int
    parted: int = 0
    copied: NDArray[np.bool_] | None = None

    @property
    def count(self) -> int:
        """How many folds there are, none of them empty."""
        return int(self.fold.max()) + 1

    @property
    def given(self) -> bool:
        """Whether the parts were given, so that there is one fold."""
        return bool((self.fold == TRAIN).any())

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Rows that are held out in some fold: all, or the test rows of a given split."""
        return np.flatnonzero(self.fold >= 0)

    @property
    def valid(self) -> NDArray[np.int64] | None:
        """Rows given to choose settings by; None where there are none."""
        rows = np.flatnonzero(self.fold == VALID)
        return rows if len(rows) else None

    def training(self, fold: int) -> NDArray[np.int64]:
        """Return the rows that are trained on while a fold is held out."""
        return np.flatnonzero((self.fold != fold) & (self.fold != VALID))


def make_folds(labels: Labels, task: Task, count: int, seed: int) -> Folds:
    """Assign rows to folds, with classes balanced as far as groups allow.

    Raises:
        SequenceError: the rows cannot be split into any number of folds.
        UsageError: fewer folds or other groups would mend it.
    """
    if labels.parts is not None:
        return _given(labels, task)
    check_labels(labels, task, count)
    sequences = labels.sequences or None
    first = first_copies(sequences) if sequences else np.arange(len(labels.ids))
    copies = int((first != np.arange(len(first))).sum())
    if labels.groups is not None:
        names = {name: index for index, name in enumerate(dict.fromkeys(labels.groups))}
        group, rule = np.array([names[name] for name in labels.groups]), f"by group ({counted(len(names), 'group')})"
    elif sequences is not None:
        group = families(sequences)
        sizes = np.bincount(group)
        found = counted(len(sizes), "family", "families")
        rule = f"by similarity of sequences ({found} of {counted(len(sequences), 'sequence')}"
        rule += (
            f", the largest of {sizes.max():,}, which is more than a fold)" if sizes.max() * count > len(group) else ")"
        )
    else:
        group, rule = np.arange(len(labels.ids)), "at random, since there are neither groups nor sequences"
    _check_groups(labels, len(np.unique(group)), count)
    splitter = splitter_of(task, count, seed)
    fold = np.zeros(len(labels.ids), dtype=np.int64)
    alike = strata(labels.target, count)
    for index, (train, test) in enumerate(splitter.split(np.zeros(len(fold)), alike, group)):
        if not len(test):
            raise UsageError(f"{labels.path}: groups of such sizes leave one of {count} folds empty; use fewer `folds`")
        if task == "classification" and len(left := set(labels.target[train].tolist())) < 2:
            raise UsageError(
                f"{labels.path}: folds {rule} leave only class {left.pop()} to train on where the others are held out; "
                f"change `folds`, or give {_OTHERWISE}"
            )
        fold[test] = index
    return Folds(fold, group, rule, copies, int((fold[first] != fold).sum()))


def _given(labels: Labels, task: Task) -> Folds:
    """Return the one fold of a given split; the groups, of which intervals are made, are copies or families."""
    assert labels.parts is not None
    fold = np.array([_PARTS[part] for part in labels.parts])
    for part in ("train", "test"):
        if not (fold == _PARTS[part]).any():
            raise SequenceError(f"{labels.path}: the split has no {part} row; it needs both train and test rows")
    if task == "multilabel":
        shares = labels.target[fold == TRAIN].mean(axis=0)
        for name, share in zip(labels.names, shares.tolist(), strict=True):
            if share in (0.0, 1.0):
                raise SequenceError(f"{labels.path}: {'all' if share else 'no'} train rows have the label {name}")
    if task == "classification":
        trained = set(labels.target[fold == TRAIN].tolist())
        if len(trained) < 2:
            raise SequenceError(f"{labels.path}: every train row is {trained.pop()}; at least two classes are needed")
        if unseen := sorted(set(labels.target.tolist()) - trained):
            raise SequenceError(f"{labels.path}: no train row is of class {unseen[0]}, which other rows have")
    if labels.groups is not None:
        _, group = np.unique(labels.groups, return_inverse=True)
    elif labels.sequences:
        group = families(labels.sequences)
    else:
        group = np.arange(len(fold))
    first = first_copies(labels.sequences) if labels.sequences else np.arange(len(fold))
    copied = np.isin(first, first[fold == 0]) & (fold != 0)
    seen = np.isin(first, first[fold != 0]) & (fold == 0)
    sizes = ", ".join(f"{labels.parts.count(part):,} {part}" for part in _PARTS if part in labels.parts)
    return Folds(
        fold, group, f"as given ({sizes})", int((first != np.arange(len(first))).sum()), int(seen.sum()), copied
    )


def splitter_of(task: Task, count: int, seed: int) -> StratifiedGroupKFold | GroupKFold:
    """Return a splitter of rows into folds by group, with classes balanced."""
    if task != "regression":
        return StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return GroupKFold(count)


def strata(target: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    """Return what a splitter balances: the labels, or the sets of labels of which there are as many as folds."""
    if target.ndim == 1:
        return target
    _, kind, sizes = np.unique(target, axis=0, return_inverse=True, return_counts=True)
    kind = kind.ravel()
    return np.where(sizes[kind] >= count, kind, -1)


def _check_groups(labels: Labels, count: int, folds: int) -> None:
    if count >= folds:
        return
    groups = "1 group" if count == 1 else f"{count} groups"
    if labels.groups is None:
        k = word_length(labels.sequences or [""])
        groups = counted(count, "family", "families")
        what = f"by the {k}-mers that they share, the sequences make {groups}"
        otherwise = "a column of groups (`group`)"
    else:
        column = labels.columns.get("groups")
        what = f"column {column} has {groups}" if column else f"the contigs of the table make {groups}"
        otherwise = _OTHERWISE if column else "more contigs"
    if count == 1:
        raise SequenceError(f"{labels.path}: {what}, and folds need at least 2; give {otherwise}")
    raise UsageError(f"{labels.path}: {what}, fewer than {folds} folds; use `folds` {count}, or {otherwise}")
