"""The README's commands exist, and what they are said to do is what they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import random_dna, write_fasta
from typer.testing import Result

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.strip().startswith("hnet-dna")]


def test_usage_block_runs(cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each hnet-dna line of the README in order, with small input and a short budget."""
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "genome.fa.gz", {"a": random_dna(3000), "b": random_dna(400, 1)})
    sample = random_dna(500, 2)
    write_fasta(tmp_path / "sample.fa", {"s": sample})
    (tmp_path / "genes.gff3").write_text("b\tx\tgene\t1\t90\t.\t+\t.\tID=g\n")
    other = "C" if sample[99] != "C" else "G"
    header = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "variants.vcf").write_text(f"{header}s\t100\t.\t{sample[99]}\t{other}\t.\t.\t.\n")
    rows = [f"s{i},{random_dna(40, i)},{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,sequence,label", *rows]) + "\n")
    ran = []
    for line in commands():
        if line.startswith("hnet-dna demo"):
            continue  # has a test of its own
        command, _, target = line.partition(">")
        arguments = re.sub(r"--minutes \d+", "--steps 2", command).split()[1:]
        result = cli(*arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        if target:
            assert result.stdout
        ran.append(arguments[0])
    wanted = {"pretrain", "segment", "score", "evaluate", "generate", "genome", "embed", "probe", "predict"}
    wanted |= {"export", "import", "doctor", "explain"}
    assert set(ran) == wanted
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})
    for name in (
        "boundaries.bw",
        "boundaries.bed.gz",
        "boundaries.bed.gz.tbi",
        "log2p.bw",
        "run/README.md",
        "reference/model.pt",
        "report/summary.json",
    ):
        assert (tmp_path / name).exists(), name


def test_ci_runs_the_first_two_commands_as_they_stand() -> None:
    block = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)[0]
    commands = [line.partition("#")[0].strip() for line in block.splitlines()]
    assert commands == ["pip install . && hnet-dna demo", "pip install -e '.[dev]' && pytest"]
    script = (ROOT / ".ci" / "run").read_text()
    assert all(command in script for command in commands)


def test_map_names_real_places() -> None:
    for name in re.findall(r"^(\S+/)  ", README, flags=re.MULTILINE):
        assert (ROOT / name).is_dir(), name
