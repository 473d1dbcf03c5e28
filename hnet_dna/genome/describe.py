"""Describes a genome: its contigs, what their letters are, and which assembly it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hnet_dna.genome.assemblies import recognise
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.genome.store import Contig

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ContigDescription:
    """A contig in numbers; all but `gc` and `md5` are counts of bases, or of runs.

    Attributes:
        name: first word of the header.
        length: all letters.
        gc: share of G and C among A, C, G and T; None if there is none of these.
        n, n_runs: letters N, and runs of them.
        soft_masked: lower-case letters.
        ambiguous: IUPAC letters other than A, C, G, T and N.
        uracils: letters that are U in the file; they are read as T.
        md5: checksum of the upper-case letters, as in SAM headers (M5).
    """

    name: str
    length: int
    gc: float | None
    n: int
    n_runs: int
    soft_masked: int
    ambiguous: int
    uracils: int
    md5: str


@dataclass(frozen=True)
class GenomeDescription:
    """What `describe_genome` returns.

    Attributes:
        source: the genome's file, or what it came from.
        store: the file that its bases are mapped from; None if it is temporary.
        assembly: the known assembly that its contigs agree with, and how many of them do; None if there is none.
        bases: of all contigs.
        contigs: in the order of the file.
    """

    source: str
    store: Path | None
    assembly: str | None
    bases: int
    contigs: tuple[ContigDescription, ...]

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each contig; the columns are those of `ContigDescription`, with `chrom` for `name`."""
        import pandas as pd

        return pd.DataFrame([asdict(contig) for contig in self.contigs]).rename(columns={"name": "chrom"})


def describe_genome(genome: GenomeLike) -> GenomeDescription:
    """Describe a genome, given in any form that `open_genome` takes.

    Raises:
        SequenceError, UsageError: as `open_genome` does.
    """
    opened = open_genome(genome)
    recognised = recognise(opened.contigs)
    return GenomeDescription(
        str(opened.source),
        None if opened.streamed else opened.store_path,
        str(recognised) if recognised else None,
        opened.length,
        tuple(_describe(contig) for contig in opened.contigs),
    )


def _describe(contig: Contig) -> ContigDescription:
    acgt = contig.length - contig.n_bases - contig.ambiguous
    return ContigDescription(
        name=contig.name,
        length=contig.length,
        gc=contig.gc / acgt if acgt else None,
        n=contig.n_bases,
        n_runs=len(contig.n_runs),
        soft_masked=contig.soft_masked,
        ambiguous=contig.ambiguous,
        uracils=contig.uracils,
        md5=contig.md5,
    )
