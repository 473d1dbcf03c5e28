"""What a training step asks of a GPU, counted without one: launches, waits, and memory kept for the backward pass."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize(
    ("preset", "launches", "waits", "kilobytes"),
    [("m10", 550, 1, 160), ("m3t1-m15-m4", 1200, 2, 180)],  # of m10 16 a position and layer
)
def test_a_step_asks_for_little(
    preset: str, launches: int, waits: int, kilobytes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    counts, kept = import_module("launches").Counted(preset).measure()
    assert counts.launches <= launches, counts.names
    assert counts.waits == waits, counts.names
    assert kept <= 1000 * kilobytes
    sys.modules.pop("launches")


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_a_piece_is_waited_for_once_the_next_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """`segment` never stops a GPU; `score` does so once for each router, whose chunks shape what follows."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    reading = import_module("launches").reading
    for preset, boundaries, launches, waits in (
        ("m3t1-m15-m4", True, 120, 0), ("m3t1-m15-m4", False, 560, 1), ("tiny-memory", False, 430, 1),
    ):  # fmt: skip
        counts = reading(preset, boundaries=boundaries)
        assert counts.launches <= launches, counts.names
        assert counts.waits == waits, counts.names
    sys.modules.pop("launches")


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_attention_with_a_window_computes_little_that_it_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    launches = import_module("launches")
    assert 1.0 < launches.scores("t9") <= 1.1
    assert launches.scores("m10") is None
    sys.modules.pop("launches")
