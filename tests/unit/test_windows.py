from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from helpers import random_dna, write_fasta

from hnet_dna.data.batches import read_batch
from hnet_dna.data.windows import Position, Window, WindowSampler
from hnet_dna.genome.open import open_genome
from hnet_dna.sequence.codes import N_CODE, from_text, to_text
from hnet_dna.sequence.interval import Interval

SEGMENTS = [Interval("a", 10, 1000), Interval("a", 1003, 1010), Interval("b", 0, 2), Interval("b", 5, 6)]


def one_epoch(length: int, seed: int = 0, epoch: int = 0) -> list[Window]:
    sampler = WindowSampler(SEGMENTS, length, seed)
    windows, position = [], Position(epoch, 0)
    while position.epoch == epoch:
        taken, position = sampler.take(position, 1)
        windows += taken
    return windows


@pytest.mark.parametrize("length", [1, 7, 64, 5000])
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_base_is_predicted_once_per_epoch(length: int, epoch: int) -> None:
    windows = one_epoch(length, epoch=epoch)
    predicted = Counter(
        (w.interval.contig, base) for w in windows for base in range(w.interval.start + 1, w.interval.end)
    )
    expected = {(s.contig, base) for s in SEGMENTS for base in range(s.start + 1, s.end)}
    assert set(predicted) == expected
    assert set(predicted.values()) == {1}
    assert all(len(w.interval) <= length + 1 for w in windows)


def test_windows_stay_inside_segments_and_use_both_strands() -> None:
    windows = one_epoch(16)
    for window in windows:
        assert any(
            s.contig == window.interval.contig and s.start <= window.interval.start and window.interval.end <= s.end
            for s in SEGMENTS
        )
    assert {window.reverse for window in windows} == {False, True}


def test_position_is_all_the_state() -> None:
    whole, end = WindowSampler(SEGMENTS, 16, 7).take(Position(), 200)  # several epochs
    parts: list[Window] = []
    position = Position()
    for count in (1, 60, 3, 70, 66):
        taken, position = WindowSampler(SEGMENTS, 16, 7).take(position, count)
        parts += taken
    assert parts == whole
    assert position == end
    assert WindowSampler(SEGMENTS, 16, 8).take(Position(), 200)[0] != whole
    assert one_epoch(16, epoch=0) != one_epoch(16, epoch=1)


def test_nothing_to_train_on() -> None:
    with pytest.raises(ValueError, match="no segment"):
        WindowSampler([Interval("a", 0, 1)], 16, 0)


def test_batch_spells_the_bases(tmp_path: Path) -> None:
    sequence = random_dna(50)
    genome = open_genome(write_fasta(tmp_path / "g.fa", {"a": sequence, "b": "AACCGtN"}))
    batch = read_batch([genome], [Window(Interval("b", 0, 6), False), Window(Interval("b", 1, 6), True)], Position())
    assert batch.lengths.tolist() == [5, 4]
    assert to_text(batch.codes.numpy()[0]) == "AACCGt"
    assert to_text(batch.codes.numpy()[1]) == "aCGGTN"  # the other strand, padded with N
    assert batch.codes[1, -1] == N_CODE
    assert from_text("N")[0] == N_CODE
