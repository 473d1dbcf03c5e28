"""Where commands write: stdout, or files that are checked before anything is read, and whole or absent at the end."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hnet_dna.errors import UsageError
from hnet_dna.files import is_stream, reporting_full_disk

if TYPE_CHECKING:
    from hnet_dna.sequence.strand import Strand
    from hnet_dna.tracks.bgzip import Kind
    from hnet_dna.tracks.outputs import TrackFiles

# Endings that promise a format. A file of text may have any other name, and each of these is for its own format only.
_FORMATS = {
    ".bcf": "BCF", ".bam": "BAM", ".cram": "CRAM", ".bw": "bigWig", ".bigwig": "bigWig", ".bb": "bigBed",
    ".bigbed": "bigBed", ".2bit": ".2bit", ".parquet": "Parquet", ".npy": "NumPy's .npy", ".npz": "NumPy's .npz",
    ".h5ad": "AnnData's .h5ad", ".h5": "HDF5", ".safetensors": "safetensors", ".png": "PNG", ".svg": "SVG",
    ".pdf": "PDF", ".xlsx": "Excel's .xlsx", ".zip": "ZIP", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard",
    ".lz4": "LZ4", ".7z": "7z", ".gzip": "gzip, which is .gz here,", ".bgzf": "bgzip, which is .bgz here,",
    ".tbi": "an index", ".csi": "an index", ".fai": "an index", ".hnetdna": "a genome's store",
}  # fmt: skip
_TEXTS = {
    ".bed": "BED", ".bedgraph": "bedGraph", ".bg": "bedGraph", ".vcf": "VCF", ".gff": "GFF", ".gff3": "GFF3",
    ".gtf": "GTF", ".fa": "FASTA", ".fasta": "FASTA", ".fna": "FASTA", ".fastq": "FASTQ", ".sam": "SAM",
    ".tsv": "TSV", ".csv": "CSV", ".txt": "text", ".json": "JSON",
}  # fmt: skip
_COMPRESSED = {".gz": "gzip", ".bgz": "bgzip"}
# What commands read in the folder of a model, a run or a head.
_READ_IN_FOLDERS = ("config.json", "model.safetensors", "README.md", "run.json", "head.skops", "head.json")
# What is read, or made, beside a file that is read: its index, and the store of a genome.
_READ_BESIDE = (".tbi", ".csi", ".fai", ".gzi", ".hnetdna")

# Tracks, and what they are written as.
BINARY = {"--bigwig": "bigWig", "--bigbed": "bigBed", "--parquet": "Parquet", "--summary": "bigWig"}

Outputs = Mapping[str, Path | Sequence[Path] | None]


def check_outputs(
    outputs: Outputs, inputs: Iterable[str | Path | None] = (), formats: Mapping[str, str] | None = None
) -> list[Path]:
    """Refuse files to write that cannot be, that would replace what is read or one another, or whose names mislead.

    Args:
        outputs: by their option, all files that it makes the command write: those too whose names are derived from the
            given one. None where it is not given.
        inputs: files that the command reads, `-` for stdin, and folders of models; anything else, such
            as the name of a known genome, is ignored.
        formats: what an option writes, such as `bigWig`; `text` if it is missing, and empty if the command
            itself checks the ending of the name.

    Returns:
        The files, for `show.wrote`.
    """
    read = {key for path in inputs if path is not None for place in _read_with(path) for key in _identities(place)}
    taken: dict[Path | tuple[int, int], str] = {}
    written = {option: [given] if isinstance(given, Path) else list(given or ()) for option, given in outputs.items()}
    for option, paths in written.items():
        for path in paths:
            keys = _check_place(option, path)
            if not read.isdisjoint(keys):
                raise UsageError(f"{option} {path} is a file that the command reads; give another name")
            if other := next((taken[key] for key in keys if taken.get(key, option) != option), None):
                raise UsageError(f"{option} {path} is also the file of {other}; give another name")
            taken |= dict.fromkeys(keys, option)
    for option, paths in written.items():
        if paths and (format := (formats or {}).get(option, "text")):
            _check_name(option, paths[0], format)
    return [path for paths in written.values() for path in paths]


def with_index(out: Path | None) -> list[Path]:
    """Return a file to write, and where its index may lie if its name asks for compression."""
    from hnet_dna.tracks.bgzip import index_places, is_compressed

    return [] if out is None else [out, *(index_places(out) if is_compressed(out) else ())]


def track_paths(files: TrackFiles, strand: Strand = "+") -> dict[str, list[Path]]:
    """Return the files of tracks by their options, as `check_outputs` takes them."""
    return {f"--{name}": paths for name, paths in files.paths(strand).items()}


@contextmanager
def stdout_or(out: Path | None) -> Iterator[Any]:
    """Yield the path of a file that the library will write, or stdout where there is none."""
    if out is not None:
        yield out
        return
    with reporting_full_disk("stdout"):
        yield sys.stdout
        sys.stdout.flush()


@contextmanager
def output(out: Path | None, kind: Kind | None = None) -> Iterator[TextIO]:
    """Yield stdout, or a stream that becomes the file `out` if all goes well, by bgzip if its name ends in .gz or .bgz.

    Lines of a `kind` that has positions are indexed where they are compressed.
    """
    if out is None:
        with stdout_or(None) as stream:
            yield stream
        return
    from hnet_dna.tracks.bgzip import indexed, is_compressed, text_file

    with indexed(out, kind) if kind is not None and is_compressed(out) else text_file(out) as stream:
        yield stream


def shares_terminal(out: Path | None) -> bool:
    """Say whether data goes to a terminal, where a progress bar would run through it."""
    return sys.stdout.isatty() if out is None else out.is_char_device()


def _check_place(option: str, path: Path) -> list[Path | tuple[int, int]]:
    """Refuse a place where no file can be; return what identifies it. A device or a pipe may be named twice."""
    if str(path) == "-":
        raise UsageError(f"{option} -: expected the name of a file; text without --out goes to stdout")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give the name of a file in it")
    if is_stream(path):
        return []
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
    return list(_identities(path))


def _check_name(option: str, path: Path, written: str) -> None:
    binary = written in _FORMATS.values()
    compressed = path.suffix.lower() in _COMPRESSED
    ending = Path(path.stem).suffix.lower() if compressed else path.suffix.lower()
    promised = _FORMATS.get(ending) or (_TEXTS.get(ending) if binary else None)
    if compressed and binary:
        promised = _COMPRESSED[path.suffix.lower()]
    if promised and promised != written:
        advice = "give another name"
        if promised == "BCF" and written == "VCF":
            vcf = path.with_suffix(".vcf.gz")
            advice = f"write {vcf}, then: bcftools view -Ob -o {path} {vcf}"
        raise UsageError(f"{option} {path}: the name promises {promised}, and {written} is written; {advice}")


def _read_with(path: str | Path) -> Iterator[Path | int]:
    """Yield what is read where a path is given: the file with what lies beside it, or files of a folder."""
    if str(path) == "-":
        yield 0
        return
    path = Path(path)
    if path.is_dir():
        yield from (path / name for name in _READ_IN_FOLDERS)
    else:
        yield path
        yield from (Path(f"{path}{suffix}") for suffix in _READ_BESIDE)


def _identities(place: Path | int) -> Iterator[Path | tuple[int, int]]:
    """Yield what identifies a file: its path without links and, if it exists, its place on the disk."""
    if isinstance(place, Path):
        yield place.resolve()
    try:
        status = place.stat() if isinstance(place, Path) else os.fstat(place)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        yield status.st_dev, status.st_ino
