"""Names of the files that the tracks of a genome go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hnet_dna.errors import UsageError
from hnet_dna.files import is_stream
from hnet_dna.sequence.strand import Strand
from hnet_dna.tracks.bgzip import is_compressed

_SIGNS = {"+": "plus", "-": "minus"}


@dataclass(frozen=True)
class TrackFiles:
    """Files that tracks of a genome go to, each of which is written only if it is named.

    Attributes:
        out: chunks as lines of BED, by bgzip and with an index if the name ends in .gz or .bgz; or an open stream.
        bigbed: the same chunks as bigBed.
        bigwig, bedgraph, parquet: a value per base. Where chunks of both strands are found, each strand has a file of
            its own: b.plus.bw and b.minus.bw for b.bw.
        summary: means in windows of this many bases too, as bigWig beside the first of the other files: b.1000.bw
            beside b.bw.
    """

    out: str | Path | TextIO | None = None
    bigbed: str | Path | None = None
    bigwig: str | Path | None = None
    bedgraph: str | Path | None = None
    parquet: str | Path | None = None
    summary: int | None = None

    def of_strands(self, strand: Strand) -> dict[str, dict[str, Path]]:
        """Return, for each strand that is read, its files by the name of their attribute.

        Raises:
            UsageError: there is no file that a summary can lie beside.
        """
        given = {name: getattr(self, name) for name in ("bigwig", "bedgraph", "parquet")}
        files = {name: Path(path) for name, path in given.items() if path is not None}
        if self.summary is not None:
            files["summary"] = self._beside(self.summary)
        if strand != "both":
            return {strand: files}
        return {one: {name: _of_strand(path, one) for name, path in files.items()} for one in _SIGNS}

    def paths(self, strand: Strand = "+") -> dict[str, list[Path]]:
        """Return all files that are written, apart from `out`, by the name of their attribute."""
        paths = {} if self.bigbed is None else {"bigbed": [Path(self.bigbed)]}
        for files in self.of_strands(strand).values():
            for name, path in files.items():
                paths.setdefault(name, []).append(path)
        return paths

    def _beside(self, window: int) -> Path:
        for given in (self.bigwig, self.bigbed, self.out, self.bedgraph, self.parquet):
            if isinstance(given, str | Path) and not is_stream(path := Path(given)):
                stem = Path(path.stem).stem if is_compressed(path) else path.stem
                return path.with_name(f"{stem}.{window}.bw")
        raise UsageError(f"`summary` {window}: its file lies beside another one; name that too, such as `bigwig`")


def _of_strand(path: Path, strand: str) -> Path:
    """Put the strand before the ending: b.plus.bw, b.plus.bedgraph.gz."""
    ending = (Path(path.stem).suffix if is_compressed(path) else "") + path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}.{_SIGNS[strand]}{ending}")
