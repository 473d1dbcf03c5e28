"""All mutations of regions, and what depends on what in them, as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hnet_dna.annotation.regions import parse_region, read_regions
from hnet_dna.explanation.figures.dependencies import check_dependencies, write_dependencies
from hnet_dna.explanation.figures.drawing import source_title
from hnet_dna.explanation.figures.mutations import check_plot, plot_mutations
from hnet_dna.genome.open import GenomeLike, open_with_progress
from hnet_dna.inference.dependencies import dependencies as find_dependencies
from hnet_dna.inference.load import load_model
from hnet_dna.inference.mutate import Mutations, mutate
from hnet_dna.model.lm import HNetLM
from hnet_dna.progress import OnProgress, ignore
from hnet_dna.sequence.interval import Interval, union
from hnet_dna.sequence.strand import Strand
from hnet_dna.tracks.mutations import write_mutations


def mutate_to_files(
    regions: str | Path | Iterable[str | Interval],
    genome: GenomeLike,
    model: str | Path | HNetLM,
    *,
    out: str | Path | None = None,
    bigwig: str | Path | None = None,
    plot: str | Path | None = None,
    annotation: str | Path | None = None,
    dependencies: Sequence[str | Path] = (),
    deletions: bool = False,
    window: int = 512,
    context: int = 4096,
    strand: Strand = "both",
    boundaries: int | None = None,
    jobs: int = 1,
    on_progress: OnProgress = ignore,
) -> int:
    """Score every single-base mutation of regions, and write and draw them; return how many were scored.

    Args:
        regions: a BED file, or regions as `mutate` takes them.
        genome: anything that `open_genome` takes.
        model: anything that `load_model` takes.
        out: table, Parquet if it is named so, else with tabs. Without it, `bigwig` and `plot`, none are scored.
        bigwig: mean effect of each base.
        plot: a picture of the region, which has to be one; .png, .svg or .pdf.
        annotation: GFF3, GTF, GenBank or BED file, drawn in the picture.
        dependencies: files for what depends on what in the region, as .npz or pictures.
        deletions, window, context, strand, boundaries, jobs: see `mutate`.
        on_progress: called with a `Progress` as the work goes on.

    Raises:
        UsageError: a picture of several regions or of another format, or what `mutate` raises it for.
        SequenceError: a region is not part of the genome.

    Example:
        >>> from hnet_dna import mutate_to_files
        >>> mutate_to_files(["chr1:3-6"], {"chr1": "ACGTTGCA"}, "five-genomes", out="mutated.tsv", bigwig="mutated.bw")
        12
    """
    opened = open_with_progress(genome, on_progress)
    if isinstance(regions, str | Path):
        regions = [region.interval for region in read_regions(regions, opened)]
    intervals = union(parse_region(one, opened) if isinstance(one, str) else one for one in regions)
    if plot is not None:
        check_plot(Path(plot), intervals)
    if dependencies:
        check_dependencies([Path(path) for path in dependencies], intervals, opened)
    loaded = load_model(model)
    if dependencies:
        matrix = find_dependencies(intervals[0], opened, loaded, context=context, on_progress=on_progress)
        title = source_title(intervals[0], opened, loaded)
        write_dependencies(matrix, [Path(path) for path in dependencies], title)
    if out is None and bigwig is None and plot is None:
        return 0
    pieces: Iterable[Mutations] = mutate(
        intervals, opened, loaded, deletions=deletions, window=window, context=context, strand=strand,
        boundaries=boundaries, jobs=jobs, on_progress=on_progress,
    )  # fmt: skip
    if plot is not None:
        pieces = list(pieces)
        title = source_title(intervals[0], opened, loaded)
        plot_mutations(pieces[0], plot, genome=opened, annotation=annotation, title=title)
    return write_mutations(pieces, out, genome=opened, bigwig=bigwig)
