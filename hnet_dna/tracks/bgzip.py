"""Text files, whole or absent: compressed by bgzip where their names ask for it, and indexed by tabix."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.files import write_beside

_MAX_TBI = 1 << 29  # positions that a .tbi index can hold; .csi has no such limit


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """Yield a stream that becomes the file `path` if all goes well: by bgzip if its name ends in .gz, else as it is."""
    with write_beside(path) as temporary:
        if path.suffix != ".gz":
            with temporary.open("w") as stream:
                yield stream
            return
        import pysam

        plain = temporary.with_suffix(".plain")
        with plain.open("w") as stream:
            yield stream
        pysam.tabix_compress(str(plain), str(temporary), force=True)


@contextmanager
def indexed(path: Path, kind: Literal["bed", "vcf"]) -> Iterator[TextIO]:
    """Yield a stream for lines sorted by contig and start; on success leave `path` and its .tbi or .csi index."""
    import pysam

    if path.suffix != ".gz":
        raise UsageError(f"{path}: a file compressed by bgzip should end in .gz")
    with tempfile.TemporaryDirectory(prefix=".hnet-dna-", dir=path.parent) as folder:
        plain, compressed = Path(folder) / "x", Path(folder) / "x.gz"
        with plain.open("w") as stream:
            yield stream
        pysam.tabix_compress(str(plain), str(compressed), force=True)
        index = Path(f"{compressed}.csi" if _reaches(plain, kind) >= _MAX_TBI else f"{compressed}.tbi")
        verbosity = pysam.set_verbosity(0)  # its own message would double ours
        try:
            pysam.tabix_index(str(compressed), preset=kind, force=True, csi=index.suffix == ".csi", index=str(index))
        except OSError as error:
            if error.errno:
                raise
            raise SequenceError(
                f"{path}: the lines are not sorted by contig and position, so they cannot be indexed; sort the input, "
                "or write without .gz"
            ) from None
        finally:
            pysam.set_verbosity(verbosity)
        # The index last: a reader that finds it finds the file that it belongs to.
        for suffix in (".tbi", ".csi"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        compressed.replace(path)
        index.replace(f"{path}{index.suffix}")


def _reaches(path: Path, kind: str) -> int:
    """Return the largest position in a sorted file."""
    largest = 0
    with path.open("rb") as lines:  # what others wrote into a VCF may be in any encoding
        for line in lines:
            if not line.startswith(b"#"):
                largest = max(largest, int(line.split(b"\t", 3)[2 if kind == "bed" else 1]))
    return largest
