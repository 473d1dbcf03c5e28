"""Heads over vectors in their order: results that do not depend on padding, strands, files or interruptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import labels_of, lively_model, one_line_error, random_dna, small_config
from sklearn.metrics import roc_auc_score
from typer.testing import Result as CliResult

import hnet_dna
from hnet_dna.embedding.levels import LevelReader
from hnet_dna.errors import CheckpointError, SequenceError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.contenders import OnSequences
from hnet_dna.probing.cross_validation import conclusions, cross_validate
from hnet_dna.probing.fitting import Goal, Schedule, Training
from hnet_dna.probing.folds import make_folds
from hnet_dna.probing.head_file import IN_ORDER, About, load_head, save_head
from hnet_dna.probing.inputs import FrozenVectors, Letters, read_bases, turn
from hnet_dna.probing.network import Network, Shape
from hnet_dna.probing.sequence_head import OnInputs, SequenceHead, fit_sequence_head
from hnet_dna.sequence.codes import from_text, reverse_complement

Cli = Callable[..., CliResult]
QUICK = Schedule(epochs=6, patience=6, batch=8, rate=1e-2)
MIXED = [random_dna(40, 0), random_dna(17, 1) + "NNN" + random_dna(9, 2), random_dna(5, 3)]


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


def test_bins_are_means_over_the_bases_of_equal_parts(model: HNetLM) -> None:
    """Against the vectors at each base, where lengths are not divisible, N is between, and chunks cross the edges."""
    for level in ("decoder", "chunk", "chunk:1", "letters+chunk"):
        reader = LevelReader(model, level)
        for text in MIXED:
            codes = from_text(text)
            with torch.no_grad():
                bases = reader.over_bases([codes])[0].numpy()
            each = np.repeat(bases, 3, axis=0)  # thirds of bases, so that three bins have whole numbers of them
            known = np.repeat([letter != "N" for letter in text], 3)
            parts = [each[s][known[s]] for s in (slice(i * len(text), (i + 1) * len(text)) for i in range(3))]
            expected = np.stack([part.mean(axis=0) if len(part) else np.zeros(each.shape[1]) for part in parts])
            bins = hnet_dna.embed(model, [text], level=level, pooling="bins:3", strand="+")[0]
            if "+" in level:
                expected = np.concatenate([expected[:, :4].ravel(), expected[:, 4:].ravel()])
            np.testing.assert_allclose(bins, expected.ravel(), atol=1e-5)


def test_bins_of_both_strands_and_of_streams(model: HNetLM, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MIXED[0]
    forward, reverse = (hnet_dna.embed(model, [text], pooling="bins:4", strand=s)[0].reshape(4, -1) for s in "+-")
    both = hnet_dna.embed(model, [text], pooling="mean+bins:4")[0]
    np.testing.assert_allclose(both[len(both) // 5 :], ((forward + reverse[::-1]) / 2).ravel(), atol=1e-6)
    monkeypatch.setattr("hnet_dna.inference.stream.PIECE", 7)
    np.testing.assert_allclose(hnet_dna.embed(model, [text], pooling="mean+bins:4")[0], both, atol=1e-5)


def test_vectors_at_bases_do_not_depend_on_the_batch_and_turn_with_the_strand(model: HNetLM) -> None:
    reader = LevelReader(model, "encoder+chunk+letters")
    codes = [from_text(text) for text in MIXED]
    with torch.no_grad():
        together = read_bases(reader, codes, "both")
        for row, own in enumerate(codes):
            alone = read_bases(reader, [own], "both")[0]
            torch.testing.assert_close(together[row, : len(own)], alone, atol=1e-5, rtol=1e-4)
            assert not together[row, len(own) :].any()
        turned = turn(together, torch.tensor([len(own) for own in codes]))
        expected = read_bases(reader, [reverse_complement(own) for own in codes], "both")
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["conv", "attention"])
@pytest.mark.parametrize("positions", [0, 20])
def test_padding_changes_nothing(kind: str, positions: int) -> None:
    torch.manual_seed(0)
    network = Network(Shape(kind, 40, 3, positions)).eval()
    network.scale_to(torch.randn(40), torch.rand(40))
    x = torch.randn(3, 20, 40)
    lengths = torch.tensor([20, 20, 20] if positions else [20, 13, 1])
    expected = torch.cat([network(x[[row], : lengths[row]], lengths[[row]]) for row in range(3)])
    torch.testing.assert_close(network(x, lengths), expected, atol=1e-5, rtol=1e-4)


def planted(count: int, length: int = 24) -> tuple[list[str], list[str]]:
    """Sequences whose class is the order of two words: the same composition, and nearly the same k-mers."""
    random = np.random.default_rng(0)
    rows, labels = [], []
    for index in range(count):
        left, right = ("GATTACA", "CCTGAGG") if index % 2 else ("CCTGAGG", "GATTACA")
        rest = "".join(random.choice(list("ACGT"), size=length - 14))
        rows.append(rest[:3] + left + rest[3:6] + right + rest[6:])
        labels.append("ab"[index % 2])
    return rows, labels


@pytest.mark.parametrize("kind", ["conv", "attention"])
def test_heads_see_the_order_and_survive_their_files(kind: str, model: HNetLM, tmp_path: Path) -> None:
    rows, target = planted(60)
    codes = [from_text(text) for text in rows]
    inputs = FrozenVectors(model, "encoder+letters", "+", codes)
    train, valid, test = np.split(np.arange(60), [36, 46])
    head, chosen = fit_sequence_head(
        kind, inputs, Goal.of("classification", np.array(target)), np.array(target), train, valid, 0, QUICK, networks=2
    )
    assert chosen["positions"] == 24
    scores = head.scores(inputs, test)
    each = [SequenceHead((network,), head.goal).scores(inputs, test) for network in head.networks]
    np.testing.assert_allclose(scores, (each[0] + each[1]) / 2)
    assert (each[0] != each[1]).any()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0)
    assert head.goal.predicted(scores).tolist() == [target[row] for row in test]
    about = About("classification", kind, "run", "digest", "encoder+letters", IN_ORDER, "+")
    save_head(tmp_path, head, about)
    loaded, description = load_head(tmp_path)
    assert description == about
    assert isinstance(loaded, SequenceHead)
    np.testing.assert_array_equal(loaded.scores(inputs, test), scores)
    with pytest.raises(SequenceError, match="aligned sequences of 24 bases, and one has 23"):
        head.scores(Letters([codes[0][:23]]))
    (tmp_path / "head.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="damaged head"):
        load_head(tmp_path)


def test_regression_and_both_strands() -> None:
    """A number that depends on a word on either strand; a symmetric network says the same of both strands."""
    random = np.random.default_rng(0)
    codes, target = [], []
    for index in range(80):
        rest = "".join(random.choice(list("ACGT"), size=20 + index % 5))
        word = "GATTACA" * (index % 2)
        own = from_text(rest[:9] + word + rest[9:])
        codes.append(reverse_complement(own) if index % 4 > 1 else own)
        target.append(100.0 + 7.0 * (index % 2))
    inputs, rows = Letters(codes), np.arange(80)
    schedule = Schedule(epochs=16, patience=16, batch=8, rate=1e-2)
    head, chosen = fit_sequence_head(
        "conv", inputs, Goal.of("regression", np.array(target[:64])), np.array(target), rows[:64], rows[:0], 0, schedule
    )
    assert (chosen["symmetric"], chosen["inner_folds"]) == (True, 0)
    scores = head.scores(inputs, rows[64:])[:, 0]
    assert np.corrcoef(scores, target[64:])[0, 1] > 0.6
    assert abs(scores.mean() - 103.5) < 2
    turned = head.scores(Letters([reverse_complement(own) for own in codes]), rows[64:])[:, 0]
    np.testing.assert_allclose(turned, scores, rtol=1e-5)


def test_a_training_that_is_interrupted_ends_the_same() -> None:
    rows, target = planted(40)
    inputs = Letters([from_text(text) for text in rows])
    goal = Goal.of("classification", np.array(target))

    def training() -> Training:
        torch.manual_seed(3)
        network = Network(Shape("conv", 4, 2))
        return Training(
            OnInputs(network, inputs), goal, np.array(target), np.arange(30), np.arange(30, 40), QUICK, seed=5
        )

    whole, first, second = training(), training(), training()
    whole.run()
    first.run(2)
    second.load_state_dict(first.state_dict())
    second.run()
    assert (second.epoch, second.best) == (whole.epoch, whole.best)
    for name, value in whole.weights.items():
        torch.testing.assert_close(second.weights[name], value, rtol=0, atol=0)


def test_conclusions_compare_on_the_same_rows() -> None:
    rows, target = planted(48)
    codes = [from_text(text) for text in rows]
    labels = labels_of(target, rows)
    folds = make_folds(labels, "classification", 2, 0)
    good = OnSequences("model", Letters(codes), "conv", QUICK)
    poor = OnSequences("untrained model", Letters([own[:3] for own in codes]), "conv", Schedule(epochs=1))
    results, _ = cross_validate([good, poor], labels, folds, "classification", 0)
    (said,) = conclusions(results, labels, folds, "classification")
    assert said.startswith("Pretraining helped: MCC 1.000 against ")
    same = [results[0], results[1], replace(results[1], name="untrained model")]
    (said,) = conclusions(same, labels, folds, "classification")
    assert said == "Pretraining made no clear difference: MCC 1.000 against 1.000 (untrained model), difference " + (
        "+0.000 [+0.000, +0.000]"
    )


def test_given_splits(cli: Cli, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column, a second file and `dev` as validation part give the same rows to judge; copies are told."""
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)
    model.save_pretrained(tmp_path / "model")
    rows, target = planted(40)
    rows[38] = rows[0].lower()
    lines = [f"{text},{label}" for text, label in zip(rows, target, strict=True)]
    parts = ["train"] * 24 + ["dev"] * 6 + ["test"] * 10
    one, two, held = tmp_path / "one.csv", tmp_path / "two.csv", tmp_path / "held.csv"
    one.write_text("seq,label,split\n" + "".join(f"{x},{part}\n" for x, part in zip(lines, parts, strict=True)))
    two.write_text("seq,label\n" + "".join(f"{x}\n" for x in lines[:30]))
    held.write_text("seq,label\n" + "".join(f"{x}\n" for x in lines[30:]))
    kind = ["--head", "ridge", "--level", "letters", "--pool", "bins:24", "--strand", "+"]
    options = ("--model", tmp_path / "model", *kind)
    by_column = cli("probe", one, "--out", tmp_path / "p1", *options)
    assert by_column.exit_code == 0, by_column.output
    assert "40 rows; split as given (24 train, 6 valid, 10 test); 1 test row with a sequence that is trained on" in (
        by_column.stderr
    )
    by_file = cli("probe", two, "--test", held, "--out", tmp_path / "p2", *options)
    assert by_file.exit_code == 0, by_file.output
    assert "split as given (30 train, 10 test)" in by_file.stderr
    tables = [(tmp_path / name / "predictions.tsv").read_text().splitlines()[1:] for name in ("p1", "p2")]
    assert [line.split("\t")[0] for line in tables[0]] == [str(row) for row in range(30, 40)]
    assert [line.split("\t")[:3] for line in tables[0]] == [line.split("\t")[:3] for line in tables[1]]
    report = json.loads((tmp_path / "p1" / "report.json").read_text())
    assert [row["features"] for row in report["results"]][:2] == ["majority class", "model"]
    assert report["results"][1]["metrics"]["MCC"]["value"] == 1.0

    refused: list[tuple[Any, str]] = [
        (("probe", one, "--test", held), "give --test, or a column of parts"),
        (("probe", two, "--split", "fold"), "no column 'fold'"),
        (("probe", two, "--split", "x.bed"), "--split by a BED needs --embeddings"),
    ]
    for command, message in refused:
        assert message in one_line_error(cli(*command, "--out", tmp_path / "q", *options)), message
    one.write_text("seq,label,split\nACGT,a,train\nACGA,b,train\n")
    assert "the split has no test row" in one_line_error(cli("probe", one, "--out", tmp_path / "q", *options))
    one.write_text("seq,label,split\nACGT,a,train\nACGA,b,held\n")
    assert "line 3: expected train, valid or test as part, got 'held'" in one_line_error(
        cli("probe", one, "--out", tmp_path / "q", *options)
    )


def test_splits_by_place(cli: Cli, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    text = "".join(random_dna(20, i).replace(*("CA" if i % 2 else "AC")) for i in range(20))
    regions = "".join(f"c\t{20 * i}\t{20 * i + 20}\tr{i}\n" for i in range(20))
    (tmp_path / "r.bed").write_text(regions)
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"r{i},{'xy'[i % 2]}\n" for i in range(20)))
    (tmp_path / "split.bed").write_text("c\t0\t200\ttrain\nc\t205\t380\ttest\n")
    hnet_dna.embed_to_table({"c": text}, tmp_path / "v.parquet", model=model, regions=tmp_path / "r.bed")
    result = hnet_dna.probe(
        tmp_path / "l.csv",
        tmp_path / "p",
        embeddings=tmp_path / "v.parquet",
        split=tmp_path / "split.bed",
        head="ridge",
    )
    assert result.predictions_to_pandas()["id"].tolist() == [f"r{i}" for i in range(10, 19)]
    assert len(result.labels.ids) == 19


def test_sequence_heads_from_the_command_line(
    cli: Cli, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 30)
    model.save_pretrained(tmp_path / "model")
    rows, target = planted(48)
    table = tmp_path / "l.csv"
    table.write_text("seq,label\n" + "".join(f"{x},{y}\n" for x, y in zip(rows, target, strict=True)))
    result = cli("probe", table, "--model", tmp_path / "model", "--head", "conv", "--folds", 2, "--out", tmp_path / "p")
    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "p" / "head.json").read_text())
    assert (about["level"], about["pooling"]) == ("encoder+decoder+letters", "in order")
    predicted = cli("predict", table, "--head", tmp_path / "p")
    assert predicted.stdout.startswith("id\tpredicted\tp_a\tp_b\n")
    said = [line.split("\t")[1] for line in predicted.stdout.splitlines()[1:]]
    assert np.mean([one == other for one, other in zip(said, target, strict=True)]) > 0.8
    with pytest.raises(UsageError, match="`head` conv reads all vectors; leave out `pooling`"):
        hnet_dna.probe(table, tmp_path / "q", head="conv", pooling="mean")


def test_several_labels_per_row(cli: Cli, model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two words, each with a label of its own: named in one cell, or in columns of 0 and 1; the same result."""
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 60)
    words = ("GATTACAGA", "CCTGAGGTC")
    cells, columns = [], []
    for index in range(64):
        has = (index % 2, index // 2 % 2)
        rest = random_dna(8, index)
        text = (
            rest + "".join(w if own else random_dna(9, 100 + index) for w, own in zip(words, has, strict=True)) + "AC"
        )
        cells.append(f"{text},{';'.join(name for name, own in zip('ba', has, strict=True) if own)}")
        columns.append(f"{text},{has[0]},{has[1]}")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text("seq,label\n" + "\n".join(cells) + "\n")
    two.write_text("seq,b,a\n" + "\n".join(columns) + "\n")
    settings: dict[str, Any] = {"model": model, "task": "multilabel", "folds": 2, "level": "encoder+letters"}
    result = hnet_dna.probe(one, tmp_path / "p1", **settings)
    assert (result.head, result.labels.names) == ("conv", ("a", "b"))
    again = hnet_dna.probe(two, tmp_path / "p2", label="b,a", **settings)
    for row, other in zip(result.results, again.results, strict=True):
        assert row.metrics == other.metrics
    by_name = {row.name: row for row in result.results}
    assert {"k-mers, linear", "k-mers, boosting", "convolutional network"} <= set(by_name)
    own = by_name["model"]
    scores = own.scores
    assert scores is not None
    truth = result.labels.target
    expected = np.mean([roc_auc_score(truth[:, place], scores[:, place]) for place in range(2)])
    assert own.metrics["AUROC"].value == pytest.approx(expected)
    assert expected > 0.8
    said = hnet_dna.predict(one, tmp_path / "p1", model=model).to_pandas()
    assert set(said["predicted"]) <= {"", "a", "b", "a;b"}
    assert np.mean(said["predicted"].to_numpy() == np.array(result.labels.text(truth))) > 0.7
    assert list(said.columns) == ["id", "predicted", "p_a", "p_b"]
    assert set(result.predictions_to_pandas()["label"]) == {"", "a", "b", "a;b"}

    two.write_text("seq,b,a\nACGT,2,0\n")
    model.save_pretrained(tmp_path / "model")
    options = ("--model", tmp_path / "model", "--task", "multilabel", "--out", tmp_path / "q")
    assert "line 2: expected 0 or 1 in column b, got '2'" in one_line_error(
        cli("probe", two, "--label", "a,b", *options)
    )
    assert "several labels per row take conv or attention" in one_line_error(
        cli("probe", one, "--head", "logistic", *options)
    )
    one.write_text("seq,label\n" + "\n".join(f"{random_dna(20, i)},{'a' * (i < 1)}" for i in range(9)) + "\n")
    assert "1 of 9 rows have the label a" in one_line_error(cli("probe", one, *options))
