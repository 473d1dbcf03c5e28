"""The page of the Python API: its examples run, and it has one for each public name."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import hnet_dna

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
TEXT = PAGE.read_text()


def only_blocks(text: str, language: str) -> str:
    """Return the text with every line outside the blocks of a language made empty, so that line numbers stay."""
    inside, lines = False, []
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == f"```{language}"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(only_blocks(TEXT, "pycon"), {}, "api.md", str(PAGE), 0)
    assert len(examples.examples) > 30
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples, out=report.append)
    assert result.failed == 0, "".join(report)
    for name in ("chunks.bed.gz.tbi", "boundaries.bw", "log2p.bedgraph.gz", "all.bed"):
        assert (tmp_path / name).stat().st_size, name


def test_every_public_name_is_on_the_page() -> None:
    code = only_blocks(TEXT, "pycon") + only_blocks(TEXT, "python")
    shown = set(re.findall(r"\bhd\.(\w+)", code)) | set(re.findall(r"^::: hnet_dna\.(\w+)$", TEXT, flags=re.MULTILINE))
    assert set(hnet_dna.__all__) - {"__version__"} <= shown
