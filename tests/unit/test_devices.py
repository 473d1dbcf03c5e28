"""Where models run, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

import hnet_dna
from hnet_dna.embedding.models import open_model
from hnet_dna.errors import UsageError
from hnet_dna.inference.load import untrained
from hnet_dna.inference.one_base import OneBase
from hnet_dna.model.lm import HNetLM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    lively_model(small_config(), 1).float().save_pretrained(folder)
    return folder


def bits(model: HNetLM, text: str) -> Any:
    return np.concatenate([scores.log2p for scores in hnet_dna.score({"c": text}, model)])


def test_bfloat16_is_near_and_weights_stay(folder: Path) -> None:
    text = random_dna(3000)
    exact, rounded = hnet_dna.load_model(folder), hnet_dna.load_model(folder, precision="bf16")
    difference = bits(rounded, text) - bits(exact, text)
    assert 0 < np.abs(difference).mean() < 0.15
    assert abs(difference.mean()) < 0.05
    assert rounded.digest() == exact.digest()
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.float32}
    # What decides, and what comes out, is float32; the fast path of single bases knows no other products.
    with torch.inference_mode():
        out = rounded(torch.randint(0, 4, (1, 50)))
    assert {out.logits.dtype, out.stages[0].boundary_prob.dtype} == {torch.float32}
    assert OneBase(exact).serves
    assert not OneBase(rounded).serves
    vectors = [hnet_dna.embed(model, [text[:500]]) for model in (exact, rounded)]
    assert 0 < np.abs(vectors[0] - vectors[1]).max() < 0.5


def test_a_model_in_memory_stays_as_it_is_unless_told(folder: Path) -> None:
    model = hnet_dna.load_model(folder, precision="bf16")
    assert hnet_dna.load_model(model).bf16_products
    assert untrained(model.config, model).bf16_products
    assert not hnet_dna.load_model(model, device="cpu", precision="auto").bf16_products
    away = HNetLM(small_config()).to("meta")
    assert hnet_dna.load_model(away).lm_head.weight.is_meta
    # One that was loaded is found again by its name, one that was made is not.
    assert open_model(model)[1] == str(folder.resolve())
    assert open_model(away)[1] is None


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu", "mps", ""])
def test_devices_that_are_not_there(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    wanted = "PyTorch finds no GPU" if device.startswith("cuda") else "expected cpu, cuda"
    with pytest.raises(UsageError, match=wanted):
        hnet_dna.load_model(folder, device=device)
    with pytest.raises(UsageError, match="Known: auto, fp32, bf16"):
        hnet_dna.load_model(folder, precision="fp8")  # type: ignore[arg-type]


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        found |= commands(command, (*path, name)) if hasattr(command, "commands") else {(*path, name): command}
    return found


def test_whatever_reads_a_model_takes_a_device(
    cli: Callable[..., Result], tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_a_model = set()
    for path, command in commands(typer.main.get_command(import_module("hnet_dna_cli.main").app)).items():
        options = {option for parameter in command.params for option in parameter.opts}
        if "--model" in options and path != ("hub",):  # which only names it
            run_a_model.add(path)
            assert "--device" in options, path
            # What is trained in a precision of its own has no other.
            assert ("--precision" in options) == (path not in {("finetune",), ("benchmark", "suite")}), path
    assert len(run_a_model) == 13
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    fasta, bed = write_fasta(tmp_path / "s.fa", {"c": random_dna(300)}), tmp_path / "s.bed"
    refused = cli("segment", fasta, "--model", folder, "--device", "cuda", "--out", bed)
    assert refused.exit_code == 2
    assert "--device cuda: PyTorch finds no GPU" in one_line_error(refused)
    assert not bed.exists()
    result = cli("segment", fasta, "--model", folder, "--device", "cpu", "--precision", "bf16", "--out", bed)
    assert result.exit_code == 0, result.output
    assert bed.read_text().splitlines()[0].startswith("c\t0\t")
