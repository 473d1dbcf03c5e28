"""What a track of a hub holds, read from the file itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.contig_names import unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.plural import counted
from hnet_dna.tracks.bigbed_process import SCHEMA
from hnet_dna.tracks.bigwig import pybigwig

Kind = Literal["chunks", "features", "probability", "log2p", "values", "windows"]
_WHAT: dict[Kind, str] = {
    "chunks": "Learned chunks; darker where a boundary is more probable",
    "features": "Features of a bigBed file",
    "probability": "Probability that a chunk begins at each base",
    "log2p": "log2 p of each base; 0 is certain, -2 is a guess",
    "values": "Values of a bigWig file",
    "windows": "Windows of {window} bases: chunks per kilobase, or mean bits per base",
}

_BINS = 500  # of a contig, to see where a track has values


@dataclass(frozen=True)
class HubTrack:
    """A bigBed or bigWig file.

    Attributes:
        path: the file.
        name: letters, digits and underscores, unique in the hub.
        kind: what it holds.
        columns: of a bigBed, and of these `of_bed` that mean what they mean in BED; 0 for bigWig.
        low, high: the range of a bigWig's values.
        window: bases per value of windows, else 1.
        contigs: their lengths.
    """

    path: Path
    name: str
    kind: Kind
    contigs: dict[str, int]
    columns: int = 0
    of_bed: int = 0
    low: float = 0.0
    high: float = 1.0
    window: int = 1

    @property
    def is_bigbed(self) -> bool:
        """Whether it is bigBed, not bigWig."""
        return self.columns > 0

    def middle_of_values(self, contig: str) -> int | None:
        """Return a base of a contig with about as many values of a bigWig before it as after it; None without any."""
        length = self.contigs.get(contig, 0)
        if not length:
            return None
        bins = min(length, _BINS)
        with pybigwig().open(str(self.path)) as file:
            shares = file.stats(contig, 0, length, type="coverage", nBins=bins)
        places = [number * length // bins for number, share in enumerate(shares) if share]
        return places[len(places) // 2] if places else None

    @property
    def what(self) -> str:
        """What it holds, in words."""
        return _WHAT[self.kind].format(window=f"{self.window:,}")


def read_tracks(paths: Sequence[Path], genome: Genome) -> list[HubTrack]:
    """Read the headers of bigBed and bigWig files.

    Raises:
        SequenceError: a file that is neither, or of another genome.
        UsageError: no files, or one twice.
    """
    if not paths:
        raise UsageError("a hub needs `tracks`: bigBed and bigWig files")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("`tracks`: a file is given twice")
    tracks: list[HubTrack] = []
    for path in paths:
        tracks.append(_read(path, _name(path, {track.name for track in tracks})))
        _check_contigs(tracks[-1], genome)
    return tracks


def _read(path: Path, name: str) -> HubTrack:
    if not path.is_file():
        raise SequenceError(f"{path}: no such file; expected bigBed or bigWig")
    try:
        file: Any = pybigwig().open(str(path))
    except RuntimeError:
        raise SequenceError(f"{path} is neither bigBed nor bigWig; `segment` and `score` write them") from None
    contigs: dict[str, int] = file.chroms()
    if file.isBigBed():
        with path.open("rb") as opened:
            columns, of_bed = (
                int.from_bytes(opened.read(36)[at : at + 2], "little") for at in (32, 34) if not opened.seek(0)
            )
        ours = (file.SQL() or b"").decode(errors="replace") == SCHEMA
        return HubTrack(path, name, "chunks" if ours else "features", contigs, columns, of_bed)
    header = file.header()
    low, high = float(header["minVal"]), float(header["maxVal"])
    window = _window(file, contigs)
    kind: Kind = "windows" if window > 1 else "values"
    if window == 1 and header["nBasesCovered"]:
        kind = "probability" if low >= 0 and high <= 1 else "log2p" if high <= 0 else "values"
    return HubTrack(path, name, kind, contigs, low=low, high=high, window=window)


def _window(file: Any, contigs: Iterable[str]) -> int:
    """Return how many bases share a value, as the first of them tell."""
    for contig in contigs:
        for start in range(0, file.chroms(contig), 1 << 20):
            entries = file.intervals(contig, start, min(start + (1 << 20), file.chroms(contig)))
            if entries:
                return int(max(end - start for start, end, _ in entries[:9]))
    return 1


def _name(path: Path, taken: set[str]) -> str:
    name = wanted = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    number = 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _check_contigs(track: HubTrack, genome: Genome) -> None:
    for name, length in track.contigs.items():
        own = genome.find(name)
        if own not in genome:
            raise unknown_contig(name, genome.contigs, genome.source.name, asked=track.contigs)
        if genome[own].length != length:
            raise SequenceError(
                f"{track.path}: {name} has {counted(length, 'base')} there, and {genome[own].length:,} in "
                f"{genome.source.name}; is it the same assembly?"
            )
