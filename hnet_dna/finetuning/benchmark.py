"""Runs a collection of benchmarks on the parts that they define, beside baselines, and goes on where it was stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hnet_dna.embedding.models import open_model
from hnet_dna.errors import UsageError
from hnet_dna.files import sole_owner, write_beside
from hnet_dna.finetuning.published import published
from hnet_dna.finetuning.run import FROM_RANDOM, TUNED, FineTuning, finetuning_settings
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.inference.load import untrained
from hnet_dna.model.lm import HNetLM
from hnet_dna.pretrained.builtin import DEFAULT_MODEL
from hnet_dna.probing.baselines import baselines
from hnet_dna.probing.contenders import Contender
from hnet_dna.probing.cross_validation import MODEL, UNTRAINED, conclusions, cross_validate
from hnet_dna.probing.dataset import Labels
from hnet_dna.probing.folds import make_folds
from hnet_dna.probing.head_file import IN_ORDER, About
from hnet_dna.probing.heads import check_head
from hnet_dna.probing.sequence_head import SEQUENCE_HEADS
from hnet_dna.probing.suites import Dataset, read_suite
from hnet_dna.probing.vectors import of_sequences, untrained_twin
from hnet_dna.progress import OnProgress, Work, ignore
from hnet_dna.sequence.codes import is_acgt, to_text
from hnet_dna.tables import data_frame

METRICS = ("MCC", "AUROC", "AUPRC", "accuracy", "F1")
_SETTINGS, _RESULTS = "settings.json", "results"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Benchmarks:
    """What a collection gave.

    Attributes:
        out: the folder, with results/ of each dataset, table.tsv and table.md.
        rows: for each dataset and contender: dataset, features, train, test, copies, and the metrics with low and high.
        conclusions: for each dataset, what was compared, in words.
    """

    out: Path
    rows: tuple[dict[str, Any], ...]
    conclusions: dict[str, list[str]]

    def to_pandas(self) -> Any:
        """Return a DataFrame of the rows."""
        return data_frame({name: [row.get(name) for row in self.rows] for name in self.rows[0]} if self.rows else {})


def benchmark(
    suite: str | Path,
    out: str | Path,
    *,
    layout: str,
    model: str | Path | HNetLM = DEFAULT_MODEL,
    reference: GenomeLike | None = None,
    heads: Sequence[str] = ("logistic", "conv"),
    tune: bool = False,
    remove_copies: bool = False,
    most: int | None = None,
    seed: int = 0,
    on_progress: OnProgress = ignore,
) -> Benchmarks:
    """Judge a model on each dataset of a collection, on its own train, validation and test parts.

    Datasets that an earlier call with the same settings has finished are not run again.

    Args:
        suite: folder of the collection, or of one dataset.
        out: folder for the results; it may hold those of an earlier call.
        layout: `genomic-benchmarks`, `nt` or `gue`; see `hnet_dna.probing.suites`.
        model: anything that `load_model` takes.
        reference: genome that the intervals of a dataset lie on.
        heads: heads on frozen vectors, each with its default level; see `probe`.
        tune: whether to fine-tune the model too, and the same network from random weights.
        remove_copies: whether to leave out train and validation rows whose sequence is also in the test part, on either
            strand. They are counted in any case.
        most: use at most this many training rows, chosen by `seed`; None for all.
        seed: decides what is random.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: the folder holds results of other settings.
        SequenceError: a dataset that cannot be read.
    """
    out = Path(out)
    for head in heads:
        check_head(head, "classification")
    loaded, name = open_model(model)
    genome = None if reference is None else open_with_progress(reference, on_progress)
    settings = {"model": loaded.digest(), "heads": list(heads), "tune": tune, "remove_copies": remove_copies,
                "most": most, "seed": seed, "layout": layout}  # fmt: skip
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        stack.enter_context(sole_owner(out))
        recorded = out / _SETTINGS
        if recorded.is_file() and json.loads(recorded.read_text()) != settings:
            raise UsageError(f"`out` {out} has results of other settings; choose another folder")
        with write_beside(recorded) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n")
        for dataset in read_suite(Path(suite), layout, genome):
            place = out / _RESULTS / f"{dataset.name.replace('/', '-')}.json"
            if not place.is_file():
                judged = _judge(dataset, loaded, name, heads, tune, remove_copies, most, seed, on_progress)
                place.parent.mkdir(exist_ok=True)
                with write_beside(place) as temporary:
                    temporary.write_text(json.dumps(judged, indent=2) + "\n")
            results[dataset.name] = json.loads(place.read_text())
            _write_tables(out, results, layout)
    rows = tuple(row for judged in results.values() for row in judged["rows"])
    return Benchmarks(out, rows, {dataset: judged["conclusions"] for dataset, judged in results.items()})


def _judge(
    dataset: Dataset,
    model: HNetLM,
    name: str | None,
    heads: Sequence[str],
    tune: bool,
    remove_copies: bool,
    most: int | None,
    seed: int,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Return the rows of a dataset and what follows from them."""
    parts = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    given = [
        (part, codes, label)
        for part, (sequences, labels) in parts.items()
        for codes, label in zip(sequences, labels, strict=True)
        if is_acgt(codes).any()
    ]
    if most is not None:
        trained = [index for index, row in enumerate(given) if row[0] == "train"]
        dropped = set(np.random.default_rng(seed).permutation(trained)[most:].tolist())
        given = [row for index, row in enumerate(given) if index not in dropped]
    labels = _labels(dataset.name, given)
    folds = make_folds(labels, "classification", 2, seed)
    copies = folds.parted
    seen = folds.copied
    if remove_copies and seen is not None:
        given = [row for index, row in enumerate(given) if row[0] == "test" or not seen[index]]
        labels = _labels(dataset.name, given)
        folds = make_folds(labels, "classification", 2, seed)
    codes = [row[1] for row in given]

    contenders: list[Contender] = []
    twins: dict[str, str] = {}
    for head in heads:
        in_order = head in SEQUENCE_HEADS
        about = About("classification", head, None, "", "", IN_ORDER if in_order else "mean", "both")
        vectors = of_sequences(labels, codes, model, about, on_progress)
        twin = untrained_twin(vectors, labels, codes, on_progress)
        own = f"{MODEL}, {head}"
        contenders.append(replace(vectors.contender, name=own))  # type: ignore[type-var]
        if twin is not None:
            twins[own] = f"{UNTRAINED}, {head}"
            contenders.append(replace(twin, name=twins[own]))  # type: ignore[type-var]
    with Work(on_progress, "fitting heads", about=dataset.name) as work:
        if tune:
            how = finetuning_settings(model)
            fine = FineTuning(TUNED, model, codes, how)
            random = untrained(model.config, model)
            contenders += [fine, replace(fine, name=FROM_RANDOM, model=random)]
            twins[TUNED] = FROM_RANDOM
        contenders += baselines(codes, "classification")
        results, _ = cross_validate(contenders, labels, folds, "classification", seed, work.at)
    best = max((row for row in results if row.name in twins or row.name.startswith(MODEL)),
               key=lambda row: row.metrics["MCC"].value)  # fmt: skip
    compared = [row for row in results if row.name == best.name or not row.name.startswith((MODEL, UNTRAINED, TUNED))]
    compared += [row for row in results if row.name == twins.get(best.name)]
    count = {part: sum(row[0] == part for row in given) for part in parts}
    rows = []
    for result in results:
        row: dict[str, Any] = {"dataset": dataset.name, "features": result.name, **count, "copies": copies}
        for metric in METRICS:
            measured = result.metrics[metric]
            row |= {metric: measured.value, f"{metric}_low": measured.low, f"{metric}_high": measured.high}
        rows.append(row)
    said = conclusions(compared, labels, folds, "classification", (best.name, twins.get(best.name, "")))
    _log.info("%s: %s", dataset.name, "; ".join(said))
    return {"rows": rows, "conclusions": said, "model": name}


def _labels(name: str, given: Sequence[tuple[str, Any, str]]) -> Labels:
    return Labels(
        Path(name),
        [str(index) for index in range(len(given))],
        np.array([label for _, _, label in given]),
        [to_text(codes) for _, codes, _ in given],
        None,
        {"sequences": "sequence", "labels": "label"},
        [part for part, _, _ in given],
    )


def _write_tables(out: Path, results: dict[str, dict[str, Any]], layout: str) -> None:
    header = ["dataset", "features", "train", "valid", "test", "copies"]
    tsv = ["\t".join([*header, *METRICS, "published"])]
    lines = ["| " + " | ".join([*header, *METRICS]) + " |", "|" + "--|" * (len(header) + len(METRICS))]
    notes = []
    for dataset, judged in results.items():
        known = published(layout, dataset)
        for row in judged["rows"]:
            cells = [str(row[name]) for name in header]
            cells += [f"{row[m]:.3f} [{row[f'{m}_low']:.3f}, {row[f'{m}_high']:.3f}]" for m in METRICS]
            tsv.append("\t".join([*cells, known]))
            lines.append("| " + " | ".join(cells) + " |")
        notes += [f"- {dataset}: {line}." for line in judged["conclusions"]]
        notes += [f"- {dataset}, published: {known}."] * bool(known)
    for name, text in {"table.tsv": tsv, "table.md": [*lines, "", *notes]}.items():
        with write_beside(out / name) as temporary:
            temporary.write_text("\n".join(text) + "\n")
