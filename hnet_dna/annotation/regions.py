"""Reads regions: BED files, and single regions written as contig:start-end.

BED has 3 columns or more, separated by tabs or blanks; comments, blank lines, and `track` and `browser` lines are
skipped. Errors name file and line: coordinates that are not integers, a start after the end, an end past the contig, an
unknown contig.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.contig_names import unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.store import Contig
from hnet_dna.plural import counted
from hnet_dna.sequence.interval import Interval, intersection, union
from hnet_dna.text import Source, numbered_lines

_COMPRESSED = {".gz", ".bgz"}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SETTINGS = ("track", "browser")


@dataclass(frozen=True)
class Region:
    """One line of a BED file.

    Attributes:
        interval: columns 1 to 3.
        name: column 4; empty if there is none, or if it is a dot.
        line: its number, from 1.
        strand: column 6 as it stands, `.` if there is none.
        score: column 5 as it stands, `.` if there is none.
    """

    interval: Interval
    name: str
    line: int
    strand: str = "."
    score: str = "."


def format_suffix(path: Path) -> str:
    """Return the last suffix of a file's name other than `.gz` and `.bgz`, in lower case."""
    return next((s for s in map(str.lower, reversed(path.suffixes)) if s not in _COMPRESSED), "")


def is_bed(path: str | Path) -> bool:
    """Return whether a file is BED by its name: `.bed` in any case, compressed or not."""
    return format_suffix(Path(path)) == ".bed"


class Contigs(Protocol):
    """What regions lie on: a `Genome`, or another object that knows contigs by name."""

    @property
    def source(self) -> Path: ...  # noqa: D102
    @property
    def contigs(self) -> Sequence[Contig]: ...  # noqa: D102
    def __contains__(self, name: str) -> bool: ...
    def __getitem__(self, name: str) -> Contig: ...
    def find(self, name: str) -> str: ...  # noqa: D102


def read_regions(path: Source, genome: Contigs) -> list[Region]:
    """Return the regions of a BED file (plain, gzip, or a pipe), each inside a contig of the genome.

    Empty regions, which BED has for insertions, are left out.

    Raises:
        SequenceError: a line is not a region of this genome, there is no region, or the file cannot be read.
    """
    return regions_of(numbered_lines(path, "a BED file"), path, genome)


def regions_of(lines: Iterable[tuple[int, str]], path: Source, genome: Contigs) -> list[Region]:
    """Return the regions of the numbered lines of a BED file, as `read_regions` does; `path` is for messages."""
    regions: list[Region] = []
    rows = _rows(lines)
    for number, fields in rows:
        where = f"{path}: line {number}"
        if len(fields) < 3:
            raise SequenceError(f"{where}: expected contig, start and end, got {' '.join(fields)!r}")
        name = genome.find(fields[0])
        start, end = coordinates(fields[1], fields[2], where)
        if not 0 <= start <= end:
            raise SequenceError(f"{where}: expected 0 <= start <= end (0-based, half-open), got {start} and {end}")
        if name not in genome:
            asked = [region.interval.contig for region in regions]
            error = unknown_contig(
                name, genome.contigs, genome.source.name, asked=[*asked, name, *(fields[0] for _, fields in rows)]
            )
            raise SequenceError(f"{where}: {error}")
        if end > genome[name].length:
            raise SequenceError(
                f"{where}: {name}:{start + 1:,}-{end:,} ends past the contig "
                f"({counted(genome[name].length, 'base')} in "
                f"{genome.source.name}); is it the same assembly?"
            )
        if end > start:
            label, score, strand = (*fields[3:6], *("", ".", ".")[max(len(fields) - 3, 0) :])
            regions.append(Region(Interval(name, start, end), "" if label == "." else label, number, strand, score))
    if not regions:
        raise SequenceError(f"{path}: no region in this BED file")
    return regions


def refuse_overlap(path: Path, named: Mapping[str, Sequence[Region]], what: str) -> None:
    """Stop at a base that lies in regions of two names, and say which lines claim it; a base has one `what`."""
    # Overlaps of one name are merged first, so that the neighbours below are all that can meet.
    claims = sorted(
        (interval, name) for name, regions in named.items() for interval in union(r.interval for r in regions)
    )
    for (left, left_name), (right, right_name) in pairwise(claims):
        if left.contig == right.contig and right.start < left.end:
            (common,) = intersection([left], [right])
            lines = {
                name: next(r.line for r in named[name] if intersection([r.interval], [common]))
                for name in (left_name, right_name)
            }
            raise SequenceError(
                f"{path}: {common} is both {left_name} (line {lines[left_name]}) and {right_name} "
                f"(line {lines[right_name]}); a base may have one {what} only"
            )


def coordinates(start: str, end: str, where: str) -> tuple[int, int]:
    """Return two columns as integers; error messages begin with `where`."""
    if not (_INTEGER.fullmatch(start) and _INTEGER.fullmatch(end)):
        raise SequenceError(f"{where}: start and end must be integers, got {start!r} and {end!r}")
    return int(start), int(end)


def is_setting(line: str) -> bool:
    """Return whether a line is a setting for genome browsers rather than data."""
    return line.split(maxsplit=1)[0] in _SETTINGS


def parse_region(text: str, genome: Genome) -> Interval:
    """Return a region that is written as in samtools and genome browsers: `chr2:1,001-2,000`, 1-based, ends included.

    Raises:
        UsageError: the text has another form, or the region ends before it starts.
        SequenceError: the genome lacks the contig, or the contig ends before the region does.
    """
    match = re.fullmatch(r"(.+):([\d,]*\d)-([\d,]*\d)", text)
    wanted = "expected contig:start-end, counted from 1, both ends included, such as chr2:1,001-2,000"
    if match is None:
        whole = f"; {text} is a contig of {counted(genome[text].length, 'base')}" if text in genome else ""
        raise UsageError(f"region {text!r}: {wanted}{whole}. Names of genes are not looked up")
    name, start, end = genome.find(match[1]), *(int(number.replace(",", "")) for number in match.groups()[1:])
    if not 1 <= start <= end:
        raise UsageError(f"region {text!r}: start {start:,}, end {end:,}; {wanted}")
    length = genome[name].length
    if end > length:
        raise SequenceError(
            f"region {text!r} ends past the contig: {name} has {counted(length, 'base')} in {genome.source.name}"
        )
    return Interval(name, start - 1, end)


def _rows(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield numbered lines split into columns, without comments, blank lines and browser settings."""
    for number, line in lines:
        if line.strip() and not line.startswith("#") and not is_setting(line):
            yield number, [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
