"""Reads regions: BED files, 0-based and half-open as BED is, and single ones as people write them.

Accepted in BED: 3 columns or more, separated by tabs or blanks, CRLF, comments, blank lines, `track` and `browser`
lines. Refused with file and line: coordinates that are no integers, start after end, an end past the contig, an unknown
contig.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hnet_dna.data.genome import Genome
from hnet_dna.data.names import unknown_contig
from hnet_dna.data.store import Contig
from hnet_dna.data.text import Source, numbered_lines
from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.sequence.interval import Interval


@dataclass(frozen=True)
class Region:
    """One line of a BED file.

    Attributes:
        interval: columns 1 to 3.
        name: column 4, empty where there is none.
        line: its number, from 1.
        strand: column 6 as it stands, `.` where there is none.
    """

    interval: Interval
    name: str
    line: int
    strand: str = "."


class Contigs(Protocol):
    """What regions lie on: a `Genome`, or whatever else knows contigs by name."""

    @property
    def source(self) -> Path: ...  # noqa: D102
    @property
    def contigs(self) -> Sequence[Contig]: ...  # noqa: D102
    def __contains__(self, name: str) -> bool: ...
    def __getitem__(self, name: str) -> Contig: ...


def is_bed(path: str | Path) -> bool:
    """Tell whether a file is BED by its name: .bed in any case, also compressed (.bed.gz, .bed.bgz)."""
    return re.search(r"\.bed(\.b?gz)?$", str(path), re.IGNORECASE) is not None


def read_regions(path: Source, genome: Contigs) -> list[Region]:
    """Return the regions of a BED file (plain or gzip), each inside a contig of the genome; empty ones are left out."""
    regions = []
    lines = _lines(path)
    for number, fields in lines:
        where = f"{path}: line {number}"
        if len(fields) < 3:
            raise SequenceError(f"{where}: expected contig, start and end, got {' '.join(fields)!r}")
        name = fields[0]
        try:
            start, end = int(fields[1]), int(fields[2])
        except ValueError:
            raise SequenceError(
                f"{where}: start and end must be integers, got {fields[1]!r} and {fields[2]!r}"
            ) from None
        if not 0 <= start <= end:
            raise SequenceError(f"{where}: expected 0 <= start <= end (0-based, half-open), got {start} and {end}")
        if name not in genome:
            error = unknown_contig(name, genome.contigs, genome.source.name, asked=(f[0] for _, f in lines))
            raise SequenceError(f"{where}: {error}")
        if end > genome[name].length:
            raise SequenceError(
                f"{where}: {name}:{start + 1:,}-{end:,} ends past the contig ({genome[name].length:,} bases in "
                f"{genome.source.name}); is it the same assembly?"
            )
        if end > start:
            label, strand = fields[3] if len(fields) > 3 else "", fields[5] if len(fields) > 5 else "."
            regions.append(Region(Interval(name, start, end), label, number, strand))
    if not regions:
        raise SequenceError(f"{path}: no region in this BED file")
    return regions


def parse_region(text: str, genome: Genome) -> Interval:
    """Read a region as samtools and genome browsers write it, `chr2:1,001-2,000`: 1-based, both ends included.

    Raises:
        UsageError: not of this form, or it ends before it starts.
        SequenceError: the genome lacks the contig, or the contig ends before the region does.
    """
    found = re.fullmatch(r"(.+):([\d,]*\d)-([\d,]*\d)", text)
    wanted = "expected contig:start-end, counted from 1, both ends included, such as chr2:1,001-2,000"
    if found is None:
        whole = f"; {text} is a contig of {genome[text].length:,} bases" if text in genome else ""
        raise UsageError(f"region {text!r}: {wanted}{whole}. Names of genes are not looked up")
    name, start, end = found[1], *(int(number.replace(",", "")) for number in found.groups()[1:])
    if not 1 <= start <= end:
        raise UsageError(f"region {text!r}: start {start:,}, end {end:,}; {wanted}")
    length = genome[name].length
    if end > length:
        raise SequenceError(
            f"region {text!r} ends past the contig: {name} has {length:,} bases in {genome.source.name}"
        )
    return Interval(name, start - 1, end)


def _lines(path: Source) -> list[tuple[int, list[str]]]:
    """Return numbered lines split into columns, without comments and browser settings."""
    found = []
    for number, line in read_lines(path, "a BED file"):
        fields = line.split("\t") if "\t" in line else line.split()
        if not line.startswith("#") and line.split()[0] not in ("track", "browser"):
            found.append((number, fields))
    return found


def read_lines(path: Source, expected: str) -> list[tuple[int, str]]:
    """Return the numbered lines of a text file, plain or gzip, that are not blank."""
    return [(number, line) for number, line in numbered_lines(path, expected) if line.strip()]


def read_text(path: Path, expected: str) -> str:
    """Return what a text file, plain or gzip, holds."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    except FileNotFoundError:
        raise SequenceError(f"{path}: no such file; expected {expected}") from None
    except IsADirectoryError:
        raise SequenceError(f"{path} is a directory; expected {expected}") from None
    except UnicodeDecodeError:
        raise SequenceError(f"{path} is not text; expected {expected}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SequenceError(f"{path}: the compressed data is cut short or damaged ({error})") from None
