"""Heads on vectors and the labels that they learn: right numbers, labels read as they are, files that are safe."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import labels_of
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from hnet_dna.errors import CheckpointError, HNetError, SequenceError
from hnet_dna.probing import metrics
from hnet_dna.probing.contenders import OnVectors
from hnet_dna.probing.cross_validation import cross_validate, fit_all
from hnet_dna.probing.dataset import read_labels
from hnet_dna.probing.features import gc_content, kmer_frequencies, one_hot
from hnet_dna.probing.folds import make_folds
from hnet_dna.probing.head_file import About, load_head, save_head
from hnet_dna.probing.heads import HEADS, make_head
from hnet_dna.sequence.codes import from_text


@pytest.fixture(autouse=True)
def _brief_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)


# Logistic regression tells classes apart; on numbers it is refused.
TASK_HEADS = [("classification", head) for head in HEADS] + [("regression", head) for head in HEADS[1:]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("task", "head"), TASK_HEADS)
def test_small_sets_give_a_result_or_an_error(head: str, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner folds are as many as the training part allows; where it allows none, the default strength is told."""
    monkeypatch.setattr(metrics, "_RESAMPLES", 3)
    random = np.random.default_rng(0)
    defaults = {"logistic": ("C", 1.0), "ridge": ("alpha", 1.0), "svm": ("C", 1.0), "mlp": ("alpha", 1e-4)}
    inner, done = set(), 0
    slow = head == "mlp"  # the rules are those of all heads
    for rows, contigs, count in product((4, 8, 12) if slow else (4, 6, 8, 12), (0,) if slow else (0, 2, 3, 4), (2, 3)):
        target = ["x", "y"] * (rows // 2) if task == "classification" else random.normal(size=rows).tolist()
        groups = [f"c{index * contigs // rows}" for index in range(rows)] if contigs else None
        labels = labels_of(target, groups=groups)
        matrix = random.normal(size=(rows, 3)).astype(np.float32)
        try:
            folds = make_folds(labels, task, count, 0)
        except HNetError:
            continue
        contender = OnVectors("model", matrix, head)
        (_, result), _ = cross_validate([contender], labels, folds, task, 0)
        done += 1
        for strength in [*result.chosen, fit_all(contender, labels, folds, task, 0).chosen]:
            inner.add(strength["inner_folds"])
            if not strength["inner_folds"]:
                name, value = defaults[head]
                assert strength[name] == value
    assert done >= (5 if slow else 20)
    assert inner == {0, 2, 3}


@pytest.mark.parametrize(("task", "head"), TASK_HEADS)
def test_planted_signal_is_found_and_noise_is_not(head: str, task: Any) -> None:
    random = np.random.default_rng(1)
    signal = random.normal(size=(240, 6)).astype(np.float32)
    value = signal @ np.array([2.0, -1.0, 0.5, 0.0, 0.0, 0.0])
    target = ["x" if v > 0 else "y" for v in value] if task == "classification" else value.tolist()
    labels = labels_of(target)
    folds = make_folds(labels, task, 3, 0)
    noise = random.normal(size=(240, 6)).astype(np.float32)
    contenders = [OnVectors("model", signal, head), OnVectors("noise", noise, head)]
    (majority, model, nothing), _ = cross_validate(contenders, labels, folds, task, 0)
    name = "MCC" if task == "classification" else "R2"
    assert model.metrics[name].value > 0.8
    assert model.metrics[name].low < model.metrics[name].value < model.metrics[name].high
    assert nothing.metrics[name].value < 0.3
    assert majority.metrics[name].value == pytest.approx(0.0, abs=1e-12)  # by definition, whatever the folds
    assert majority.metrics.get("AUROC", metrics.Metric(0.5, 0.5, 0.5)).value == 0.5


def test_baseline_features() -> None:
    codes = [from_text("ACGTACGT"), from_text("GGGGGGNN"), from_text("NNNNNNNN")]
    assert gc_content(codes)[:, 0].tolist() == [0.5, 1.0, 0.0]
    frequencies = kmer_frequencies(codes, 2).toarray()
    assert frequencies[0, 0 * 4 + 1] == pytest.approx(2 / 7)
    assert frequencies[1, 2 * 4 + 2] == 1.0
    assert frequencies[2].sum() == 0
    hot = one_hot(codes)
    assert hot is not None
    assert hot.shape == (3, 32)
    assert hot[1].sum() == 6
    assert one_hot([from_text("A"), from_text("AC")]) is None


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ("id,label\na,x\nb,\n", "classification", "line 3: the label is missing"),
        ("id,label\na,NaN\n", "regression", "line 2: the label is missing"),
        ("id,label\na,high\n", "regression", "line 2: expected a number as label, got 'high'"),
        ("id,label\na,inf\n", "regression", "line 2: the label is not finite"),
        ("id,label\na,x\na,y\n", "classification", "id a occurs 2 times"),
        ("id,label\n", "classification", "no row after the header"),
        ("id,other\na,x\n", "classification", "no column of labels among id, other; name it by `label`, or is"),
        (
            f"{'ACGT' * 30},yeast\n{'TTGC' * 30},fly\n",
            "classification",
            r"labels among ACGTACGTACGTACGTACGT\.\.\., yeast",
        ),
        ("id;label\na;x\n", "classification", "separated by semicolons; expected commas"),
        ("id\tlabel\na\tx\n", "classification", "separated by tabs; expected commas"),
        (">s1\nACGT\n", "classification", "looks like FASTA; expected CSV or TSV with a header"),
        ("id,label\na,x,z\n", "classification", "line 2: expected 2 columns"),
        ("", "classification", "is empty"),
        ("id,label\na,0\nb,1\nc,0.0\n", "classification", r"labels 0 \(line 2\) and 0\.0 \(line 4\) are one number"),
        ("id,label\na,1\nb,01\n", "classification", r"labels 1 \(line 2\) and 01 \(line 3\) are one number"),
        ("id,label\na,.\n", "classification", r"line 2: the label is missing \('\.' means that\)"),
        ("id,label\n,x\n", "classification", "line 2: the id is missing; fill it in"),
        ("id,label\na,x\nNA,y\n", "classification", r"line 3: the id is missing \('NA' means that\)"),
        ('id,label\n"a\nb",x\n', "classification", r"line 2: the id 'a\\nb' holds '\\n'; tabs, line breaks"),
        ('id,label\na,x\n"a\tb",x\n', "classification", r"line 3: the id 'a\\tb' holds"),
        ("id,label\na\u2028b,x\n", "classification", "line 2: the id"),
        ('id,label\na,"x\ny"\n', "classification", "line 2: the label 'x"),
        ("id,label,group\na,x,g\nb,y,\n", "classification", "line 3: the group is missing; fill it in"),
        ("id,label,chr\na,x,g\nb,y,NA\n", "classification", r"line 3: the group is missing \('NA' means that\)"),
        ("id,label,chr\na,x,1\nb,y,1.0\n", "classification", r"groups 1 \(line 2\) and 1\.0 \(line 3\) are one"),
        ("id,label,label\na,x,y\n", "classification", "columns 2 and 3 are both called label"),
        ("id,label,seq\na,x,ACGT\nb,y,MKVL\n", "classification", "line 3: 'L' is not a nucleotide letter"),
        ("id,label\na,x\nb,y\na ,y\n", "classification", r"id a occurs 2 times \(lines 2, 4\)"),
        ('id,label\na,"1,5"\n', "regression", r"line 2: expected a number as label, got '1,5' \(a decimal comma"),
        ("id,label\na,1_000\n", "regression", "line 2: expected a number as label, got '1_000'"),
        ("id,label\na,1e400\n", "regression", "line 2: the label is not finite"),
        ("id,label\na,-Infinity\n", "regression", "line 2: the label is not finite"),
    ],
)
def test_label_files(tmp_path: Path, text: str, task: Any, message: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(SequenceError, match=message):
        read_labels(path, task)


def test_labels_mean_what_they_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "l.tsv"
    path.write_text('id\tlabel\tseq\n"a\tnone\tacgu\nb\t None \tACGT \nc\tYes\t\nd\tyes\tNA\n')
    labels = read_labels(path, "classification")
    assert labels.ids == ['"a', "b", "c", "d"]
    assert labels.target.tolist() == ["none", "None", "Yes", "yes"]
    assert labels.sequences == ["acgt", "ACGT", "", ""]  # NA is what R writes for a missing value, not two nucleotides
    notes = [record.getMessage() for record in caplog.records]
    assert notes == [
        f"{path}: labels {pair} differ only in case, and are taken as two" for pair in ("none and None", "Yes and yes")
    ]
    path.write_text("id\tlabel\na\t1e5\nb\t-.5\nc\t+2.\n")
    assert read_labels(path, "regression").target.tolist() == [1e5, -0.5, 2.0]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("task", "head"), TASK_HEADS)
def test_head_survives_its_file(tmp_path: Path, head: str, task: Any) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(60, 4)).astype(np.float32)
    target = np.where(matrix[:, 0] > 0, "x", "y") if task == "classification" else matrix[:, 0]
    pipeline, _ = make_head(head, task, 0)
    pipeline.fit(matrix, target)
    about = About(task, head, "run", "digest", "chunk", "mean", "both")
    save_head(tmp_path, pipeline, about)
    loaded, description = load_head(tmp_path)
    assert description == about
    assert isinstance(loaded, Pipeline)
    assert (loaded.predict(matrix) == pipeline.predict(matrix)).all()


def test_head_that_would_run_code_is_refused(tmp_path: Path) -> None:
    about = About("classification", "logistic", "run", "d", "chunk", "mean", "both")
    save_head(tmp_path, Pipeline([("f", FunctionTransformer(print))]), about)
    with pytest.raises(CheckpointError, match="types that no head has"):
        load_head(tmp_path)
    (tmp_path / "head.skops").write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match="damaged head"):
        load_head(tmp_path)
    (tmp_path / "head.json").unlink()
    with pytest.raises(CheckpointError, match=r"head\.json is missing"):
        load_head(tmp_path)
