"""Losses that are NaN or jump, and routers that collapse."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import RECIPE, make_genome, small_config, tiny_model, train

from hnet_dna.data.split import split_genome
from hnet_dna.errors import TrainingError
from hnet_dna.model.hnet import ChunkingStage
from hnet_dna.model.lm import HNetLM
from hnet_dna.training.optim import build_optimizer
from hnet_dna.training.progress import Budget
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.watch import Trouble, Watch


def test_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    genome = make_genome(tmp_path)
    run = RunFolder(tmp_path / "r")
    run.create()
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"step 1: .* NaN or infinite \(windows "):
        train(model, genome, split_genome(genome), RECIPE, Budget(steps=3), run)


def spoil(model: HNetLM, value: float) -> None:
    """Make a router say the same everywhere."""
    assert isinstance(model.backbone, ChunkingStage)
    router = model.backbone.routing_module
    with torch.no_grad():
        router.score.weight.zero_()
        router.score.bias.fill_(value)


@pytest.mark.parametrize(("value", "rate"), [(-9.0, "0.016"), (9.0, "1.000")])
def test_collapsed_router_is_reported_or_stops_the_run(tmp_path: Path, value: float, rate: str) -> None:
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    config = small_config(
        arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={},
        chunk_cfg={"routing": "linear"},
    )  # fmt: skip
    recipe = replace(RECIPE, ratio_weights=(0.0,), learning_rate=1e-6)
    for on_trouble in ("stop", "skip"):
        model = HNetLM(config)
        spoil(model, value)
        run = RunFolder(tmp_path / on_trouble)
        run.create()
        messages: list[str] = []
        with pytest.raises(TrainingError) if on_trouble == "stop" else nullcontext() as caught:
            train(
                model, genome, split, replace(recipe, on_trouble=on_trouble), Budget(steps=70), run,
                on_event=messages.append,
            )  # fmt: skip
        assert len(messages) == 1, "once, not at every step"
        assert f"step 50: the router of stage 0 has collapsed: {rate} of its positions" in messages[0]
        assert "a:" in messages[0], "the windows' coordinates"
        if on_trouble == "stop":
            assert caught is not None
            assert "max_chunk" in str(caught.value)
            assert run.load(HNetLM(config), build_optimizer(model, config, recipe)).step == 50


def test_spike_is_left_out_and_twenty_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genome = make_genome(tmp_path)
    split = split_genome(genome)
    recipe = replace(RECIPE, on_trouble="skip")
    run = RunFolder(tmp_path / "r")
    run.create()
    loss = Watch.loss
    spikes = {53, 60, *range(70, 100)}
    steps = iter(range(1, 1000))
    before: dict[int, torch.Tensor] = {}
    model = tiny_model()

    def spiking(self: Watch, bits: float, norm: float) -> Trouble | None:
        step = next(steps)
        before[step] = model.lm_head.weight.detach().clone()
        return loss(self, bits + 5.0 if step in spikes else bits, norm)

    monkeypatch.setattr(Watch, "loss", spiking)
    messages: list[str] = []
    with pytest.raises(TrainingError, match=r"step 90: the loss jumped to .* 20 steps in a row"):
        train(model, genome, split, recipe, Budget(steps=200), run, on_event=messages.append)
    assert [message.split(":")[0] for message in messages[:3]] == ["step 53", "step 60", "step 70"]
    assert torch.equal(before[54], before[53]), "a step left out moves nothing"
    assert not torch.equal(before[55], before[54])
    assert len((run.path / "events.jsonl").read_text().splitlines()) == 2 + 20
