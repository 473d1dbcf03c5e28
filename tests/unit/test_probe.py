"""`probe` and `predict` as the command line runs them: on sequences, tables, regions and chunks."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result as CliResult

from hnet_dna.config.presets import preset
from hnet_dna.model.lm import HNetLM
from hnet_dna.tables import read_rows

COMPLEMENT = str.maketrans("ACGT", "TGCA")
Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def _brief_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def labelled(path: Path, count: int = 60) -> Path:
    random = np.random.default_rng(0)
    rows = ["name,seq,label"]
    for i in range(count):
        share = [0.4, 0.1, 0.1, 0.4] if i % 2 else [0.1, 0.4, 0.4, 0.1]
        rows.append(f"s{i},{''.join(random.choice(list('ACGT'), p=share, size=50))},{'at' if i % 2 else 'gc'}")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_probe_and_predict(cli: Cli, tmp_path: Path, model: Path) -> None:
    labels, out = labelled(tmp_path / "l.csv"), tmp_path / "probe"
    result = cli("probe", labels, "--model", model, "--out", out, "--folds", 3, "--plot")
    assert result.exit_code == 0, result.output
    assert "columns: labels from label, ids from name, sequences from seq\n" in result.stderr
    assert f"Next:  hnet-dna predict NEW.fa --head {out}" in result.stderr
    kinds = ("majority class", "GC content", "k-mers, linear", "k-mers, boosting", "one-hot", "convolutional network")
    for name in (*kinds, "untrained model", "The best row without the model"):
        assert name in result.stdout
    report = json.loads((out / "report.json").read_text())
    assert report["results"][1]["features"] == "model"
    assert report["results"][1]["metrics"]["AUROC"]["value"] > 0.9
    assert (out / "curves.png").stat().st_size > 1000
    lines = (out / "predictions.tsv").read_text().splitlines()
    assert lines[0] == "id\tfold\tlabel\tpredicted"
    assert len(lines) == 61
    fasta = write_fasta(tmp_path / "new.fa", {"x": "ATATTTAATATAAT" * 4, "y": "GCGGCGCCGCG" * 5, "n": "NNN"})
    predicted = cli("predict", fasta, "--head", out)
    assert predicted.exit_code == 0, predicted.output
    rows = [line.split("\t") for line in predicted.stdout.splitlines()]
    assert rows[0] == ["id", "predicted", "p_at", "p_gc"]
    assert [row[:2] for row in rows[1:]] == [["x", "at"], ["y", "gc"]]
    assert "1 sequence without any A, C, G or T left out" in predicted.stderr
    other = lively_model(small_config(), seed=1).float()
    other.save_pretrained(tmp_path / "other")
    refused = cli("predict", fasta, "--head", out, "--model", tmp_path / "other")
    assert refused.exit_code == 2
    assert "digests differ" in one_line_error(refused)


def test_probe_on_a_table(cli: Cli, tmp_path: Path, model: Path) -> None:
    labels, table = labelled(tmp_path / "l.csv"), tmp_path / "v.parquet"
    assert cli("embed", labels, "--model", model, "--out", table).exit_code == 0
    result = cli("probe", labels, "--embeddings", table, "--out", tmp_path / "p", "--folds", 3, "--head", "ridge")
    assert result.exit_code == 0, result.output
    assert "untrained model" in result.stdout
    digest = json.loads((tmp_path / "p" / "head.json").read_text())["model_digest"]
    assert digest == HNetLM.from_pretrained(model).digest()
    no_ids = tmp_path / "no_ids.csv"
    no_ids.write_text("".join(line.split(",", 1)[1] for line in labels.read_text().splitlines(keepends=True)))
    assert cli("embed", no_ids, "--model", model, "--out", tmp_path / "w.parquet").exit_code == 0
    no_ids.write_text("".join(no_ids.read_text().splitlines(keepends=True)[:-1]))
    shifted = cli("probe", no_ids, "--embeddings", tmp_path / "w.parquet", "--out", tmp_path / "q")
    assert "matched by their number, but the table has 60 rows and there are 59 labels" in one_line_error(shifted)
    labels.write_text(labels.read_text() + "s99,ACGT,at\n")
    missing = cli("probe", labels, "--embeddings", table, "--out", tmp_path / "q")
    assert missing.exit_code == 1
    assert "1 of 61 labelled ids have no vector: s99" in one_line_error(missing)
    assert not (tmp_path / "q").exists()


def test_labels_with_other_sequences_than_the_table(cli: Cli, tmp_path: Path, model: Path) -> None:
    """Ids that agree do not make it the same sequences: these are row numbers in both files."""
    labels, table = labelled(tmp_path / "l.csv"), tmp_path / "v.parquet"
    header, *rows = [line.partition(",")[2] for line in labels.read_text().splitlines()]
    labels.write_text("\n".join([header, *rows]) + "\n")
    assert cli("embed", labels, "--model", model, "--out", table).exit_code == 0
    turned = [f"{row.split(',')[0][::-1].translate(COMPLEMENT).lower()},{row.split(',')[1]}" for row in rows]
    for others, code in ((rows[::-1], 1), (turned, 0)):
        labels.write_text("\n".join([header, *others]) + "\n")
        (tmp_path / str(code)).mkdir()  # an empty folder may be filled
        command = [
            "probe",
            labels,
            "--embeddings",
            table,
            "--head",
            "ridge",
            "--folds",
            3,
            "--out",
            tmp_path / str(code),
        ]
        result = cli(*command)
        assert result.exit_code == code, result.output
        if code:
            assert "id 0 has another sequence than the one that its vector in the table" in one_line_error(result)


def embed_regions(cli: Cli, folder: Path, model: Path, parts: list[str], labels: list[str], *options: object) -> Path:
    """Write a genome of these parts (g.fa) and labels of them (l.csv), and embed each part as a region."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    fasta = write_fasta(folder / "g.fa", {"c": "".join(parts)})
    lines = [f"c\t{end - len(part)}\t{end}\tr{i}\n" for i, (part, end) in enumerate(zip(parts, ends, strict=True))]
    (folder / "r.bed").write_text("".join(lines))
    (folder / "l.csv").write_text("id,label\n" + "".join(f"r{i},{label}\n" for i, label in enumerate(labels)))
    made = cli("embed", fasta, "--regions", folder / "r.bed", "--model", model, "--out", folder / "v.parquet", *options)
    assert made.exit_code == 0, made.output
    return folder / "v.parquet"


def probe_regions(cli: Cli, folder: Path, *options: object) -> tuple[CliResult, dict[str, Any]]:
    """Probe what `embed_regions` made; return the results of the report by features too."""
    out = folder / "p"
    result = cli("probe", folder / "l.csv", "--embeddings", folder / "v.parquet", "--folds", 3, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return result, {row["features"]: row for row in json.loads((out / "report.json").read_text())["results"]}


def test_probe_of_regions_sees_their_sequences(cli: Cli, tmp_path: Path, model: Path) -> None:
    random = np.random.default_rng(0)
    parts = ["".join(random.choice(list("AT" if i % 2 else "GC"), size=40)) for i in range(30)]
    embed_regions(cli, tmp_path, model, parts, ["gc", "at"] * 15)
    result, report = probe_regions(cli, tmp_path, "--genome", tmp_path / "g.fa")
    assert report["GC content"]["metrics"]["MCC"]["value"] == 1.0
    assert {"k-mers, linear", "untrained model"} < set(report)
    assert "by similarity of sequences" in result.stderr
    shutil.rmtree(tmp_path / "p")
    without, report = probe_regions(cli, tmp_path)
    assert set(report) == {"majority class", "model"}
    assert "l.csv has no column of sequences; --genome reads those" in without.stderr


@pytest.mark.parametrize(
    "settings", [("encoder", "max", "+"), ("decoder", "last", "-"), ("chunk:1", "boundary", "both")]
)
def test_untrained_model_has_the_settings_of_the_table(cli: Cli, tmp_path: Path, settings: tuple[str, ...]) -> None:
    """A table made by that very untrained model gives the same row twice; the weights are not needed any more."""
    torch.manual_seed(0)
    HNetLM(small_config()).save_pretrained(tmp_path / "model")
    parts = [random_dna(30 + i % 7, i) for i in range(40)]
    labels = [str(label) for label in np.random.default_rng(0).integers(0, 2, size=40)]
    options = [word for pair in zip(("--level", "--pool", "--strand"), settings, strict=True) for word in pair]
    embed_regions(cli, tmp_path, tmp_path / "model", parts, labels, *options)
    (tmp_path / "model" / "model.safetensors").unlink()
    _, report = probe_regions(cli, tmp_path, "--genome", tmp_path / "g.fa", "--head", "ridge")
    assert 0.1 < report["model"]["metrics"]["AUROC"]["value"] < 0.9  # random labels, so no two kinds agree by chance
    assert report["untrained model"] == report["model"] | {"features": "untrained model"}


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (None, "no such model folder"),
        ({}, "config.json is missing"),
        ({"config.json": "no JSON"}, "model config is not JSON"),
        ({"config.json": small_config(d_model=[24, 24, 80])}, "its vectors have 80 numbers, those of the table 40"),
        ({"config.json": preset("tiny", "dna", 5)}, "--level 'chunk:1': this model has encoder, decoder, chunk"),
    ],
)
def test_missing_untrained_model_is_explained(
    cli: Cli, tmp_path: Path, model: Path, left: dict[str, Any] | None, reason: str
) -> None:
    embed_regions(cli, tmp_path, model, [random_dna(40, i) for i in range(30)], ["a", "b"] * 15, "--level", "chunk:1")
    shutil.rmtree(model)
    if left is not None:
        model.mkdir()
    for name, content in (left or {}).items():
        text = content if isinstance(content, str) else json.dumps(content.to_dict())
        (model / name).write_text(text)
    result, report = probe_regions(cli, tmp_path, "--genome", tmp_path / "g.fa", "--head", "ridge")
    (line,) = [line for line in result.stderr.splitlines() if "no baseline of an untrained model" in line]
    assert reason in line
    assert str(model) in line
    assert "k-mers, linear" in report
    assert "untrained model" not in report


def test_labels_by_id_need_one_row_each(cli: Cli, tmp_path: Path, model: Path) -> None:
    parts = [random_dna(40, i) for i in range(30)]
    table = embed_regions(cli, tmp_path, model, parts, ["a", "b"] * 15, "--per-chunk")
    refused = cli("probe", tmp_path / "l.csv", "--embeddings", table, "--out", tmp_path / "p")
    assert refused.exit_code == 2
    assert "labels by id need one with a row per sequence" in one_line_error(refused)
    (tmp_path / "r.bed").write_text("c\t0\t40\tr0\nc\t40\t80\tr0\n")
    command = ["embed", tmp_path / "g.fa", "--regions", tmp_path / "r.bed", "--model", model, "--out", table]
    assert cli(*command).exit_code == 0
    refused = cli("probe", tmp_path / "l.csv", "--embeddings", table, "--out", tmp_path / "p")
    assert "id r0 has several rows in the table" in one_line_error(refused)


def test_probe_of_chunks_by_bed(cli: Cli, tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {f"c{i}": random_dna(300, i) for i in range(6)})
    (tmp_path / "genes.bed").write_text("".join(f"c{i}\t50\t150\nc{i}\t100\t200\n" for i in range(6)))
    table = tmp_path / "chunks.parquet"
    assert cli("embed", fasta, "--model", model, "--out", table, "--per-chunk").exit_code == 0
    result = cli("probe", tmp_path / "genes.bed", "--embeddings", table, "--out", tmp_path / "p", "--folds", 3)
    assert result.exit_code == 0, result.output
    assert "by group (6 groups)" in result.stderr
    assert "no baselines on letters, and no untrained model: a BED labels rows by their place" in result.stderr
    assert "predict" not in result.stdout
    assert json.loads((tmp_path / "p" / "head.json").read_text())["pooling"] is None
    refused = cli("predict", fasta, "--head", tmp_path / "p")
    assert refused.exit_code == 2
    assert "takes vectors of single chunks" in one_line_error(refused)
    rows = [line.split("\t") for line in (tmp_path / "p" / "predictions.tsv").read_text().splitlines()[1:]]
    bed = cli("segment", fasta, "--model", model).stdout.splitlines()
    middles = [(int(s) + int(e)) // 2 for _, s, e, *_ in (line.split("\t") for line in bed)]
    assert [row[2] == "inside" for row in rows] == [50 <= middle < 200 for middle in middles]
    folds = {row[0].split(":")[0]: row[1] for row in rows}
    assert all(folds[row[0].split(":")[0]] == row[1] for row in rows)


def test_beds_of_labels_are_read_as_all_beds(cli: Cli, tmp_path: Path, model: Path) -> None:
    """The names and lengths of contigs are those of the genome, or those that the table was made with."""
    sizes = {"chr1": 300, "chr2": 200, "chr3": 250, "chrM": 100}
    records = {name: random_dna(size, size) for name, size in sizes.items()}
    fasta = write_fasta(tmp_path / "g.fa", records)
    more = write_fasta(tmp_path / "more.fa", records | {"chr4": "ACGT"})
    other = write_fasta(tmp_path / "other.fa", records | {"chr1": random_dna(301)})
    table = tmp_path / "chunks.parquet"
    assert cli("embed", fasta, "--model", model, "--out", table, "--per-chunk").exit_code == 0
    good = "".join(f"{name}\t20\t{size // 2}\n" for name, size in sizes.items())

    def probe(bed: str | Path, *options: object) -> CliResult:
        shutil.rmtree(tmp_path / "p", ignore_errors=True)
        options = ("--folds", 2, "--head", "ridge", "--out", tmp_path / "p", *options)
        return cli("probe", bed, "--embeddings", table, *options)

    forms = {
        "l.bed": good.encode(),
        "mark.bed": b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode(),
        "l.BED": good.encode(),
        "l.bed.gz": gzip.compress(good.encode()),
        "l.Bed.BGZ": gzip.compress(good.encode()),
    }
    labels_read = set()
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        result = probe(tmp_path / name)
        assert result.exit_code == 0, result.output
        labels_read.add((tmp_path / "p" / "predictions.tsv").read_text())
    reading, writing = os.pipe()
    os.write(writing, forms["l.bed.gz"])
    os.close(writing)
    assert probe(f"/dev/fd/{reading}").exit_code == 0
    os.close(reading)
    labels_read.add((tmp_path / "p" / "predictions.tsv").read_text())
    assert len(labels_read) == 1

    bed = tmp_path / "bad.bed"
    for line, message in {
        "MT\t0\t50\n": "line 5: the table has no contig MT. Its contigs: chr1, chr2, chr3, chrM",
        "chr4\t0\t4\n": "line 5: the table has no contig chr4.",
        "chr2\t9\t5\n": "line 5: expected 0 <= start <= end",
        "chr2\t0\t201\n": "line 5: chr2:1-201 ends past the contig (200 bases in the table)",
        "chr2\tx\t5\n": "line 5: start and end must be integers",
    }.items():
        bed.write_text(good + line)
        assert message in one_line_error(probe(bed))
    bed.write_text(good.replace("chrM", "MT"))
    assert "It is called chrM there: use that name" in one_line_error(probe(bed, "--genome", fasta))
    bed.write_text(good + "chr4\t0\t4\n")
    result = probe(bed, "--genome", more)
    assert result.exit_code == 0, result.output
    assert "bad.bed: the table has no row on chr4; the regions there label nothing" in result.stderr
    assert "chr1 has 301 bases in other.fa, and 300 in the genome" in one_line_error(probe(bed, "--genome", other))
    bed.write_text("chr1\t20\t150\nchr2\t0\t50\n")
    assert "bad.bed: no region on chr3, chrM; every row there is outside" in probe(bed).stderr
    bed.write_text("chr4\t0\t4\n")
    assert "none of its contigs (chr4) has a row in the table" in one_line_error(probe(bed, "--genome", more))


def test_tables_through_pipes_and_odd_ids(cli: Cli, tmp_path: Path, model: Path) -> None:
    """What predict writes is read back as what it was, also where an id has a quote or a blank in it."""
    labels, out = labelled(tmp_path / "l.csv", 20), tmp_path / "p"
    for source in ("-", "/dev/fd/"):
        shutil.rmtree(out, ignore_errors=True)
        reading, writing = os.pipe()
        os.write(writing, gzip.compress(labels.read_bytes()))
        os.close(writing)
        stdin = labels.read_bytes() if source == "-" else None
        name = source if source == "-" else f"{source}{reading}"
        result = cli("probe", name, "--model", model, "--out", out, "--folds", 2, "--head", "ridge", stdin=stdin)
        os.close(reading)
        assert result.exit_code == 0, result.output
        assert "classes: gc (10), at (10)" in result.stderr
    ids = ['"s0', "s 1", "s'2", "\u00e9", "5'"]
    text = "id\tsequence\n" + "".join(f"{name}\t{random_dna(30, i)}\n" for i, name in enumerate(ids))
    result = cli("predict", "-", "--head", out, "--out", tmp_path / "found.tsv", stdin=text.encode())
    assert result.exit_code == 0, result.output
    assert [cells[0] for _, cells in read_rows(tmp_path / "found.tsv")] == ids
    assert "longest that the head was trained on" not in result.stderr
    longer = f">a\n{random_dna(500)}\n>b\n{random_dna(30)}\n".encode()
    assert (
        "a has 500 bases, and the longest sequence that the head was trained on 50: of sequences more than 2 times"
        in cli("predict", "-", "--head", out, stdin=longer).stderr
    )
    for path in ("-", tmp_path / "t.tsv"):
        (tmp_path / "t.tsv").write_text(text + f'"s0\t{random_dna(9)}\n')
        vectors = tmp_path / "v.npy"
        result = cli("embed", path, "--model", model, "--out", vectors, stdin=(tmp_path / "t.tsv").read_bytes())
        assert result.exit_code == 0, result.output
        assert '1 id given more than once, by which no label can be matched: "s0' in result.stderr
        assert (tmp_path / "v.ids.txt").read_text().splitlines() == [*ids, '"s0']
    (tmp_path / "t.csv").write_text('id,sequence\na,ACGT\n"b\nc",ACGT\n')
    for command in (
        ["embed", tmp_path / "t.csv", "--model", model, "--out", tmp_path / "w.npy"],
        ["predict", tmp_path / "t.csv", "--head", out, "--out", tmp_path / "w.tsv"],
    ):
        assert r"line 3: the id 'b\nc' holds '\n'" in one_line_error(cli(*command))
    assert not list(tmp_path.glob("w.*"))
    fasta = b">s0\nACGTTGCA\n"
    assert cli("predict", "-", "--head", out, stdin=fasta).stdout.startswith("id\tpredicted\ns0\t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe", "L", "--model", "M", "--embeddings", "v.parquet", "--out", "o"], "exclude each other"),
        (["probe", "L", "--model", "M", "--genome", "yeast", "--out", "o"], "without them, LABELS has the sequences"),
        (["probe", "b.bed", "--out", "o"], "labels from a BED need --embeddings"),
        (["probe", "L", "--model", "M", "--out", "o", "--head", "forest"], "--head 'forest' does not exist"),
        (
            ["probe", "L", "--model", "M", "--out", "o", "--task", "x"],
            "expected classification, multilabel or regression",
        ),
        (
            ["probe", "L", "--model", "M", "--out", "o", "--task", "regression", "--head", "logistic"],
            "regression takes ridge",
        ),
        (
            ["probe", "L", "--model", "M", "--out", "o", "--folds", "40"],
            "has 30 rows, fewer than 40 folds; use --folds 30",
        ),
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, model: Path, arguments: list[str], message: str) -> None:
    places = {"L": str(labelled(tmp_path / "l.csv")), "M": str(model), "o": str(tmp_path / "o")}
    result = cli(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in one_line_error(result)
    assert not (tmp_path / "o").exists()


def test_few_groups_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    """With the built-in model; two of three contigs are left to train on, or one, and inner folds part no contig."""
    labels = tmp_path / "l.csv"
    rows = [f"{random_dna(40, i)},{'ab'[i % 2]},c{i // 4}" for i in range(12)]
    labels.write_text("seq,class,contig\n" + "\n".join(rows) + "\n")
    refused = cli("probe", labels, "--out", tmp_path / "p", "--head", "ridge", "--folds", 4)
    assert refused.exit_code == 2
    assert "column contig has 3 groups, fewer than 4 folds; use --folds 3" in one_line_error(refused)
    for folds, inner in ((3, [2, 2, 2]), (2, [0, 2])):
        out = tmp_path / f"p{folds}"
        result = cli("probe", labels, "--out", out, "--head", "ridge", "--folds", folds)
        assert result.exit_code == 0, result.output
        assert "model: five-genomes (built in" in result.stderr
        assert "groups from contig; ids are row numbers from 0" in result.stderr
        report = json.loads((out / "report.json").read_text())
        assert sorted(chosen["inner_folds"] for chosen in report["results"][1]["chosen"]) == inner
        assert report["chosen"]["inner_folds"] == 3
        note = (
            "too few rows or groups to choose the strength of the heads of 1 of 2 folds: the default, alpha = 1, stands"
        )
        assert (note in result.stderr) == (0 in inner)
    table = tmp_path / "v.parquet"
    assert cli("embed", labels, "--out", table).exit_code == 0
    result = cli("probe", labels, "--embeddings", table, "--out", tmp_path / "q", "--head", "ridge", "--folds", 3)
    assert "untrained model" in result.stdout, result.output
