"""Values that cannot be, in every field of model and recipe: a `ConfigError` that names the field, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from helpers import one_line_error, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import ModelConfig
from hnet_dna.config.settings import resolve
from hnet_dna.errors import ConfigError, HNetError, UsageError
from hnet_dna.pretrained.folder import read_config
from hnet_dna.pretrained.reference import read_config as read_reference_config
from hnet_dna.training import ranks
from hnet_dna.training.progress import Budget

NOTHING: list[Any] = [math.nan, math.inf, -math.inf, {}, {"x": 1}, [[[1]]], [{}], [None], [[]]]
NO_NUMBER = [*NOTHING, "a", "", "1", True, False, -(10**400), ["a"], [True], [math.nan], [[1.5, "a"], [2]]]
NO_COUNT = [*NO_NUMBER, 0.5, 1e300, -1e300, -7, 10**30, 10**400, [0.5], [-7]]
NO_TEXT = [*NOTHING, 1.5, True, [1.5], ["a", 1.5], [["a"]]]
NO_CHOICE = [*NO_TEXT, "", "x" * 5000, "none", ["none"], 0]
NO_FLAG = [*NO_NUMBER[:-2], 0, 1, "true", "false", [True]]
NO_FLAG = [value for value in NO_FLAG if not isinstance(value, bool)]

_NUMBERS = (
    "repeat_weight",
    "weight_decay",
    "checkpoint_every",
    "spike_bits",
    "learning_rate",
    "clip",
    "warmup",
    "decay",
)
_LISTS = ("lr_multipliers", "ratio_targets", "ratio_weights", "betas")
_COUNTS = ("window", "batch", "accumulate", "keep_checkpoints", "validate_every", "validate_bases")
BAD: dict[str, list[Any]] = {
    **{f"train.{name}": [*NO_NUMBER, -1, -0.001, [1.0], []] for name in _NUMBERS},
    **{f"train.{name}": [*NO_NUMBER, -1, [-0.5], [0.5, math.inf]] for name in _LISTS},
    **{f"train.{name}": [*NO_COUNT, [], [1]] for name in _COUNTS},
    **{f"train.{name}": NO_FLAG for name in ("compile", "recompute", "shard", "tensorboard")},
    **{f"train.{name}": NO_CHOICE for name in ("optimizer", "schedule", "precision", "on_trouble", "best_by")},
    "train.freeze": NO_CHOICE,
    **{f"train.{name}": [*NO_TEXT, 1, ["a"]] for name in ("split", "regions", "chunk_lengths")},
    "train.held_out": NO_TEXT,
    "train.seed": [*(value for value in NO_COUNT if value != 10**30), 2**63],
    "train.window_warmup": [
        *NO_COUNT, 1, [0.5, 128], [[0.5]], [[0.5, 128.5]], [[1.5, 128]], [[0, 128]], [[0.5, 0]], [[0.5, True]],
        [[0.5, 128], [0.5, 256]], [[0.5, 128], [0.2, 256]], [[math.nan, 128]], [[0.5, 128, 1]], [[[0.5], 128]],
    ],
    "model.arch_layout": [
        *NOTHING, "m1", 3, True, [], ["m1", "m1"], ["q1"], ["m"], ["m0"], [""], ["m99999"], ["m" + "9" * 5000],
        ["m1", ["m1", ["m1"]], "m1"], ["m1", "m1", "m1"],
    ],
    **{f"model.{name}": [*NO_COUNT, [], [16]] for name in ("d_model", "d_intermediate")},
    "model.vocab_size": [*NO_COUNT, [], 0],
    "model.kmer": [*NO_COUNT, [], 1, 9],
    "model.alphabet": [value for value in NO_CHOICE if value is not None],
    "model.ssm_cfg": ["a", 1, 0, True, False, [], "", math.nan, {"x": 1}],
    "model.ssm_cfg.chunk_size": [*NO_COUNT, 0, [], [1]],
    **{f"model.ssm_cfg.{name}": [*NO_COUNT, 0, [], [1, 2, 3]] for name in ("d_conv", "d_state", "expand", "head_dim")},
    "model.attn_cfg.num_heads": [*NO_COUNT, 0, [], [1, 2, 3], 7],
    "model.attn_cfg.rotary_emb_dim": [*NO_COUNT, [], 3, [2, 2, 2]],
    "model.attn_cfg.rotary_period": [*NO_COUNT, [], 1],
    "model.attn_cfg.window_size": [*NO_COUNT, [], -2],
    "model.chunk_cfg.routing": [*NO_CHOICE, []],
    "model.chunk_cfg.stride": [*NO_COUNT, [], 1, 0],
    "model.chunk_cfg.max_chunk": [*NO_COUNT, []],
    "model.chunk_cfg.smoothing": NO_FLAG,
    "model.chunk_cfg.straight_through": NO_FLAG,
    "model.tie_embeddings": NO_FLAG,
}  # fmt: skip
# What an alphabet decides in the end; and the reference has lists that are longer than there are stages.
MAY_BE_IN_A_MODEL = (
    "alphabet",
    "vocab_size",
    "ssm_cfg.d_conv",
    "ssm_cfg.d_state",
    "ssm_cfg.expand",
    "ssm_cfg.head_dim",
    "attn_cfg.num_heads",
    "attn_cfg.rotary_emb_dim",
)
MODEL: dict[str, Any] = {
    "arch_layout": ["m1T1", ["T1m1"], "m1"], "d_model": [16, 32], "d_intermediate": [16, 16],
    "ssm_cfg": {"head_dim": 8}, "attn_cfg": {"num_heads": [2, 4], "rotary_emb_dim": 4},
}  # fmt: skip


def with_value(path: str, value: Any) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(json.dumps({"model": MODEL, "train": {}}))
    *groups, field = path.split(".")
    table = tables
    for group in groups:
        table = table.setdefault(group, {})
    table[field] = value
    return tables


def test_all_fields_are_here() -> None:
    fields_of_model = set(ModelConfig.from_dict({**MODEL, "vocab_size": 5}).to_dict())
    assert {path.split(".")[1] for path in BAD if path.startswith("model")} >= fields_of_model
    assert {path.split(".")[1] for path in BAD if path.startswith("train")} == {f.name for f in fields(Recipe)}


@pytest.mark.parametrize("path", BAD)
def test_values_that_cannot_be(path: str, tmp_path: Path) -> None:
    """In a dict, in TOML, by --set and in the JSON of a model folder; None is not in TOML."""
    for value in BAD[path]:
        tables, name = with_value(path, value), path.split(".", 1)[1]
        messages = []
        if path.startswith("train"):
            with pytest.raises(ConfigError) as caught:
                Recipe.from_dict(tables["train"])
            messages.append(str(caught.value))
        else:
            # As in the folder of a model; Python's JSON has NaN and Infinity.
            (tmp_path / "config.json").write_text(written := json_of({"vocab_size": 5, **tables["model"]}))
            reads: tuple[Callable[[], object], ...] = (
                partial(read_config, tmp_path),
                partial(read_reference_config, written),
            )
            for read in reads:
                try:
                    read()
                except HNetError as error:
                    messages.append(str(error))
                else:
                    assert name in MAY_BE_IN_A_MODEL, value
        if None not in (value if isinstance(value, list) else [value]):
            with pytest.raises(HNetError) as caught_in_file:
                resolve_tables(tables, tmp_path)
            messages.append(str(caught_in_file.value))
            with pytest.raises(UsageError) as caught_in_setting:
                resolve(settings=[*settings_of(MODEL), f"{path}={toml_of(value)}"])
            assert path in str(caught_in_setting.value), value
            messages.append(str(caught_in_setting.value))
        for message in messages:
            assert name in message, value
            assert "\n" not in message
            assert len(message) < 1000


def resolve_tables(tables: dict[str, Any], folder: Path) -> None:
    (folder / "c.toml").write_text("\n".join(f"{name} = {toml_of(table)}" for name, table in tables.items()))
    resolve(config=folder / "c.toml")


def settings_of(model: dict[str, Any]) -> list[str]:
    return [f"model.{name}={toml_of(value)}" for name, value in model.items()]


def toml_of(value: Any) -> str:
    """Write a value in one line; integers of more digits than Python prints become a text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml_of(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    return tomli_w.dumps({"x": value})[4:].strip()


def json_of(value: Any) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"d_model": ' + "9" * 5000 + "}", "[1]", "3", "", '{"d_model": 1e400}', '{"d_model": NaN}'],
    ids=["deep", "digits", "list", "number", "empty", "1e400", "NaN"],
)
def test_json_that_is_no_configuration(text: str) -> None:
    with pytest.raises(ConfigError):
        ModelConfig.from_json(text)
    with pytest.raises(ConfigError):
        read_reference_config(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "1\nb = 2", "", "1e400", "2020-01-01", "0x", "'''"])
def test_settings_that_are_no_value(text: str) -> None:
    for path in ("train.batch", "train.learning_rate", "model.d_model", "train.window_warmup", "model.ssm_cfg.expand"):
        with pytest.raises(UsageError, match=path):
            resolve(settings=[f"{path}={text}"])


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    for text in (f"[train]\nbatch = {'9' * 5000}\n", f"[train]\nbatch = {'[' * 100_000}\n"):
        (tmp_path / "c.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"c\.toml"):
            resolve(config=tmp_path / "c.toml")


def test_what_was_taken_is_taken() -> None:
    recipe = Recipe.from_dict(
        {"clip": 2, "ratio_targets": 4, "held_out": ["chrI", 2], "window_warmup": [[0.1, 256]], "lr_multipliers": []}
    )
    assert (recipe.clip, recipe.ratio_targets, recipe.held_out) == (2.0, (4.0,), ("chrI", "2"))
    assert recipe.window_warmup == ((0.1, 256),)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    config = small_config()
    assert ModelConfig.from_json(json.dumps(config.to_dict())) == config
    assert ModelConfig.from_dict({**MODEL, "vocab_size": 5, "chunk_cfg": None}).routing == ("cosine", "cosine")


@pytest.mark.parametrize("limit", [math.nan, math.inf, -1.0])
def test_budgets_that_cannot_be(limit: float) -> None:
    with pytest.raises(UsageError, match="finite number"):
        Budget(seconds=limit)


GOOD_PLACE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *[({name: None}, f"but not {name}") for name in GOOD_PLACE],
        *[({name: "x"}, f"{name}: expected an integer") for name in GOOD_PLACE if name != "MASTER_ADDR"],
        ({name: None for name in GOOD_PLACE if name != "RANK"}, "has RANK=1 but not WORLD_SIZE, LOCAL_RANK, MASTER"),
        ({"RANK": "-1"}, "RANK: expected an integer from 0"),
        ({"RANK": "2"}, "RANK: expected less than WORLD_SIZE, 2, got 2"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: expected an integer from 1"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT: expected an integer from 0"),
        ({"RANK": ""}, "but not RANK"),
    ],
)
def test_half_of_torchrun(change: dict[str, str | None], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GOOD_PLACE, **change}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        ranks.place_of_process()


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD_PLACE.items():
        monkeypatch.setenv(name, value)
    assert ranks.place_of_process() == ranks.Place(1, 2, 1)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name)
    assert ranks.place_of_process() is None, "only an address, as sbatch scripts leave it, starts nothing"


def test_pretrain_on_one_line(cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"a": random_dna(500), "b": random_dna(80, 1)})
    start = ["pretrain", "--genome", genome]
    done = cli(*start, "--out", tmp_path / "none", "--minutes", 0)
    assert done.exit_code == 0, done.output
    for minutes in ("inf", "1e400"):
        assert "finite number" in one_line_error(cli(*start, "--out", tmp_path / "r", "--minutes", minutes))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    for more in ([], ["--resume"]):
        failed = cli(*start, "--out", tmp_path / "other", "--steps", 1, *more)
        assert failed.exit_code == 2
        assert "holds no run to go on with; choose another folder" in one_line_error(failed)
    record = json.loads((tmp_path / "none" / "run.json").read_text())
    for damage in ({"recipe": 3}, {"model": {**record["model"], "d_model": "x"}}, {"recipe": {"learning_rate": None}}):
        (tmp_path / "none" / "run.json").write_text(json.dumps({**record, **damage}))
        failed = cli("pretrain", "--out", tmp_path / "none", "--resume")
        assert "is it damaged?" in one_line_error(failed)
    monkeypatch.setenv("RANK", "0")
    failed = cli(*start, "--out", tmp_path / "r", "--steps", 1)
    assert failed.exit_code == 2
    assert "has RANK=0 but not WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT" in one_line_error(failed)
