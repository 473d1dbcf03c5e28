"""Hugging Face transformers on our folders: the same network, its state, its sampler and its trainer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import lively_model, random_dna, small_config

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.inference.generate import generate
from hnet_dna.model.lm import HNetLM

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import hnet_dna.transformers  # noqa: F401

    folder = tmp_path_factory.mktemp("transformers") / "m"
    lively_model(small_config()).float().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_the_network_is_ours(folder: Path, model: Any, tokenizer: Any) -> None:
    sequences = [random_dna(90), random_dna(70, 1).lower()]
    batch = tokenizer(sequences, padding=True, return_tensors="pt")
    ours = HNetLM.from_pretrained(folder)
    with torch.inference_mode():
        output = model(**batch)
        base = transformers.AutoModel.from_pretrained(folder)(**batch)
        first = model(batch["input_ids"][:1, :50])
        second = model(batch["input_ids"][:1, 50:], state=first.state)
        for row, sequence in enumerate(sequences):
            expected = ours(torch.tensor([["ACGT".index(letter) for letter in sequence.upper()]])).logits[0]
            torch.testing.assert_close(output.logits[row, : len(sequence)], expected, atol=1e-5, rtol=1e-5)
            vectors = base.last_hidden_state[row, : len(sequence)]
            torch.testing.assert_close(ours.lm_head(vectors), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1), output.logits[:1], atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match="pad on the right"):
        model(batch["input_ids"], attention_mask=batch["attention_mask"].flip(1))


def test_generate_is_ours(folder: Path, model: Any, tokenizer: Any) -> None:
    prompt = tokenizer(["ACGTTGCAACGT"], return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    (expected,) = generate(folder, 40, prompt="ACGTTGCAACGT", temperature=0)
    assert tokenizer.batch_decode(tokens) == ["ACGTTGCAACGT" + expected.sequence]
    sampled = model.generate(**prompt, max_new_tokens=20, do_sample=True, num_return_sequences=3)
    assert sampled.shape == (3, 32)
    with pytest.raises(UsageError, match="`num_beams`"):
        model.generate(**prompt, max_new_tokens=5, num_beams=2)
    ragged = tokenizer(["ACGT", "AC"], padding=True, return_tensors="pt")
    with pytest.raises(UsageError, match="one length"):
        model.generate(**ragged, max_new_tokens=5)


def test_letters(tokenizer: Any, tmp_path: Path) -> None:
    assert tokenizer("acgtuNrR")["input_ids"] == [0, 1, 2, 3, 3, 4, 4, 4]
    assert tokenizer.decode([0, 1, 2, 3, 4, 4]) == "ACGTNN"
    with pytest.raises(SequenceError):
        tokenizer("ACG-T")
    tokenizer.save_pretrained(tmp_path / "t")
    again = type(tokenizer).from_pretrained(tmp_path / "t")
    assert again("ACGTN")["input_ids"] == [0, 1, 2, 3, 4]


def test_the_trainer_takes_a_step(folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    """And what it saves is a folder of ours, whose weights have moved."""
    pytest.importorskip("accelerate")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    data = [tokenizer(random_dna(40 + 9 * seed, seed) + "N") for seed in range(4)]
    settings = transformers.TrainingArguments(
        tmp_path / "run", max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)
    given = {"train_dataset": data, "data_collator": collator, "processing_class": tokenizer}
    trainer = transformers.Trainer(model, settings, **given)
    result = trainer.train()
    assert 1 < result.training_loss < 10
    trainer.save_model(tmp_path / "saved")
    before, after = HNetLM.from_pretrained(folder), HNetLM.from_pretrained(tmp_path / "saved")
    assert after.config == before.config
    assert after.digest() != before.digest()
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "saved").decode([0, 1]) == "AC"


def test_labels_count_bases_only(model: Any, tokenizer: Any) -> None:
    ids = tokenizer(random_dna(30) + "NNNNN" + random_dna(30, 1), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        output = model(ids, labels=ids)
        isotropic = output.loss - model(ids, labels=torch.full_like(ids, -100)).loss  # the ratio loss is left
    probabilities = torch.log_softmax(output.logits[0, :-1, :4].double(), dim=-1).numpy()
    targets = ids[0, 1:].numpy()
    known = np.flatnonzero(targets < 4)
    assert float(isotropic) == pytest.approx(-probabilities[known, targets[known]].mean(), rel=1e-4)


def test_the_example_of_the_page_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
    blocks = [block.split("```")[0] for block in page.split("```python\n")[1:]]
    (code,) = [block for block in blocks if "import hnet_dna.transformers" in block]
    shutil.copytree(folder, tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert re.fullmatch("ACGTTGCA[ACGT]{20}\n", capsys.readouterr().out)
