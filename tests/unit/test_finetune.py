"""Fine-tuning: what is trained, what is kept, and that a run that was stopped ends as one that was not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config
from typer.testing import Result as CliResult

import hnet_dna
from hnet_dna.errors import UsageError
from hnet_dna.finetuning.tuned import Tuned, Which, depths
from hnet_dna.model.lm import HNetLM
from hnet_dna.probing.network import Network, Shape
from hnet_dna.progress import Progress
from hnet_dna.sequence.codes import from_text

Cli = Callable[..., CliResult]


def tiny() -> HNetLM:
    attention = {"num_heads": [3, 5], "rotary_emb_dim": [4, 0], "window_size": [9, 5]}
    layout, widths = ["m1T1", ["T1m1"], "m1"], [24, 40]
    return lively_model(
        small_config(arch_layout=layout, d_model=widths, d_intermediate=[32, 32], attn_cfg=attention)
    ).float()


def prepared(model: HNetLM, **which: Any) -> Tuned:
    sequences = [from_text(random_dna(20, i)) for i in range(4)]
    return Tuned(model, Network(Shape("conv", 104, 2)), "encoder+decoder+letters", "both", sequences, Which(**which))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sequences whose class is a word, on either strand; some rows are longer, one has N."""
    rows = []
    for index in range(40):
        rest = random_dna(16 + index % 3, index)
        rows.append(f"{rest[:7]}{'GATTACAGA' if index % 2 else 'CCTGAGGTC'}{rest[7:]},{'ab'[index % 2]}")
    rows[5] = rows[5].replace(rows[5][:1], "N", 1)
    path = tmp_path / "l.csv"
    path.write_text("sequence,label\n" + "\n".join(rows) + "\n")
    return path


def test_rates_fall_with_the_distance_from_the_head() -> None:
    model = tiny()
    depth, layers = depths(model)
    assert layers == 5
    expected = {
        "embeddings.weight": 0,
        "backbone.encoder.layers.0.norm1.weight": 1,
        "backbone.encoder.layers.1.norm1.weight": 2,
        "backbone.encoder.rmsnorm.weight": 2,
        "backbone.routing_module.q_proj_layer.weight": 2,
        "backbone.residual_proj.weight": 2,
        "backbone.main_network.main_network.layers.0.norm1.weight": 3,
        "backbone.main_network.main_network.rmsnorm.weight": 4,
        "backbone.main_network.pad_dimension": 4,
        "backbone.decoder.layers.0.norm1.weight": 5,
        "backbone.decoder.rmsnorm.weight": 5,
    }
    assert {name: depth[name] for name in expected} == expected
    groups = prepared(model, layer_decay=0.5, rate=1.0).groups()
    assert [group.get("factor") for group in groups] == [0.5**5, 0.5**4, 0.5**3, 0.25, 0.5, 1.0, None]
    assert sum(len(group["params"]) for group in groups[:-1]) == len(list(model.parameters()))


def test_only_what_is_wanted_is_trained() -> None:
    model = tiny()
    tuned = prepared(model, last=1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(name.startswith("backbone.decoder.") for name in trained)
    tuned.logits(np.arange(4), turned=True).sum().backward()  # type: ignore[no-untyped-call]
    assert all((p.grad is not None) == p.requires_grad for n, p in model.named_parameters() if ".decoder." in n)


def test_low_rank_changes_are_merged_into_an_ordinary_model() -> None:
    model, plain = tiny(), tiny()
    names = set(plain.state_dict())
    tuned = prepared(model, lora=2)
    rows = np.arange(4)
    with torch.no_grad():
        before = tuned.vectors(rows)
        torch.testing.assert_close(before, prepared(plain).vectors(rows))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(".parametrizations.weight.0." in name for name in trained)
    with torch.no_grad():
        for group in tuned.groups():
            for parameter in group["params"]:
                parameter.add_(0.05 * torch.randn_like(parameter))
        changed = tuned.vectors(rows)
        tuned.merge()
        torch.testing.assert_close(tuned.vectors(rows), changed, atol=1e-5, rtol=1e-4)
    assert (changed - before).abs().max() > 1e-2
    assert set(model.state_dict()) == names


def test_a_tuned_model_is_an_ordinary_one_and_a_stopped_run_ends_the_same(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    model = tiny()
    digest = model.digest()
    settings: dict[str, Any] = {
        "model": model, "folds": 2, "epochs": 3, "batch": 4, "learning_rate": 1e-2, "compare": False, "aligned": False,
    }  # fmt: skip
    result = hnet_dna.finetune(table, tmp_path / "whole", **settings)
    assert model.digest() == digest
    assert [row.name for row in result.results] == ["majority class", "fine-tuned"]
    assert result.results[1].metrics["AUROC"].value > 0.8

    tuned = hnet_dna.load_model(tmp_path / "whole")
    assert tuned.digest() == result.about.model_digest != digest
    assert list(hnet_dna.segment({"c": "ACGTTGCAAGGC"}, tuned))
    assert hnet_dna.embed(tuned, ["ACGT"]).shape == hnet_dna.embed(model, ["ACGT"]).shape
    report = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert report["boundaries"]["bases_per_chunk_before"] >= 1.0
    said = hnet_dna.predict(table, tmp_path / "whole").to_pandas()
    assert np.mean(said["predicted"].to_numpy() == result.labels.target) > 0.8
    assert np.allclose(said["p_a"] + said["p_b"], 1.0, atol=1e-5)

    class StopError(Exception):
        pass

    seen = 0

    def stop(progress: Progress) -> None:
        nonlocal seen
        if progress.what == "fine-tuning" and progress.done > 50:  # in the middle of an epoch
            raise StopError

    with pytest.raises(StopError):
        hnet_dna.finetune(table, tmp_path / "parted", **settings, on_progress=stop)
    assert not (tmp_path / "parted").exists()
    with pytest.raises(UsageError, match="was stopped; go on with it by `resume`"):
        hnet_dna.finetune(table, tmp_path / "parted", **settings)
    with pytest.raises(UsageError, match="was begun with other folds"):
        hnet_dna.finetune(table, tmp_path / "parted", **settings | {"folds": 3}, resume=True)
    hnet_dna.finetune(table, tmp_path / "parted", **settings, resume=True)
    assert not (tmp_path / "parted.unfinished").exists()
    assert hnet_dna.load_model(tmp_path / "parted").digest() == tuned.digest()
    for name in ("predictions.tsv", "head.safetensors"):
        assert (tmp_path / "parted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_finetune_from_the_command_line(cli: Cli, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hnet_dna.probing.metrics._RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)
    tiny().save_pretrained(tmp_path / "model")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:31]) + "\n")
    held = tmp_path / "held.csv"
    held.write_text("\n".join([lines[0], *lines[31:]]) + "\n")
    command = ("finetune", table, "--model", tmp_path / "model", "--test", held, "--epochs", 1, "--lora", 2)
    result = cli(*command, "--out", tmp_path / "t")
    assert result.exit_code == 0, result.output
    for words in ("fine-tuned from random weights", "convolutional network", "hnet-dna predict NEW.fa --head"):
        assert words in result.output
    assert len((tmp_path / "t" / "predictions.tsv").read_text().splitlines()) == 11
    assert cli("predict", held, "--head", tmp_path / "t").exit_code == 0
    for option, value, message in (
        ("--head", "mlp", "--head 'mlp': expected conv or attention"),
        ("--lr", "0", "--lr: expected above 0, got 0"),
        ("--layer-decay", "2", "--layer-decay: expected above 0 and up to 1, got 2"),
        ("--level", "inner", "--level 'inner': this model has encoder, decoder, chunk, letters"),
        ("--task", "ranking", "--task ranking: expected classification, multilabel or regression"),
    ):
        assert message in one_line_error(cli(*command, "--out", tmp_path / "u", option, value))
    assert not (tmp_path / "u").exists()
    assert "there is no" in one_line_error(cli(*command, "--out", tmp_path / "u", "--resume"))
    assert not (tmp_path / "u.unfinished").exists()
