"""The manifests of the reference genomes that the package knows, and how to recognise these genomes.

A manifest (in data_manifests/genomes) says where the FASTA comes from, its checksums, its contigs with their other
names, and which contigs we recommend to hold out. Facts that could not be confirmed from public records are left out,
and are listed in the manifest as `unconfirmed`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hnet_dna.errors import UsageError, did_you_mean
from hnet_dna.genome.store import Contig


@dataclass(frozen=True)
class KnownContig:
    """A contig of a known assembly: its length, its M5 if confirmed, and all its names."""

    length: int
    m5: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Assembly:
    """The manifest of an assembly.

    Attributes:
        name: by which `open_genome` and `fetch_genome` know it.
        organism, assembly, licence: as they are shown to people.
        other_names: other names of the assembly.
        url, file: address of the FASTA, and the name of the downloaded file.
        size, md5, sha256: of that file, if confirmed; size in bytes.
        contigs: the assembled molecules, by their names in that file.
        valid, test: contigs that we recommend to hold out.
    """

    name: str
    organism: str
    assembly: str
    url: str
    file: str
    contigs: dict[str, KnownContig]
    other_names: tuple[str, ...] = ()
    licence: str = ""
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Recognised:
    """An assembly that contigs agree with, and how many of its contigs do so by M5, and by name and length."""

    assembly: Assembly
    by_m5: int
    by_length: int

    def __str__(self) -> str:
        total = len(self.assembly.contigs)
        if self.by_m5:
            return f"{self.assembly.assembly} ({self.by_m5} of {total} chromosomes by M5)"
        return (
            f"names and lengths of {self.assembly.assembly} ({self.by_length} of {total}; no M5 on record to compare)"
        )


@cache
def assemblies() -> tuple[Assembly, ...]:
    """Return all known assemblies, sorted by name."""
    folder = Path(str(files("hnet_dna_manifests"))) / "genomes"
    return tuple(_read(tomllib.loads(path.read_text())) for path in sorted(folder.glob("*.toml")))


def find_assembly(name: str) -> Assembly:
    """Return an assembly by one of its names, in any case; an unknown name is a `UsageError`."""
    for assembly in assemblies():
        if name.lower() in (other.lower() for other in (assembly.name, *assembly.other_names)):
            return assembly
    raise UsageError(f"no known genome {name!r}. {did_you_mean(name, (a.name for a in assemblies()))}")


def recognise(contigs: Iterable[Contig]) -> Recognised | None:
    """Tell which assembly contigs come from: by M5, or if none is on record, by names and lengths."""
    contigs = list(contigs)
    checksums = {contig.md5 for contig in contigs}
    lengths = {(contig.name, contig.length) for contig in contigs}
    agreeing = [
        Recognised(
            assembly,
            sum(known.m5 in checksums for known in assembly.contigs.values()),
            sum(any((name, known.length) in lengths for name in known.names) for known in assembly.contigs.values()),
        )
        for assembly in assemblies()
    ]
    best = max(agreeing, key=lambda r: (r.by_m5, r.by_length), default=None)
    if best is None or (best.by_m5 == 0 and best.by_length == 0):
        return None
    if best.by_m5 == 0 and any(known.m5 for known in best.assembly.contigs.values()):
        return None  # the lengths agree, but the bases do not
    return best


def _read(value: dict[str, Any]) -> Assembly:
    contigs = {
        name: KnownContig(entry["length"], entry.get("m5"), (name, *entry.get("aliases", ())))
        for name, entry in value.pop("contigs").items()
    }
    split = value.pop("split", {})
    value.pop("accession", None)
    rest: dict[str, Any] = {key: tuple(entry) if isinstance(entry, list) else entry for key, entry in value.items()}
    return Assembly(contigs=contigs, valid=tuple(split.get("valid", ())), test=tuple(split.get("test", ())), **rest)
