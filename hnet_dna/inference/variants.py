"""How much less likely a model finds a sequence with a variant than without.

The score of an allele is log2 p(window with it) - log2 p(window without it), over a window of the reference around the
variant that never crosses a run of N, averaged over both strands by default. What comes before the variant is the same
for all alleles, so it is run once and the alleles go on from its state. Alleles are run side by side with others of
like length, so that a long one costs its own bases only, and memory does not grow with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hnet_dna.errors import SequenceError
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.load import load_model
from hnet_dna.inference.stream import bits_of, forward, nothing_before
from hnet_dna.model.hnet import InnerState, select_rows
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import LETTER_BITS, N_CODE, Codes, from_text, reverse_complement, runs_of_n, to_text
from hnet_dna.sequence.interval import Interval
from hnet_dna.sequence.strand import Strand, check_strand

_FIRST_BASE = {code: base for base, codes in {"A": "RWMDHV", "C": "YSB", "G": "K"}.items() for code in codes}
_BATCH_BASES = 1 << 14  # run at once; larger batches fall out of the processor's cache


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
    found, ref = to_text(genome.codes(interval) & np.uint8(LETTER_BITS)), ref.upper()
    return found != ref and any(one not in (base, _FIRST_BASE.get(base)) for base, one in zip(found, ref, strict=True))


def score_variants(
    variants: Iterable[Variant | tuple[str, int, str, str]],
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    window: int = 512,
    strand: Strand = "both",
) -> NDArray[np.float64]:
    """Return log2 p(window with the allele) - log2 p(window without it) of each alternative allele, in bits.

    Args:
        variants: `Variant`s, or tuples (contig, 0-based position, reference letters, alternative letters).
        genome: anything that `open_genome` takes; the reference letters have to agree with it.
        model: anything that `load_model` takes.
        window: bases of reference around a variant, half on each side.
        strand: which strand's likelihood, or the mean of both.

    Returns:
        One score for each alternative allele, in the order of the variants and of their alleles.

    Raises:
        SequenceError: an allele has letters other than A, C, G and T, or the reference letters are not the genome's.

    Example:
        >>> from hnet_dna import score_variants
        >>> score_variants([("chr1", 3, "T", "G")], {"chr1": "ACGTTGCA"}, "five-genomes").shape
        (1,)
    """
    check_strand(strand)
    opened, loaded = open_genome(genome), load_model(model)
    checked = [_checked(variant, opened) for variant in variants]
    scores = allele_scores(opened, checked, loaded, window=window, strand=strand)
    return np.array([score for of_variant in scores for score in of_variant], dtype=np.float64)


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
    half = max(1, window // 2)
    batch: list[Variant] = []
    bases = 0
    for variant in variants:
        cost = sum(half + len(allele) for allele in (variant.ref, *variant.alts))
        if batch and bases + cost > _BATCH_BASES:
            yield from _score_batch(genome, batch, model, half, strand)
            batch, bases = [], 0
        batch.append(variant)
        bases += cost
    if batch:
        yield from _score_batch(genome, batch, model, half, strand)


@dataclass(frozen=True)
class _Window:
    before: Codes
    after: Codes
    alleles: tuple[Codes, ...]  # the reference first


def _score_batch(
    genome: Genome, batch: Sequence[Variant], model: HNetLM, half: int, strand: Strand
) -> list[list[float]]:
    windows = [_window(genome, variant, half) for variant in batch]
    runs = []
    if strand != "-":
        runs.append(_log2p(windows, model))
    if strand != "+":
        flipped = [
            _Window(
                reverse_complement(w.after), reverse_complement(w.before), tuple(map(reverse_complement, w.alleles))
            )
            for w in windows
        ]
        runs.append(_log2p(flipped, model))
    scores = []
    for row in range(len(batch)):
        alleles = np.mean([run[row] for run in runs], axis=0)
        scores.append([float(allele - alleles[0]) for allele in alleles[1:]])
    return scores


def _window(genome: Genome, variant: Variant, half: int) -> _Window:
    """Cut the window out of the stretch between runs of N that holds the variant, indels at their leftmost place."""
    contig, alleles = variant.interval.contig, (variant.ref.upper(), *(alt.upper() for alt in variant.alts))
    start, alleles = _leftmost(genome, contig, variant.interval.start, alleles)
    end = start + len(alleles[0])
    length = genome[contig].length
    before = genome.codes(Interval(contig, max(0, start - half), start))
    after = genome.codes(Interval(contig, end, min(length, end + half)))
    runs_before, runs_after = runs_of_n(before), runs_of_n(after)
    before = before[runs_before[-1, 1] :] if len(runs_before) else before
    after = after[: runs_after[0, 0]] if len(runs_after) else after
    return _Window(before, after, tuple(from_text(allele) for allele in alleles))


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


def _log2p(windows: Sequence[_Window], model: HNetLM) -> list[NDArray[np.float64]]:
    """Return log2 p of alleles and what comes after, given what comes before, for each window."""
    _, state, ahead = _run(model, [w.before for w in windows], None, nothing_before(model, len(windows)))
    owner = [row for row, w in enumerate(windows) for _ in w.alleles]
    sequences = [np.concatenate([allele, w.after]) for w in windows for allele in w.alleles]
    bits = np.empty(len(sequences))
    for rows in _of_like_length(sequences):
        owners = torch.tensor([owner[row] for row in rows])
        begun = None if state is None else select_rows(state, owners)
        bits[rows], _, _ = _run(model, [sequences[row] for row in rows], begun, ahead[owners.to(ahead.device)])
    ends = np.cumsum([len(w.alleles) for w in windows])
    return [-part for part in np.split(bits, ends[:-1])]


def _of_like_length(sequences: Sequence[Codes]) -> Iterator[list[int]]:
    """Yield groups of rows of which none is less than half as long as another, nor all together longer than a batch."""
    group: list[int] = []
    longest = 0
    for row in sorted(range(len(sequences)), key=lambda row: -len(sequences[row])):
        if group and (2 * len(sequences[row]) < longest or (len(group) + 1) * longest > _BATCH_BASES):
            yield group
            group = []
        if not group:
            longest = len(sequences[row])
        group.append(row)
    yield group


def _run(
    model: HNetLM, rows: Sequence[Codes], state: InnerState | None, ahead: Tensor
) -> tuple[NDArray[np.float64], InnerState | None, Tensor]:
    """Run sequences side by side, in pieces where there is one that is longer than a batch.

    Args:
        model: any with an alphabet.
        rows: B sequences.
        state: what the model made of the bases before them; None where there are none.
        ahead: (B, 1, V) logits for the first base of each.

    Returns:
        -log2 p of each sequence (B,), and state and ahead for what follows.
    """
    lengths = torch.tensor([len(row) for row in rows])
    codes = np.full((len(rows), int(lengths.max())), N_CODE, dtype=np.uint8)
    for place, row in zip(codes, rows, strict=True):
        place[: len(row)] = row
    bits = np.zeros(len(rows))
    for start in range(0, codes.shape[1], _BATCH_BASES):
        piece = codes[:, start : start + _BATCH_BASES]
        valid = (lengths - start).clamp(0, piece.shape[1])
        output = forward(model, piece, state, valid)
        logits = torch.cat([ahead, output.logits], dim=1)
        bits += bits_of(model, logits[:, :-1], piece).sum(axis=1)
        state, ahead = output.state, logits[torch.arange(len(rows)), valid.to(logits.device)][:, None]
    return bits, state, ahead
