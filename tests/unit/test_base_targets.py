"""What is known of each base: read in windows, learned, and predicted again as BED and bigWig."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config
from typer.testing import Result as CliResult

import hnet_dna
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.open import open_genome
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.base_targets import read_base_targets
from hnet_dna.probing.fitting import Goal
from hnet_dna.probing.folds import TRAIN, VALID
from hnet_dna.probing.inputs import Letters, backwards
from hnet_dna.probing.network import Network, Shape
from hnet_dna.probing.sequence_head import OnInputs
from hnet_dna.sequence.codes import from_text
from hnet_dna.tracks.values import Values

Cli = Callable[..., CliResult]
WORDS = {"a": "GATTACAGA", "b": "CCTGAGGTC"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A genome with two words in many places, a BED of these, and a bigWig with their values."""
    folder = tmp_path_factory.mktemp("planted")
    text, regions = "", []
    for index in range(120):
        text += random_dna(9 + index % 5, index)
        name = "ab"[index % 2]
        regions.append(f"c\t{len(text)}\t{len(text) + 9}\t{name}\n")
        text += WORDS[name]
    text = text[:30] + "NN" + text[32:]
    (folder / "g.fa").write_text(f">c\n{text}\n")
    (folder / "words.bed").write_text("".join(regions))
    values = np.full(len(text), 2.0, dtype=np.float32)
    for line in regions:
        start, end = map(int, line.split("\t")[1:3])
        values[start:end] = 5.0
    values[40:45] = np.nan
    with Values() as track:
        track.add("c", 0, values)
        track.write_bigwig(folder / "words.bw")
    return folder


def test_windows_hold_what_is_known_of_their_bases(planted: Path) -> None:
    genome = open_genome(planted / "g.fa")
    found = read_base_targets(planted / "words.bed", genome, window=64)
    assert (found.task, found.names) == ("multilabel", ("a", "b"))
    assert set(found.part.tolist()) == {TRAIN, VALID, 0}
    expected = np.zeros((genome["c"].length, 2), dtype=np.float32)
    for line in (planted / "words.bed").read_text().splitlines():
        _, start, end, name = line.split("\t")
        expected[int(start) : int(end), "ab".index(name)] = 1.0
    expected[30:32] = np.nan
    for window, target, codes in zip(found.windows, found.target, found.sequences, strict=True):
        np.testing.assert_array_equal(target[: len(codes)], expected[window.start : window.end])
        assert np.isnan(target[len(codes) :]).all()
    values = read_base_targets(planted / "words.bw", genome, window=64)
    first = values.target[0, :, 0]
    assert values.task == "regression"
    assert np.flatnonzero(np.isnan(first)).tolist() == [30, 31, 40, 41, 42, 43, 44]
    assert set(first[~np.isnan(first)].tolist()) == {2.0, 5.0}
    rows, labels, folds = found.judged(0)
    assert set(rows.tolist()) == set(found.rows(0).tolist())
    place = labels.ids[0].split(":")[1]
    assert labels.target[0].tolist() == expected[int(place)].tolist()
    assert len(np.unique(folds.group)) == len(rows)
    (planted / "far.bed").write_text("c\t0\t9\n")
    with pytest.raises(SequenceError, match="no held-out bases lie in inside"):
        read_base_targets(planted / "far.bed", genome, window=64)


def test_bases_keep_their_places_when_rows_are_turned_or_padded() -> None:
    """What a network says of a base of the reverse complement stands at that base; padding changes nothing."""
    torch.manual_seed(0)
    network = Network(Shape("conv", 4, 2, per_base=True)).eval()
    codes = [from_text(random_dna(length, length)) for length in (30, 17)]
    inputs = OnInputs(network, Letters(codes))
    rows = np.arange(2)
    with torch.no_grad():
        turned = inputs.logits(rows, turned=True)
        own = network(Letters(codes).batch(rows, turned=True), torch.tensor([30, 17]))
        short = network(Letters(codes[1:]).batch(np.array([0])), torch.tensor([17]))
        together = inputs.logits(rows, turned=False)
    torch.testing.assert_close(turned[0], own[0].flip(0))
    torch.testing.assert_close(turned[1, :17], own[1, :17].flip(0))
    torch.testing.assert_close(together[1, :17], short[0])
    torch.testing.assert_close(turned, backwards(own, torch.tensor([30, 17])))


def test_bases_of_which_nothing_is_known_have_no_loss() -> None:
    target = np.array([[[1.0, 0.0], [np.nan, np.nan]]], dtype=np.float32)
    goal = Goal.of("multilabel", target, ("a", "b"))
    logits = torch.tensor([[[0.0, 2.0], [9.0, 9.0]]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[0, :1], torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(goal.loss(logits, goal.encode(target)), expected)
    numbers = np.array([[[3.0], [5.0], [np.nan]]], dtype=np.float32)
    goal = Goal.of("regression", numbers)
    assert (goal.centre, goal.spread) == (4.0, 1.0)
    loss = goal.loss(torch.tensor([[[-1.0], [2.0], [7.0]]]), goal.encode(numbers))
    assert float(loss) == pytest.approx(0.5)


def test_a_model_learns_bases_and_predicts_them(
    planted: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 60)
    model: HNetLM = lively_model(small_config()).float()
    settings: dict[str, Any] = {
        "genome": planted / "g.fa", "model": model, "window": 64, "split": "0.2", "epochs": 12, "patience": 12,
        "batch": 4, "learning_rate": 1e-2, "level": "encoder+letters", "aligned": True, "last": 1,
    }  # fmt: skip
    result = hnet_dna.finetune(planted / "words.bed", tmp_path / "tuned", **settings)
    names = ["majority class", "fine-tuned", "fine-tuned from random weights", "convolutional network"]
    assert [row.name for row in result.results] == names
    assert result.results[0].metrics["AUROC"].value == 0.5
    assert result.results[1].metrics["AUROC"].value > 0.9
    assert len(result.conclusions) == 2
    assert list(result.predictions_to_pandas().columns) == ["id", "fold", "label", "predicted"]
    assert list(hnet_dna.segment({"c": "ACGTTGCAAGGC"}, hnet_dna.load_model(tmp_path / "tuned")))

    new = random_dna(90, 1) + WORDS["a"] + random_dna(40, 2) + "N" * 70 + WORDS["b"] + random_dna(10, 3)
    (found,) = hnet_dna.predict_bases({"new": new}, tmp_path / "tuned")
    assert found.values.shape == (len(new), 2)
    assert np.isnan(found.values).any(axis=1).tolist() == [letter == "N" for letter in new]
    middles = {(name, (start + end) // 2) for start, end, name, _ in found.regions()}
    assert any(name == "a" and 90 <= middle < 99 for name, middle in middles)
    assert any(name == "b" and 209 <= middle < 218 for name, middle in middles)
    (tmp_path / "new.fa").write_text(f">new\n{new}\n")
    told = cli("predict", tmp_path / "new.fa", "--head", tmp_path / "tuned", "--bigwig", tmp_path / "p.bw")
    assert told.exit_code == 0, told.output
    start, end, name, score = found.regions()[0]
    assert told.stdout.splitlines()[0] == f"new\t{start}\t{end}\t{name}\t{round(1000 * score)}\t."
    import pyBigWig

    for column, label in enumerate("ab"):
        held = pyBigWig.open(str(tmp_path / f"p.{label}.bw")).values("new", 0, len(new), numpy=True)
        np.testing.assert_allclose(held, found.values[:, column], rtol=1e-6)
    with pytest.raises(UsageError, match="says something of each base; `predict_bases` applies it"):
        hnet_dna.predict({"new": new}, tmp_path / "tuned")

    result = hnet_dna.finetune(planted / "words.bw", tmp_path / "values", **settings | {"compare": False})
    assert [row.name for row in result.results] == ["mean", "fine-tuned"]
    assert result.results[1].metrics["Spearman"].value > 0.5
    (found,) = hnet_dna.predict_bases({"new": new}, tmp_path / "values")
    assert found.values.shape == (len(new), 1)
    refused: list[tuple[Any, str]] = [
        (("predict", tmp_path / "new.fa", "--head", tmp_path / "values"), "--bigwig writes them"),
        (("finetune", planted / "words.bed", "--out", tmp_path / "q"), "needs the --genome that it lies on"),
        (
            ("finetune", planted / "words.bed", "--genome", planted / "g.fa", "--label", "x", "--out", tmp_path / "q"),
            "--label belongs to a table of sequences",
        ),
    ]
    for command, message in refused:
        assert message in one_line_error(cli(*command)), message
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="finetune runs in one process"):
        hnet_dna.finetune(planted / "words.bed", tmp_path / "q", **settings)
