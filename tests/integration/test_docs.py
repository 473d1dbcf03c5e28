"""What the documentation says can be done can be done: its commands, links, figures, and `--help` itself."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from helpers import lively_model, random_dna, small_config, write_fasta
from typer.testing import Result

from hnet_dna.config.recipe import GROUPS
from hnet_dna.config.settings import resolve
from hnet_dna.config.values import readers
from hnet_dna.probing import metrics

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = runpy.run_path(str(ROOT / "pipelines" / "command_reference.py"))
COMMANDS: dict[str, Any] = dict(REFERENCE["commands"]())
Cli = Callable[..., Result]


def blocks(text: str, language: str = "bash") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def lines(text: str) -> list[str]:
    """Return the lines of all shell blocks, continued ones joined."""
    return [line for line in "\n".join(blocks(text)).replace("\\\n", " ").splitlines() if line.strip()]


def arguments_of(line: str) -> list[str] | None:
    """Return what a shell would hand to hnet-dna, None where the line does not call it."""
    words = shlex.split(line.replace("$(which hnet-dna)", "hnet-dna"), comments=True)
    if "hnet-dna" not in words:
        return None
    words = words[words.index("hnet-dna") + 1 :]
    ends = [index for index, word in enumerate(words) if word in (">", "|", "||", "&&", ";")]
    return words[: ends[0]] if ends else words


def parse(arguments: list[str]) -> None:
    """Let the real parser read the arguments of a command, without running it."""
    name = max((name for name in COMMANDS if f"hnet-dna {' '.join(arguments)} ".startswith(f"{name} ")), key=len)
    COMMANDS[name].make_context(name, arguments[len(name.split()) - 1 :])


def refusal(arguments: list[str]) -> Exception | None:
    """Return what the parser says against these arguments; versions of typer share no class of its errors."""
    try:
        parse(arguments)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_parse(page: Path) -> None:
    """Lines of shell blocks, and code in the text that has arguments."""
    text = page.read_text()
    called = [command for command in map(arguments_of, lines(text)) if command]
    for span in re.findall(r"`(hnet-dna [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        words = arguments_of(re.sub(r"[\[\]]", "", " ".join(span.split()))) or []
        if "..." not in words and "COMMAND" not in words and f"hnet-dna {' '.join(words)}" not in COMMANDS:
            called.append(words)
    for arguments in called:
        if arguments[0].startswith("--"):
            assert arguments[0] in ("--help", "--version", "--install-completion", "--show-completion")
            continue
        assert refusal(arguments) is None, f"{page.name}: hnet-dna {' '.join(arguments)}"


def test_help_is_whole_in_80_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in COMMANDS:
        shown = cli(*name.split()[1:], "--help").stdout
        assert "…" not in shown, f"{name}: a word without blanks is cut"
        assert max(map(len, shown.splitlines())) <= 80, name


def test_wrong_commands_do_not_parse() -> None:
    """The test above can fail."""
    wrong = {
        "segment a.fa --modle run": "NoSuchOption",
        "pretrain --steps many": "BadParameter",
        "embed a.fa": "MissingParameter",
    }
    for line, kind in wrong.items():
        assert type(refusal(line.split())).__name__ == kind


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(name: str) -> None:
    examples = [line for line in REFERENCE["examples"](COMMANDS[name]) if not line.startswith("torchrun")]
    assert examples
    for line in examples:
        arguments = arguments_of(line)
        assert arguments is not None
        assert f"hnet-dna {' '.join(arguments)} ".startswith(f"{name} "), line
        parse(arguments)


def test_options_mean_the_same_everywhere() -> None:
    """But for --head, of which probe makes one and predict takes one, and for --plot, whose file probe names itself."""
    metavars: dict[str, set[str | None]] = defaultdict(set)
    switches: dict[str, set[frozenset[str]]] = defaultdict(set)
    for command in COMMANDS.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    metavars[option].add(parameter.metavar)
                    switches[option].add(frozenset(parameter.opts))
    assert {option: meanings for option, meanings in metavars.items() if len(meanings) > 1} == {
        "--head": {"HEAD", "PATH"},
        "--plot": {None, "PATH"},
    }
    assert {option: meanings for option, meanings in switches.items() if len(meanings) > 1} == {}


def test_reference_has_what_help_has(cli: Cli) -> None:
    page = REFERENCE["reference"]()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE))
    assert {f"hnet-dna {name}" for name in sections} == set(COMMANDS)
    for name in ("segment", "genome fetch", "pretrain"):
        shown = cli(*name.split(), "--help").stdout
        options = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", shown))
        assert len(options) > (5 if name != "genome fetch" else 0)
        assert options <= set(re.findall(r"--[a-z][a-z-]+", sections[name]))


def test_links_lead_to_files() -> None:
    """On the forge as on the site, so that no page links to one that exists only there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if not target.startswith(("https://", "#")):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"


def test_settings_are_those_of_the_code(tmp_path: Path) -> None:
    """Each key with its default and the value of `tiny`, the default preset, an empty field being the default."""
    text = (ROOT / "docs" / "training.md").read_text()
    for block in blocks(text, "toml"):
        assert tomllib.loads(block)
    required = {"arch_layout": ["m1"], "d_model": [64], "d_intermediate": [0]}
    (tmp_path / "least.toml").write_text(tomli_w.dumps({"model": required}))
    documented: dict[str, dict[str, tuple[Any, Any]]] = {}
    for line in text.splitlines():
        if head := re.fullmatch(r"\| `\[(\w+)\](?: (\w+))?`(?:, ([\w ]+))? \| default \| `tiny` \| \|", line):
            table = documented.setdefault(head[3] or head[2] or head[1], {})
        elif line.startswith("| `") and line.count(" | ") >= 2 and documented:
            keys, default, tiny = (cell.strip() for cell in line.split("|")[1:4])
            names = re.findall(r"`(\w+)`", keys)
            defaults, of_tiny = (tomllib.loads(f"v = [{cell}]")["v"] for cell in (default, tiny or default))
            for index, name in enumerate(names):
                table[name] = (required[name] if name in required else defaults[index], of_tiny[index])
        elif line.startswith("#") and documented:
            break
    for place, settings in enumerate((resolve(None, tmp_path / "least.toml"), resolve("tiny"))):
        model = json.loads(json.dumps(settings.model.to_dict()))
        groups = {name: model.pop(name) for name in [name for name in model if name.endswith("_cfg")]}
        recipe = json.loads(json.dumps(settings.recipe.to_dict()))
        of_recipe = {group.TITLE: {name: recipe.pop(name) for name in readers(group)} for group in GROUPS}
        assert not recipe, "each field of the recipe is in a group"
        real = {**of_recipe, "model": model, **groups}
        for table_name, values in real.items():
            shown = {name: _one(pair[place]) for name, pair in documented[table_name].items()}
            assert shown == {name: _one(value) for name, value in values.items()}, table_name


def _one(value: Any) -> Any:
    """One value for all stages is written as it is, not as a list."""
    return value[0] if isinstance(value, list) and value and all(item == value[0] for item in value) else value


def test_figures_are_those_of_the_script(tmp_path: Path) -> None:
    script = ROOT / "pipelines" / "draw_figures.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_text() for path in (ROOT / "docs" / "figures").iterdir()}


def test_completion_is_quick_and_right() -> None:
    """Completing must not import torch: it runs at each Tab."""
    check = (
        "import atexit, os, sys; from importlib.metadata import entry_points\n"
        "atexit.register(lambda: os._exit(9) if 'torch' in sys.modules else None)\n"
        "sys.argv = ['hnet-dna']; next(iter(entry_points(group='console_scripts', name='hnet-dna'))).load()()"
    )
    for words, wanted in (("hnet-dna seg", ["segment"]), ("hnet-dna embed --per", ["--per-chunk"])):
        asked = {"_HNET_DNA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        result = subprocess.run(
            [sys.executable, "-c", check], env={**os.environ, **asked}, capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == wanted
    asked = {"_HNET_DNA_COMPLETE": "source_bash"}
    result = subprocess.run([sys.executable, "-c", check], env={**os.environ, **asked}, capture_output=True, text=True)
    assert "complete -o default" in result.stdout


def test_version_names_what_matters(cli: Cli) -> None:
    shown = cli("--version").stdout
    assert re.fullmatch(r"hnet-dna \S+ \(Python \S+, torch \S+, (no mamba-ssm|mamba-ssm \S+)\)\n", shown), shown


@pytest.fixture
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals have tests of their own; here they would take most of the time."""
    monkeypatch.setattr(metrics, "_RESAMPLES", 3)


# What makes the tutorial small: everything else of its lines is run as it stands.
SMALLER = {
    "yeast": "small.fa",
    "mine.fa": "small.fa",
    "--minutes 10": "--steps 2",
    r"200000\t230000": r"200\t900",
    r"60000\t62000": r"300\t600",
}


@pytest.mark.usefixtures("_few_resamples")
def test_tutorial_runs(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["chrI", "chrII", "chrIII", "chrIV", "chrV", "chrVI", "chrXV"]
    write_fasta(tmp_path / "small.fa", {name: random_dna(1000, seed) for seed, name in enumerate(names)})
    genes = "".join(
        f"{name}\tx\t{kind}\t401\t700\t.\t+\t0\tID={kind}-{name}{parent}\n"
        for name in names
        for kind, parent in (("gene", ""), ("CDS", f";Parent=gene-{name}"))
    )
    text = (ROOT / "docs" / "tutorial.md").read_text()
    for old in SMALLER:
        assert old in text
    for line in lines(text):
        for old, new in SMALLER.items():
            line = line.replace(old, new)
        if line.startswith("hnet-dna genome annotation"):
            (tmp_path / "genes.gff3").write_text(genes)
        elif (arguments := arguments_of(line)) is None:
            subprocess.run(["bash", "-ec", line], check=True, stdout=subprocess.DEVNULL)
        else:
            result = cli(*arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
    for name in ("chunks.bed", "boundaries.bw", "report/classes.tsv", "probe/report.json"):
        assert (tmp_path / name).stat().st_size, name


def test_classifiers_page_runs(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but the collection of benchmarks, which is not here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(metrics, "_RESAMPLES", 3)
    monkeypatch.setattr("hnet_dna.probing.fitting._STEPS", 10)
    lively_model(small_config()).float().save_pretrained(tmp_path / "run")
    write_fasta(tmp_path / "sample.fa", {"s": random_dna(100)})
    text = (ROOT / "docs" / "classifiers.md").read_text()
    (code,) = blocks(text, "python")
    exec(compile(code, "classifiers", "exec"), {})
    for line in lines(text):
        arguments = arguments_of(line)
        assert arguments is not None
        if arguments[0] != "benchmark":
            result = cli(*arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            if arguments[0] == "predict":
                assert result.stdout.startswith("id\tpredicted\tp_none\tp_site\n")
                assert len(result.stdout.splitlines()) == 9


def test_howtos_run(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that train nothing, heads included; lines that the README has too are run by its own test."""
    monkeypatch.chdir(tmp_path)
    elsewhere = set(lines((ROOT / "README.md").read_text()))
    lively_model(small_config()).float().save_pretrained(tmp_path / "run")
    sample = random_dna(400)
    write_fasta(tmp_path / "sample.fa", {"s": sample})
    write_fasta(tmp_path / "genome.fa.gz", {"g": random_dna(900, 1)})
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    records = [
        f"s\t{i}\t.\t{sample[i - 1]}\t{'CA'[sample[i - 1] == 'C']}\t.\t.\tLABEL={i % 2}\n" for i in range(96, 101)
    ]
    (tmp_path / "variants.vcf").write_text(header + "".join(records))
    residues = "".join(f"HSP82\tchrXVI\t96495\t98625\t-\t2\tA\t{new}\t{i % 4}\n" for i, new in enumerate("CDEFG"))
    columns = "gene\tchrom\tcds_start\tcds_end\tstrand\tresidue\tref_aa\talt_aa\tscore\n"
    (tmp_path / "scan.tsv").write_text(columns + residues)
    changes = [
        {"chrom": "s", "pos": i, "ref": sample[i - 1], "alt": "CA"[sample[i - 1] == "C"]} for i in range(96, 106)
    ]
    labelled = [{**change, "label": i % 2 == 0} for i, change in enumerate(changes)]
    pq.write_table(pa.Table.from_pylist(labelled), tmp_path / "test.parquet")
    regions = [f"g\t{30 * i}\t{30 * i + 30}\tr{i}\t0\t{'+-'[i % 2]}\n" for i in range(24)]
    (tmp_path / "regions.bed").write_text("".join(regions))
    for page in ("browsers", "classifier", "variants"):
        text = (ROOT / "docs" / "howto" / f"{page}.md").read_text()
        for line in lines(text):
            arguments = arguments_of(line)
            assert arguments is not None
            if line not in elsewhere and arguments[0] != "probe":
                result = cli(*arguments)
                assert result.exit_code == 0, f"{line}\n{result.output}"
        for block in blocks(text, "python"):
            exec(compile(block, page, "exec"), {})
    example = re.search(r"^(chr\w+)\t(\d+)\t\.\t(\w)\t", text, flags=re.MULTILINE)
    assert example is not None, "the page of variants shows a record of yeast"
    contig, position, ref = example.groups()
    extracted = cli("genome", "extract", "yeast", f"{contig}:{position}-{position}")
    assert extracted.stdout == f">{contig}:{position}-{position}\n{ref}\n"
    for name in ("boundaries.bw", "chunks.bb", "regions.parquet", "scored.vcf.gz", "map.npz"):
        assert (tmp_path / name).stat().st_size, name
