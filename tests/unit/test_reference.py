"""Files of the reference implementation, written and read back, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import REFERENCE_SHAPE, lively_model, one_line_error, small_config
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import Result

from hnet_dna import HNetLM
from hnet_dna.config.settings import resolve
from hnet_dna.errors import CheckpointError, ConfigError
from hnet_dna.pretrained.reference import read_config, to_reference

Cli = Callable[..., Result]
GOLDEN = Path(__file__).parent.parent / "golden"
FIELDS = {"arch_layout", "d_model", "d_intermediate", "vocab_size", "ssm_cfg", "attn_cfg", "tie_embeddings"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder that the reference can represent."""
    lively_model(small_config(**REFERENCE_SHAPE)).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["one_stage", "two_stage"])
def test_golden_model_comes_back_bit_for_bit(cli: Cli, tmp_path: Path, name: str) -> None:
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {k.removeprefix("weight."): file.get_tensor(k) for k in file.keys() if k.startswith("weight.")}  # noqa: SIM118
        ids = file.get_tensor("input_ids")[None]
    model = HNetLM.from_reference(config, weights)
    model.save_pretrained(tmp_path / "model")
    out, again = tmp_path / "reference", tmp_path / "again"
    exported = cli("export", tmp_path / "model", "--out", out, "--pt")
    assert exported.exit_code == 0, exported.output
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors", "model.pt"}
    assert json.loads((out / "config.json").read_text()) == config  # the reference refuses surplus fields
    written = load_file(out / "model.safetensors")
    plain = torch.load(out / "model.pt", weights_only=True)  # this test's own file
    assert set(written) == set(plain) == set(weights)
    for tensor in weights:
        assert torch.equal(written[tensor], weights[tensor]), tensor
        assert torch.equal(plain[tensor], weights[tensor]), tensor
    imported = cli("import", out / "config.json", out / "model.safetensors", "--out", again)
    assert imported.exit_code == 0, imported.output
    loaded = HNetLM.from_pretrained(again)
    assert loaded.config == model.config
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_tied_embeddings_are_written_under_both_names(tmp_path: Path) -> None:
    model = HNetLM(small_config(**REFERENCE_SHAPE, tie_embeddings=True))
    model.save_reference(tmp_path / "r")
    weights = load_file(tmp_path / "r/model.safetensors")
    assert torch.equal(weights["lm_head.weight"], weights["embeddings.weight"])
    again = HNetLM.from_reference(tmp_path / "r/config.json", tmp_path / "r/model.safetensors", "dna")
    assert again.config == model.config
    assert again.digest() == model.digest()


def test_config_has_the_reference_s_fields_alone() -> None:
    config = to_reference(small_config(**REFERENCE_SHAPE))
    assert set(config) == FIELDS
    assert config["ssm_cfg"] == {"chunk_size": 16, "d_conv": 4, "d_state": 8, "expand": 2}
    assert set(config["attn_cfg"]) == {"num_heads", "rotary_emb_dim", "window_size"}
    of_stages = small_config(**{**REFERENCE_SHAPE, "ssm_cfg": {"d_state": [8, 8, 16]}})
    assert to_reference(of_stages)["ssm_cfg"]["d_state"] == [8, 8, 16]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ssm_cfg": {"head_dim": 32}}, "head_dim is 32 and not 64: .* --set model.ssm_cfg.head_dim=64 can"),
        ({"ssm_cfg": {"head_dim": [64, 64, 32]}}, "head_dim is 64/64/32"),
        ({"d_model": [48, 64, 64], "ssm_cfg": {"expand": 4}}, "d_model\\[0\\] is 48: .* divisible by 32"),
        ({"chunk_cfg": {"routing": "linear"}}, "routing is linear and not cosine: .*chunk_cfg.routing=cosine can"),
        ({"chunk_cfg": {"routing": ["cosine", "fixed", "cosine"]}}, "routing is cosine/fixed/cosine"),
        ({"chunk_cfg": {"stride": 5}}, "stride is 5"),
        ({"chunk_cfg": {"max_chunk": 64}}, "max_chunk is 64"),
        ({"chunk_cfg": {"smoothing": False}}, "smoothing is False .*chunk_cfg.smoothing=true can"),
        ({"chunk_cfg": {"straight_through": False}}, "straight_through is False"),
    ],
)
def test_what_the_reference_cannot_represent(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = HNetLM(small_config(**{**REFERENCE_SHAPE, **changes}))
    with pytest.raises(ConfigError, match=message):
        model.save_reference(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_refusal_advises_can_be_exported() -> None:
    with pytest.raises(ConfigError) as refusal:
        to_reference(resolve("tiny").model)
    advised = re.findall(r"--set (\S+)", str(refusal.value))
    assert advised == ["model.ssm_cfg.head_dim=64", "model.attn_cfg.rotary_period=0"]
    assert to_reference(resolve("tiny", settings=advised).model)["d_model"] == [64, 128]


def test_refusal_reaches_the_command_line(cli: Cli, tmp_path: Path) -> None:
    HNetLM(small_config()).save_pretrained(tmp_path / "model")
    result = cli("export", tmp_path / "model", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "head_dim is 8" in one_line_error(result)
    assert not (tmp_path / "out").exists()


def test_filled_folder_and_unknown_format(cli: Cli, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    for result in (cli("export", model, "--out", out), cli("import", "c.json", "w.safetensors", "--out", out)):
        assert result.exit_code == 2
        assert "exists already" in one_line_error(result)
    assert [path.name for path in out.iterdir()] == ["precious"]
    unknown = cli("export", model, "--out", tmp_path / "o", "--format", "onnx")
    assert unknown.exit_code == 2
    assert "expected reference" in one_line_error(unknown)
    (tmp_path / "empty").mkdir()
    assert cli("export", model, "--out", tmp_path / "empty").exit_code == 0


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_pickles_are_refused_unread(cli: Cli, tmp_path: Path, model: Path, suffix: str) -> None:
    assert cli("export", model, "--out", tmp_path / "r", "--pt").exit_code == 0
    pickle = tmp_path / f"model{suffix}"
    (tmp_path / "r/model.pt").rename(pickle)
    result = cli("import", tmp_path / "r/config.json", pickle, "--out", tmp_path / "out")
    assert result.exit_code == 1
    line = one_line_error(result)
    assert "Convert it once" in line
    assert not (tmp_path / "out").exists()
    (command,) = [part for part in line.split('"') if part.startswith("import torch")]
    with pytest.MonkeyPatch.context() as patch:  # the command in the message does what it says
        patch.chdir(tmp_path)
        exec(command, {})
    again = cli("import", tmp_path / "r/config.json", tmp_path / "model.safetensors", "--out", tmp_path / "out")
    assert again.exit_code == 0, again.output


def test_bad_files_are_told(cli: Cli, tmp_path: Path, model: Path) -> None:
    assert cli("export", model, "--out", tmp_path / "r").exit_code == 0
    config, weights, out = tmp_path / "r/config.json", tmp_path / "r/model.safetensors", tmp_path / "out"
    bad = tmp_path / "bad.json"
    cases = [
        ("[1]", weights, [], "bad.json: expected a JSON object"),
        ("no", weights, [], "bad.json is not JSON"),
        ('{"arch": 1, "arch_layout": ["m1"]}', weights, [], "bad.json: arch: unknown field"),
        ('{"arch_layout": ["m1"], "ssm_cfg": 3}', weights, [], "ssm_cfg: expected an object"),
        (None, tmp_path / "none.safetensors", [], "none.safetensors: no such file"),
        (None, config, [], "not a readable safetensors file"),
        (None, weights, ["--alphabet", "bytes"], "alphabet bytes has 256 ids"),
        (None, weights, ["--alphabet", "dma"], "Did you mean dna?"),
        (config.read_text().replace('"vocab_size": 5', '"vocab_size": 6'), weights, [], "r/model.safetensors: the wei"),
    ]
    for text, tensors, options, message in cases:
        bad.write_text(text or "")
        result = cli("import", bad if text else config, tensors, "--out", out, *options)
        assert result.exit_code == 1, message
        assert message in one_line_error(result)
        assert not out.exists()
    assert "none.json: cannot be read" in one_line_error(cli("import", tmp_path / "none.json", weights, "--out", out))


def test_alphabet_of_an_import() -> None:
    config = to_reference(small_config(**REFERENCE_SHAPE))
    assert read_config(config).alphabet is None
    assert read_config(config, "rna").alphabet == "rna"
    assert read_config({**config, "vocab_size": 256}).alphabet == "bytes"
    with pytest.raises(CheckpointError, match=r"w\.pt: no such file"):
        HNetLM.from_reference(config, Path("w.pt"))
