"""Sequences side by side: what is made of each is what is made of it by itself, whatever runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import lively_model, random_dna, small_config, write_fasta

from hnet_dna.data.split import Split
from hnet_dna.evaluation.compare import HeldOut, compare
from hnet_dna.genome.fasta import Piece
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.base_scores import base_scores
from hnet_dna.inference.strands import Reading, read_strands
from hnet_dna.inference.stream import Result, read_sources
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import from_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.outputs import TrackFiles
from hnet_dna.tracks.to_files import segment_to_files

# Shorter than a part, of one base, of none, of nothing but N, with N at either end, and with stretches of any length.
TEXTS = [
    random_dna(81),
    "A",
    "",
    "NNNN",
    random_dna(37, 1),
    "NN" + random_dna(64, 2) + "N" + random_dna(3, 3) + "NNN" + random_dna(50, 4) + "N",
    random_dna(90, 5).lower(),
]
CONFIGS = {
    "two stages, all layers": small_config(),
    "memory of words": small_config(
        arch_layout=["m1", ["T1"], "m1"], d_model=[24, 24], d_intermediate=[0, 32],
        attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": 5},
        memory_cfg={"table_orders": [2, 3], "table_width": 5, "word_orders": [8]},
    ),
    "isotropic": small_config(arch_layout=["T1m1"], d_model=[24], d_intermediate=[32],
                              attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": 5}),
    "3-mers": small_config(kmer=3, arch_layout=["T1m1"], d_model=[24], d_intermediate=[32],
                           attn_cfg={"num_heads": 3, "rotary_emb_dim": 4, "window_size": 3}),
    "global attention": small_config(
        attn_cfg={"num_heads": [3, 3, 5], "rotary_emb_dim": [4, 0, 4], "window_size": [9, -1, 3]}
    ),
    "forced boundaries, no average": small_config(
        chunk_cfg={"routing": ["linear", "cosine", "cosine"], "max_chunk": [3, 2, 0], "smoothing": False},
    ),
}  # fmt: skip


def in_pieces(name: str, text: str, size: int = 29) -> Iterator[Piece]:
    for start in range(0, len(text), size):
        yield Piece(name, start, from_text(text[start : start + size]), 0)


def sources(texts: list[str]) -> Iterator[Iterator[Piece]]:
    for index, text in enumerate(texts):
        yield in_pieces(f"c{index}", text)


Joined = dict[tuple[int, int], tuple[np.ndarray, list[tuple[np.ndarray, ...]]]]


def joined(model: HNetLM, texts: list[str], **options: Any) -> Joined:
    """Bits, and position, probability and mask of each stage, of each base's stretch by source and start."""
    found: dict[int, list[tuple[int, Result]]] = {}
    for source, part, result in read_sources(sources(texts), model, context=10, **options):
        assert part.codes.tolist() == from_text(texts[source][part.start : part.end]).tolist()
        found.setdefault(source, []).append((part.start, result))
    for of_source in found.values():
        assert [start for start, _ in of_source] == sorted(start for start, _ in of_source)
    return {
        (source, of_source[0][0]): (
            np.concatenate([result.bits for _, result in of_source]),
            [
                tuple(
                    np.concatenate([getattr(result.stages[stage], name) for _, result in of_source])
                    for name in ("position", "prob", "mask")
                )
                for stage in range(len(of_source[0][1].stages))
            ],
        )
        for source, of_source in found.items()
    }


@pytest.mark.parametrize("name", CONFIGS)
def test_side_by_side_equals_one_by_one(name: str) -> None:
    """Sequences take each other's rows here many times: nothing of one may be left to the next."""
    model = lively_model(CONFIGS[name])
    piece = 24 if model.config.has_global_attention else 1000
    alone = joined(model, TEXTS, streams=1, piece=piece)
    for streams, size in ((2, 31), (16, 80)):
        together = joined(model, TEXTS, streams=streams, piece=piece if model.config.has_global_attention else size)
        assert together.keys() == alone.keys()
        for key, (bits, stages) in together.items():
            np.testing.assert_allclose(bits, alone[key][0], rtol=0, atol=1e-9)
            for ours, wanted in zip(stages, alone[key][1], strict=True):
                for array, expected in zip(ours, wanted, strict=True):
                    np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6)
    if model.n_chunking_stages == 2:
        for _, stages in joined(model, TEXTS, stage=1, streams=3, piece=31).values():
            assert len(stages) == 2
        boundaries = joined(model, TEXTS, stage=0, streams=3, piece=piece if piece == 24 else 31)
        for key, (bits, (first,)) in boundaries.items():
            assert not len(bits)
            np.testing.assert_array_equal(first[2], alone[key][1][0][2])


def test_rows_are_really_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of each long sequence in a launch, the next sequence in the place of one that has ended, no more open."""
    model = lively_model(CONFIGS["isotropic"])
    shapes: list[tuple[int, ...]] = []
    model.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
    opened = 0

    def counted() -> Iterator[Iterator[Piece]]:
        nonlocal opened
        for pieces in sources([random_dna(100, i) for i in range(6)]):
            opened += 1
            yield pieces

    for source, _, _ in read_sources(counted(), model, streams=3, piece=60):
        assert opened <= source + 6  # two others, and as many as have begun while its results were waited for
    assert max(rows for rows, _ in shapes) == 3
    assert sum(rows * length for rows, length in shapes) <= 1.3 * 600
    assert max(rows * length for rows, length in shapes) <= 60


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    records = {f"c{i}": text for i, text in enumerate(TEXTS) if text}
    return open_genome(write_fasta(tmp_path_factory.mktemp("genome") / "g.fa", records))


Place = tuple[str, str, int, int]


def flat(readings: Iterator[Reading]) -> tuple[dict[Place, tuple[Any, ...]], dict[Place, float]]:
    """What is decided, and numbers, by contig, strand, stage (-1: bits) and position, whatever parts they came in."""
    decided: dict[Place, tuple[Any, ...]] = {}
    numbers: dict[Place, float] = {}
    for reading in readings:
        for sign, result in (("+", reading.plus), ("-", reading.minus)):
            if result is None:
                continue
            contig, start = reading.part.contig, reading.part.start
            numbers |= {(contig, sign, -1, start + i): b for i, b in enumerate(result.bits.tolist())}
            for number, stage in enumerate(result.stages):
                places = [(contig, sign, number, position) for position in stage.position.tolist()]
                numbers |= dict(zip(places, stage.prob.tolist(), strict=True))
                decided |= {p: (m, reading.minus_chunks) for p, m in zip(places, stage.mask.tolist(), strict=True)}
    return decided, numbers


@pytest.mark.parametrize("strand", ["+", "-", "both"])
def test_strands_come_in_the_order_of_the_genome(genome: Genome, strand: Any) -> None:
    model = lively_model(small_config())
    intervals = [whole(contig) for contig in genome.contigs]
    intervals[0:1] = [Interval("c0", 0, 40), Interval("c0", 41, 81)]
    decided, numbers = flat(read_strands(genome, intervals, model, strand, bits=True, stages=2, streams=1, piece=32))
    places = list(dict.fromkeys((contig, start) for contig, _, stage, start in numbers if stage == -1))
    order = {contig.name: i for i, contig in enumerate(genome.contigs)}
    assert places == sorted(places, key=lambda place: (order[place[0]], place[1]))
    assert len(places) == 1 + 37 + 64 + 3 + 50 + 90 + 80
    for streams in (2, 20):
        run: list[int] = []
        readings = read_strands(
            genome, intervals, model, strand, bits=True, stages=2, streams=streams, piece=40, on_bases=run.append
        )
        ours, values = flat(readings)
        assert ours == decided
        assert values == pytest.approx(numbers, abs=1e-5)
        assert sum(run) == len(places) * (2 if strand == "both" else 1)
    scores = [
        np.concatenate([s.log2p for s in base_scores(genome, intervals, model, strand, streams=k)]) for k in (1, 3)
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("strand", ["+", "both"])
def test_files_are_those_of_one_stream(genome: Genome, strand: Any, tmp_path: Path) -> None:
    """In the order of the genome, with the same numbers of chunks, from a FASTA file as from its store."""
    model = lively_model(CONFIGS["memory of words"])
    made = []
    for streams in (1, 5):
        out, track = tmp_path / f"{streams}.bed", tmp_path / f"{streams}.bedgraph"
        files = TrackFiles(out, bedgraph=track)
        count = segment_to_files(genome.source, model, files, strand=strand, streams=streams)
        lines = [line.split("\t") for line in out.read_text().splitlines()]
        assert len(lines) == count
        made.append([(*line[:4], line[5]) for line in lines])
        assert len(list(tmp_path.glob(f"{streams}*.bedgraph"))) == (1 if strand == "+" else 2)
    assert made[0] == made[1]


def test_an_evaluation_is_that_of_one_stream(genome: Genome) -> None:
    model = lively_model(CONFIGS["memory of words"])
    test = (Interval("c0", 0, 60), Interval("c0", 70, 81), Interval("c5", 3, 120), Interval("c6", 0, 50))
    held_out = [HeldOut(genome, Split((Interval("c6", 50, 90),), (), test, "by hand"))]
    alone, together = (compare(model, held_out, orders=[1], streams=streams) for streams in (1, 3))
    assert alone is not None
    assert together is not None
    assert together.model.chunks == alone.model.chunks
    for one, other in zip(together.classes, alone.classes, strict=True):
        assert (one.group, one.name, one.bases) == (other.group, other.name, other.bases)
        assert one.bits_per_base == pytest.approx(other.bits_per_base, abs=1e-5)
