"""The report as one page: summary, figures, tables and a genome browser.

Everything is inside the file, and the content security policy of the page forbids network access. Links lead to the
tables beside it.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from hnet_dna.explanation.figures.drawing import Figure
from hnet_dna.explanation.figures.figures import figures
from hnet_dna.explanation.figures.overview import codon_rates, overview
from hnet_dna.explanation.page import browser
from hnet_dna.explanation.page.browser import Shown
from hnet_dna.explanation.statistics.columns import TABLES
from hnet_dna.explanation.statistics.findings import RATE, WORDS, Finding, Verdict, judge, too_few_shifts, with_verdicts
from hnet_dna.explanation.statistics.locus import CONTEXT
from hnet_dna.explanation.statistics.tables import Table, read_tables
from hnet_dna.files import write_beside
from hnet_dna.plural import counted

PAGE = "index.html"
_MOST_ROWS = 300  # longer tables are linked and not shown
_LISTED = 12  # findings of one verdict in the summary
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "connect-src data: blob:; base-uri 'none'; form-action 'none'"
)


def write_page(folder: Path, shown: Sequence[Shown] = ()) -> Path:
    """Write index.html into a report's folder from its tables and summary.json.

    Args:
        folder: as `Report.write` fills it; tables that are absent are left out, unknown ones are shown as they are.
        shown: examples for the genome browser, which opens with the first; without any there is no browser.

    Returns:
        The page.
    """
    tables = with_verdicts(read_tables(folder))
    summary = json.loads((folder / "summary.json").read_text())
    findings = judge(tables)
    drawn: dict[str, list[Figure]] = {}
    for figure in figures(tables):
        drawn.setdefault(figure.table, []).append(figure)
    first = [one for stage in summary["stages"] if (one := overview(tables, findings, stage["stage"]))]
    links = [*([("chunks-are", "What the chunks are")] if first else []), ("summary", "Summary")]
    links += [*([("loci", "Genome browser")] if shown else [])]
    links += [(name, _title(name)) for name in tables]
    body = [
        _header(summary, links),
        "<main>",
        _first(summary, tables, findings, first),
        _summary(summary, findings),
        _browser_section(shown),
        *(_section(table, drawn.get(name, ())) for name, table in tables.items()),
        "</main>",
        "<footer>Made by hnet-dna. This page needs no network; its links lead to the files beside it.",
        " The genome browser is igv.js, MIT licence.</footer>" if shown else "</footer>",
        _scripts(shown, summary),
    ]
    page = folder / PAGE
    with write_beside(page) as temporary:
        temporary.write_text(_document("\n".join(body), summary), encoding="utf-8")
    return page


def _document(body: str, summary: Mapping[str, Any]) -> str:
    model = Path(str(summary.get("model"))).name
    title = escape(f"Chunk boundaries: {model} on {summary.get('genome', 'a genome')}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>\n{_file("page.css")}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _header(summary: Mapping[str, Any], links: Iterable[tuple[str, str]]) -> str:
    read = summary["read"]
    facts = [
        ("Model", summary.get("model")),
        ("Genome", summary.get("genome")),
        ("Annotation", summary.get("annotation")),
        ("Repeats", summary.get("repeats")),
        ("Read", f"{counted(read['bases'], 'base')}: {read['rule']}"),
        (
            "Controls",
            f"{counted(summary['shifts'], 'circular shift')}, an untrained model, dinucleotide-shuffled sequence",
        ),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts if fact)
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>' for anchor, name in links)
    return (
        f"<header><h1>Where chunk boundaries lie</h1>\n<dl>{listed}</dl>\n"
        f'<nav aria-label="Contents"><ul>{items}</ul></nav></header>'
    )


def _first(
    summary: Mapping[str, Any], tables: Mapping[str, Table], findings: Sequence[Finding], drawn: Sequence[Figure]
) -> str:
    """Return what a reader should see who sees nothing else: a sentence and a picture for each stage."""
    if not drawn:
        return ""
    parts = ['<section id="chunks-are"><h2>What the chunks are</h2>']
    for stage in summary["stages"]:
        parts.append(f'<p class="lead">{escape(_in_words(stage, tables, findings))}</p>')
        parts += [_figure(figure) for figure in drawn if figure.title.endswith(f"stage {stage['stage']}")]
    return "\n".join(parts) + "</section>"


def _in_words(stage: Mapping[str, Any], tables: Mapping[str, Table], findings: Sequence[Finding]) -> str:
    number = stage["stage"]
    if stage["bases_per_chunk"] is None:
        return f"Stage {number} of this model makes no boundary."
    what = "The model cuts the sequence into chunks" if number == 0 else f"Chunks of stage {number} are"
    said = f"{what} of {stage['bases_per_chunk']:.1f} bases on average."
    if any(f.stage == number and f.table == "codons" and f.verdict == "stands out" for f in findings):
        said += " They follow codons."
    for strand, rates in sorted(codon_rates(tables, number).items()):
        one, two, three = (f"{100 * rates[position]:.0f} %" for position in (1, 2, 3))
        said += (
            f" In genes of the {strand} strand, a chunk begins at {one} of the first bases of codons, at {two} of the "
            f"second and at {three} of the third."
        )
    return said


def _figure(figure: Figure, source: str = "") -> str:
    if not figure.svg:
        return f"<p><strong>{escape(figure.title)}.</strong> {escape(figure.caption)}</p>"
    picture = base64.b64encode(figure.svg.encode()).decode()
    return (
        f'<figure><img alt="{escape(figure.title)}. {escape(figure.caption)}" '
        f'src="data:image/svg+xml;base64,{picture}">\n'
        f"<figcaption><strong>{escape(figure.title)}.</strong> {escape(figure.caption)}{source}</figcaption></figure>"
    )


def _summary(summary: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    parts = ['<section id="summary"><h2>Summary</h2>']
    for stage in summary["stages"]:
        number = stage["stage"]
        here = [finding for finding in findings if finding.stage == number]
        parts.append(f"<h3>Stage {number}</h3>")
        parts.append(
            f"<p>Bases per chunk: {_bases(stage['bases_per_chunk'])}; "
            f"of the untrained model: {_bases(stage['bases_per_chunk_untrained'])}; "
            f"on shuffled sequence: {_bases(stage['bases_per_chunk_shuffled'])}. "
            f"{counted(len(here), 'row')} of classes and codon positions judged.</p>"
        )
        parts += [_verdict(verdict, here) for verdict in WORDS]
    parts.append(
        '<div class="note"><p><strong>How to read this.</strong> A class stands out if its boundaries are denser, or '
        "sparser, than those of all three controls: p against circular shifts passes Benjamini and Hochberg's "
        f"procedure at a false discovery rate of {100 * RATE:.0f} % over all {counted(len(findings), 'row')} "
        "judged, and the 95 % interval lies beyond 1, beyond the untrained model and beyond shuffled sequence.</p>"
        "<p>A small p against shifts does not show by itself that anything was learned. It shows that boundaries "
        "follow the sequence, and those of a network that was never trained do so too. The untrained model is a single "
        "one, and its value has no interval. A class that stands out need not have a function either: classes differ "
        "in composition and repeats, and shuffling preserves only dinucleotides.</p>"
        + _too_few(summary["shifts"])
        + "</div></section>"
    )
    return "\n".join(parts)


def _too_few(shifts: int) -> str:
    why = too_few_shifts(shifts)
    return f"<p><strong>{why}.</strong> Make the report again with 200 shifts, the default.</p>" if why else ""


_HEADINGS: dict[Verdict, tuple[str, str]] = {
    "stands out": ("Stands out against all three controls", "Nothing stands out against all three controls."),
    "as untrained": ("Differs from shifts, but the untrained model does as much", ""),
    "as shuffled": ("Differs from shifts and from the untrained model, but shuffled sequence does as much", ""),
    "as chance": ("No different from shifted boundaries", ""),
    "too little": ("Too few data to judge", ""),
}


def _verdict(verdict: Verdict, findings: Sequence[Finding]) -> str:
    heading, none = _HEADINGS[verdict]
    here = [finding for finding in findings if finding.verdict == verdict]
    if not here:
        return f"<p><strong>{none}</strong></p>" if none else ""
    if verdict in ("as chance", "too little"):
        return f"<p><strong>{heading}:</strong> {escape('; '.join(f.name for f in here))}.</p>"
    items = "".join(f"<li>{escape(finding.sentence())}.</li>" for finding in here[:_LISTED])
    more = f"<li>{len(here) - _LISTED} more: see the tables.</li>" if len(here) > _LISTED else ""
    return f"<p><strong>{heading}:</strong></p><ul>{items}{more}</ul>"


def _section(table: Table, drawn: Sequence[Figure]) -> str:
    name = escape(table.name)
    link = f'<a href="{name}.tsv" download>{name}.tsv</a>'
    parts = [f'<section id="{name}"><h2>{escape(_title(table.name))}</h2>']
    parts += [_figure(figure, f" Data: {link}.") for figure in drawn]
    if len(table.rows) > _MOST_ROWS:
        parts.append(f"<p>{counted(len(table.rows), 'row')}, too many to show here: {link}.</p>")
    elif table.rows:
        parts.append(_table(table))
        parts.append(f"<p>{'All columns' if len(_columns(table)) < len(table.columns) else 'Data'}: {link}.</p>")
    else:
        parts.append(f"<p>No rows ({link}).</p>")
    return "\n".join(parts) + "</section>"


def _title(table: str) -> str:
    return TABLES[table].title if table in TABLES else table


def _columns(table: Table) -> list[str]:
    """Return the columns of a table that the page shows."""
    shown = TABLES[table.name].shown if table.name in TABLES else ()
    return [name for name in shown or table.columns if name in table.columns]


def _table(table: Table) -> str:
    """Return a table, without the classes that have no base in what was read; a line below names these."""
    columns = _columns(table)
    rows = [row for row in table.rows if row.get("bases") != 0]
    absent = [_named(row) for row in table.rows if row.get("bases") == 0]
    text = {name for name in columns if any(isinstance(row[name], str) for row in rows)}
    declared = TABLES[table.name].columns if table.name in TABLES else ()
    meanings = {column.name: escape(column.meaning.replace("`", "")) for column in declared}
    head = "".join(
        f'<th scope="col" aria-sort="none"{_class(name in text)}>'
        f'<button type="button" title="{meanings.get(name, "")}">{escape(name.replace("_", " "))}</button></th>'
        for name in columns
    )
    lines = [f"<tr>{''.join(_cell(row[name], name in text) for name in columns)}</tr>" for row in rows]
    return (
        f"<details open><summary>Table: {counted(len(rows), 'row')}</summary>"
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(_title(table.name))}">'
        f'<table class="sortable"><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div></details>"
        + (f"\n<p>Not present in what was read: {escape(', '.join(dict.fromkeys(absent)))}.</p>" if absent else "")
    )


def _named(row: Mapping[str, Any]) -> str:
    """Return what a row of `classes`, `codons`, `bits` or `bits_profiles` is about."""
    if "codon_position" in row:
        return f"codon position {row['codon_position']}, {row['strand']} strand"
    if "site" in row:
        return f"{row['site']}, {row['strand']} strand, offset {row['offset']}"
    return f"codon position {row['class']}" if row["group"] == "codon position" else str(row["class"])


def _browser_section(shown: Sequence[Shown]) -> str:
    if not shown:
        return ""
    choices = "".join(
        f'<option value="{number}">{escape(one.name)}: {escape(str(one.middle))}</option>'
        for number, one in enumerate(shown)
    )
    return (
        '<section id="loci"><h2>Genome browser</h2>\n'
        "<p>One example of each of the first classes in the summary: the one of median length among those that were "
        "read, whatever the model does there. Genes and other features are those of the annotation. A chunk begins "
        "where the boundary probability passes 0.5. Bits per base are -log2 of the probability that the model gave the "
        f"base; a guess among four costs 2. The model read forward, from up to {CONTEXT:,} bases before each locus. "
        "The browser has no data outside the loci.</p>\n"
        f'<p class="screen"><label>Locus <select id="locus" autocomplete="off">{choices}</select></label> '
        '<span id="about-locus" aria-live="polite"></span></p>\n'
        '<div id="browser" class="screen"></div></section>'
    )


def _scripts(shown: Sequence[Shown], summary: Mapping[str, Any]) -> str:
    script = _file("page.js")
    if not shown:
        return f"<script>\n{script}</script>"
    igv, licence = browser.igv()
    loci = [
        {"view": browser.view(one), "about": f"in {one.locus.interval}, {counted(len(one.locus.interval), 'base')}"}
        for one in shown
    ]
    data = json.dumps({"options": browser.options(shown, str(summary.get("genome"))), "loci": loci})
    # Data with "</script>" in it would end its own element. The page has no source map of igv.js.
    data = data.replace("<", "\\u003c")
    igv = igv.rpartition("//# sourceMappingURL")[0]
    return (
        f'<script type="application/json" id="browser-data">{data}</script>\n<!-- igv.js\n\n{licence}\n-->\n'
        f"<script>{igv}</script>\n<script>\n{script}</script>"
    )


def _file(name: str) -> str:
    return (files("hnet_dna.explanation.page") / name).read_text()


def _cell(content: Any, is_text: bool) -> str:
    if isinstance(content, float) and math.isnan(content):
        return f'<td data-value=""{_class(is_text)}></td>'
    if is_text:
        return f'<td class="text">{escape(str(content))}</td>'
    if isinstance(content, float):
        return f'<td data-value="{content:.6g}">{content:.3g}</td>'
    return f'<td data-value="{content}">{content:,}</td>'


def _class(is_text: bool) -> str:
    return ' class="text"' if is_text else ""


def _bases(value: float | None) -> str:
    return "no boundary" if value is None else f"{value:.2f}"
