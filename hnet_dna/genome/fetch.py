"""Downloads reference genomes and compares them with their manifests.

A download that was interrupted is resumed, even after the process was killed: the received part is kept beside the
final file, along with the server's version of the file, and only the rest is requested. A file gets its final name
only if size and checksum agree with the manifest. Its contigs are compared with the manifest as well.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import requests
import urllib3
from filelock import FileLock

from hnet_dna.errors import DownloadError
from hnet_dna.files import home, write_beside
from hnet_dna.genome.assemblies import Assembly
from hnet_dna.genome.genome import Genome
from hnet_dna.plural import counted

_BLOCK = 1 << 18
_NOT_SATISFIABLE = 416
OnBytes = Callable[[int, int | None], None]


def place_of(assembly: Assembly) -> Path:
    """Return where the file of an assembly lies once it has been fetched."""
    return home() / "genomes" / assembly.name / assembly.file


def download(
    assembly: Assembly,
    *,
    attempts: int = 6,
    timeout: float = 30.0,
    pause: float = 1.0,
    on_bytes: OnBytes = lambda done, total: None,
) -> Path:
    """Download an assembly unless it is there, check the file, and return its path.

    Args:
        assembly: its manifest.
        attempts: how many times in a row a connection may fail without transferring a byte.
        timeout: seconds without data after which a connection counts as failed.
        pause: seconds before the second attempt; doubled for each further attempt.
        on_bytes: called with the bytes received, and their total if it is known.

    Raises:
        DownloadError: the server cannot be reached, or what it serves is not what the manifest promises.
    """
    path = place_of(assembly)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            part = path.with_name(path.name + ".part")
            _download(assembly, part, attempts, timeout, pause, on_bytes)
            _check_file(assembly, part)
            part.replace(path)
            _version_file(part).unlink(missing_ok=True)
    return path


def _download(assembly: Assembly, part: Path, attempts: int, timeout: float, pause: float, on_bytes: OnBytes) -> None:
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(assembly, part, timeout, on_bytes)
            return
        except requests.HTTPError as error:
            status = error.response.status_code
            if status < 500 and status not in (408, 429):
                raise DownloadError(f"{assembly.url}: the server answers {status} {error.response.reason}") from None
            problem: Exception = error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            problem = error
        arrived = part.stat().st_size if part.exists() else 0
        failed = 0 if arrived > before else failed + 1
        if failed >= attempts:
            raise DownloadError(
                f"{assembly.url}: {attempts} attempts failed in a row, the last with: {_in_short(problem)}. "
                f"{arrived:,} bytes are kept; the same command continues from there"
            ) from None
        time.sleep(pause * 2**failed if failed else 0)


def _receive(assembly: Assembly, part: Path, timeout: float, on_bytes: OnBytes) -> None:
    """Request what is missing and append it, until the file has the length that the server says."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    version = _read_version(part)
    if done and version:
        # If the file has changed on the server, If-Range makes it send all of it rather than a part that does not fit.
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    elif done:
        done = 0
    with requests.get(assembly.url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == _NOT_SATISFIABLE:
            return  # nothing is missing; the checksum will show whether it is right
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            done = 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else assembly.size
        _write_version(part, answer.headers)
        with part.open("ab" if done else "wb") as file:
            # read1 returns what has arrived, so that a broken connection loses nothing.
            while block := answer.raw.read1(_BLOCK):
                file.write(block)
                done += len(block)
                if assembly.size is not None and done > assembly.size:
                    break  # more than the manifest says, which _check_file reports
                on_bytes(done, total)


def _check_file(assembly: Assembly, part: Path) -> None:
    """Compare size and checksum with the manifest; remove a file that differs, since resuming could not mend it."""
    size = part.stat().st_size
    problem = None
    if assembly.size is not None and size != assembly.size:
        problem = f"{size:,} bytes arrived, the manifest says {assembly.size:,}"
    for kind, wanted in (("md5", assembly.md5), ("sha256", assembly.sha256)):
        if problem is None and wanted is not None:
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, kind).hexdigest()
            if digest != wanted:
                problem = f"its {kind} is {digest}, the manifest says {wanted}"
    if problem is not None:
        part.unlink()
        _version_file(part).unlink(missing_ok=True)
        raise DownloadError(f"{assembly.url}: {problem}; the download has been removed")


def check_contigs(assembly: Assembly, genome: Genome) -> None:
    """Compare the contigs of a genome with those of the manifest.

    Raises:
        DownloadError: a contig is missing, or has another length or checksum.
    """
    for name, known in assembly.contigs.items():
        if name not in genome:
            raise DownloadError(f"{genome.source}: contig {name} is missing; this is not {assembly.assembly}")
        contig = genome[name]
        if contig.length != known.length or (known.m5 is not None and contig.md5 != known.m5):
            raise DownloadError(
                f"{genome.source}: contig {name} has {counted(contig.length, 'base')} and M5 {contig.md5}; the "
                f"manifest says {known.length:,} and {known.m5 or 'no M5'}. Remove the file and fetch it again"
            )


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _read_version(part: Path) -> str | None:
    try:
        version = json.loads(_version_file(part).read_text())
    except (OSError, ValueError):
        return None
    return version if isinstance(version, str) else None


def _write_version(part: Path, headers: requests.structures.CaseInsensitiveDict[str]) -> None:
    etag = headers.get("ETag", "")
    # A weak tag does not promise the same bytes, so it is of no use for resuming.
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    with write_beside(_version_file(part)) as temporary:
        temporary.write_text(json.dumps(version))


def _in_short(error: Exception) -> str:
    cause: BaseException = error
    while isinstance(cause.args[0] if cause.args else None, BaseException):
        cause = cause.args[0]
    message = str(cause)
    return message if len(message) <= 200 else f"{message[:200]} ..."
