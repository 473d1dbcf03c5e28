"""The verb `explain`: reads a genome with a model and its controls, and reports where the boundaries lie."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hnet_dna.annotation.feature import GENES
from hnet_dna.annotation.reader import read_features
from hnet_dna.annotation.regions import read_regions
from hnet_dna.errors import UsageError
from hnet_dna.explanation.figures.drawing import need_matplotlib
from hnet_dna.explanation.page.browser import read_shown
from hnet_dna.explanation.page.page import write_page
from hnet_dna.explanation.statistics.analysis import analyse
from hnet_dna.explanation.statistics.findings import (
    WORDS,
    Finding,
    interesting,
    judge,
    too_few_shifts,
    with_verdicts,
)
from hnet_dna.explanation.statistics.locus import typical
from hnet_dna.explanation.statistics.reading import select
from hnet_dna.explanation.statistics.tables import Table
from hnet_dna.files import folder_beside, refuse_filled, write_beside
from hnet_dna.genome.open import GenomeLike, open_genome
from hnet_dna.inference.load import load_model, untrained
from hnet_dna.inference.stream import log_windows
from hnet_dna.model.lm import HNetLM
from hnet_dna.plural import counted
from hnet_dna.progress import OnProgress, Work, ignore

if TYPE_CHECKING:
    import pandas

_log = logging.getLogger(__name__)
_OF_GENES = (*GENES, "CDS", "exon", "transcript")


@dataclass(frozen=True)
class Report:
    """Where boundaries lie, and what was read.

    Attributes:
        tables: by name; `hnet_dna.explanation.statistics.columns.TABLES` says what their columns mean.
        summary: what was read and counted, in JSON's types.
    """

    tables: Mapping[str, Table]
    summary: Mapping[str, Any]

    @property
    def findings(self) -> list[Finding]:
        """A verdict on each class of bases and codon position; those that stand out most come first."""
        return judge(self.tables)

    def to_pandas(self, table: str) -> pandas.DataFrame:
        """Return a table as a data frame; unknown numbers are NaN."""
        import pandas

        return pandas.DataFrame(list(self.tables[table].rows), columns=list(self.tables[table].columns))

    def write(self, folder: Path) -> None:
        """Write <table>.tsv and summary.json into a folder."""
        for table in self.tables.values():
            table.write(folder)
        with write_beside(folder / "summary.json") as temporary:
            temporary.write_text(json.dumps(self.summary, indent=2) + "\n")


def explain(
    genome: GenomeLike,
    model: str | Path | HNetLM,
    out: str | Path | None = None,
    *,
    annotation: str | Path,
    repeats: str | Path | None = None,
    bases: int = 5_000_000,
    shifts: int = 200,
    seed: int = 0,
    page: bool = True,
    mutations: bool = False,
    on_progress: OnProgress = ignore,
) -> Report:
    """Measure where the boundaries of a model lie, and the bits that it needs, beside controls.

    If `model` is a run on this genome, the part that it held out is read, otherwise the whole genome. If that is more
    than `bases`, evenly spaced tiles are read. Controls are circularly shifted boundaries, an untrained model of the
    same shape, and dinucleotide-shuffled sequence.

    Args:
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes, with a chunking stage. A model made in memory held nothing out.
        out: folder to create for tables and page, as a whole or not at all; None writes nothing.
        annotation: GFF3, GTF or GenBank file with genes; a BED file gives only classes of bases.
        repeats: BED file of repeats, with their class in column 4.
        bases: read about this many.
        shifts: number of random circular shifts.
        seed: of the shifts, the shuffled sequence, the sampled tiles and the edits.
        page: whether to write index.html too, which needs matplotlib.
        mutations: show the effect of every substitution in the page's loci, in the 300 bases in view at first.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: `out` holds anything, the model has no chunking stage, or matplotlib is missing.
        SequenceError: an input cannot be read, or does not fit the genome.
        CheckpointError: there is no such model.

    Example:
        >>> from hnet_dna import explain
        >>> from hnet_dna.genome.bundled import bundled_genome
        >>> genes = bundled_genome().annotation
        >>> report = explain("yeast", "five-genomes", annotation=genes, bases=2_000, shifts=5)
        >>> report.to_pandas("codons")[["strand", "codon_position", "enrichment"]].shape
        (6, 3)
    """
    if bases < 2 or shifts < 1 or seed < 0:
        raise UsageError("expected `bases` of 2 or more, `shifts` of 1 or more, and `seed` of 0 or more")
    page = page and out is not None
    if page:
        need_matplotlib(", or set `page=False` for tables only")
    if out is not None:
        refuse_filled(Path(out))
    if why := too_few_shifts(shifts):
        _log.warning("%s; 200 is the default", why)
    opened = open_genome(genome)
    features = read_features(Path(annotation), opened)
    if not any(feature.kind in _OF_GENES for feature in features):
        name = Path(annotation).name
        _log.info("%s: only classes of bases; without genes, tables of codons, sites and edges are empty", name)
    regions = read_regions(Path(repeats), opened) if repeats else []
    loaded = load_model(model)
    log_windows(loaded)
    selection = select(opened, loaded.name_or_path, bases, seed)
    _log.info("read: %s, %s", counted(sum(map(len, selection.intervals)), "base"), selection.rule)
    # The folder is made before the long work, which would be lost where it cannot be made.
    with Work(on_progress, "explaining") as work, folder_beside(Path(out)) if out else nullcontext() as folder:
        control = untrained(loaded.config, loaded)
        tables, measured = analyse(
            loaded, control, opened, selection, features, regions, shifts=shifts, seed=seed, on_progress=work.at
        )
        about = {
            "model": loaded.name_or_path or "in memory",  # as given, since a report may be published
            "model_digest": loaded.digest(),
            "genome": opened.source.name,
            "annotation": Path(annotation).name,
            "repeats": Path(repeats).name if repeats else None,
        }
        tables = with_verdicts(tables)
        verdicts = [{"stage": f.stage, "class": f.name, "verdict": WORDS[f.verdict]} for f in judge(tables)]
        report = Report(tables, {**about, **measured, "verdicts": verdicts})
        if folder is not None:
            report.write(folder)
        if folder is not None and page:
            work.at("drawing the page")
            examples = typical(interesting(report.findings), features, regions, opened, selection.intervals)
            write_page(folder, read_shown(loaded, opened, features, examples, mutations=mutations))
    return report
