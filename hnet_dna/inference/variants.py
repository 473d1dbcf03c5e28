"""How much less likely a model finds a sequence with a variant than without.

The score of an allele is log2 p(window with it) - log2 p(window without it), over a window of the reference around the
variant that never crosses a run of N, averaged over both strands by default. `effects.py` says how alleles are run.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.errors import HNetError, SequenceError, UsageError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.branches import Branches, cost
from hnet_dna.inference.effects import Cut, Effects, How, read_effects
from hnet_dna.inference.load import load_model
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS, is_acgt, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand, check_strand

_FIRST_BASE = {code: base for base, codes in {"A": "RWMDHV", "C": "YSB", "G": "K"}.items() for code in codes}
_SHARED_BASES = 1 << 20  # of alleles whose neighbourhoods are read together
_TASK_BASES = 1 << 18  # of alleles that one process gets at once


@dataclass(frozen=True)
class Variant:
    """Alleles at a place of the reference.

    Attributes:
        interval: bases of the reference that the alleles replace, 0-based half-open.
        ref: what the record says stands there.
        alts: one or more alternative alleles, letters A, C, G, T.
    """

    interval: Interval
    ref: str
    alts: tuple[str, ...]


def reason_to_skip(ref: str, alt: str | None) -> str | None:
    """Tell why an allele cannot be scored, None where it can."""
    if alt is None or alt in ("", "."):
        return "MISSING_ALT"
    if alt == "*":
        return "SPANNING_DELETION"
    if alt.startswith("<"):
        return "SYMBOLIC"
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return "BREAKEND"
    if alt.endswith(">"):  # C<contig>: a long insertion whose bases lie elsewhere
        return "SYMBOLIC"
    if set(alt.upper()) - set("ACGT") or set(ref.upper()) - set("ACGT"):
        return "NOT_ACGT"
    return None


def reference_differs(genome: Genome, interval: Interval, ref: str) -> bool:
    """Tell whether the genome has other letters than `ref`, in any case, at an interval inside its contig.

    A REF agrees with an ambiguity code that stands for several bases if it repeats the code, or has the first of the
    bases in the alphabet, which is how VCF writes it.
    """
    letters, ref = to_text(genome.codes(interval) & np.uint8(LETTER_BITS)), ref.upper()
    return letters != ref and any(
        one not in (base, _FIRST_BASE.get(base)) for base, one in zip(letters, ref, strict=True)
    )


def score_variants(
    variants: Iterable[Variant | tuple[str, int, str, str]],
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    window: int = 512,
    strand: Strand = "both",
    context: int | None = None,
    jobs: int = 1,
) -> NDArray[np.float64]:
    """Return log2 p(window with the allele) - log2 p(window without it) of each alternative allele, in bits.

    Args:
        variants: `Variant`s, or tuples (contig, 0-based position, reference letters, alternative letters).
        genome: anything that `open_genome` takes; the reference letters have to agree with it.
        model: anything that `load_model` takes.
        window: bases of reference around a variant, half on each side.
        strand: which strand's likelihood, or the mean of both.
        context: read at least this many bases before a variant instead of half a window. Neighbours share the reading,
            so that dense variants take a third of the time, but scattered ones take longer.
        jobs: number of processes.

    Returns:
        One score for each alternative allele, in the order of the variants and of their alleles.

    Raises:
        SequenceError: an allele has letters other than A, C, G and T, or the reference letters are not the genome's.

    Example:
        >>> from hnet_dna import score_variants
        >>> score_variants([("chr1", 3, "T", "G")], {"chr1": "ACGTTGCA"}, "five-genomes").shape
        (1,)
    """
    opened, loaded = open_genome(genome), load_model(model)
    checked = [_checked(variant, opened) for variant in variants]
    with VariantReader(opened, loaded, How(window, check_strand(strand), context), jobs=jobs) as reader:
        scores = [effects.llr for effects in reader.read(checked)]
    return np.concatenate([np.zeros(0), *scores])


def _checked(variant: Variant | tuple[str, int, str, str], genome: Genome) -> Variant:
    if not isinstance(variant, Variant):
        contig, position, ref, alt = variant
        variant = Variant(Interval(contig, position, position + len(ref)), ref, (alt,))
    for alt in variant.alts:
        if reason := reason_to_skip(variant.ref, alt):
            raise SequenceError(f"{variant.interval}: {variant.ref} to {alt} cannot be scored ({reason})")
    if reference_differs(genome, variant.interval, variant.ref):
        here = to_text(genome.codes(variant.interval)).upper()
        raise SequenceError(f"{variant.interval}: {genome.source.name} has {here} there, not {variant.ref}")
    return variant


def allele_scores(
    genome: Genome, variants: Sequence[Variant], model: HNetLM, *, window: int = 512, strand: Strand = "both"
) -> Iterator[list[float]]:
    """Yield, for each variant in its order, the score of each alternative allele in bits; see `score_variants`."""
    for effects in VariantReader(genome, model, How(window, strand)).read(variants):
        yield effects.llr.tolist()


class VariantReader:
    """Tells what a model makes of variants, in one process or several; a context manager that owns the processes.

    Args:
        genome: the reference.
        model: any with an alphabet.
        how: what is read.
        jobs: number of processes. With 1, this process does the work.

    Raises:
        UsageError: boundaries are asked for that the model does not have, or there are no jobs.
    """

    def __init__(self, genome: Genome, model: HNetLM, how: How, *, jobs: int = 1) -> None:
        how.check(model)
        if jobs < 1:
            raise UsageError(f"`jobs`: expected 1 or more, got {jobs}")
        if jobs > 1 and model.lm_head.weight.device.type != "cpu":
            raise UsageError("`jobs`: processes share the work of CPUs; on a GPU, one job keeps it busy")
        self._genome, self._model, self._how, self._jobs = genome, model, how, jobs
        self._pool: ProcessPoolExecutor | None = None
        self._children: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> VariantReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        for child in self._children if kind is not None else []:
            child.terminate()
        self._pool = None

    def read(
        self,
        variants: Iterable[Variant],
        *,
        boundaries_only: bool = False,
        on_variants: Callable[[int], None] = lambda count: None,
    ) -> Iterator[Effects]:
        """Yield what the model makes of each variant, in their order; memory does not grow with their number.

        `on_variants` is told how many variants more have been read.
        """
        how = replace(self._how, boundaries_only=True) if boundaries_only else self._how
        if self._jobs == 1:
            for effects in _read(self._genome, variants, self._model, how):
                on_variants(len(effects))
                yield from effects
            return
        if self._pool is None:
            self._start()
            assert self._pool is not None
        running: deque[Future[list[Effects]]] = deque()
        try:
            for task in _batches(variants, how, _TASK_BASES):
                running.append(self._pool.submit(_work, task, how))
                if len(running) > 2 * self._jobs:
                    yield from _finished(running.popleft(), on_variants)
            while running:
                yield from _finished(running.popleft(), on_variants)
        except BrokenProcessPool:
            raise HNetError(
                "one of the processes that share the work has ended before its time; was there too little memory? "
                "Fewer `jobs` need less"
            ) from None

    def _start(self) -> None:
        before = set(multiprocessing.active_children())
        threads = max(1, torch.get_num_threads() // self._jobs)
        self._pool = ProcessPoolExecutor(
            self._jobs,
            multiprocessing.get_context("spawn"),
            _prepare,
            (self._genome, self._model, threads),
        )
        for started in [self._pool.submit(_is_ready) for _ in range(self._jobs)]:
            started.result()
        self._children = [child for child in multiprocessing.active_children() if child not in before]


_given: tuple[Genome, HNetLM]  # in a process of a pool: what it works with


def _prepare(genome: Genome, model: HNetLM, threads: int) -> None:
    global _given
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all processes of a terminal; the first ends the others
    torch.set_num_threads(threads)
    _given = genome, model


def _is_ready() -> None:
    pass


def _work(variants: list[Variant], how: How) -> list[Effects]:
    genome, model = _given
    return [effects for batch in _read(genome, variants, model, how) for effects in batch]


def _finished(task: Future[list[Effects]], on_variants: Callable[[int], None]) -> list[Effects]:
    effects = task.result()
    on_variants(len(effects))
    return effects


def _read(genome: Genome, variants: Iterable[Variant], model: HNetLM, how: How) -> Iterator[list[Effects]]:
    branches = Branches(model, boundaries_only=how.boundaries_only)
    for batch in _batches(variants, how, branches.batch if how.context is None else _SHARED_BASES):
        yield read_effects(genome, [_cut(genome, variant) for variant in batch], branches, how)


def _batches(variants: Iterable[Variant], how: How, most: int) -> Iterator[list[Variant]]:
    """Yield variants in groups whose alleles, with what is read after them, have a limited number of bases."""
    batch: list[Variant] = []
    bases = 0
    for variant in variants:
        added = sum(cost(how.after + len(allele)) for allele in (variant.ref, *variant.alts))
        if batch and bases + added > most:
            yield batch
            batch, bases = [], 0
        batch.append(variant)
        bases += added
    if batch:
        yield batch


def _cut(genome: Genome, variant: Variant) -> Cut:
    alleles = (variant.ref.upper(), *(alt.upper() for alt in variant.alts))
    if all(len(allele) == 1 for allele in alleles):
        return Cut(variant.interval.contig, variant.interval.start, alleles)
    return Cut(variant.interval.contig, *_leftmost(genome, variant.interval.contig, variant.interval.start, alleles))


def controls(genome: Genome, variant: Variant, alt: str, count: int) -> list[Variant]:
    """Return what a variant is compared with: the same change at the nearest places that allow it.

    A place allows it if it has the first letter of the reference allele; half of the places lie on either side where
    there are as many. A deletion takes as many bases there, an insertion adds the same letters.

    Args:
        genome: the reference.
        variant: one of its alleles is `alt`.
        alt: the alternative allele.
        count: how many places at most.
    """
    if not count:
        return []
    ref, contig = variant.ref.upper(), variant.interval.contig
    reach = 16 * count + len(ref)
    start = max(0, variant.interval.start - reach)
    end = min(genome[contig].length, variant.interval.end + reach)
    codes = genome.codes(Interval(contig, start, end)) & np.uint8(LETTER_BITS)
    text = to_text(codes)
    first = [place for place, letter in enumerate(text) if letter == ref[0] and start + place != variant.interval.start]
    known = [place for place in first if (part := text[place : place + len(ref)]) != alt and len(part) == len(ref)]
    known = [place for place in known if is_acgt(codes[place : place + len(ref)]).all()]
    own = variant.interval.start - start
    left, right = [place for place in known if place < own][::-1], [place for place in known if place > own]
    from_left = max(count - count // 2, count - len(right))
    chosen = left[:from_left]
    chosen += right[: count - len(chosen)]
    return [
        Variant(Interval(contig, start + place, start + place + len(ref)), text[place : place + len(ref)], (alt,))
        for place in sorted(chosen)
    ]


def _leftmost(genome: Genome, contig: str, start: int, alleles: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Shift alleles to the left as far as the same sequence results, so that one indel has one window."""
    if len(set(alleles)) == 1:  # no variant, which could be shifted without end
        return start, alleles
    rows = [deque(allele) for allele in alleles]
    while len({row[-1] for row in rows}) == 1:
        if min(map(len, rows)) == 1:
            if start == 0:
                break
            base = to_text(genome.codes(Interval(contig, start - 1, start)) & np.uint8(LETTER_BITS))
            if base not in "ACGT":
                break
            start -= 1
            for row in rows:
                row.appendleft(base)
        for row in rows:
            row.pop()
    while min(map(len, rows)) > 1 and len({row[0] for row in rows}) == 1:
        start += 1
        for row in rows:
            row.popleft()
    return start, tuple(map("".join, rows))
