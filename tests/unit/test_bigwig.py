"""Our bigWig, read by the libraries of others: values, zoom levels, and trees of more than one level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from numpy.typing import NDArray

from hnet_dna.tracks.bigwig import Block, write_bigwig

SPARSE, LONG = 70_000, 1_200_000  # bases; the second needs more sections than a node of the index has children


@pytest.fixture(scope="module")
def expected() -> dict[str, NDArray[np.float32]]:
    """Values by contig: 700 contigs, one long, one with holes and islands of one base, the others short or empty."""
    random = np.random.default_rng(0)
    contigs = {f"c{number}": random.normal(size=20 + number).astype(np.float32) for number in range(698)}
    contigs["c7"][:] = np.nan
    contigs["sparse"] = random.normal(size=SPARSE).astype(np.float32)
    contigs["sparse"][random.random(SPARSE) < 0.6] = np.nan
    contigs["sparse"][:30_000] = np.nan
    contigs["long"] = (np.sin(np.arange(LONG) / 1e5) + random.normal(size=LONG)).astype(np.float32)
    return contigs


@pytest.fixture(scope="module")
def track(expected: dict[str, NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bigwig") / "x.bw"

    def blocks(contig: str) -> list[Block]:
        values = expected[contig]
        return [(start, values[start : start + 9_999], 1) for start in range(0, len(values), 9_999)]

    write_bigwig(path, {name: len(values) for name, values in expected.items()}, blocks)
    return path


def test_values_and_contigs(track: Path, expected: dict[str, NDArray[np.float32]]) -> None:
    pybigtools = pytest.importorskip("pybigtools")
    with pyBigWig.open(str(track)) as one, pybigtools.open(str(track)) as other:
        assert one.chroms() == other.chroms() == {name: len(values) for name, values in expected.items()}
        for name, values in expected.items():
            np.testing.assert_array_equal(one.values(name, 0, len(values), numpy=True).astype(np.float32), values)
            if name in ("c7", "c500", "sparse", "long"):
                read = np.full(len(values), np.nan, dtype=np.float32)
                for start, end, value in other.records(name):
                    read[start:end] = value
                np.testing.assert_array_equal(read, values)


def test_header(track: Path, expected: dict[str, NDArray[np.float32]]) -> None:
    """Sums over all values, which browsers scale tracks by."""
    every = np.concatenate(list(expected.values())).astype(np.float64)
    every = every[~np.isnan(every)]
    with pyBigWig.open(str(track)) as file:
        header = file.header()
        assert header["nBasesCovered"] == len(every)
        assert (header["minVal"], header["maxVal"]) == (int(every.min()), int(every.max()))  # pyBigWig rounds them
        assert header["nLevels"] == 8  # 32 * 4^7 is the last below the longest contig


@pytest.mark.parametrize(("contig", "start", "end", "bins"), [("long", 0, LONG, 10), ("sparse", 32_768, 65_536, 4)])
@pytest.mark.parametrize("kind", ["mean", "min", "max", "coverage", "std"])
def test_zoom_levels(
    track: Path, expected: dict[str, NDArray[np.float32]], contig: str, start: int, end: int, bins: int, kind: str
) -> None:
    """What a browser draws of long stretches, by zoom levels, is what the values say."""
    pieces = [part[~np.isnan(part)] for part in np.array_split(expected[contig][start:end].astype(np.float64), bins)]
    width = (end - start) // bins
    of: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "mean": lambda part: float(part.mean()),
        "min": lambda part: float(part.min()),
        "max": lambda part: float(part.max()),
        "std": lambda part: float(part.std(ddof=1)),
        "coverage": lambda part: len(part) / width,
    }
    with pyBigWig.open(str(track)) as file:
        read = file.stats(contig, start, end, type=kind, nBins=bins)
    # A stretch of a zoom level may reach over the border of a bin.
    slack = 0.35 if kind in ("min", "max") else 0.02
    np.testing.assert_allclose(read, [of[kind](part) for part in pieces], atol=slack)


def test_zoom_levels_by_another_reader(track: Path, expected: dict[str, NDArray[np.float32]]) -> None:
    bbi = pytest.importorskip("bbi")
    read = bbi.fetch(str(track), "long", 0, LONG, bins=75)
    np.testing.assert_allclose(read, expected["long"].astype(np.float64).reshape(75, -1).mean(1), atol=0.01)
    assert np.isfinite(bbi.fetch(str(track), "sparse", 30_000, SPARSE, bins=20)).all()


@pytest.mark.parametrize("values", [[], [np.nan, np.nan], [3.5]])
def test_hardly_any_value(values: list[float], tmp_path: Path) -> None:
    """A track without values opens, and so does one with a single value."""
    path = tmp_path / "x.bw"
    write_bigwig(path, {"a": 7}, lambda contig: [(2, np.array(values, dtype=np.float32), 1)])
    with pyBigWig.open(str(path)) as file:
        assert file.chroms() == {"a": 7}
        covered = [value for value in values if value == value]
        assert file.header()["nBasesCovered"] == len(covered)
        assert (file.intervals("a") or ()) == tuple((2, 3, value) for value in covered)


def test_windows_of_several_widths(tmp_path: Path) -> None:
    """Windows keep their width, and the last is shorter."""
    path = tmp_path / "x.bw"
    blocks = [(0, np.array([1, np.nan, 3], dtype=np.float32), 1_000), (3_000, np.array([4], dtype=np.float32), 345)]
    write_bigwig(path, {"a": 3_345}, lambda contig: blocks)
    with pyBigWig.open(str(path)) as file:
        assert file.intervals("a") == ((0, 1_000, 1.0), (2_000, 3_000, 3.0), (3_000, 3_345, 4.0))
        assert file.stats("a", 0, 3_345, type="mean") == [pytest.approx((1_000 + 3_000 + 4 * 345) / 2_345)]
