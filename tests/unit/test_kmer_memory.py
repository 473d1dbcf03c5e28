"""The memory of k-mers: words counted as by hand, a position never among its own evidence, files, promises."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import fill_at_random, lively_model, random_dna, small_config, train, write_fasta

from hnet_dna.config.recipe import Recipe
from hnet_dna.data.mixture import Mixture
from hnet_dna.data.split import Split, split_genome, training_segments
from hnet_dna.errors import CheckpointError, ConfigError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome
from hnet_dna.model.cost import cost_of
from hnet_dna.model.hnet import MemoryState
from hnet_dna.model.lm import HNetLM
from hnet_dna.model.memory import LEAST
from hnet_dna.model.rows import Rows
from hnet_dna.model.words import WordTable
from hnet_dna.training import words as counting
from hnet_dna.training.progress import Budget
from hnet_dna.training.run_folder import RunFolder
from hnet_dna.training.words import count_words, learn_words

MEMORY: dict[str, object] = {"table_orders": [2, 4], "table_width": 6, "word_orders": [8, 12, 21]}
ORDERS = (8, 11, 12, 16, 20, 21, 24, 30)


def repetitive_dna(length: int, seed: int = 0) -> str:
    """A sequence with long repeats, on both strands, so that words of any length come more than once."""
    unit = random_dna(length // 4, seed)
    turned = unit[::-1].translate(str.maketrans("ACGT", "TGCA"))
    other = random_dna(length // 4, seed + 1)
    return unit + other + turned + other[: length // 8] + unit[length // 8 :]


def number(word: str) -> int:
    return int("".join(str("ACGT".index(letter)) for letter in word), 4)


def counted_by_hand(sequences: list[str], k: int) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sequence in sequences:
        for strand in (sequence, sequence[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))):
            for start in range(len(strand) - k):
                word = strand[start : start + k + 1].upper()
                if set(word) <= set("ACGT"):
                    counts[word[:k]][word[k]] += 1
    return counts


@pytest.mark.parametrize("k", ORDERS)
def test_table_gives_the_counts_of_its_words_and_none_of_others(k: int) -> None:
    random = np.random.default_rng(0)
    numbers = np.unique(np.append(random.integers(0, 4**k, 5000), [0, 4**k - 1]))
    counts = random.integers(0, 9, (len(numbers), 4))
    table = WordTable(k)
    assert table(torch.tensor([[0, 4**k - 1]])).tolist() == [[[0] * 4] * 2]
    table.fill(numbers, counts)
    assert torch.equal(table(torch.from_numpy(numbers)), torch.from_numpy(counts))
    assert torch.equal(table.all_counts(), torch.from_numpy(counts)) or 2 * k > 40
    strange = np.setdiff1d(random.integers(0, 4**k, 5000), numbers)
    assert not table(torch.from_numpy(strange)).any()
    size = sum(buffer.numel() * buffer.element_size() for buffer in table.state_dict().values())
    assert size == WordTable.most_bytes(k, len(numbers))


def test_large_counts_are_powers_of_two() -> None:
    table = WordTable(8)
    table.fill(np.array([5, 9]), np.array([[7, 8, 15, 16], [100, 0, 5000, 1]]))
    assert table(torch.tensor([5, 9])).tolist() == [[7, 8, 8, 16], [64, 0, 1024, 1]]


@pytest.mark.parametrize("k", [8, 12, 21])
@pytest.mark.parametrize("passes", [1, 16])
def test_words_are_counted_as_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int, passes: int) -> None:
    sequences = [repetitive_dna(2000), "ACG" + "N" * 9 + repetitive_dna(1200, 5).lower() + "RA", "ACGT"]
    genome = open_genome(write_fasta(tmp_path / "g.fa", dict(zip("abc", sequences, strict=True))))
    split = Split(train=tuple(training_all(genome)), valid=(), test=(), rule="")
    monkeypatch.setattr(counting, "_PIECE", 100)
    if passes > 1:
        monkeypatch.setattr(counting, "_AT_ONCE", 2 * genome.length // passes + 1)
    numbers, counts = count_words([(genome, training_segments(genome, split))], k, 10**6)
    wanted = {
        number(word): [after[letter] for letter in "ACGT"]
        for word, after in counted_by_hand(sequences, k).items()
        if after.total() >= LEAST
    }
    assert len(wanted) > 100
    assert dict(zip(numbers.tolist(), counts.tolist(), strict=True)) == dict(sorted(wanted.items()))
    monkeypatch.setattr(counting, "_ALL", genome.length)  # chosen by half of the pieces, counted in all
    sampled, sampled_counts = count_words([(genome, training_segments(genome, split))], k, 10**6)
    assert 50 < len(sampled) < len(wanted)
    assert [wanted[n] for n in sampled.tolist()] == sampled_counts.tolist()
    monkeypatch.undo()
    few, few_counts = count_words([(genome, training_segments(genome, split))], k, 50)
    assert len(few) == 50
    assert sorted(few_counts.sum(axis=1)) == sorted(counts.sum(axis=1))[-50:]


def training_all(genome: Genome) -> list[Any]:
    from hnet_dna.genome.genome import whole

    return [whole(contig) for contig in genome.contigs]


def taught(tmp_path: Path, **memory: object) -> tuple[HNetLM, Genome, Split]:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": repetitive_dna(3000), "b": random_dna(400, 9)}))
    split = split_genome(genome, ["b"])
    model = lively_model(small_config(memory_cfg={**MEMORY, **memory}))
    learn_words(model, Mixture.of(genome, split))
    return model, genome, split


def test_a_position_in_training_is_not_among_its_own_evidence(tmp_path: Path) -> None:
    """It sees what would have been counted, and kept, had this one occurrence not been there."""
    model, genome, split = taught(tmp_path)
    memory = model.memory
    assert memory is not None
    (segment,) = training_segments(genome, split)
    ids = torch.from_numpy((genome.codes(segment) & 3).astype(np.int64))[None, 300:700]
    text = "".join("ACGT"[i] for i in ids[0].tolist())
    sequence = "".join("ACGT"[i] for i in (genome.codes(segment) & 3).tolist())
    seen = {mode: memory.train(mode)(ids, Rows.full(ids), None)[0] for mode in (True, False)}
    differ = 0
    for index, k in enumerate(memory.counted):
        evidence = counted_by_hand([sequence], k)
        for t in range(len(text)):
            whole = evidence.get(text[t - k + 1 : t + 1], Counter()) if t >= k - 1 else Counter()
            rest = whole - Counter(text[t + 1 : t + 2])
            kept = rest if rest.total() >= LEAST and t + 1 < len(text) else Counter[str]()
            for mode, counts in ((True, kept), (False, whole if whole.total() >= LEAST else Counter[str]())):
                kind = int(np.searchsorted([1, 2, 3, 4, 8, 16, 64], counts.total(), side="right"))
                assert int(seen[mode].seen[0, t, index]) == kind, (k, t, mode)
                wanted = torch.tensor([counts[letter] for letter in "ACGT"], dtype=torch.float64)
                wanted = (wanted + 0.05).log() - (wanted.sum() / 4 + 0.05).log() if counts else torch.zeros(4)
                torch.testing.assert_close(seen[mode].evidence[0, t, index], wanted.double())
            differ += kept != whole
    assert differ > 100


def test_a_rounded_count_does_not_give_away_the_base_that_follows() -> None:
    """One less than a power of two could only be the count of that base: training would read the answer there."""
    memory = HNetLM(small_config(memory_cfg={"word_orders": [8]})).double().memory
    assert memory is not None
    word = "ACGTTGCA"
    memory.counted[8].fill(np.array([number(word)]), np.array([[9, 16, 40, 3]]))
    evidence = {}
    for base in "ACGT":
        ids = torch.tensor([["ACGT".index(letter) for letter in word + base]])
        evidence[base] = memory.train()(ids, Rows.full(ids), None)[0].evidence[0, 7, 0]
    assert torch.equal(evidence["A"], evidence["C"])
    assert torch.equal(evidence["A"], evidence["G"])
    assert evidence["T"][3] < evidence["A"][3]  # 3 is exact, and 2 without this one


def test_padding_and_rows_change_nothing_in_training(tmp_path: Path) -> None:
    model, genome, split = taught(tmp_path)
    (segment,) = training_segments(genome, split)
    ids = torch.from_numpy((genome.codes(segment) & 3).astype(np.int64))
    rows = torch.stack([ids[:300], ids[500:800]])
    rows[1, 200:] = 4
    model.train()
    both = model(rows, lengths=torch.tensor([300, 200]))
    alone = model(rows[1:, :200])
    torch.testing.assert_close(both.logits[1, :200], alone.logits[0], rtol=0, atol=1e-9)


def test_other_letters_and_the_start_switch_words_off() -> None:
    model = lively_model(small_config(memory_cfg={"table_orders": [3], "word_orders": [8]}))
    assert model.memory is not None
    ids = torch.full((1, 40), 2)
    ids[0, 20] = 4
    recall, _ = model.memory(ids, Rows.full(ids), None)
    known = [t for t in range(40) if (7 <= t < 20) or t >= 28]
    assert torch.nonzero(recall.seen[0, :, 0])[:, 0].tolist() == known
    assert not recall.evidence[0, [t for t in range(40) if t not in known]].any()
    tables = lively_model(small_config(memory_cfg={"table_orders": [3]})).memory
    assert tables is not None
    vector = tables(ids, Rows.full(ids), None)[0].vector
    assert torch.nonzero(vector.abs().sum(dim=-1)[0])[:, 0].tolist() == [t for t in range(40) if 2 <= t < 20 or t >= 23]


def test_boundaries_alone_are_those_of_the_whole_in_pieces() -> None:
    """The router reads the memory, through the encoder."""
    model = lively_model(small_config(memory_cfg=MEMORY))
    ids = torch.randint(0, 4, (2, 120))
    with torch.no_grad():
        whole = model(ids)
        state, pieces = None, []
        for piece in torch.split(ids, [1, 50, 0, 69], dim=1):
            output = model.boundaries(piece, state, stage=0)
            state = output.state
            pieces.append(output.stages[0].boundary_prob)
        torch.testing.assert_close(torch.cat(pieces, dim=1), whole.stages[0].boundary_prob, rtol=0, atol=1e-9)
        assert isinstance(state, MemoryState)
        with pytest.raises(ValueError, match="only boundaries"):
            model(ids, state)
        for table in model.memory.counted.values():  # type: ignore[union-attr]
            table.fill(np.zeros(0, dtype=np.int64), np.zeros((0, 4), dtype=np.int64))
        assert not torch.equal(model(ids).stages[0].boundary_prob, whole.stages[0].boundary_prob)


def test_a_new_memory_says_nothing() -> None:
    ids = torch.randint(0, 5, (2, 60))
    models = []
    for changes in ({}, {"memory_cfg": MEMORY}):
        torch.manual_seed(0)
        models.append(HNetLM(small_config(**changes)).eval())
    for k, table in models[1].memory.counted.items():  # type: ignore[union-attr]
        fill_at_random(table, k)
    assert torch.equal(models[0](ids).logits, models[1](ids).logits)


def test_model_is_written_and_read(tmp_path: Path) -> None:
    model, _genome, _split = taught(tmp_path)
    model = model.float()
    model.save_pretrained(tmp_path / "m")
    again = HNetLM.from_pretrained(tmp_path / "m")
    assert not again.training
    assert again.digest() == model.digest()
    ids = torch.randint(0, 5, (2, 60))
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
    weights = model.state_dict()
    weights["memory.words.8.low"] = weights["memory.words.8.low"][1:]
    with pytest.raises(CheckpointError, match=r"memory.words.8.low has shape"):
        again.load_weights(weights)
    weights = model.state_dict()
    weights["memory.words.8.starts"] = weights["memory.words.8.starts"].flip(0)
    with pytest.raises(CheckpointError, match="words of 8 letters are damaged"):
        again.load_weights(weights)
    del weights["memory.words.8.counts"]
    with pytest.raises(CheckpointError, match=r"missing memory.words.8.counts"):
        again.load_weights(weights)


def test_models_without_memory_are_written_as_ever() -> None:
    assert "memory_cfg" not in small_config().to_dict()
    assert not [name for name in HNetLM(small_config()).state_dict() if "memory" in name]
    config = small_config(memory_cfg=MEMORY)
    assert type(config).from_dict(config.to_dict()) == config


def test_export_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"word_orders is 8/12/21 and not \[\].*memory_cfg.word_orders=\[\]"):
        HNetLM(small_config(memory_cfg=MEMORY)).save_reference(tmp_path / "e")
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"memory_cfg": {"table_orders": [4, 12]}}, "table_orders"),
        ({"memory_cfg": {"word_orders": [12, 11]}}, "word_orders: expected rising numbers from 8 to 30"),
        ({"memory_cfg": {"word_orders": [12], "max_words": 0}}, "max_words"),
        ({"memory_cfg": {"word_order": [12]}}, "Did you mean word_orders"),
        ({"memory_cfg": {"word_orders": [12]}, "alphabet": None}, "alphabet"),
        ({"memory_cfg": {"word_orders": [12]}, "kmer": 3, "arch_layout": ["m1"], "d_model": [24],
          "d_intermediate": [0], "attn_cfg": {}}, "a model of k-mers cannot have a memory"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        small_config(**changes)


def test_cost_counts_the_memory(tmp_path: Path) -> None:
    with_memory, without = (
        cost_of(small_config(**changes), [3.0, 3.0], 1024) for changes in ({"memory_cfg": MEMORY}, {})
    )  # fmt: skip
    model, _, _ = taught(tmp_path)
    assert with_memory.parameters == sum(p.numel() for p in model.parameters())
    assert with_memory.forward_flops > without.forward_flops
    assert (with_memory.word_bytes > 10**6, without.word_bytes) == (True, 0)
    assert model.memory is not None
    stored = [b for table in model.memory.counted.values() for b in table.state_dict().values()]
    assert sum(b.numel() * b.element_size() for b in stored) < with_memory.word_bytes


def test_stopped_and_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": repetitive_dna(4000), "b": random_dna(400, 1)}))
    split = split_genome(genome, ["b"])
    recipe = Recipe(window=64, batch=4, checkpoint_every=0.0, optimizer="muon")
    config = small_config(
        arch_layout=["m1", ["M1"], "m1"], d_model=[16, 24], d_intermediate=[0, 32], attn_cfg={}, memory_cfg=MEMORY
    )

    def fresh() -> HNetLM:
        torch.manual_seed(0)
        model = HNetLM(config)
        learn_words(model, Mixture.of(genome, split))
        return model

    class Stop(Exception):
        pass

    def stop(report: object) -> None:
        raise Stop

    straight, broken = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "broken")
    straight.create()
    broken.create()
    model = fresh()
    train(model, genome, split, recipe, Budget(steps=20), straight)
    with pytest.raises(Stop):
        train(fresh(), genome, split, recipe, Budget(steps=20), broken, on_report=stop)
    resumed = HNetLM.from_pretrained(broken.path)
    train(resumed, genome, split, recipe, Budget(steps=20), broken, resume=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    moved = [name for name, p in model.named_parameters() if name.startswith("memory") and p.detach().any()]
    assert len(moved) == len([n for n, _ in model.named_parameters() if n.startswith("memory")])


def test_repeats_are_predicted_after_few_steps(tmp_path: Path) -> None:
    unit = random_dna(800)
    between = [random_dna(200, seed) for seed in range(1, 7)]
    text = "".join(itertools.chain.from_iterable((unit, part) for part in between))
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": text, "b": unit}))
    split = replace(split_genome(genome, ["b"]), valid=())
    bits = []
    for orders in ([], [12]):
        torch.manual_seed(0)
        config = small_config(
            arch_layout=["m1"], d_model=[16], d_intermediate=[0], attn_cfg={}, memory_cfg={"word_orders": orders}
        )
        model = HNetLM(config)
        learn_words(model, Mixture.of(genome, split))
        run = RunFolder(tmp_path / str(orders))
        run.create()
        recipe = Recipe(window=256, batch=4, validate_every=0, learning_rate=2e-2)
        train(model, genome, split, recipe, Budget(steps=60), run)
        ids = torch.from_numpy((genome.codes(split.test[0]) & 3).astype(np.int64))[None]
        with torch.inference_mode():
            log_p = torch.log_softmax(model.eval()(ids[:, :-1]).logits[..., :4], dim=-1)
        bits.append(-float(log_p.gather(-1, ids[:, 1:, None]).mean()) / np.log(2))
    assert bits[0] > 1.9
    assert bits[1] < 0.6
