"""The life of a fine-tuning: labels and folds, a model and its untrained twin beside baselines, the tuned model."""

from __future__ import annotations

import copy
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hnet_dna.annotation.regions import is_bed
from hnet_dna.embedding.inputs import recognise
from hnet_dna.embedding.levels import LevelReader
from hnet_dna.embedding.models import open_model
from hnet_dna.errors import UsageError
from hnet_dna.files import refuse_filled
from hnet_dna.finetuning.bases import convolutional_network, judge_bases
from hnet_dna.finetuning.journal import Journal, journal_of
from hnet_dna.finetuning.tuned import Tuned, Which
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.inference.load import untrained
from hnet_dna.model.lm import HNetLM
from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.probing.base_targets import is_bigwig, read_base_targets
from hnet_dna.probing.baselines import baselines
from hnet_dna.probing.contenders import Contender, Fold, stopping_split
from hnet_dna.probing.cross_validation import conclusions, cross_validate, fit_all
from hnet_dna.probing.fitting import Rows, Schedule, Training, predict
from hnet_dna.probing.folds import make_folds
from hnet_dna.probing.head_file import IN_ORDER, OWN_MODEL, PER_BASE, About, save_head
from hnet_dna.probing.inputs import Letters
from hnet_dna.probing.network import Network, Shape
from hnet_dna.probing.run import ProbeResult, about_folds, check_task, labelled_rows, write_folder
from hnet_dna.probing.sequence_head import SEQUENCE_HEADS, SequenceHead, fit_sequence_head
from hnet_dna.probing.vectors import check_bases, in_order_level
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import Codes
from hnet_dna.sequence.strand import check_strand

TUNED, FROM_RANDOM = "fine-tuned", "fine-tuned from random weights"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How a model is fine-tuned; see `finetune`."""

    head: str
    level: str
    strand: str
    symmetric: bool | None
    which: Which
    schedule: Schedule
    balanced: bool


@dataclass
class _FittedTuned:
    """A model that has been fine-tuned, with its head."""

    tuned: Tuned
    head: SequenceHead
    chosen: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    def predict(self, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.float64] | None]:
        scores = self.head.goal.scores(predict(self.tuned, rows, at_once=64))
        return self.head.goal.predicted(scores), scores if self.classes else None


@dataclass(frozen=True)
class FineTuning:
    """Fine-tunes a fresh copy of a model for each fold."""

    name: str
    model: HNetLM
    sequences: Sequence[Codes]
    settings: Settings
    journal: Journal | None = None
    on_rows: Callable[[int], None] = lambda count: None

    @property
    def width(self) -> int:
        """Numbers at each base."""
        both = 2 if self.settings.strand == "both" else 1
        return sum(LevelReader(self.model, self.settings.level).widths) * both

    def fit(self, fold: Fold) -> _FittedTuned:
        """Fine-tune on rows, going on where an earlier process was stopped."""
        settings = self.settings
        train, valid = stopping_split(fold)
        goal = fold.goal(train, valid, balanced=settings.balanced)
        lengths = np.array([len(codes) for codes in self.sequences])
        symmetric = settings.symmetric
        if symmetric is None:  # a network on the letters tells in seconds
            plain = fold.goal(train, valid)
            _, choices = fit_sequence_head("conv", Letters(self.sequences), plain, fold.target, train, valid, fold.seed)
            symmetric = bool(choices["symmetric"])
        per_base = fold.target.ndim == 3
        aligned = 0 if symmetric or per_base or len(np.unique(lengths)) > 1 else int(lengths[0])
        letters = LevelReader(self.model, settings.level).letters
        shape = Shape(settings.head, self.width, goal.outputs, aligned, symmetric, letters=letters, per_base=per_base)
        model = copy.deepcopy(self.model)
        with torch.random.fork_rng():
            torch.manual_seed(fold.seed)
            network = Network(shape).to(model.embeddings.weight.device)
            tuned = Tuned(model, network, settings.level, settings.strand, self.sequences, settings.which)
        self._scale(tuned, train)
        training = Training(tuned, goal, fold.target, train, valid, settings.schedule, fold.seed)
        key = f"{self.name.replace(' ', '-')}-{zlib.crc32(train.tobytes() + valid.tobytes()):08x}"
        if self.journal is not None and (state := self.journal.load(key)) is not None:
            training.load_state_dict(state)
        while not training.finished:
            training.run(1, self.on_rows)
            if self.journal is not None:
                self.journal.save(key, training.state_dict())
        training.use_best()
        tuned.module.eval()
        chosen = {
            "symmetric": symmetric,
            "positions": aligned,
            "epochs": training.best[1],
            "inner_folds": int(len(valid) > 0),
        }
        return _FittedTuned(tuned, SequenceHead((network,), goal), chosen)

    def _scale(self, tuned: Tuned, train: Rows) -> None:
        """Scale the head's inputs by what the model gives before it is trained."""
        some = train[:: max(1, len(train) // 200)]
        with torch.inference_mode():
            bases = torch.cat([tuned.vectors(np.array([row]))[0] for row in some])
        tuned.network.scale_to(bases.mean(0), bases.std(0, unbiased=False))


def finetuning_settings(model: HNetLM) -> Settings:
    """Return the settings of `finetune` where none is given."""
    return Settings("conv", in_order_level(model), "both", None, Which(), Schedule(8, 3, 32, 2e-3), False)


def finetune(
    labels: str | Path,
    out: str | Path,
    *,
    model: str | Path | HNetLM = DEFAULT_MODEL,
    task: str = "classification",
    head: str = "conv",
    level: str | None = None,
    strand: str = "both",
    aligned: bool | None = None,
    lora: int = 0,
    last: int = 0,
    epochs: int = 8,
    patience: int = 3,
    batch: int = 32,
    learning_rate: float = 2e-3,
    layer_decay: float = 0.9,
    class_weights: bool = False,
    compare: bool = True,
    folds: int = 5,
    test: str | Path | None = None,
    split: str | None = None,
    label: str | None = None,
    id_column: str | None = None,
    sequence: str | None = None,
    group: str | None = None,
    genome: GenomeLike | None = None,
    window: int = 512,
    regions: str | Path | None = None,
    seed: int = 0,
    resume: bool = False,
    on_progress: OnProgress = ignore,
) -> ProbeResult:
    r"""Train a model together with a head on labelled sequences, and judge it like a probe.

    A fold is held out from all that is trained. Training ends when the loss of a part of the training rows (the valid
    rows of a given split) no longer falls. The folder that is made is a model that `load_model` loads, with a head that
    `predict` applies.

    Args:
        labels, task, label, id_column, sequence, group, folds, test, seed: as for `probe`. With a `genome`, labels are
            what is known of each base: a BED file, whose names are the labels (a base may lie in several regions), or a
            bigWig, whose values are predicted. The head then says something of each base.
        split: column of `labels`; with a `genome`, as for `pretrain`, a BED file of train, valid and test regions, or
            the share of each contig to hold out.
        out: folder to create, with the tuned model, its head, predictions.tsv and report.json.
        model: anything that `load_model` takes; it is not changed.
        head: `conv` or `attention`.
        level, strand: what the head reads at each base; see `probe`.
        aligned: whether positions correspond and the strand means something, as in promoters up to the start of
            transcription; where not, both strands are treated alike. None lets a small network on the letters decide,
            inside the training part of each fold.
        lora: rank of low-rank changes to the matrices of the layers, in place of training all weights. They are merged.
        last: how many of the last layers are trained, and the head.
        epochs, patience, batch: the most epochs; epochs without a lower loss that end training; rows of a batch.
        learning_rate: of the head. The last layer has half of it, and each layer before that `layer_decay` times less.
        class_weights: whether all classes count the same in the loss, whatever their shares.
        compare: whether to train the same network from random weights, and fit the baselines, on the same folds.
        genome: genome that the regions of a BED file or the values of a bigWig lie on.
        window: bases of the pieces of a genome that are read at once.
        regions: BED file; nothing of the genome outside it is used.
        resume: whether to go on with a fine-tuning that was stopped, which gives the same result as one that was not.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: settings that contradict each other, or that other settings would mend.
        SequenceError: labels or sequences that cannot be used as they are.

    Example:
        >>> import random
        >>> from pathlib import Path
        >>> import hnet_dna
        >>> dice = random.Random(0)
        >>> rows = [f"{''.join(dice.choices(bases, k=30))},{bases}" for bases in ("AATC", "CCGA") * 8]
        >>> _ = Path("labels.csv").write_text("\n".join(["sequence,label", *rows]))
        >>> result = hnet_dna.finetune("labels.csv", "tuned", folds=2, epochs=1, last=1, compare=False)
        >>> hnet_dna.load_model("tuned").n_chunking_stages
        1
    """
    out, kind = Path(out), check_task(task)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "finetune runs in one process: sets of labels are too small to gain by several. Run folds or seeds side by "
            "side in place of ranks"
        )
    if head not in SEQUENCE_HEADS:
        raise UsageError(f"`head` {head!r}: expected {' or '.join(SEQUENCE_HEADS)}")
    for name, value in {"epochs": epochs, "patience": patience, "batch": batch}.items():
        if value < 1:
            raise UsageError(f"`{name}`: expected 1 or more, got {value}")
    if not learning_rate > 0:
        raise UsageError(f"`learning_rate`: expected above 0, got {learning_rate:g}")
    if folds < 2:
        raise UsageError(f"`folds`: expected 2 or more, got {folds}")
    which = Which(lora, last, layer_decay)
    check_strand(strand)
    refuse_filled(out)
    schedule = Schedule(epochs, patience, batch, learning_rate)
    if genome is not None or is_bed(labels) or is_bigwig(labels):
        given = {"test": test, "label": label, "id_column": id_column, "sequence": sequence, "group": group}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"`{wrong[0]}` belongs to a table of sequences; {labels} is of the bases of a genome")
        if genome is None:
            raise UsageError(f"{labels}: what is known of each base needs the `genome` that it lies on")
        if head != "conv":
            raise UsageError("`head`: only conv says something of each base")
        opened = open_with_progress(genome, on_progress)
        targets = read_base_targets(labels, opened, split=str(split or ""), regions=str(regions or ""), window=window)
        loaded, origin = open_model(model)
        settings = _settings(loaded, head, level, strand, aligned, which, schedule, class_weights)
        recorded = asdict(settings) | {
            "targets": zlib.crc32(targets.target.tobytes()), "parts": zlib.crc32(targets.part.tobytes()),
            "sequences": zlib.crc32(b"\n".join(codes.tobytes() for codes in targets.sequences)),
            "model": loaded.digest(), "seed": seed,
        }  # fmt: skip
        with journal_of(out, recorded, resume=resume) as journal:
            with Work(on_progress, "fine-tuning", unit="sequences") as work:
                own = FineTuning(TUNED, loaded, targets.sequences, settings, journal, work.add)
                contenders: list[Contender] = [own]
                if compare:
                    contenders += [
                        replace(own, name=FROM_RANDOM, model=untrained(loaded.config, loaded)),
                        convolutional_network(targets),
                    ]
                results, fitted, judged, parts = judge_bases(contenders, targets, seed, work.at)
            final = fitted[1]
            assert isinstance(final, _FittedTuned)
            about = About(targets.task, head, OWN_MODEL, "", settings.level, PER_BASE, strand, window)
            result = ProbeResult(out, targets.task, head, judged, parts, tuple(results), about, final.chosen)
            return _finish(result, loaded, origin, final, settings, targets.sequences, targets.rows(0), seed)
    if regions is not None:
        raise UsageError("`regions` belongs to a `genome`")
    columns = {"label": label, "id_column": id_column, "sequence": sequence, "group": group, "split": split}
    kind_of_labels, source = recognise(labels)
    if kind_of_labels == "bed":
        raise UsageError(f"{labels}: a BED needs the `genome` that its regions lie on")
    rows, codes = labelled_rows(source, kind, columns, None, None, False, (test, None), on_progress)
    parts = make_folds(rows, kind, folds, seed)
    sequences = check_bases(rows, codes)
    loaded, origin = open_model(model)
    settings = _settings(loaded, head, level, strand, aligned, which, schedule, class_weights)
    _log.info("%s", about_folds(rows, parts))

    recorded = asdict(settings) | {
        "labels": zlib.crc32("\n".join([*map(str, rows.target), *(rows.sequences or [])]).encode()),
        "folds": parts.fold.tolist(), "model": loaded.digest(), "seed": seed, "task": task,
    }  # fmt: skip
    with journal_of(out, recorded, resume=resume) as journal:
        with Work(on_progress, "fine-tuning", unit="sequences") as work:
            own = FineTuning(TUNED, loaded, sequences, settings, journal, work.add)
            contenders = [own]
            if compare:
                contenders += [replace(own, name=FROM_RANDOM, model=_twin(loaded)), *baselines(sequences, kind)]
            results, fitted = cross_validate(contenders, rows, parts, kind, seed, work.at)
            final = fitted[1] if parts.given else fit_all(own, rows, parts, kind, seed)
        assert isinstance(final, _FittedTuned)
        about = About(task, head, OWN_MODEL, "", settings.level, IN_ORDER, strand, max(map(len, sequences)))
        result = ProbeResult(out, kind, head, rows, parts, tuple(results), about, final.chosen)
        return _finish(result, loaded, origin, final, settings, sequences, parts.held_out, seed)


def _settings(
    model: HNetLM,
    head: str,
    level: str | None,
    strand: str,
    aligned: bool | None,
    which: Which,
    schedule: Schedule,
    balanced: bool,
) -> Settings:
    own_level = level or in_order_level(model)
    LevelReader(model, own_level)  # a wrong level is refused before anything is trained
    symmetric = False if strand != "both" or aligned else None if aligned is None else True
    return Settings(head, own_level, strand, symmetric, which, schedule, balanced)


def _twin(model: HNetLM) -> HNetLM:
    return untrained(model.config, model)


def _finish(
    result: ProbeResult,
    before: HNetLM,
    origin: str | None,
    final: _FittedTuned,
    settings: Settings,
    sequences: Sequence[Codes],
    held_out: Rows,
    seed: int,
) -> ProbeResult:
    """Write the tuned model with its head and the report; return the result with what it says."""
    boundaries = _boundaries(before, final.tuned.model, sequences, held_out)
    final.tuned.merge()
    about = replace(result.about, model_digest=final.tuned.model.digest())
    said = conclusions(result.results, result.labels, result.folds, result.task, (TUNED, FROM_RANDOM))
    result = replace(result, about=about, conclusions=tuple(said))

    def save(folder: Path) -> None:
        final.tuned.model.save_pretrained(folder)
        save_head(folder, final.head, about)

    more = {"tuned_from": origin, "boundaries": boundaries, "settings": asdict(settings)}
    write_folder(result, save, seed, name=TUNED, more=more)
    return result


def _boundaries(before: HNetLM, after: HNetLM, sequences: Sequence[Codes], rows: Rows) -> dict[str, float] | None:
    """Return the mean bases per outermost chunk before and after, and the share of boundaries that stayed."""
    if not before.n_chunking_stages:
        return None
    from hnet_dna.inference.stream import forward

    counts = {"bases": 0, "before": 0, "after": 0, "both": 0}
    for row in rows[:500]:
        codes = sequences[row][None]
        masks = [forward(each, codes, None, None).stages[0].boundary_mask[0].cpu().numpy() for each in (before, after)]
        counts["bases"] += codes.size
        counts["before"] += int(masks[0].sum())
        counts["after"] += int(masks[1].sum())
        counts["both"] += int((masks[0] & masks[1]).sum())
    return {
        "bases_per_chunk_before": counts["bases"] / counts["before"],
        "bases_per_chunk_after": counts["bases"] / counts["after"],
        "share_kept": counts["both"] / counts["before"],
    }
