"""Verdicts from tables whose verdicts are known, and figures and pages of tables that are absent, new or odd."""

from __future__ import annotations

import json
import math
import tomllib
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from hnet_dna.errors import SequenceError
from hnet_dna.explanation.figures.figures import figures
from hnet_dna.explanation.page.page import write_page
from hnet_dna.explanation.statistics.findings import WORDS, discoveries, interesting, judge, with_verdicts
from hnet_dna.explanation.statistics.tables import read_tables

COLUMNS = ("stage", "group", "class", "bases", "boundaries", "rate", "enrichment", "enrichment_low", "enrichment_high",
           "shifted_low", "shifted_high", "p", "untrained", "untrained_enrichment", "shuffled",
           "shuffled_enrichment")  # fmt: skip
# Name, enrichment, its interval, p, untrained, shuffled, and the verdict that these deserve.
ROWS = [
    ("denser", 1.5, 1.4, 1.6, 0.005, 1.1, 1.0, "stands out"),
    ("sparser", 0.5, 0.4, 0.6, 0.005, 0.9, 1.2, "stands out"),
    ("of nature", 1.5, 1.4, 1.6, 0.005, 1.45, 1.0, "as untrained"),
    ("of nature, the more", 0.5, 0.4, 0.6, 0.005, 0.1, 1.0, "as untrained"),
    ("of dinucleotides", 1.5, 1.4, 1.6, 0.005, 1.1, 1.7, "as shuffled"),
    ("wide", 1.5, 0.9, 2.1, 0.005, 1.0, 1.0, "as chance"),
    ("by chance", 1.5, 1.4, 1.6, 0.6, 1.0, 1.0, "as chance"),
    ("one block", 1.5, math.nan, math.nan, 0.005, 1.0, 1.0, "too little"),
    ("no control", 1.5, 1.4, 1.6, 0.005, math.nan, 1.0, "too little"),
]


def cell(content: object) -> str:
    return "NA" if isinstance(content, float) and math.isnan(content) else str(content)


def write_table(folder: Path, name: str, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    lines = ["\t".join(map(cell, row)) for row in [columns, *rows]]
    (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows: list[tuple[object, ...]] = [(0, "all", "all", 9999, 999, 0.1, 1.0, 1.0, 1.0, 0.1, 0.1, 1.0, 0.2, 1.0, 0.1, 1)]
    for name, value, low, high, p, untrained, shuffled, _ in ROWS:
        rates = (value / 10, value, low, high, 0.09, 0.11, p, untrained / 5, untrained, shuffled / 10, shuffled)
        rows.append((0, "annotation", name, 100, 10, *rates))
    rows.append((0, "annotation", "nowhere", 0, 0, *[math.nan] * 11))
    rows.append((0, "annotation", "one base", 1, 1, 1.0, 10.0, 9.0, 11.0, 0.09, 0.11, 0.001, 0.2, 1.0, 0.1, 1.0))
    write_table(tmp_path, "classes", COLUMNS, rows)
    stage = {"stage": 0, "bases_per_chunk": 10.0, "bases_per_chunk_untrained": 5.0, "bases_per_chunk_shuffled": None}
    read = {"bases": 10_000, "rule": "all of it"}
    (tmp_path / "summary.json").write_text(json.dumps({"read": read, "shifts": 200, "stages": [stage]}))
    return tmp_path


def test_verdicts(folder: Path) -> None:
    findings = judge(read_tables(folder))
    assert {f.name: f.verdict for f in findings} == {row[0]: row[-1] for row in ROWS} | {"one base": "too little"}
    assert [f.name for f in findings][:2] == ["sparser", "denser"]  # 0.6 is further from 1 than 1.4 is
    rows = {row["class"]: row["verdict"] for row in with_verdicts(read_tables(folder))["classes"].rows}
    assert rows == {f.name: WORDS[f.verdict] for f in findings} | {"all": "not judged", "nowhere": "not judged"}
    assert interesting(findings) == [f.name for f in findings if f.verdict != "too little"]
    assert findings[0].sentence() == (
        "sparser: 0.50 times as many boundaries per base as in all bases (95 % interval 0.40 to 0.60, p = 0.005 "
        "against shifts); untrained model 0.90, shuffled sequence 1.20; 100 bases"
    )


def test_false_discovery_rate_is_that_of_benjamini_and_hochberg() -> None:
    # Their own example (1995, section 4): of these 15, step-up at 0.05 takes four, Bonferroni three.
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590,
         1.0]  # fmt: skip
    assert sum(discoveries(p, 0.05)) == 4
    assert discoveries([0.5, math.nan, 0.01], 0.05) == [False, False, True]
    # A p that fails its own step passes if a later one passes its.
    assert discoveries([0.04, 0.045], 0.05) == [True, True]
    assert discoveries([0.04, 0.3], 0.05) == [False, False]


def test_page_of_what_there_is(folder: Path) -> None:
    bits = ("group", "class", "bases", "bits_per_base", "low", "high", "difference", "difference_low",
            "difference_high", "untrained", "untrained_difference")  # fmt: skip
    whole = ("all", "all", 9999, 1.9, 1.8, 2.0, 0.0, 0.0, 0.0, 2.0, 0.0)
    hostile = "</script><b>CDS"
    of_codons = ("codon position", "-1", 99, 1.8, 1.7, 1.9, -0.1, -0.2, -0.05, 2.0, 0.0)
    odd = ("x", hostile, 9, 1.7, 1.6, 1.8, -0.2, -0.3, -0.1, 2.0, 0.01)
    write_table(folder, "bits", bits, [whole, odd, of_codons])
    profile = ("site", "strand", "offset", "bases", "bits_per_base", "difference", "untrained_difference")
    rows: list[tuple[object, ...]] = [
        ("TSS", s, o, 30 if s == "+" else 9, 1.9, 0.1, 0.0) for s in "+-" for o in range(-50, 51)
    ]
    write_table(folder, "bits_profiles", profile, [*rows, *rows])
    edited = ("stage", "segmentation", "edit", "rate", "within", "kept", "low", "high", "kept_by_chance", "bits_added",
              "bits_added_low", "bits_added_high")  # fmt: skip
    kept = (0.5, 0.4, 0.6, 0.3)
    rows = [
        (0, "model", "deletion", 0.01, math.nan, *kept, 0.1, 0.05, 0.2),
        (0, "k-mers", "deletion", 0.01, math.nan, *kept, math.nan, math.nan, math.nan),
        (0, "model", "deletion", "single", 16, *kept, 0.1, 0.05, 0.2),
    ]
    write_table(folder, "robustness", edited, rows)
    write_table(folder, "unheard of", ("edit", "kept"), [("deletion", 0.5), ("insertion", math.nan)])
    drawn = list(figures(read_tables(folder)))
    assert [figure.table for figure in drawn] == ["classes", "bits", "bits_profiles", "robustness"]
    assert "bits per base - overall" in drawn[1].svg
    assert "codon 1, -  (99)" in drawn[1].svg
    assert ("TSS, + strand" in drawn[2].svg, "TSS, - strand" in drawn[2].svg) == (True, False)
    assert "with fewer than 10 sites: TSS on the - strand (n = 9)." in drawn[2].caption
    assert "bits per base added" in drawn[3].svg
    page = write_page(folder).read_text()
    assert "Stands out against all three controls" in page
    assert "&lt;/script&gt;&lt;b&gt;CDS" in page
    assert hostile not in page
    assert page.count('<table class="sortable">') == 4
    assert "404 rows, too many to show here" in page
    assert '<td class="text">insertion</td><td data-value=""></td>' in page
    assert "Genome browser" not in page
    assert '<td class="text">of nature</td><td class="text">untrained does as much</td>' in page
    assert "Not present in what was read: nowhere.</p>" in page
    assert '<td class="text">nowhere</td>' not in page
    for words in ("profiles", "codons", "edges"):
        assert f'id="{words}"' not in page


def test_damaged_table_is_named(folder: Path) -> None:
    (folder / "chunks.tsv").write_text("stage\tlength\n0\t1\n0\n")
    with pytest.raises(SequenceError, match=r"chunks\.tsv: line 3: expected 2 columns, got 1"):
        read_tables(folder)


def test_too_few_shifts_are_said(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "shifts": 5}))
    assert "5 shifts are too few" in write_page(folder).read_text()


def test_igv_is_the_file_of_its_package() -> None:
    vendor = files("hnet_dna.explanation.page") / "vendor"
    manifest = tomllib.loads((vendor / "igv.toml").read_text())
    assert sha256((vendor / "igv.min.js").read_bytes()).hexdigest() == manifest["sha256"]
    assert f'"{manifest["version"]}"' in (vendor / "igv.min.js").read_text()
    # Inside a page, any of these would change how the script is read.
    assert not any(mark in (vendor / "igv.min.js").read_text() for mark in ("<!--", "<script", "</script"))
