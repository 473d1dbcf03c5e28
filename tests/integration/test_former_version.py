"""What version 0.1.0 wrote still loads, goes on and gives the same numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import hnet_dna
from hnet_dna.config.settings import resolve

Cli = Callable[..., Result]
FORMER = Path(__file__).parent.parent / "fixtures" / "v0.1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(FORMER / "run", tmp_path / "run")
    shutil.copy(FORMER / "genome.fa", tmp_path / "genome.fa")
    return tmp_path / "run"


def test_a_model_gives_the_same_vectors_and_bits(run: Path) -> None:
    model = hnet_dna.load_model(run)
    table = hnet_dna.read_table(FORMER / "vectors.parquet")
    assert table.metadata["model_digest"] == model.digest()
    rows = [line.split(",") for line in (FORMER / "labels.csv").read_text().splitlines()[1:]]
    vectors = hnet_dna.embed(model, [row[1] for row in rows])
    assert table.id == [row[0] for row in rows]
    np.testing.assert_allclose(vectors, table.vector, atol=1e-5)
    results = json.loads((run / "results.json").read_text())
    comparison = hnet_dna.evaluate(run.parent / "genome.fa", model)
    assert comparison.trained_on == 0
    assert comparison.whole.bits_per_base["model"] == pytest.approx(results["bits_per_base"]["model"], abs=1e-6)


def test_a_run_goes_on(run: Path) -> None:
    hnet_dna.resume(run, steps=6, genome=run.parent / "genome.fa")
    record = json.loads((run / "run.json").read_text())
    assert record["budget"]["steps"] == 6
    assert [resumption["step"] for resumption in record["resumptions"]] == [4]
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 6


def test_settings_resolve_to_the_same_run(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    settings = resolve(config=run / "settings.toml")
    assert {**settings.model.to_dict(), **record["model"]} == settings.model.to_dict()
    former = {name: settings.recipe.to_dict()[name] for name in record["recipe"]}
    assert json.loads(json.dumps(former)) == record["recipe"]


def test_a_head_predicts(run: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(FORMER / "head", tmp_path / "head")
    result = cli("predict", FORMER / "labels.csv", "--head", tmp_path / "head", "--model", run)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("id\tpredicted")
    assert len(lines) == 25


def test_a_table_is_probed(cli: Cli, tmp_path: Path) -> None:
    arguments = ("probe", FORMER / "labels.csv", "--embeddings", FORMER / "vectors.parquet", "--head", "ridge")
    result = cli(*arguments, "--folds", 2, "--out", tmp_path / "p")
    assert result.exit_code == 0, result.output
