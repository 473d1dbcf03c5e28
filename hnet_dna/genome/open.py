"""Opens a genome from whatever holds it: a file, a pipe, a known name, pyfaidx, Biopython, or sequences in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import descriptor, is_streamed
from hnet_dna.genome.assemblies import find_assembly
from hnet_dna.genome.bundled import BUNDLED_NAME, bundled_genome
from hnet_dna.genome.fasta import Piece, read_fasta
from hnet_dna.genome.fetch import place_of
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.sequences import read_sequences
from hnet_dna.genome.store import Contig, open_store, temporary_store
from hnet_dna.genome.twobit import is_twobit, read_twobit
from hnet_dna.progress import OnProgress, counting_bytes
from hnet_dna.sequence.coerce import SequenceLike
from hnet_dna.text import OnRead, called, watched

GenomeLike: TypeAlias = Genome | str | Path | Mapping[str, SequenceLike] | Iterable[Any]
"""What `open_genome` takes; a `pyfaidx.Fasta` is an iterable of its records."""

_IN_MEMORY = Path("genome in memory")
_log = logging.getLogger(__name__)


def open_genome(genome: GenomeLike, *, aliases: bool = False, on_read: OnRead | None = None) -> Genome:
    """Open a genome.

    Args:
        genome: one of

            - the path of a FASTA file (plain, gzip or bgzip) or a .2bit file, of a pipe, or `-` for FASTA from stdin;
            - as text, also the name of a known genome that has been fetched (`known_genomes` lists them), or `yeast`;
            - a `pyfaidx.Fasta`, with the names and the case that it gives to its records;
            - a mapping of names to sequences: text, `Bio.Seq`, `SeqRecord`, records of pyfaidx, arrays of codes;
            - named sequences, such as `Bio.SeqIO.parse` gives, or a single one;
            - a `Genome`, which is returned as it is.
        aliases: let annotation, regions and variants that are read with it call contigs by other names; see
            `Genome.with_aliases`.
        on_read: called with the bytes of the file read so far and its size (None for a pipe) while its store is built.

    Returns:
        The genome. A file has its store beside it, or in the user's cache folder. The store of sequences in memory, and
        of what came through a pipe, is a temporary file: other processes can open it as long as this genome exists.

    Raises:
        SequenceError: there is no such file, or what it holds is not a genome.
        UsageError: the name is ambiguous or has not been fetched, or `genome` is of another kind.
    """
    if aliases:
        return open_genome(genome, on_read=on_read).with_aliases()
    if isinstance(genome, Genome):
        return genome
    if isinstance(genome, str | Path):
        place = find_genome(genome) if isinstance(genome, str) else genome
        return _read(place, on_read)
    if hasattr(genome, "faidx"):
        return _from_pyfaidx(genome, on_read)
    return _kept(read_sequences(genome), _IN_MEMORY)


def open_with_progress(genome: GenomeLike, on_progress: OnProgress, *, aliases: bool = False) -> Genome:
    """Open a genome, reporting how far its file is read where its store has to be built."""
    name = called(genome) if isinstance(genome, str | Path) else "the genome"
    with counting_bytes(on_progress, f"reading {name}") as on_read:
        return open_genome(genome, aliases=aliases, on_read=on_read)


def find_genome(genome: str) -> Path:
    """Return the file of a genome given by path, by the name of a known assembly, or by that of the bundled one.

    A path may be that of a pipe, or `-` for stdin.

    A known name means the known genome, whatever folders of that name lie around; beside a file of that name it could
    mean either, and is refused.

    Raises:
        SequenceError: there is neither a path nor a known genome of this name.
        UsageError: the name is ambiguous, or that of an assembly that has not been fetched.
    """
    path = Path(genome)
    if genome == "-":
        return path
    try:
        assembly = None if genome == BUNDLED_NAME else find_assembly(genome)
    except UsageError:
        if path.exists():
            return path
        raise SequenceError(
            f"{genome}: no such file, and no known genome of this name ('hnet-dna genome list' shows them)"
        ) from None
    if path.is_file():
        raise UsageError(
            f"{genome} is both a file in this folder and the name of a known genome; write .{os.sep}{genome} for the "
            "file, or rename it"
        )
    if assembly is None:
        return bundled_genome().fasta
    place = place_of(assembly)
    if not place.exists():
        raise UsageError(
            f"{genome} has not been fetched yet; run: hnet-dna genome fetch {assembly.name} "
            f"(in Python, hnet_dna.fetch_genome({assembly.name!r}))"
        )
    return place


def _read(place: Path, on_read: OnRead | None) -> Genome:
    with watched(place, on_read) if on_read else nullcontext():
        if is_streamed(place):
            number = 0 if str(place) == "-" else descriptor(place)
            name = place if number is None else Path("pipe" if number else "stdin")
            return _kept(read_fasta(place, check=True), name)
        if not place.is_file():
            what = "is a directory" if place.is_dir() else "no such file"
            raise SequenceError(f"{place}: {what}; expected a FASTA file")
        store = open_store(place, read_twobit if is_twobit(place) else partial(read_fasta, check=True))
    _check_index(place, store.contigs)
    return Genome(place, store)


def _kept(pieces: Iterator[Piece], source: Path) -> Genome:
    """Keep pieces that can be read only once in a temporary store, which lives as long as the genome."""
    return Genome(source, temporary_store(pieces), streamed=True)


def _check_index(fasta: Path, contigs: Iterable[Contig]) -> None:
    """Log where the .fai beside a FASTA file is not of this file; we do not read it, but other tools do."""
    index = fasta.with_name(f"{fasta.name}.fai")
    try:
        rows = [line.split("\t") for line in index.read_text(errors="replace").splitlines()]
    except OSError:
        return
    if [row[:2] for row in rows] != [[contig.name, str(contig.length)] for contig in contigs]:
        _log.warning(
            "%s is not the index of %s (other contigs or lengths), and tools that use it read wrong bases; make it "
            "anew: samtools faidx %s",
            index, fasta.name, fasta,
        )  # fmt: skip


def _from_pyfaidx(fasta: Any, on_read: OnRead | None) -> Genome:
    """Open the file of a `pyfaidx.Fasta` where it shows that file as it is, and otherwise read its records.

    It may have renamed, left out or changed records: by key functions and filters, in upper case, by variants.
    """
    path = Path(fasta.filename)
    plain = type(fasta).__name__ == "Fasta" and not fasta.mutable and not fasta.faidx.sequence_always_upper
    if plain and path.is_file():
        try:
            genome = _read(path, on_read)
        except SequenceError:  # such as two records of one name, of which pyfaidx can be set to take one
            pass
        else:
            if [(c.name, c.length) for c in genome.contigs] == [(record.name, len(record)) for record in fasta]:
                return genome
    return _kept(read_sequences(fasta), path)
