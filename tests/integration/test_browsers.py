"""What browsers make of our tracks: igv.js in headless Chromium, and JBrowse's bigWig reader."""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from helpers import lively_model, small_config, write_fasta

from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.fasta import read_fasta
from hnet_dna.genome.open import open_genome
from hnet_dna.inference.stream import Bases, annotate
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.tracks.bigbed import write_bigbed
from hnet_dna.tracks.segment import segment

ROOT = Path(__file__).parent.parent.parent
NODE_MODULES = ROOT / ".ci-node" / "node_modules"
LENGTH = 20_000
READ_BIGBED = """
import { BigBed } from "@gmod/bbi"
import { LocalFile } from "generic-filehandle2"
const file = new BigBed({ filehandle: new LocalFile(process.argv[2]) })
const header = await file.getHeader()
const found = await file.getFeatures("chrI", Number(process.argv[3]), Number(process.argv[4]))
console.log(JSON.stringify({ header, found: found.map(f => [f.start, f.end, f.rest]) }))
"""
READ_BBI = """
import { BigWig } from "@gmod/bbi"
import { LocalFile } from "generic-filehandle2"
const file = new BigWig({ filehandle: new LocalFile(process.argv[2]) })
const header = await file.getHeader()
const found = await file.getFeatures("chrI", Number(process.argv[3]), Number(process.argv[4]), { scale: 1 })
console.log(JSON.stringify({ sizes: header.refsByNumber, found: found.map(f => [f.start, f.end, f.score]) }))
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("browser_page", ROOT / "pipelines" / "browser_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, script: ModuleType, model: HNetLM) -> Path:
    """A real piece of yeast with its genes, segmented by a model that knows nothing."""
    folder = tmp_path_factory.mktemp("browser")
    genome = open_genome(shutil.copy(bundled_genome().fasta, folder / "yeast.fa.gz"))
    fasta = write_fasta(folder / "chrI.fa", {"chrI": to_text(genome.codes(Interval("chrI", 0, LENGTH)))})
    script.write_page(folder / "page", fasta, model, bundled_genome().annotation, "chrI:1,800-2,400")
    write_bigbed(segment(fasta, model), fasta, folder / "page" / "chunks.bb")
    of_bed = (folder / "page" / "index.html").read_text()
    of_bigbed = of_bed.replace('"chunks.bed", "format": "bed"', '"chunks.bb", "format": "bigbed"')
    assert of_bigbed != of_bed
    (folder / "page" / "bigbed.html").write_text(of_bigbed)
    return folder / "page"


@pytest.fixture(scope="module")
def expected(page: Path, model: HNetLM) -> list[Bases]:
    return list(annotate(read_fasta(page / "genome.fa"), model))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_igv_shows_the_tracks_at_their_places(script: ModuleType, page: Path, expected: list[Bases]) -> None:
    with script.serve(page) as url:
        seen = script.features_seen(url)
    assert "error" not in seen, seen
    prob = np.concatenate([bases.stages[0].prob for bases in expected])
    inside = {start: value for start, end, value in seen["boundary probability"] if end - start == 1}
    assert set(range(1_799, 2_400)) <= set(inside)
    for start, value in inside.items():
        assert value == pytest.approx(float(prob[start]), abs=1e-6)
    lines = [line.split("\t") for line in (page / "chunks.bed").read_text().splitlines()]
    shown = [[int(s), int(e), name] for _, s, e, name, *_ in lines if int(e) > 1_799 and int(s) < 2_400]
    # igv.js also hands over what touches the edges.
    assert sorted(feature for feature in seen["chunks"] if feature[0] < 2_400 and feature[1] > 1_799) == shown
    with gzip.open(bundled_genome().annotation, "rt") as file:
        genes = [line.split("\t") for line in file if line.startswith("chrI\t")]
    overlapping = sorted(
        [int(g[3]) - 1, int(g[4])] for g in genes if g[2] == "gene" and int(g[4]) > 1_799 and int(g[3]) <= 2_400
    )
    assert overlapping
    assert sorted(feature[:2] for feature in seen["genes"]) == overlapping


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_igv_shows_the_bigbed(script: ModuleType, page: Path) -> None:
    with script.serve(page) as url:
        seen = script.features_seen(url.replace("index.html", "bigbed.html"))
    assert "error" not in seen, seen
    assert sorted(f for f in seen["chunks"] if f[0] < 2_400 and f[1] > 1_799) == [list(row[:3]) for row in _rows(page)]


def _rows(page: Path) -> list[tuple[int, int, str, str, str]]:
    """Return the chunks of the locus as BED has them."""
    lines = [line.split("\t") for line in (page / "chunks.bed").read_text().splitlines()]
    rows = [(int(start), int(end), name, score, strand) for _, start, end, name, score, strand in lines]
    return [row for row in rows if row[0] < 2_400 and row[1] > 1_799]


_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
_BBI = pytest.mark.skipif(
    not (NODE_MODULES / "@gmod" / "bbi").exists(), reason="@gmod/bbi is not installed in .ci-node"
)


@_NODE
@_BBI
def test_jbrowse_reads_the_bigbed(page: Path) -> None:
    reader = NODE_MODULES.parent / "read_bigbed.mjs"
    reader.write_text(READ_BIGBED)
    command = ["node", str(reader), str(page / "chunks.bb"), "1799", "2400"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    entries = [(start, end, *rest.split("\t")[:3]) for start, end, rest in answer["found"]]
    assert entries == _rows(page)
    assert answer["header"]["definedFieldCount"] == 6
    assert "boundary probability" in answer["header"]["autoSql"].lower()


@_NODE
@_BBI
def test_jbrowse_reads_the_bigwig(page: Path, expected: list[Bases]) -> None:
    reader = NODE_MODULES.parent / "read_bbi.mjs"
    reader.write_text(READ_BBI)
    command = ["node", str(reader), str(page / "probability.bw"), "150", "400"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    prob = np.concatenate([bases.stages[0].prob for bases in expected])
    entries = {start: score for start, end, score in answer["found"] if end - start == 1}
    assert set(range(150, 400)) <= set(entries)
    for start, score in entries.items():
        assert score == pytest.approx(float(prob[start]), abs=1e-6)
    (contig,) = (ref for ref in answer["sizes"] if ref)
    assert (contig["name"], contig["length"]) == ("chrI", LENGTH)
