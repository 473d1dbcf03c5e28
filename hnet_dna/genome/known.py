"""The genomes that the package knows by name: a list of them, and how to get one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hnet_dna.errors import UsageError
from hnet_dna.genome.assemblies import Assembly, assemblies, find_assembly
from hnet_dna.genome.bundled import BUNDLED_NAME, bundled_genome
from hnet_dna.genome.fetch import check_contigs, download, place_of
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import open_genome, open_with_progress
from hnet_dna.progress import OnProgress, counting_bytes, ignore


@dataclass(frozen=True)
class KnownGenome:
    """A genome that `open_genome` takes by name.

    Attributes:
        name: as `open_genome` takes it.
        assembly: its name in full.
        organism: scientific name.
        bases: of its chromosomes.
        path: of its FASTA file; None if it has not been fetched.
        bundled: whether it is part of the package, so that it need not be fetched.
    """

    name: str
    assembly: str
    organism: str
    bases: int
    path: Path | None
    bundled: bool


def known_genomes() -> list[KnownGenome]:
    """Return the genomes that are known by name, those to fetch first, sorted by name."""
    listed = []
    for known in assemblies():
        path = place_of(known)
        bases = sum(contig.length for contig in known.contigs.values())
        fetched = path if path.exists() else None
        listed.append(KnownGenome(known.name, known.assembly, known.organism, bases, fetched, bundled=False))
    bundled = bundled_genome()
    assembly, organism = (str(bundled.manifest[key]) for key in ("assembly", "organism"))
    bases = open_genome(bundled.fasta).length
    return [*listed, KnownGenome(BUNDLED_NAME, assembly, organism, bases, bundled.fasta, bundled=True)]


def fetch_genome(name: str, *, on_progress: OnProgress = ignore) -> Genome:
    """Download a known genome unless it is there, check it, and open it.

    An interrupted download continues where it stopped. Genomes are kept in the folder that the environment variable
    HNET_DNA_HOME names, or in the user's cache folder.

    Args:
        name: of the genome, or another name of its assembly; `known_genomes` lists them.
        on_progress: called with a `Progress` as the file is downloaded, and then read.

    Raises:
        UsageError: no known genome has this name, or it is part of the package.
        DownloadError: the server cannot be reached, or what it serves is not what the manifest promises.
    """
    assembly = assembly_to_fetch(name)
    with counting_bytes(on_progress, f"downloading {assembly.file}") as on_bytes:
        path = download(assembly, on_bytes=on_bytes)
    genome = open_with_progress(path, on_progress)
    check_contigs(assembly, genome)
    return genome


def assembly_to_fetch(name: str) -> Assembly:
    """Return the manifest of a known genome, by one of its names; `UsageError` where there is nothing to fetch."""
    if name == BUNDLED_NAME:
        raise UsageError(f"{name} is part of the package, so there is nothing to fetch; use it by this name")
    return find_assembly(name)


def annotation_path(name: str) -> Path:
    """Return the GFF3 file (gzip) of the genome in the package; raise `UsageError` for any other name."""
    if name != BUNDLED_NAME:
        raise UsageError(f"{name}: the package has only the annotation of {BUNDLED_NAME}")
    return bundled_genome().annotation
