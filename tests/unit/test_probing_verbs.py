"""embed, embed_to_table, probe and predict as a notebook calls them: with the field's own types, and without a word."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

import hnet_dna
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import Progress

RECORDS = {"a": random_dna(80), "b": random_dna(50, 1).lower(), "c": random_dna(33, 2)}


@pytest.fixture(autouse=True)
def _brief_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture
def folder(model: HNetLM, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def from_biopython(records: dict[str, str], folder: Path) -> Any:
    seq, record = pytest.importorskip("Bio.Seq"), pytest.importorskip("Bio.SeqRecord")
    return [record.SeqRecord(seq.Seq(text), id=name) for name, text in records.items()]


def from_pyfaidx(records: dict[str, str], folder: Path) -> Any:
    return pytest.importorskip("pyfaidx").Fasta(str(write_fasta(folder / "records.fa", records)))


def from_genome(records: dict[str, str], folder: Path) -> Any:
    return hnet_dna.open_genome(records)


def from_mapping(records: dict[str, str], folder: Path) -> Any:
    return dict(records)


SOURCES = [from_biopython, from_pyfaidx, from_genome, from_mapping]


@pytest.mark.parametrize("source", SOURCES)
def test_embed_takes_what_holds_sequences(
    source: Callable[[dict[str, str], Path], Any], model: HNetLM, tmp_path: Path
) -> None:
    expected = hnet_dna.embed(model, list(RECORDS.values()))
    np.testing.assert_array_equal(hnet_dna.embed(model, source(RECORDS, tmp_path)), expected)
    with pytest.raises(SequenceError, match="n has no A, C, G or T"):
        hnet_dna.embed(model, source(RECORDS | {"n": "NNN"}, tmp_path))


@pytest.mark.parametrize("source", [from_biopython, from_pyfaidx])
def test_single_records_are_not_lists_of_letters(
    source: Callable[[dict[str, str], Path], Any], model: HNetLM, tmp_path: Path
) -> None:
    records = list(source(RECORDS, tmp_path))
    single = [records[0], records[0][:10], getattr(records[0], "seq", records[0])]
    for sequence in [*single, "ACGT", b"ACGT", hnet_dna.as_codes("ACGT")]:
        with pytest.raises(TypeError, match=r"write \[sequence\]"):
            hnet_dna.embed(model, sequence)
        assert hnet_dna.embed(model, [sequence]).shape == (1, hnet_dna.embed(model, ["A"]).shape[1])


def test_embed_takes_what_load_model_takes(model: HNetLM, folder: Path) -> None:
    texts = np.array(list(RECORDS.values()))
    expected = hnet_dna.embed(model, texts)
    np.testing.assert_allclose(hnet_dna.embed(folder, texts), expected, atol=1e-6)
    np.testing.assert_allclose(hnet_dna.embed(str(folder), texts), expected, atol=1e-6)
    assert hnet_dna.embed(model, []).shape == (0, expected.shape[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "chunk:9"}, "`level` 'chunk:9': this model has"),
        (
            {"pooling": "sum"},
            "`pooling`: expected mean, max, last, boundary, bins:NUMBER or several joined by \\+, got 'sum'",
        ),
        ({"strand": "*"}, r"`strand`: expected \+, - or both, got '\*'"),
    ],
)
def test_errors_name_parameters(settings: dict[str, str], message: str, model: HNetLM) -> None:
    with pytest.raises(UsageError, match=message):
        hnet_dna.embed(model, ["ACGT"], **settings)


@pytest.mark.parametrize("source", SOURCES)
def test_tables_of_sequences_in_memory(
    source: Callable[[dict[str, str], Path], Any],
    folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    reports: list[Progress] = []
    out = tmp_path / "v.parquet"
    sequences = source(RECORDS | {"n": "NNN"}, tmp_path)
    table = hnet_dna.embed_to_table(sequences, out, model=folder, on_progress=reports.append)
    assert (table.rows, table.left_out, table.repeated, table.path) == (3, ("n",), (), out)
    assert [report.done for report in reports] == [0, 4, 4]
    assert reports[-1].finished
    frame = hnet_dna.read_table(out).to_pandas()
    assert list(frame.columns) == ["id", "chrom", "start", "end", "strand", "vector"]
    assert frame["chrom"].tolist() == ["a", "b", "c"]
    assert frame["end"].tolist() == [80, 50, 33]
    np.testing.assert_allclose(np.stack(frame["vector"].tolist()), hnet_dna.embed(folder, RECORDS), atol=1e-5)
    assert capfd.readouterr().out == ""


def test_tables_of_regions_of_a_genome_in_memory(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.bed").write_text("a\t10\t60\tx\t0\t-\n")
    out = tmp_path / "v.parquet"
    for genome in (RECORDS, hnet_dna.open_genome(RECORDS), from_pyfaidx(RECORDS, tmp_path)):
        hnet_dna.embed_to_table(genome, out, model=folder, regions=tmp_path / "r.bed", strand="-")
        np.testing.assert_allclose(
            hnet_dna.read_table(out).vector, hnet_dna.embed(folder, [RECORDS["a"][10:60]], strand="+"), atol=1e-5
        )


def test_tables_by_a_model_in_memory(model: HNetLM, tmp_path: Path) -> None:
    hnet_dna.embed_to_table(RECORDS, tmp_path / "v.parquet", model=model)
    assert hnet_dna.read_table(tmp_path / "v.parquet").metadata["model"] is None
    with pytest.raises(UsageError, match="`sequence` names a column"):
        hnet_dna.embed_to_table(RECORDS, tmp_path / "w.parquet", model=model, sequence="seq")


def labelled(place: Path) -> Path:
    dice = np.random.default_rng(0)
    shares = {"at": [0.4, 0.1, 0.1, 0.4], "gc": [0.1, 0.4, 0.4, 0.1]}
    rows = [
        f"{''.join(dice.choice(list('ACGT'), p=p, size=60))},{name}" for name, p in shares.items() for _ in range(9)
    ]
    place.write_text("\n".join(["sequence,label", *rows]) + "\n")
    return place


def test_probe_and_predict(
    model: HNetLM, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    reports: list[Progress] = []
    labels = labelled(tmp_path / "l.csv")
    result = hnet_dna.probe(labels, tmp_path / "p", model=folder, folds=2, on_progress=reports.append)
    assert list(dict.fromkeys(report.what for report in reports)) == [
        "embedding", "embedding by an untrained model", "fitting heads",
    ]  # fmt: skip
    assert all(report.done == report.total for report in reports if report.finished and report.unit)
    assert (result.task, result.head, result.folds.count, len(result.labels.ids)) == (
        "classification",
        "logistic",
        2,
        18,
    )
    frame = result.to_pandas()
    assert list(frame.columns) == ["features", "metric", "value", "low", "high"]
    assert frame["features"].unique().tolist()[:2] == ["majority class", "model"]
    mcc = frame[(frame.features == "model") & (frame.metric == "MCC")].value.item()
    assert mcc == result.results[1].metrics["MCC"].value > 0.5
    predicted = result.predictions_to_pandas()
    lines = (tmp_path / "p" / "predictions.tsv").read_text().splitlines()
    assert ["\t".join(map(str, row)) for row in predicted.itertuples(index=False)] == lines[1:]

    new = {"x": "AT" * 30, "n": "NN", "y": "GC" * 30}
    for sequences in (new, from_biopython(new, tmp_path), from_pyfaidx(new, tmp_path)):
        table = hnet_dna.predict(sequences, tmp_path / "p").to_pandas()
        assert list(table.columns) == ["id", "predicted", "p_at", "p_gc"]
        assert table["id"].tolist() == ["x", "y"]
        assert table["predicted"].tolist() == ["at", "gc"]
    assert capfd.readouterr().out == ""

    held = hnet_dna.probe(labels, tmp_path / "q", model=model, folds=2, head="ridge")
    assert held.about.model is None
    with pytest.raises(UsageError, match="a model that was in memory; give it as `model`"):
        hnet_dna.predict(new, tmp_path / "q")
    assert [row.id for row in hnet_dna.predict(new, tmp_path / "q", model=model)] == ["x", "y"]
    other = lively_model(small_config(), 5).float()
    with pytest.raises(UsageError, match="the model given is not the model that the head in"):
        hnet_dna.predict(new, tmp_path / "q", model=other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "x"}, "`task` x: expected classification or regression"),
        ({"folds": 1}, "`folds`: expected 2 or more, got 1"),
        ({"genome": "yeast"}, "`genome` belongs to `embeddings`"),
        ({"embeddings": "v.parquet", "model": "m"}, "`model` and `embeddings` exclude each other"),
        ({"head": "tree"}, "`head` 'tree' does not exist"),
        ({"label": "colour"}, "no column 'colour'"),
    ],
)
def test_probe_refuses_settings(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        hnet_dna.probe(labelled(tmp_path / "l.csv"), tmp_path / "p", **settings)
    assert not (tmp_path / "p").exists()


def test_predictions_come_as_they_are_asked_for(model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    hnet_dna.probe(labelled(tmp_path / "l.csv"), tmp_path / "p", model=model, folds=2, head="ridge")
    given: list[str] = []

    def endless() -> Any:
        while True:
            given.append("ACGTTGCA")
            yield given[-1]

    predictions = iter(hnet_dna.predict(endless(), tmp_path / "p", model=model))
    assert [next(predictions).id, next(predictions).id] == ["0", "1"]
    assert len(given) == 3  # some are read together, but few at first


def test_examples_of_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order, since predict takes the head that probe makes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    for module in (
        "embedding.embedder",
        "embedding.write",
        "embedding.transformer",
        "probing.run",
        "probing.prediction",
    ):
        tried = doctest.testmod(import_module(f"hnet_dna.{module}"))
        assert tried.attempted > 1, module
        assert not tried.failed, module
