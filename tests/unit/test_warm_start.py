"""Beginning from other weights, and freezing parts of a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config, train, write_fasta
from typer.testing import Result

import hnet_dna
from hnet_dna.config.recipe import PARTS, Recipe
from hnet_dna.data.split import split_genome
from hnet_dna.errors import UsageError
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.sequence.codes import from_text
from hnet_dna.training.freezing import freeze, part_of
from hnet_dna.training.progress import Budget
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.warm_start import refuse_other_shape, take_over

Cli = Callable[..., Result]


def likelihoods(model: HNetLM, text: str = random_dna(60)) -> torch.Tensor:
    letters = alphabet(model.config.alphabet)
    with torch.inference_mode():
        logits = model(torch.from_numpy(letters.encode(from_text(text))).long()[None]).logits
    return torch.log_softmax(logits[..., list(letters.base_ids)], dim=-1)


@pytest.mark.parametrize("letters", ["dna", "rna", "iupac", "bytes"])
def test_a_wider_alphabet_predicts_the_same(letters: str) -> None:
    parent = lively_model(small_config())
    config = replace(parent.config, alphabet=letters, vocab_size=alphabet(letters).vocab_size)
    refuse_other_shape(parent.config, config, "p")
    model = HNetLM(config).double().eval()
    take_over(parent, model)
    torch.testing.assert_close(likelihoods(model), likelihoods(parent))
    # A letter that the parent read as N is read as N still, until it is trained.
    torch.testing.assert_close(likelihoods(model, "ACGRTTACN"), likelihoods(parent, "ACGNTTACN"))


def test_added_orders_leave_those_of_the_parent() -> None:
    parent = lively_model(small_config(memory_cfg={"table_orders": [3], "word_orders": [9, 12]}))
    config = replace(parent.config, table_orders=(2, 3), word_orders=(9, 10, 12))
    refuse_other_shape(parent.config, config, "p")
    model = HNetLM(config).double().eval()
    take_over(parent, model)
    assert model.memory is not None
    assert parent.memory is not None
    for k, table in parent.memory.counted.items():
        model.memory.counted[k].resize(len(table.counts))
        model.memory.counted[k].load_state_dict(table.state_dict())
    torch.testing.assert_close(likelihoods(model), likelihoods(parent))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": (24, 24, 80)}, r"`from_` p: model.d_model is \[24, 24, 40\] there .* asked for \[24, 24, 80\]"),
        ({"smoothing": False}, "model.chunk_cfg.smoothing is True there"),
        ({"table_width": 8}, "model.memory_cfg.table_width is 16 there"),
        ({"word_orders": (12,)}, "model.memory_cfg.word_orders has 9 there; orders can be added, not taken away"),
        ({"table_orders": (), "word_orders": ()}, "model.memory_cfg.table_orders has 3 there"),
        ({"alphabet": "dna", "vocab_size": 5}, "alphabet iupac tells letters apart that dna does not"),
    ],
)
def test_what_the_weights_cannot_be_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    memory = {"table_orders": [3], "word_orders": [9, 12]}
    parent = small_config(memory_cfg=memory, alphabet="iupac", vocab_size=alphabet("iupac").vocab_size)
    with pytest.raises(UsageError, match=message):
        refuse_other_shape(parent, replace(parent, **changes), "p")  # type: ignore[arg-type]
    free = replace(parent, window_size=(99, 5, 3), max_chunk=(50, 50, 50), max_words=7)
    assert set(refuse_other_shape(parent, free, "p")) == {
        "model.attn_cfg.window_size", "model.chunk_cfg.max_chunk", "model.memory_cfg.max_words",
    }  # fmt: skip


def test_frozen_parts_stay_and_all_others_move(tmp_path: Path) -> None:
    genome = hnet_dna.open_genome(write_fasta(tmp_path / "g.fa", {"a": random_dna(3000), "b": random_dna(300, 1)}))
    torch.manual_seed(0)
    config = small_config(
        arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={}, alphabet="dna"
    )
    for optimizer in ("adamw", "muon"):
        model = HNetLM(config)
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        frozen = ("encoder", "embedding")
        recipe = Recipe(window=64, batch=2, optimizer=optimizer, freeze=frozen, checkpoint_every=0.0)
        for steps, resume in ((2, False), (4, True)):
            run = RunFolder(tmp_path / optimizer)
            if not resume:
                run.create()
            train(model, genome, split_genome(genome), recipe, Budget(steps=steps), run, resume=resume)
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, before[name]) == (part_of(name) in frozen), name


def test_parts_have_names() -> None:
    model = HNetLM(small_config(memory_cfg={"word_orders": [9]}))
    assert {part_of(name) for name, _ in model.named_parameters()} == set(PARTS)
    isotropic = HNetLM(small_config(arch_layout=["m2"], d_model=[16], d_intermediate=[0], attn_cfg={}))
    with pytest.raises(UsageError, match="this model has no encoder; it has embedding, main, head"):
        freeze(isotropic, ["encoder"])
    with pytest.raises(UsageError, match="every part of the model is frozen"):
        freeze(isotropic, ["embedding", "main", "head"])


def test_a_run_from_another_run(cli: Cli, tmp_path: Path) -> None:
    shape = ["--set", "model.d_model=[16,32]", "--set", "model.attn_cfg.rotary_emb_dim=4", "--window", 64]
    first, second = (write_fasta(tmp_path / f"{n}.fa", {"chr": random_dna(3000, i)}) for i, n in enumerate("ab"))
    common = ["--no-evaluation", "--quiet"]
    done = cli("pretrain", "--genome", first, "--out", tmp_path / "one", "--steps", 2, "--split", 0.3, *shape, *common)
    assert done.exit_code == 0, done.output
    line = ["pretrain", "--genome", second, "--out", tmp_path / "two", "--from", tmp_path / "one", *common]
    line += ["--window", 80, "--set", "train.ratio_targets=[4.0]", "--alphabet", "iupac", "--resume"]
    for steps in (0, 2):  # the same line begins it and goes on
        done = cli(*line, "--steps", steps)
        assert done.exit_code == 0, done.output
        if steps == 0:
            begun, parent = (hnet_dna.load_model(tmp_path / run) for run in ("two", "one"))
            torch.testing.assert_close(likelihoods(begun), likelihoods(parent))
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["parent"]["digest"] == parent.digest()
    assert record["parent"]["changed"]["model.alphabet"] == ["dna", "iupac"]
    assert record["model"]["d_model"] == [16, 32]
    recipe = record["recipe"]
    assert (recipe["window"], recipe["ratio_targets"], recipe["split"], recipe["optimizer"]) == (80, [4.0], "", "muon")
    card = (tmp_path / "two" / "README.md").read_text()
    assert f"It began from the weights of `one` (digest `{parent.digest()}`)" in card
    for more, message in (
        (["--preset", "tiny"], "--from says what the model is, and so does preset tiny"),
        (["--set", "model.d_model=[32,32]"], "model.d_model is [16, 32] there"),
        (["--set", "train.freeze=encode"], "Did you mean encoder"),
    ):
        refused = cli(
            "pretrain", "--genome", second, "--out", tmp_path / "three", "--from", tmp_path / "one", "--steps", 1, *more
        )
        assert (refused.exit_code, message in one_line_error(refused)) == (2, True), refused.output
        assert not (tmp_path / "three").exists()
    other = cli("pretrain", "--out", tmp_path / "two", "--resume", "--steps", 4, "--from", "five-genomes")
    assert "asked for five-genomes" in one_line_error(other)
