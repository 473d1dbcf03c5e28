"""Benchmark suites in the layouts that are published."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import lively_model, small_config, write_fasta
from typer.testing import Result

import hnet_dna
from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.genome.open import open_genome
from hnet_dna.probing.features import gc_content
from hnet_dna.probing.suites import LAYOUTS, read_suite

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def write_suite(folder: Path, layout: str) -> None:
    """A dataset of AT-rich against GC-rich sequences in one of the layouts, with intervals on a reference."""
    random = np.random.default_rng(0)
    folder.mkdir()
    reference = ""
    for part, count in (("train", 40), ("test", 20)):
        rows = []
        for index in range(count):
            share = [0.45, 0.05, 0.05, 0.45] if index % 2 else [0.05, 0.45, 0.45, 0.05]
            rows.append(("".join(random.choice(list("ACGT"), p=share, size=50)), index % 2))
        if layout == "gue":
            (folder / f"{part}.csv").write_text("sequence,label\n" + "".join(f"{s},{y}\n" for s, y in rows))
        elif layout == "nt":
            (folder / f"{part}.fna").write_text("".join(f">{part}{i}|{y}\n{s}\n" for i, (s, y) in enumerate(rows)))
        else:
            (folder / part).mkdir()
            for label in (0, 1):
                lines = ["id,region,start,end,strand"]
                for sequence, y in rows:
                    if y == label:
                        minus = len(lines) % 2 == 0
                        lines.append(
                            f"{len(lines)},chr1,{len(reference)},{len(reference) + 50},{'-' if minus else '+'}"
                        )
                        reference += sequence.translate(COMPLEMENT)[::-1] if minus else sequence
                (folder / part / f"class{label}.csv").write_text("\n".join(lines) + "\n")
    if reference:
        write_fasta(folder.parent / "reference.fa", {"chr1": reference})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_benchmark_layouts(tmp_path: Path, layout: str) -> None:
    write_suite(tmp_path / "set1", layout)
    reference = open_genome(tmp_path / "reference.fa") if layout == "genomic-benchmarks" else None
    (dataset,) = read_suite(tmp_path, layout, reference)
    assert dataset.name == "set1"
    assert (len(dataset.train[0]), len(dataset.test[0])) == (40, 20)
    pairs = list(zip(*dataset.train, strict=True))
    rich = {label: gc_content([c for c, y in pairs if y == label]).mean() for label in set(dataset.train[1])}
    assert min(rich.values()) < 0.2
    assert max(rich.values()) > 0.8


def test_suites_are_read_as_all_tables(tmp_path: Path) -> None:
    write_suite(tmp_path / "set1", "gue")
    test = tmp_path / "set1" / "test.csv"
    text = test.read_text()
    for line, message in {
        "ACGT,1.0": "labels 1 and 1.0 are one number|labels 0 and",
        "ACGT,": "line 22: the label is missing",
        "ACGT,1,1": "line 22: expected 2 columns, got 3",
        'ACGT,"1': "line 22: a double quote is opened and never closed",
        "ACJT,1": "line 22: 'J' is not a nucleotide letter",
    }.items():
        test.write_text(text + line + "\n")
        with pytest.raises(SequenceError, match=message):
            list(read_suite(tmp_path, "gue"))
    write_suite(tmp_path / "set2", "genomic-benchmarks")
    reference = open_genome(tmp_path / "reference.fa")
    intervals = tmp_path / "set2" / "test" / "class1.csv"
    text = intervals.read_text()
    for line, message in {
        "x,chr9,1,5,+": r"class1\.csv: line 12: reference.fa has no contig chr9",
        "x,chr1,1,5,plus": r"line 12: expected \+, - or \. as strand",
        "x,chr1,9,5,+": "line 12: expected region, start and end",
    }.items():
        intervals.write_text(text + line + "\n")
        with pytest.raises(SequenceError, match=message):
            list(read_suite(tmp_path / "set2", "genomic-benchmarks", reference))


def test_layouts_that_are_not(tmp_path: Path) -> None:
    with pytest.raises(HNetError, match="holds no dataset"):
        list(read_suite(tmp_path, "gue"))
    with pytest.raises(HNetError, match="`layout` 'gui' does not exist"):
        list(read_suite(tmp_path, "gui"))
    write_suite(tmp_path / "set1", "genomic-benchmarks")
    with pytest.raises(HNetError, match="intervals need the reference genome"):
        list(read_suite(tmp_path, "genomic-benchmarks"))


def test_a_collection_is_run_on_its_own_parts_and_only_once(
    tmp_path: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    suite = tmp_path / "suite"
    (suite / "prom").mkdir(parents=True)
    write_suite(suite / "prom" / "set1", "gue")
    place = suite / "prom" / "set1"
    train, test = place / "train.csv", place / "test.csv"
    copied = train.read_text().splitlines()[1:5]
    test.write_text(test.read_text() + "".join(f"{line.lower()}\n" for line in copied))
    (place / "dev.csv.gz").write_bytes(gzip.compress(train.read_bytes()))
    command = ("benchmark", suite, "--layout", "gue", "--model", tmp_path / "model", "--head", "ridge")
    for name, options, rows, copies in (("a", (), 40, 4), ("b", ("--remove-copies", "--most", 30), 30, 3)):
        result = cli(*command, "--out", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        lines = [line.split("\t") for line in (tmp_path / name / "table.tsv").read_text().splitlines()]
        by_features = {line[1]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
        assert {"model, ridge", "untrained model, ridge", "GC content", "convolutional network"} <= by_features.keys()
        row = by_features["GC content"]
        assert (row["dataset"], row["test"], row["MCC"][:5]) == ("prom/set1", "24", "1.000")
        if name == "a":
            assert (row["train"], row["valid"], row["copies"]) == ("40", "40", "4")
        else:
            assert (int(row["train"]) < rows, row["valid"]) == (True, "36"), copies
    assert "prom/set1: " in result.stdout
    monkeypatch.setattr("hnet_dna.finetuning.benchmark._judge", None)  # nothing is left to be done
    settings: dict[str, Any] = {"layout": "gue", "model": tmp_path / "model"}
    again = hnet_dna.benchmark(suite, tmp_path / "a", heads=["ridge"], **settings)
    assert again.to_pandas().dataset.unique().tolist() == ["prom/set1"]
    with pytest.raises(UsageError, match="has results of other settings"):
        hnet_dna.benchmark(suite, tmp_path / "a", heads=["svm"], **settings)
