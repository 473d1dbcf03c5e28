"""Which bases train, which validate and which test. No base is in two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hnet_dna.annotation.regions import Region, read_regions, refuse_overlap
from hnet_dna.errors import SequenceError, TrainingError, UsageError, did_you_mean
from hnet_dna.genome.assemblies import recognise
from hnet_dna.genome.contig_names import same_contig
from hnet_dna.genome.genome import Genome, whole
from hnet_dna.sequence.codes import n_ambiguous
from hnet_dna.sequence.interval import Interval, intersection, union

HELD_OUT_SHARE = 0.1
_MOST_HELD_OUT = 0.25  # of a genome, by a manifest: worms have six chromosomes
_VALID_FROM = 1_000_000  # bases of a genome that can spare a validation part
_VALID_BASES = 100_000
PARTS = ("train", "valid", "test")
_SYNONYMS = {"val": "valid", "validation": "valid", "dev": "valid", "training": "train"}


@dataclass(frozen=True)
class Split:
    """Disjoint intervals, and how they were chosen.

    Attributes:
        train: to learn from.
        valid: to choose by; may be empty.
        test: to report on; may be empty.
        rule: in words.
    """

    train: tuple[Interval, ...]
    valid: tuple[Interval, ...]
    test: tuple[Interval, ...]
    rule: str

    @property
    def held_out(self) -> tuple[Interval, ...]:
        """What closing figures are measured on: the test part, or the validation part where there is no other."""
        return self.test or self.valid


def split_genome(
    genome: Genome, held_out: Sequence[str] = (), split: str = "", regions: str = "", default: Split | None = None
) -> Split:
    """Split a genome as asked, or by a default that suits it.

    Args:
        genome: any.
        held_out: contigs to test on.
        split: a BED file whose fourth column is train, valid or test; or a share, such as 0.1, to hold out at the end
            of each contig.
        regions: a BED file; nothing outside it is used at all. A share of each contig is one of what lies inside.
        default: the split where neither contigs nor a split are asked for, in place of the following.

    The default holds out about a tenth: the contigs that the manifest of a recognised assembly recommends, unless they
    are over a quarter of this genome, which may be a part of that assembly; else the one contig closest to a tenth if
    its share lies between 5 and 15 %; else, in genomes of 20 contigs or more, contigs from the shortest up until a
    tenth is reached; else the last tenth of each contig. Where no validation part is chosen, genomes of a megabase or
    more give the end of their longest training stretch for it: a fiftieth, but at most 100,000 bases.
    """
    if held_out and split:
        raise UsageError("give `held_out` or `split`, not both")
    may_add_valid = True  # a BED file says all there is to say
    kept = [region.interval for region in read_regions(Path(regions), genome)] if regions else None
    if held_out:
        chosen = _by_contig(genome, [], [genome[genome.find(name)].name for name in held_out], "as asked")
    elif split:
        share = _share(split)
        may_add_valid = share is not None
        chosen = _by_bed(genome, Path(split)) if share is None else _tails(genome, share, kept)
    elif default:
        chosen, may_add_valid = default, False
    else:
        chosen = _default(genome, kept)
    if may_add_valid and not chosen.valid:
        chosen = _with_valid(genome, chosen)
    if kept is None:
        return chosen
    train, valid, test = (tuple(intersection(part, kept)) for part in (chosen.train, chosen.valid, chosen.test))
    if chosen.held_out and not (valid or test):
        raise SequenceError(
            f"{regions}: nothing of what is held out ({chosen.rule}) lies in these regions; `split` 0.1 holds out a "
            "tenth of them"
        )
    return Split(train, valid, test, f"{chosen.rule}, inside {Path(regions).name}")


def training_segments(genome: Genome, split: Split) -> list[Interval]:
    """Return the stretches between runs of N to train on, each of 2 bases or more."""
    segments = [s for interval in split.train for s in genome.segments(interval) if len(s) > 1]
    if not segments:
        raise TrainingError(
            f"{genome.source}: nothing to train on: no stretch of 2 or more bases between the runs of N"
        )
    return segments


def base_counts(genome: Genome, split: Split) -> dict[str, int]:
    """Count every base of the genome once, by what becomes of it.

    `predicted` are the training bases that an epoch predicts; all other entries say why bases are not among them.
    """
    train = sum(map(len, split.train))
    between_n = [segment for interval in split.train for segment in genome.segments(interval)]
    ambiguous = 0
    for segment in between_n:
        if genome[segment.contig].ambiguous and len(segment) > 1:
            ambiguous += n_ambiguous(genome.codes(segment)[1:])
    held_out = sum(map(len, split.valid)) + sum(map(len, split.test))
    return {
        "predicted": sum(len(segment) - 1 for segment in between_n) - ambiguous,
        "first base of a stretch, which has nothing before it": len(between_n),
        "IUPAC codes other than N, read but not predicted": ambiguous,
        "runs of N": train - sum(map(len, between_n)),
        "held out": held_out,
        "outside the split or the regions": genome.length - train - held_out,
    }


def is_share(split: str) -> bool:
    """Tell whether a split is asked for as a share, such as 0.1."""
    try:
        float(split)
    except ValueError:
        return False
    return True


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        if Path(text).exists():
            return None
        raise SequenceError(f"{text}: no such file; `split` takes a BED file, or a share such as 0.1") from None
    if not 0 < share < 1:
        raise UsageError(f"`split` {text}: expected a share between 0 and 1, or a BED file")
    return share


def _default(genome: Genome, kept: Sequence[Interval] | None) -> Split:
    recognised = recognise(genome.contigs)
    if recognised is not None and recognised.by_m5:
        assembly = recognised.assembly
        valid = [same_contig(name, genome.contigs) for name in assembly.valid]
        test = [same_contig(name, genome.contigs) for name in assembly.test]
        bases = sum(genome[name].length for name in test if name)
        if test and None not in (*valid, *test) and bases <= _MOST_HELD_OUT * genome.length:
            rule = f"as the manifest of {assembly.name} recommends"
            return _by_contig(genome, [v for v in valid if v], [t for t in test if t], rule)
    share = {contig.name: contig.length / genome.length for contig in genome.contigs}
    nearest = min(share, key=lambda name: abs(share[name] - HELD_OUT_SHARE))
    if 0.05 <= share[nearest] <= 0.15 and len(share) > 1:
        return _by_contig(genome, [], [nearest], "the contig closest to a tenth of the genome")
    if len(share) >= 20:
        names, total = [], 0.0
        for name in sorted(share, key=lambda name: (share[name], name)):
            if total >= HELD_OUT_SHARE:
                break
            names.append(name)
            total += share[name]
        if total <= 0.15:
            return _by_contig(genome, [], names, "the shortest contigs, up to a tenth of the genome")
    return _tails(genome, HELD_OUT_SHARE, kept)


def _with_valid(genome: Genome, split: Split) -> Split:
    size = min(genome.length // 50, _VALID_BASES)
    longest = max(split.train, key=len, default=None)
    if longest is None or genome.length < _VALID_FROM or len(longest) <= 2 * size:
        return split
    cut = Interval(longest.contig, longest.end - size, longest.end)
    kept = (Interval(longest.contig, longest.start, cut.start) if i == longest else i for i in split.train)
    return Split(tuple(kept), (cut,), split.test, split.rule)


def _tails(genome: Genome, share: float, kept: Sequence[Interval] | None) -> Split:
    """Hold out a share at the end of each contig, of what is kept of it."""
    train, test = [], []
    for contig in genome.contigs:
        inside = [whole(contig)] if kept is None else intersection([whole(contig)], kept)
        bases = sum(map(len, inside))
        left = bases - round(bases * share)  # to train on
        for interval in inside:
            cut = interval.start + min(left, len(interval))
            left -= cut - interval.start
            train.append(Interval(contig.name, interval.start, cut))
            test.append(Interval(contig.name, cut, interval.end))
    return Split(
        tuple(filter(len, train)),
        (),
        tuple(filter(len, test)),
        "the last tenth of each contig" if share == HELD_OUT_SHARE else f"the last {share:.4g} of each contig",
    )


def _by_contig(genome: Genome, valid: Sequence[str], test: Sequence[str], rule: str) -> Split:
    train = tuple(whole(contig) for contig in genome.contigs if contig.name not in {*valid, *test})
    if not train:
        raise SequenceError(f"{genome.source}: every contig is held out; nothing is left to train on")
    return Split(
        train,
        tuple(whole(contig) for contig in genome.contigs if contig.name in valid),
        tuple(whole(contig) for contig in genome.contigs if contig.name in test),
        rule,
    )


def _by_bed(genome: Genome, path: Path) -> Split:
    parts: dict[str, list[Region]] = {part: [] for part in PARTS}
    for region in read_regions(path, genome):
        part = region.name.strip().lower()
        part = _SYNONYMS.get(part, part)
        if part not in parts:
            raise SequenceError(
                f"{path}: line {region.line}: column 4 must be train, valid or test, got {region.name!r}. "
                f"{did_you_mean(part, PARTS)}"
            )
        parts[part].append(region)
    refuse_overlap(path, parts, "part")
    if not parts["train"]:
        raise SequenceError(f"{path}: no region is marked train")
    train, valid, test = (tuple(union(region.interval for region in parts[part])) for part in PARTS)
    return Split(train, valid, test, f"as {path.name} says")
