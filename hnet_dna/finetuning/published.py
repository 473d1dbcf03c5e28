"""Published figures of benchmarks, by the last part of a dataset's name.

Genomic Benchmarks: accuracy, from Schiff et al. 2024, *Caduceus* (arXiv 2403.03234), table 1: a convolutional network
of 264,000 parameters trained from scratch, and Caduceus-Ph of 470,000, pretrained on the human genome; five seeds, with
validation parts of their own. NT tasks: MCC of LDARNet (arXiv 2606.04552) on the original 18 tasks.
"""

from __future__ import annotations

_GENOMIC_BENCHMARKS = {
    "dummy_mouse_enhancers_ensembl": (0.715, 0.754),
    "demo_coding_vs_intergenomic_seqs": (0.892, 0.915),
    "demo_human_or_worm": (0.942, 0.973),
    "human_enhancers_cohn": (0.702, 0.747),
    "human_enhancers_ensembl": (0.744, 0.893),
    "human_ensembl_regulatory": (0.872, 0.872),
    "human_nontata_promoters": (0.861, 0.946),
    "human_ocr_ensembl": (0.698, 0.828),
}
_NT = {
    "H3": 0.817, "H4": 0.812, "H3K9ac": 0.646, "H3K14ac": 0.640, "H4ac": 0.657, "H3K4me1": 0.595, "H3K4me2": 0.542,
    "H3K4me3": 0.602, "H3K36me3": 0.687, "H3K79me3": 0.695, "promoter_all": 0.943, "promoter_no_tata": 0.944,
    "promoter_tata": 0.915, "enhancers": 0.543, "enhancers_types": 0.442, "splice_sites_all": 0.958,
    "splice_sites_acceptors": 0.915, "splice_sites_donors": 0.933,
}  # fmt: skip


def published(layout: str, dataset: str) -> str:
    """Return what was published of a dataset in words, empty where nothing is known here."""
    name = dataset.rsplit("/", 1)[-1]
    if layout == "genomic-benchmarks" and name in _GENOMIC_BENCHMARKS:
        network, caduceus = _GENOMIC_BENCHMARKS[name]
        return f"accuracy {network:.3f} (CNN), {caduceus:.3f} (Caduceus-Ph 470K)"
    if layout == "nt" and name in _NT:
        return f"MCC {_NT[name]:.3f} (LDARNet)"
    return ""
