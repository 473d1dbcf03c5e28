"""What is released: the contents of wheel and sdist, and the files that name versions and dependencies twice."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist, and the wheel built from it: not from the working tree, where files of before may lie."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(build, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return folder


def test_wheel(dist: Path) -> None:
    (path,) = dist.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        about = message_from_bytes(wheel.read(metadata))
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert b"hnet-dna = hnet_dna_cli.main:app" in wheel.read(scripts)
    sources = {f"hnet_dna/{path.relative_to(ROOT / 'hnet_dna')}" for path in (ROOT / "hnet_dna").rglob("*.py")}
    sources |= {f"hnet_dna/{path.relative_to(ROOT / 'hnet_dna')}" for path in (ROOT / "hnet_dna").rglob("*.toml")}
    sources |= {f"hnet_dna_cli/{path.name}" for path in (ROOT / "cli").glob("*.py")}
    manifests = ROOT / "data_manifests"
    sources |= {f"hnet_dna_manifests/genomes/{path.name}" for path in (manifests / "genomes").glob("*.toml")}
    bundled = [path for path in (manifests / "bundled").iterdir() if path.suffix != ".hnetdna"]
    sources |= {f"hnet_dna_manifests/bundled/{path.name}" for path in bundled}
    sources |= {"hnet_dna/py.typed", "hnet_dna_manifests/__init__.py"}
    assert len(bundled) == 3
    assert sources - names == set()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"hnet_dna", "hnet_dna_cli", "hnet_dna_manifests"}  # no tests, benchmarks, docs
    assert not [name for name in names if name.endswith((".hnetdna", ".pyc"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert about["License-Expression"] == "Apache-2.0 AND MIT"
    assert path.stat().st_size < 8e6


def test_sdist(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    for wanted in ("tests/conftest.py", "docs/index.md", "mkdocs.yml", "pipelines/command_reference.py", "LICENSE"):
        assert wanted in names
    assert not [name for name in names if name.endswith((".hnetdna", ".pyc"))]


def test_workflows() -> None:
    ci, publish = (
        yaml.safe_load((ROOT / ".github/workflows" / name).read_text()) for name in ("ci.yml", "publish.yml")
    )
    versions = [match[1] for line in PROJECT["classifiers"] if (match := re.search(r":: (3\.\d+)$", line))]
    job = ci["jobs"]["check"]
    assert job["strategy"]["matrix"]["python"] == versions
    assert {"run": "bash .ci/run"} in job["steps"]
    uploads = [step for step in publish["jobs"]["publish"]["steps"] if "pypi-publish" in step["uses"]]
    assert len(uploads) == 1
    assert publish["jobs"]["publish"]["permissions"] == {"id-token": "write"}


def test_conda_environment_has_all_dependencies() -> None:
    """Of the same versions; conda-forge calls torch pytorch."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {text.split(" ")[0]: text.partition(" ")[2] for text in listed if isinstance(text, str)}
    for dependency in PROJECT["dependencies"]:
        match = re.match(r"([\w-]+)([^;\s]+)", dependency)
        assert match is not None
        name = match[1].lower()
        assert conda[{"torch": "pytorch"}.get(name, name)] == match[2], dependency
