"""Scores of variants, from VCF to VCF.

Records keep their order, alleles and annotations; two INFO fields are added. Records that cannot be scored are written
as they came, with the reason, and counted.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hnet_dna.data.genome import Genome
from hnet_dna.data.names import unknown_contig
from hnet_dna.errors import HNetError, SequenceError
from hnet_dna.evaluate.variants import Strand, Variant, reason_to_skip, reference_differs, score_variants
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.interval import Interval

SCORE_FIELD, SKIP_FIELD = "HNET_LLR", "HNET_SKIPPED"
_HELD = 4096  # records read before they are scored together


@dataclass
class VcfReport:
    """What became of a file's alleles.

    Attributes:
        records: read.
        scored: alleles that got a score.
        skipped: alleles that did not, by reason.
    """

    records: int
    scored: int
    skipped: Counter[str]


@dataclass(frozen=True)
class VcfScorer:
    """Scores the variants of a VCF.

    Attributes:
        genome: the reference that the file is about.
        model: any with an alphabet.
        model_name: written into the header.
        window, strand: see `score_variants`.
        strict: whether a REF that differs from the genome is an error instead of being skipped.
        on_records: told how many records are done.
    """

    genome: Genome
    model: HNetLM
    model_name: str
    window: int = 512
    strand: Strand = "both"
    strict: bool = False
    on_records: Callable[[int], None] = lambda count: None

    def run(self, source: str, out: TextIO) -> VcfReport:
        """Read a VCF (plain, bgzip or `-` for stdin) and write it with scores."""
        report = VcfReport(0, 0, Counter())
        with _open(source) as file:
            given = list(file.header.contigs)  # before ours are added
            # With the first records, so that a file that cannot be scored leaves nothing that looks like a VCF.
            header = str(self._extend(file.header))
            for records in _groups(file, source):
                try:
                    self._score(records, report, given)
                except SequenceError as error:
                    raise SequenceError(f"{source}: {error}") from None
                out.write(header)
                header = ""
                out.writelines(str(record) for record in records)
                self.on_records(report.records)
            out.write(header)
        return report

    def _extend(self, header: Any) -> Any:
        header.info.add(
            SCORE_FIELD,
            "A",
            "Float",
            f"log2 p(window with the allele) - log2 p(window without it), {self.window} bases, "
            + ("mean of both strands" if self.strand == "both" else f"{self.strand} strand")
            + f", by hnet-dna model {self.model_name}",
        )
        if not len(header.contigs):  # readers want them, and we know them
            for contig in self.genome.contigs:
                header.contigs.add(contig.name, length=contig.length)
        header.info.add(SKIP_FIELD, ".", "String", "why alleles have no score, in their order; PASS where they have")
        header.add_line("##hnet_dna_command=" + " ".join(sys.argv))
        return header

    def _score(self, records: list[Any], report: VcfReport, given: Sequence[str]) -> None:
        variants, places = [], []
        answers: list[list[float | None]] = []
        for record in records:
            report.records += 1
            reasons = self._reasons(record, given)
            answers.append([None] * len(reasons))
            good = [i for i, reason in enumerate(reasons) if reason is None]
            report.skipped.update(reason for reason in reasons if reason is not None)
            report.scored += len(good)
            if good:
                interval = Interval(record.chrom, record.start, record.start + len(record.ref))
                variants.append(Variant(interval, record.ref, tuple(record.alts[i] for i in good)))
                places.append((len(answers) - 1, good))
            if any(reasons):
                record.info[SKIP_FIELD] = tuple(reason or "PASS" for reason in reasons)
        scores = score_variants(self.genome, variants, self.model, window=self.window, strand=self.strand)
        for (row, good), found in zip(places, scores, strict=True):
            for allele, score in zip(good, found, strict=True):
                answers[row][allele] = score
        for record, answer in zip(records, answers, strict=True):
            if any(score is not None for score in answer):
                record.info[SCORE_FIELD] = tuple(answer)

    def _reasons(self, record: Any, given: Sequence[str]) -> list[str | None]:
        """Tell for each alternative allele why it cannot be scored; None where it can."""
        alts = record.alts or (None,)
        where = f"{record.chrom}:{record.pos} {record.ref}"
        if record.chrom not in self.genome:
            error = unknown_contig(record.chrom, self.genome.contigs, self.genome.source.name, asked=given)
            raise SequenceError(f"record {where}: {error}")
        interval = Interval(record.chrom, record.start, record.start + len(record.ref))
        if interval.end > self.genome[record.chrom].length:
            return ["PAST_THE_END"] * len(alts)
        if set(record.ref.upper()) <= set("ACGT") and reference_differs(self.genome, interval, record.ref):
            if self.strict:
                raise SequenceError(
                    f"record {where}: the genome has other bases there; is {self.genome.source.name} the reference?"
                )
            return ["REF_MISMATCH"] * len(alts)
        return [reason_to_skip(record.ref, alt) for alt in alts]


@contextmanager
def _open(source: str) -> Iterator[Any]:
    import pysam

    if source != "-" and not Path(source).is_file():
        what = "is a directory" if Path(source).is_dir() else "no such file"
        raise SequenceError(f"{source}: {what}; expected a VCF file")
    verbosity = pysam.set_verbosity(0)  # its own messages would double ours
    try:
        with _seekable(source) as path, pysam.VariantFile(path) as file:
            yield file
    except (ValueError, OSError, EOFError, zlib.error) as error:
        if isinstance(error, HNetError):
            raise
        said = str(error)  # of a file that is none, pysam's own words say no more, and quote bytes
        why = "" if "invalid file" in said or "valid header" in said else f" ({said})"
        raise SequenceError(
            f"{source} is not a readable VCF file{why}; expected VCF with tabs between columns, plain, gzip or bgzip"
        ) from None
    finally:
        pysam.set_verbosity(verbosity)


@contextmanager
def _seekable(source: str) -> Iterator[str]:
    """Yield the path itself, or that of a decompressed copy: pysam reads bgzip, and refuses plain gzip."""
    if source != "-":
        with Path(source).open("rb") as file:
            start = file.read(14)
        if start[:2] == b"\x1f\x8b" and start[12:14] != b"BC":
            with gzip.open(source) as compressed, tempfile.NamedTemporaryFile(suffix=".vcf") as plain:
                shutil.copyfileobj(compressed, plain)
                plain.flush()
                yield plain.name
            return
    yield source


def _groups(file: Any, source: str) -> Iterator[list[Any]]:
    """Yield records by the thousand; a line that is no record is named."""
    group: list[Any] = []
    last = "the header"
    while True:
        try:
            record = next(file)
        except StopIteration:
            break
        except (ValueError, OSError) as error:
            raise SequenceError(f"{source}: the record after {last} is not valid VCF ({error})") from None
        last = f"{record.chrom}:{record.pos}"
        group.append(record)
        if len(group) == _HELD:
            yield group
            group = []
    if group:
        yield group
