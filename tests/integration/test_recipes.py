"""The recipe for conda and the modules for Nextflow: pins as in pyproject.toml, and commands that run."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from helpers import lively_model, random_dna, small_config, write_fasta
from typer.testing import Result

import hnet_dna

ROOT = Path(__file__).parent.parent.parent
MODULES = sorted((ROOT / "pipelines" / "nf-core" / "modules" / "hnetdna").iterdir())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_CONDA = {"torch": "pytorch"}


def test_the_recipe_has_the_pins_of_the_project() -> None:
    text = (ROOT / "pipelines" / "bioconda" / "meta.yaml").read_text()
    version = re.search(r'set version = "(.*)"', text)
    assert version is not None
    assert version[1] == hnet_dna.__version__
    recipe = yaml.safe_load(re.sub(r"{{.*?}}", "x", re.sub(r"{%.*%}", "", text)))
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["bigbed"]]
    pins = {f"python {PROJECT['requires-python']}"}
    for line in wanted:
        match = re.fullmatch(r"([\w-]+)([^;]*)(;.*)?", line)
        assert match is not None
        name = match[1].lower()
        pins.add(f"{_CONDA.get(name, name)} {match[2]}".strip())
    assert set(recipe["requirements"]["run"]) == pins
    assert recipe["about"]["license"] == PROJECT["license"]
    for file in recipe["about"]["license_file"]:
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_runs(
    module: Path, cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its script, as Nextflow would fill it in, gives all files that it promises and meta.yml describes."""
    pytest.importorskip("pybigtools")
    text = (module / "main.nf").read_text()
    assert f"process HNETDNA_{module.name.upper()} {{" in text
    script = text.partition("    script:")[2].split('"""')[1].split("cat <<-")[0]
    values = {"$args": "", "$model": "m", "$fasta": "x.fa", "${prefix}": "sample"}
    for name, value in values.items():
        script = script.replace(name, value)
    monkeypatch.chdir(tmp_path)
    lively_model(small_config()).float().save_pretrained("m")
    write_fasta(Path("x.fa"), {"a": random_dna(300), "b": random_dna(200, 1)})
    program, *arguments = shlex.split(script.replace("\\\\\n", " "))
    assert program == "hnet-dna"
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    made = [path.name for path in tmp_path.iterdir()]
    described = yaml.safe_load((module / "meta.yml").read_text())
    promised = dict(re.findall(r'path\("(.*)"\), emit: (\w+)', text))
    assert promised
    for pattern, emitted in promised.items():
        options = re.sub(r"\{(.*)\}", lambda match: match[1].split(",")[0], pattern)
        assert [name for name in made if fnmatch(name, options)], pattern
        assert pattern in described["output"][emitted][0][1]
    assert set(described["output"]) == {*promised.values(), "versions"}
    assert f"hnet-dna={hnet_dna.__version__}" in (module / "environment.yml").read_text()
