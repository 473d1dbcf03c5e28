"""The model card says what the run's files say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import random_dna, small_config, write_fasta
from huggingface_hub import ModelCard
from typer.testing import Result

from hnet_dna import HNetLM
from hnet_dna.training.card import model_card


def description(contigs: int = 2) -> dict[str, Any]:
    return {
        "command": ["/home/me/bin/hnet-dna", "pretrain", "--genome", "/home/me/my data/g.fa", "--split=/home/me/s.bed"],
        "budget": {"steps": None, "seconds": 90.0},
        "recipe": {"window": 1024, "batch": 4, "window_warmup": [], "ratio_targets": [3.0], "split": "/home/me/s.bed"},
        "model": {},
        "parameters": 12345,
        "data": {
            "genome": "/home/me/my data/g.fa",
            "contigs": {f"c_{i}|x": {"length": 1000 + i, "md5": f"md5of{i}"} for i in range(contigs)},
            "split_rule": "as s.bed says",
            "split": {},
            "bases": {"predicted": 1999},
        },
        "versions": {"hnet-dna": "0.1.0", "torch": "2.13.0"},
    }


RESULTS: dict[str, Any] = {
    "held_out_bases": 600,
    "bits_per_base": {"model": 1.91, "uniform": 2.0, "markov_3": 1.95, "markov_mixture": 1.94},
    "bits_per_base_95": [1.90, 1.92],
    "best_markov_order": 3,
    "positions_per_chunk": [3.04, 2.5],
    "classes": [
        {"group": "contig", "name": "c", "bases": 600, "bits_per_base": {"model": 1.8, "markov_3": 1.9},
         "low": float("nan"), "high": float("nan")},
    ],
}  # fmt: skip


def test_card_of_made_up_files() -> None:
    text = model_card(description(25), RESULTS, small_config())
    card = ModelCard(text)
    body = card.text
    assert vars(card.data)["library_name"] == "hnet-dna"
    assert vars(card.data)["pipeline_tag"] == "feature-extraction"
    assert vars(card.data)["tags"] == ["dna", "genomics", "h-net"]
    assert vars(card.data).get("license") is None
    for said in (
        "12,345",
        "24 / 24 / 40",
        "`m1T1 [t1M1 [T1m1] m1t1] m1`",
        "dna, 5 ids",
        "25 contigs, 25,300 bases",
        "Split: as s.bed says.",
        "| training part: read, and predicted once in an epoch | 1,999 |",
        "| c\\_0\\|x | 1,000 | `md5of0` |",
        "5 more are in run.json",
        "1.5 minutes",
        "hnet-dna pretrain --genome g.fa --split=s.bed",
        "| this model | 1.9100 | 1.9000 to 1.9200 |",
        "| Markov, k = 3 (the best) | 1.9500 |  |",
        "| uniform | 2.0000 |  |",
        "stage 0: 3.04 bases; stage 1: 2.50 chunks",
        "| contig: c | 600 | 1.8000 | - | 1.9000 |",
        "torch.tensor([[0, 1, 2, 3]])",
        "clinical",
        "begins a chunk by definition",
    ):
        assert said in body, said
    assert "md5of20" not in body
    assert "/home" not in text  # cards are published


def test_card_tells_of_words_in_the_file() -> None:
    assert "words of" not in model_card(description(), None, small_config())
    card = model_card(description(), None, small_config(memory_cfg={"word_orders": [12, 16]}))
    assert "| memory | the file holds words of 12, 16 bases of the training part" in card


def test_card_without_held_out_bases() -> None:
    assert "nothing was held out" in model_card(description(), None, small_config())


def test_run_folder_has_a_card(cli: Callable[..., Result], tmp_path: Path) -> None:
    genome = write_fasta(tmp_path / "g.fa", {"big": random_dna(3000), "small": random_dna(400, 2)})
    run = tmp_path / "run"
    assert cli("pretrain", "--genome", genome, "--out", run, "--steps", 2).exit_code == 0
    card = (run / "README.md").read_text()
    record, results = (json.loads((run / name).read_text()) for name in ("run.json", "results.json"))
    model = HNetLM.from_pretrained(run)
    assert card == model.card == model_card(record, results, model.config)
    assert f"{record['parameters']:,}" in card
    assert f"{results['bits_per_base']['model']:.4f}" in card
    assert str(tmp_path) not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(code.replace('"MODEL"', repr(str(run))), {})
