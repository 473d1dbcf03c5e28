"""The model card: README.md of a run folder, which says what the model is and states only what the run's files say."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hnet_dna.config.layout import LEGEND, layout_text
from hnet_dna.config.schema import ModelConfig
from hnet_dna.data.run_record import genomes_in
from hnet_dna.evaluation.markov import MIXTURE, markov_name
from hnet_dna.plural import counted
from hnet_dna.sequence.alphabet import ALPHABETS

_NAMED = 5  # genomes that are named one by one
_ROWS = 20  # of a table; a draft assembly has a hundred thousand contigs
_RECIPE = ("window", "batch", "window_warmup", "repeat_weight", "optimizer", "learning_rate", "lr_multipliers",
           "betas", "weight_decay", "clip", "warmup", "decay", "ratio_targets", "ratio_weights", "schedule",
           "precision", "seed")  # fmt: skip
# Up to the last separator of an absolute path, also behind --option=.
_FOLDERS = re.compile(r"^(--[\w-]+=)?(?:[A-Za-z]:)?[/\\].*[/\\]")

# No licence: that of the weights is their owner's to choose. No text-generation either: this is not a chat model.
_FRONT = """---
library_name: hnet-dna
pipeline_tag: feature-extraction
tags:
- dna
- genomics
- h-net
---"""


def model_card(description: Mapping[str, Any], results: Mapping[str, Any] | None, config: ModelConfig) -> str:
    """Return the text of README.md.

    Args:
        description: what run.json holds; folders are left out of its paths.
        results: what results.json holds, None where nothing was held out.
        config: of the model.
    """
    sections = [_what(description, config), _data(description["data"]), _training(description)]
    sections += [_results(results), _use(config), _limits(description, config)]
    return "\n\n".join([_FRONT, *sections]) + "\n"


def _what(description: Mapping[str, Any], config: ModelConfig) -> str:
    letters = ALPHABETS.get(config.alphabet or "")
    rows = [
        ("layout", _code(layout_text(config.layout)) + f" ({LEGEND})"),
        ("width of each stage", " / ".join(map(str, config.d_model))),
        ("parameters", f"{description['parameters']:,}"),
        ("alphabet", f"{config.alphabet}, {letters.vocab_size} ids" if letters else "none"),
    ]
    if config.n_stages > 1:
        rows.append(("routing of each chunking stage", " / ".join(config.routing[: config.n_stages - 1])))
    if config.word_orders:
        lengths = ", ".join(map(str, config.word_orders))
        rows.append(("memory", f"the file holds words of {lengths} bases of the training part, and what followed them"))
    return (
        f"# H-Net trained on {_genomes(description['data'])}\n\n"
        "A causal language model of nucleotide sequence that reads single letters and learns where chunks begin "
        "(*Dynamic Chunking for End-to-End Hierarchical Sequence Modeling*, arXiv 2507.07955). Made by `hnet-dna "
        f"pretrain`.\n\n{_table(('', ''), rows)}"
    )


# What `base_counts` counts, for readers who see nothing of it but the table.
_BECAME = {
    "predicted": "training part: read, and predicted once in an epoch",
    "first base of a stretch, which has nothing before it": "training part: the first of a stretch, read but not "
    "predicted, since nothing comes before it",
    "IUPAC codes other than N, read but not predicted": "training part: other IUPAC codes than N, read but not "
    "predicted",
    "runs of N": "training part: runs of N, not read",
    "held out": "validation and test part: held out from training",
    "outside the split or the regions": "outside the split or the regions: not used",
}


def _data(data: Mapping[str, Any]) -> str:
    if "genomes" in data:
        return _data_of_several(data)
    contigs = data["contigs"]
    total = sum(contig["length"] for contig in contigs.values())
    lengths = [(_cell(name), f"{contig['length']:,}", _code(contig["md5"])) for name, contig in contigs.items()]
    parts = [
        "## Data",
        f"{_code(PurePath(data['genome']).name)}: {counted(len(contigs), 'contig')}, {counted(total, 'base')}. "
        f"Split: {_cell(data['split_rule'])}.",
        _table(
            ("what became of the bases of the genome", "bases"),
            [(_cell(_BECAME.get(what, what)), f"{count:,}") for what, count in data["bases"].items() if count],
        ),
        "Checksums are of the upper-case sequence.",
        _table(("contig", "bases", "MD5"), lengths, "run.json"),
    ]
    return "\n\n".join(parts)


def _data_of_several(data: Mapping[str, Any]) -> str:
    rows, lengths = [], []
    for genome in data["genomes"]:
        parts = {part: sum(i["end"] - i["start"] for i in intervals) for part, intervals in genome["split"].items()}
        rows.append(
            (
                _cell(genome["name"]),
                _code(PurePath(genome["genome"]).name),
                f"{100 * genome['share']:.2f} %",
                *(f"{parts[part]:,}" for part in ("train", "valid", "test")),
                _cell(genome["split_rule"]),
            )
        )
        lengths += [
            (_cell(genome["name"]), _cell(name), f"{contig['length']:,}", _code(contig["md5"]))
            for name, contig in genome["contigs"].items()
        ]
    head = ("genome", "file", "share of windows", "training bases", "validation bases", "test bases", "split")
    parts_of_card = [
        "## Data",
        f"A mixture of {counted(len(rows), 'genome')}." if len(rows) > 1 else "One genome.",
        _table(head, rows, "run.json"),
        "Checksums are of the upper-case sequence.",
        _table(("genome", "contig", "bases", "MD5"), lengths, "run.json"),
    ]
    return "\n\n".join(parts_of_card)


def _genomes(data: Mapping[str, Any]) -> str:
    genomes = genomes_in(data)
    if len(genomes) <= _NAMED:
        return ", ".join(_code(each.get("name") or PurePath(each["genome"]).name) for each in genomes)
    return counted(len(genomes), "genome")


def _training(description: Mapping[str, Any]) -> str:
    budget, recipe, versions = description["budget"], description["recipe"], description["versions"]
    asked = [counted(budget["steps"], "step")] if budget.get("steps") is not None else []
    asked += [counted(budget["seconds"] / 60, "minute")] if budget.get("seconds") is not None else []
    settings = [(name, _cell(recipe[name])) for name in _RECIPE if recipe.get(name) not in (None, [], ())]
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    parent = description.get("parent")
    began = f" It began from the weights of {_parent(parent)}." if parent else ""
    parts = [
        f"## Training\n\nBudget: {' or '.join(asked) or 'none'}. Versions: {used}.{began}",
        _command(description["command"]),
        _table(("recipe", ""), settings),
    ]
    changes = [
        (f"{resumption['step']:,}", _cell(name), _cell(old), _cell(new))
        for resumption in description.get("resumptions", ())  # runs of older versions have none
        for name, (old, new) in resumption["changed"].items()
    ]
    if changes:
        parts.append("Settings were changed where the run was resumed; above are the last ones.")
        parts.append(_table(("at step", "setting", "from", "to"), changes, "run.json"))
    return "\n\n".join(parts)


def _parent(parent: Mapping[str, Any]) -> str:
    """Name a parent without the folder that it lies in, by its digest too."""
    name = PurePath(parent["model"])
    return f"{_code(name.name if name.is_absolute() else str(name))} (digest {_code(parent['digest'])})"


def _command(words: Sequence[str]) -> str:
    """Return the command that began a run, without folders; a run that a program began has none."""
    if not words:
        return "It was begun from Python, by `hnet_dna.pretrain`."
    program, *arguments = words
    command = shlex.join([PurePath(program).name, *(_FOLDERS.sub(r"\1", word) for word in arguments)])
    return f"```bash\n{command}\n```"


def _results(results: Mapping[str, Any] | None) -> str:
    title = "## Held-out bits per base"
    if results is None:
        return f"{title}\n\nNot measured: nothing was held out."
    bits = results["bits_per_base"]
    order = results["best_markov_order"]
    names = {"model": "this model", markov_name(order): f"Markov, k = {order} (the best)"}
    names |= {MIXTURE: "mixture of Markov models", "uniform": "uniform"}
    rows = [
        (shown, f"{bits[name]:.4f}", _interval(*results["bits_per_base_95"]) if name == "model" else "")
        for name, shown in names.items()
        if name in bits
    ]
    parts = [
        title,
        f"{counted(results['held_out_bases'], 'base')} A, C, G, T that training did not see. Lower is better. "
        "Intervals of 95 % "
        "come from resampling blocks of the held-out sequence; they do not show how another training run would do.",
        _table(("model", "bits/base", "95 %"), rows),
    ]
    chunks = results["positions_per_chunk"]
    if chunks:
        units = ["bases", *["chunks of the stage outside"] * (len(chunks) - 1)]
        lengths = (f"stage {s}: {n:.2f} {unit}" for s, (n, unit) in enumerate(zip(chunks, units, strict=True)))
        parts.append(f"Mean length of a chunk there: {'; '.join(lengths)}.")
    if entry := results.get("containment"):
        parts.append(_containment(entry))
    if results["classes"]:
        classes = [
            (
                _cell(f"{entry['group']}: {entry['name']}"),
                f"{entry['bases']:,}",
                f"{entry['bits_per_base']['model']:.4f}",
                _interval(entry["low"], entry["high"]),
                f"{entry['bits_per_base'][markov_name(order)]:.4f}",
            )
            for entry in results["classes"]
        ]
        parts.append(_table(("class", "bases", "bits/base", "95 %", f"Markov, k = {order}"), classes, "results.json"))
    return "\n\n".join(parts)


def _containment(shared: Mapping[str, Any]) -> str:
    if shared["whole"] is None:
        return "How much of it the training part has too was not measured: no stretch is long enough."
    chosen = f", looking at one in {shared['one_in']:,}" if shared["one_in"] > 1 else ""
    parts = [
        f"Of the distinct words of {counted(shared['word'], 'base')} there, on either strand, {shared['whole']:.2%} "
        f"are in the training part too{chosen}. Figures on such copies say less of new sequence."
    ]
    rows = [(_cell(name), f"{share:.2%}") for name, share in {**shared["genomes"], **shared["contigs"]}.items()]
    if len(rows) > 1:
        parts.append(_table(("held out", "of its words in the training part"), rows, "results.json"))
    return "\n\n".join(parts)


def _use(config: ModelConfig) -> str:
    ids = ", ".join(map(str, ALPHABETS[config.alphabet].base_ids)) if config.alphabet in ALPHABETS else "0"
    return f"""## Use

With hnet-dna installed; MODEL is this folder, or owner/name where it lies on the Hugging Face hub.

```bash
hnet-dna segment sample.fa --model MODEL > boundaries.bed
hnet-dna embed sample.fa --model MODEL --out vectors.parquet
```

```python
import torch
from hnet_dna import HNetLM
from hnet_dna.plural import counted
model = HNetLM.from_pretrained("MODEL").eval()
out = model(torch.tensor([[{ids}]]))  # out.logits, out.stages[0].boundary_prob
```"""


def _limits(description: Mapping[str, Any], config: ModelConfig) -> str:
    several = "genomes" in description["data"]
    saw = "" if several else "one genome file, "
    limits = [
        f"It has {description['parameters']:,} parameters and saw {saw}{_genomes(description['data'])}; nothing is "
        "claimed for other genomes or tasks.",
        "Not validated for clinical or diagnostic use.",
        "It reads from left to right: probabilities and boundaries depend on what comes before, and on the strand.",
    ]
    if config.n_stages > 1:
        limits.append(
            "The first base of a contig, and the first after a run of N, begins a chunk by definition, not by what was "
            "learned. Chunks are learned segments; that they mean anything biological has to be shown for each use."
        )
    if config.has_global_attention:
        limits.append("It has global attention, so that long contigs are read in windows.")
    limits.append("Whoever shares this model has to state the terms of the data and a licence of the weights.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], rest_in: str = "") -> str:
    """Write a table of at most 20 rows where the rest of it is in a file."""
    rows = list(rows)
    shown = rows[:_ROWS] if rest_in else rows
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["--"] * len(head), *shown)]
    if len(shown) < len(rows):
        lines += ["", f"{len(rows) - len(shown):,} more are in {rest_in} of the run."]
    return "\n".join(lines)


def _interval(low: float | None, high: float | None) -> str:
    # results.json has NaN over fewer than two blocks.
    return "-" if low is None or high is None or math.isnan(low + high) else f"{low:.4f} to {high:.4f}"


def _cell(value: object) -> str:
    """Text of a user's file, inside Markdown."""
    return re.sub(r"([|<>*_`\[\]\\])", r"\\\1", " ".join(str(value).split()))


def _code(text: str) -> str:
    return "`" + text.replace("`", "'").replace("|", "/") + "`"
