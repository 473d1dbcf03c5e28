"""`explain` and `plot_locus` as functions, and the one declaration of the columns of tables."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import lively_model, random_dna, small_config, write_fasta

import hnet_dna
from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.explanation.statistics import robustness
from hnet_dna.explanation.statistics.columns import TABLES, Column
from hnet_dna.explanation.statistics.tables import read_tables, table_of
from hnet_dna.inference.load import untrained
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval
from hnet_dna.serve import serve

ROOT = Path(__file__).parent.parent.parent
GENES = "".join(
    f"c\tx\t{kind}\t{start + 1}\t{start + 300}\t.\t+\t0\tID={kind}{start}\n"
    for start in (600, 1800, 3000)
    for kind in ("gene", "CDS")
)


@pytest.fixture
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("WINDOWS", 2), ("WINDOW", 300), ("SINGLES", 3), ("SINGLE_WINDOW", 100)):
        monkeypatch.setattr(robustness, name, content)


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    path = tmp_path / "genes.gff3"
    path.write_text(GENES)
    return path


def test_explain_in_memory(model: HNetLM, annotation: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    progress: list[str] = []
    report = hnet_dna.explain(
        {"c": random_dna(5000)},
        model,
        annotation=annotation,
        shifts=5,
        on_progress=lambda report: progress.append(report.part),
    )
    assert list(report.tables) == list(TABLES)
    assert all(report.tables[name].columns == layout.names for name, layout in TABLES.items())
    codons = report.to_pandas("codons")
    assert list(codons.columns) == list(TABLES["codons"].names)
    assert set(codons["bases"]) == {0, 300}
    assert {finding.table for finding in report.findings} == {"classes", "codons"}
    assert report.summary["model"] == "in memory"
    assert report.summary["read"]["bases"] == 5000
    assert {"reading", "reading edited sequence"} <= set(progress)
    assert capfd.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["genes.gff3"]


def test_explain_reads_back_what_it_wrote(model: HNetLM, annotation: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    report = hnet_dna.explain({"c": random_dna(5000)}, model, out, annotation=annotation, shifts=5, page=False)
    tables = read_tables(out)
    assert list(tables) == list(TABLES)
    for name, table in tables.items():
        assert table.columns == report.tables[name].columns
        for read, made in zip(table.rows, report.tables[name].rows, strict=True):
            for column in TABLES[name].columns:
                one, other = read[column.name], made[column.name]
                if isinstance(other, float):
                    assert one == pytest.approx(other, rel=1e-5, nan_ok=True)
                else:
                    assert one == other
                if column.type == "integer":
                    assert isinstance(one, int)
                if column.type == "text":
                    assert isinstance(one, str)


@pytest.mark.parametrize("wrong", [{"bases": 1}, {"shifts": 0}, {"seed": -1}])
def test_explain_names_its_parameters(wrong: dict[str, int], model: HNetLM, annotation: Path) -> None:
    with pytest.raises(UsageError, match="`bases` of 2 or more"):
        hnet_dna.explain({"c": "ACGT"}, model, annotation=annotation, **wrong)  # type: ignore[arg-type]


def test_report_of_the_first_version_is_read() -> None:
    """The published one, whose tables the present version must still read."""
    tables = read_tables(ROOT / "docs" / "reports" / "yeast")
    assert list(tables) == list(TABLES)
    for name, layout in TABLES.items():
        assert tables[name].columns == layout.names
        assert tables[name].rows
    with serve(ROOT / "docs" / "reports" / "yeast") as address, urllib.request.urlopen(address, timeout=30) as page:
        assert b"Where chunk boundaries lie" in page.read()


def test_cell_of_another_type_is_named(tmp_path: Path) -> None:
    (tmp_path / "chunks.tsv").write_text("stage\tlength\tchunks\tshare\n0\t1\tmany\tNA\n")
    with pytest.raises(SequenceError, match=r"chunks\.tsv: line 2: column chunks: expected an integer or NA"):
        read_tables(tmp_path)


def test_names_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    columns = TABLES["bits"].names
    table_of("bits", [("repeats", name, 1, *[math.nan] * (len(columns) - 3)) for name in ("1", "7SK", "NA")]).write(
        tmp_path
    )
    assert read_tables(tmp_path)["bits"].values("class") == ["1", "7SK", "NA"]


def markdown() -> Iterator[str]:
    """Yield the lines of a Markdown table of all columns, as docs/explain.md shows it."""
    tables: dict[Column, list[str]] = {}
    for layout in TABLES.values():
        for column in layout.columns:
            tables.setdefault(column, []).append(layout.name)
    yield "| Column | Tables | Unit | Meaning |"
    yield "|--|--|--|--|"
    for column, names in tables.items():
        where = "all but " + ", ".join(t for t in TABLES if t not in names) if len(names) > 6 else ", ".join(names)
        yield f"| `{column.name}` | {where} | {column.unit} | {column.meaning} |"


def test_docs_show_the_declared_columns() -> None:
    """To write that table anew: the lines of `markdown()`."""
    text = (ROOT / "docs" / "explain.md").read_text()
    assert text.endswith("\n".join(markdown()) + "\n")
    assert all(f"| `{name}.tsv` |" in text for name in TABLES)


def test_plot_locus(model: HNetLM, annotation: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    text = random_dna(2000)
    genome = [SeqRecord(Seq(text), id="c")]
    (tmp_path / "genes.gff3").write_text("".join(GENES.splitlines(keepends=True)[:2]))
    by_text = hnet_dna.plot_locus("c:601-700", genome, model, tmp_path / "one.svg", annotation=annotation)
    interval = Interval("c", 600, 700)
    by_interval = hnet_dna.plot_locus(interval, {"c": text}, model, tmp_path / "two.svg", annotation=annotation)
    assert by_text.interval == interval
    np.testing.assert_array_equal(by_text.bits, by_interval.bits)
    assert [gene.interval for gene in by_text.genes] == [Interval("c", 600, 900)]
    assert "chunks, stage 1" in (tmp_path / "one.svg").read_text()
    assert capfd.readouterr().out == ""
    assert "mean loss" not in (tmp_path / "one.svg").read_text()
    hnet_dna.plot_locus("c:601-630", {"c": text}, model, tmp_path / "three.svg", mutations=True)
    assert all(label in (tmp_path / "three.svg").read_text() for label in ("mean loss", "ratio (bits)", "per base"))
    with pytest.raises(UsageError, match=r"`mutations`: a picture shows those of at most 2,000 bases"):
        hnet_dna.plot_locus("c:1-2001", {"c": text + "A"}, model, tmp_path / "a.svg", mutations=True)
    with pytest.raises(UsageError, match=r"`out` .*ends in \.png, \.svg, \.pdf"):
        hnet_dna.plot_locus(interval, {"c": text}, model, tmp_path / "a.jpg")
    with pytest.raises(HNetError, match="past"):
        hnet_dna.plot_locus(Interval("c", 1900, 2100), {"c": text}, model, tmp_path / "a.svg")


def test_untrained_leaves_random_numbers_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    one, other = untrained(small_config()), untrained(small_config())
    assert torch.equal(torch.rand(4), wanted)
    assert not one.training
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_loaded_model_knows_its_name(model: HNetLM, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    assert hnet_dna.load_model(tmp_path / "model").name_or_path == (tmp_path / "model").as_posix()
    assert hnet_dna.load_model(model).name_or_path == ""


def test_fasta_file_and_pyfaidx(model: HNetLM, tmp_path: Path) -> None:
    from pyfaidx import Fasta

    path = write_fasta(tmp_path / "g.fa", {"c": random_dna(500)})
    with Fasta(str(path)) as fasta:
        locus = hnet_dna.plot_locus("c:101-200", fasta, model, tmp_path / "one.svg")
    same = hnet_dna.plot_locus("c:101-200", path, model, tmp_path / "two.svg")
    np.testing.assert_array_equal(locus.bits, same.bits)
