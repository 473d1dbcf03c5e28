"""Scores of variants, from VCF to VCF.

Every line is written as it was read, byte by byte, with up to four fields at the end of its INFO, so that nothing
passes through another's idea of numbers, missing values or encodings. Only CHROM, POS, REF and ALT are interpreted.
What an earlier scoring added, in the header and in INFO, is replaced. Alleles that cannot be scored get the reason
instead, and are counted.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import SequenceError, UsageError
from hnet_dna.genome.assemblies import find_assembly
from hnet_dna.genome.contig_names import few, unknown_contig
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.inference.effects import Effects, How, Shift
from hnet_dna.inference.load import load_model
from hnet_dna.inference.variants import Variant, VariantReader, controls, reason_to_skip, reference_differs
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.progress import OnProgress, Work, ignore, is_small
from hnet_dna.sequence.strand import Strand, check_strand
from hnet_dna.text import called, count_lines, raw_lines, watched
from hnet_dna.tracks.bgzip import indexed, is_compressed, text_file
from hnet_dna.tracks.vcf_lines import (
    BOUNDARY_FIELD,
    OUR_FIELDS,
    SCORE_FIELD,
    SHARE_FIELD,
    SKIP_FIELD,
    Header,
    Record,
    read_header,
    read_records,
    short,
)

_HELD, _HELD_BYTES = 4096, 1 << 24  # records, and bytes of them, read before they are scored together, for each job
_REPORT_EVERY = 256  # records after which progress is reported
# Contigs that a header can name, by the specification.
_CONTIG_ID = re.compile(r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Scored:
    """What an allele got: its score, boundaries as text, and the share of controls; None where not asked for."""

    llr: float = 0.0
    boundaries: str | None = None
    share: float | None = None


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
        window, strand, context: see `score_variants`.
        boundaries: bases after a variant whose chunk boundaries are compared; 0 for none.
        controls: how many changes of the same kind nearby each variant's boundaries are compared with.
        jobs: number of processes.
        strict: whether a REF that differs from the genome, or a contig of another length, is an error instead of being
            skipped.
        on_records: called with the number of records that are done.
        command: written into the header.
    """

    genome: Genome
    model: HNetLM
    model_name: str
    window: int = 512
    strand: Strand = "both"
    strict: bool = False
    on_records: Callable[[int], None] = lambda count: None
    command: Sequence[str] = ()
    context: int | None = None
    boundaries: int = 0
    controls: int = 0
    jobs: int = 1

    def run(self, source: str, out: BinaryIO) -> VcfReport:
        """Read a VCF (plain or gzip, a path, a pipe, or `-` for stdin) and write it with scores.

        Raises:
            SequenceError: not a VCF, a line that is not a record, a contig that the genome lacks, contigs of other
                lengths than the header says; with `strict` also a REF that differs.
        """
        if self.controls and not self.boundaries:
            raise UsageError("`controls` belong to `boundaries`")
        how = How(self.window, self.strand, self.context, self.boundaries)
        with VariantReader(self.genome, self.model, how, jobs=self.jobs) as reader:
            return self._run(source, out, reader)

    def _run(self, source: str, out: BinaryIO, reader: VariantReader) -> VcfReport:
        report = VcfReport(0, 0, Counter())
        name = called(source)
        lines = enumerate(raw_lines(source, "a VCF file"), start=1)
        header = read_header(lines, name)
        header = replace(header, contigs={self.genome.find(contig): one for contig, one in header.contigs.items()})
        differing = self._compare(header, name)
        # With the first records, so that a file that cannot be scored leaves nothing that looks like a VCF.
        head = self._extended(header)
        for read in _groups(read_records(lines, len(header.columns), name), self.jobs):
            records = [replace(record, contig=self.genome.find(record.contig)) for record in read]
            answers = [self._reasons(record, header, differing, name) for record in records]
            self._score(records, answers, report, reader)
            out.writelines(head)
            head = []
            out.writelines(_with_info(record, answer) for record, answer in zip(records, answers, strict=True))
            self.on_records(report.records)
        out.writelines(head)
        return report

    def _extended(self, header: Header) -> list[bytes]:
        """Return the header's lines, and before the last of them those that are ours."""
        model = self.model_name.replace("\\", "\\\\").replace('"', '\\"')
        strands = "mean of both strands" if self.strand == "both" else f"{self.strand} strand"
        added = []
        if not header.contigs:  # readers want them, and we know them
            known = [contig for contig in self.genome.contigs if _CONTIG_ID.fullmatch(contig.name)]
            added = [f"##contig=<ID={contig.name},length={contig.length}>" for contig in known]
        read = counted(self.window, "base")
        if self.context is not None:
            read = f"{counted(self.window // 2, 'base')} after the variant and at least {self.context} before it"
        added.append(
            f'##INFO=<ID={SCORE_FIELD},Number=A,Type=Float,Description="log2 p(window with the allele) - log2 p(window '
            f"without it), {read}, {strands}, by hnet-dna model {model}; an allele that changes the length has more or "
            f'fewer bases to predict, about 2 bits each">'
        )
        if self.boundaries:
            added.append(
                f'##INFO=<ID={BOUNDARY_FIELD},Number=A,Type=String,Description="chunk boundaries within '
                f"{counted(self.boundaries, 'base')} after the variant: lost|gained|largest change of probability|"
                "its distance, 0 "
                'being the last base of the variant, on the + strand, and the same on the - strand">'
            )
        if self.controls:
            added.append(
                f'##INFO=<ID={SHARE_FIELD},Number=A,Type=Float,Description="share of up to {self.controls} changes of '
                "the same kind at the nearest places, and of this one, whose largest change of a boundary probability "
                'is at least that of this one">'
            )
        added += [
            f"##INFO=<ID={SKIP_FIELD},Number=.,Type=String,Description="
            '"why alleles have no score, in their order; PASS where they have">',
            "##hnet_dna_command=" + " ".join(self.command or ("hnet_dna.score_vcf",)),
        ]
        encoded = [os.fsencode(" ".join(line.splitlines())) + header.line_end for line in added]
        return [*header.lines[:-1], *encoded, header.lines[-1]]

    def _compare(self, header: Header, name: str) -> set[str]:
        """Compare the contigs that the header declares with the genome's; return those of another length here."""
        own = {contig.name: contig for contig in self.genome.contigs}
        declared = {contig: said for contig, said in header.contigs.items() if contig in own}
        sized = {contig: said for contig, said in declared.items() if said.length is not None}
        others = [contig for contig, said in sized.items() if said.length != own[contig].length]
        if others:
            first = declared[others[0]]
            message = (
                f"{name}: line {first.number}: the header gives {others[0]} {counted(first.length or 0, 'base')}; in "
                f"{self.genome.source.name} it has {own[others[0]].length:,}"
            )
            if self.strict or len(others) == len(sized):
                raise SequenceError(
                    f"{message}. Is it the same assembly? Score against the genome that the variants were called on"
                )
            _log.info("%s. Contigs of another length, of which no record is scored: %s", message, few(others))
        changed = [
            contig
            for contig, said in declared.items()
            if contig not in others and said.md5 not in (None, own[contig].md5)
        ]
        if changed:
            _log.info(
                "%s: the header gives other checksums than %s has, so their bases differ somewhere: %s",
                name,
                self.genome.source.name,
                few(changed),
            )
        if not sized:
            self._compare_reference(header, name)
        return set(others)

    def _compare_reference(self, header: Header, name: str) -> None:
        """Tell if ##reference names a known assembly whose contigs have other lengths."""
        try:
            assembly = find_assembly(PurePosixPath(header.reference).name.split(".")[0])
        except UsageError:
            return
        lengths = {name: known.length for known in assembly.contigs.values() for name in known.names}
        for contig in self.genome.contigs:
            if lengths.get(contig.name, contig.length) != contig.length:
                _log.info(
                    "%s: its ##reference is %s, where %s has %s bases; in %s it has %s. Is it the same assembly?",
                    name,
                    header.reference,
                    contig.name,
                    f"{lengths[contig.name]:,}",
                    self.genome.source.name,
                    f"{contig.length:,}",
                )
                return

    def _reasons(self, record: Record, header: Header, differing: set[str], name: str) -> list[str | _Scored]:
        """Tell for each alternative allele why it cannot be scored; `_Scored` where it can."""
        reasons = [reason_to_skip(record.ref, alt) for alt in record.alts]
        where = f"{name}: line {record.number}, record {record.contig}:{record.position} {short(record.ref)}"
        start = record.position - 1
        if record.contig not in self.genome:
            if not record.contig.startswith("<"):  # of an assembly file
                error = unknown_contig(
                    record.contig, self.genome.contigs, self.genome.source.name, asked=header.contigs
                )
                raise SequenceError(f"{where}: {error}")
            whole = "SYMBOLIC"
        elif record.contig in differing:
            whole = "CONTIG_DIFFERS"
        elif start < 0 or start + len(record.ref) > self.genome[record.contig].length:
            # Where the telomeres are, breakends and the like may lie. No bases do.
            return [reason if reason not in (None, "NOT_ACGT") else "PAST_THE_END" for reason in reasons]
        elif set(record.ref.upper()) <= set("ACGT") and reference_differs(self.genome, record.interval, record.ref):
            if self.strict:
                raise SequenceError(
                    f"{where}: the genome has other bases there; is {self.genome.source.name} the reference?"
                )
            whole = "REF_MISMATCH"
        else:
            return [reason or _Scored() for reason in reasons]
        return [whole] * len(reasons)

    def _score(
        self,
        records: list[Record],
        answers: list[list[str | _Scored]],
        report: VcfReport,
        reader: VariantReader,
    ) -> None:
        """Put scores where no reason is."""
        variants, places = [], []
        before = report.records
        for number, (record, answer) in enumerate(zip(records, answers, strict=True)):
            good = [i for i, reason in enumerate(answer) if isinstance(reason, _Scored)]
            report.records += 1
            report.scored += len(good)
            report.skipped.update(reason for reason in answer if isinstance(reason, str))
            if good:
                variants.append(Variant(record.interval, record.ref, tuple(record.alts[i] for i in good)))
                places.append((number, answer, good))
        nearby = [controls(self.genome, one, alt.upper(), self.controls) for one in variants for alt in one.alts]
        changes = self._changes(nearby, reader)
        scored = zip(places, reader.read(variants), strict=True)
        for count, ((number, answer, good), effects) in enumerate(scored, start=1):
            for index, allele in enumerate(good):
                answer[allele] = self._scored(effects, index, next(changes))
            if count % _REPORT_EVERY == 0:
                self.on_records(before + number + 1)

    def _changes(self, nearby: list[list[Variant]], reader: VariantReader) -> Iterator[NDArray[np.float64]]:
        """Yield, for each allele, the largest changes of boundaries by its controls."""
        effects = reader.read((one for those in nearby for one in those), boundaries_only=True)
        for those in nearby:
            yield np.array([next(effects).largest_changes[0] for _ in those])

    def _scored(self, effects: Effects, index: int, controls: NDArray[np.float64]) -> _Scored:
        llr = float(effects.llr[index])
        if not self.boundaries:
            return _Scored(llr)
        shifts = dict(zip(("+", "-") if self.strand == "both" else (self.strand,), effects.shifts[index], strict=True))
        text = "|".join(_shown_shift(shifts.get(strand)) for strand in ("+", "-"))
        if not self.controls:
            return _Scored(llr, text)
        as_large = int((controls >= effects.largest_changes[index]).sum())
        return _Scored(llr, text, (1 + as_large) / (1 + len(controls)))


def _shown_shift(shift: Shift | None) -> str:
    return ".|.|.|." if shift is None else f"{shift.lost}|{shift.gained}|{shift.change:.3g}|{shift.distance}"


def _with_info(record: Record, answer: list[str | _Scored]) -> bytes:
    """Return the line with scores and reasons at the end of INFO, in place of those that it had."""
    info = record.columns[7]
    if any(field in info for field in OUR_FIELDS):
        info = b";".join(field for field in info.split(b";") if field.partition(b"=")[0] not in OUR_FIELDS)
    scored = [one if isinstance(one, _Scored) else None for one in answer]
    columns = {
        SCORE_FIELD: [None if one is None else f"{one.llr:.6g}" for one in scored],
        BOUNDARY_FIELD: [None if one is None else one.boundaries for one in scored],
        SHARE_FIELD: [None if one is None or one.share is None else f"{one.share:.4g}" for one in scored],
    }
    fields = [f"{name}={','.join(v or '.' for v in values)}" for name, values in columns.items() if any(values)]
    if any(isinstance(one, str) for one in answer):
        fields.append(f"{SKIP_FIELD}={','.join(one if isinstance(one, str) else 'PASS' for one in answer)}")
    ours = ";".join(fields).encode()
    if info not in (b"", b"."):
        ours = info + (b"" if info.endswith(b";") else b";") + ours
    return b"\t".join([*record.columns[:7], ours, *record.columns[8:]]) + record.line_end


def score_vcf(
    vcf: str | Path,
    genome: GenomeLike,
    model: str | Path | HNetLM,
    out: str | Path | BinaryIO,
    *,
    window: int = 512,
    strand: Strand = "both",
    context: int | None = None,
    boundaries: int = 0,
    controls: int = 0,
    jobs: int = 1,
    strict: bool = False,
    command: Sequence[str] = (),
    on_progress: OnProgress = ignore,
) -> VcfReport:
    """Copy a VCF and add the log-likelihood ratio of each allele to INFO; every other byte stays as it was.

    Args:
        vcf: a file (plain, gzip or bgzip), a pipe, or `-` for stdin.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        out: a file, compressed by bgzip and indexed if its name ends in .gz or .bgz, or an open binary stream.
        window, strand, context, jobs: see `score_variants`.
        boundaries: also write how the chunk boundaries within this many bases after a variant change, as HNET_DBOUND.
        controls: also compare the largest change of a boundary with those by this many changes of the same kind nearby,
            and write the share that changes as much, as HNET_DBOUND_SHARE.
        strict: whether a REF that differs from the genome is an error; otherwise it is skipped and counted.
        command: written into the header.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        SequenceError: not a VCF, a line that is not a record, or a contig that the genome lacks.
        UsageError: boundaries of a model that has no chunks, or of more bases than half a window.
    """
    opened, loaded = open_with_progress(genome, on_progress), load_model(model)
    name, source = loaded.name_or_path or loaded.digest()[:12], str(vcf)
    with ExitStack() as stack:
        if isinstance(out, str | Path):
            path = Path(out)
            lines = indexed(path, "vcf") if is_compressed(path) else text_file(path)
            stream: BinaryIO = cast(Any, stack.enter_context(lines)).buffer
        else:
            stream = out
        total = count_lines(source, "a VCF file") if is_small(source) else None
        about = called(source) if total is None else ""
        work = stack.enter_context(Work(on_progress, "scoring", total, "records", about=about))
        stack.enter_context(watched(source, work.read))
        scorer = VcfScorer(
            opened, loaded, name, window, check_strand(strand), strict, work.reach, command, context, boundaries,
            controls, jobs,
        )  # fmt: skip
        return scorer.run(source, stream)


def _groups(records: Iterator[Record], jobs: int) -> Iterator[list[Record]]:
    group: list[Record] = []
    size = 0
    for record in records:
        group.append(record)
        size += sum(map(len, record.columns))
        if len(group) == _HELD * jobs or size >= _HELD_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
