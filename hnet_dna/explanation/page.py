"""The report as one page: summary, figures, tables and a genome browser, with no need of a network.

Everything is inside the file, and the page's own policy forbids it to ask anybody for more. Links lead to the tables
beside it.
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

from hnet_dna.explanation import browser
from hnet_dna.explanation.browser import Shown
from hnet_dna.explanation.figures import Figure, figures
from hnet_dna.explanation.findings import RATE, WORDS, Finding, Verdict, judge
from hnet_dna.explanation.locus import CONTEXT
from hnet_dna.explanation.table import Table, read_tables
from hnet_dna.files import write_beside

PAGE = "index.html"
_MOST_ROWS = 300  # of a table in the page; longer ones are linked
_LISTED = 12
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "connect-src data: blob:; base-uri 'none'; form-action 'none'"
)
_VERDICT = "verdict"  # a column of the page alone
# Columns of long tables that the page shows; the file has all.
_RATES = (_VERDICT, "enrichment", "enrichment_low", "enrichment_high", "p", "untrained_enrichment",
          "shuffled_enrichment", "over_shifted", "bases", "boundaries", "rate")  # fmt: skip
_SHOWN = {
    "classes": ("stage", "class", *_RATES, "group"),
    "codons": ("stage", "strand", "codon_position", *_RATES),
}
# Tables in the order of the page; others follow by name.
_ABOUT = {
    "classes": "Classes of bases",
    "codons": "Codon positions",
    "profiles": "Around sites",
    "edges": "Edges of features",
    "bits": "Bits per base",
    "bits_profiles": "Bits per base around sites",
    "robustness": "Robustness",
    "chunks": "Chunk lengths",
    "strands": "Both strands",
    "kmers": "Words",
    "logo": "Letters around boundaries",
}


def interesting(folder: Path) -> list[str]:
    """Return the classes of a report to show loci of, those that stand out most first, each once."""
    judged = (f for f in judge(read_tables(folder)) if f.table == "classes" and f.verdict != "too little")
    return list(dict.fromkeys(finding.name for finding in judged))


def write_page(folder: Path, shown: Sequence[Shown] = ()) -> Path:
    """Write index.html into a report's folder from its tables and summary.json.

    Args:
        folder: what `Report.write` filled; tables that are absent are left out, unknown ones are shown as they are.
        shown: examples for the browser, the first at first; without any there is no browser.

    Returns:
        The page.
    """
    tables = read_tables(folder)
    summary = json.loads((folder / "summary.json").read_text())
    findings = judge(tables)
    order = [name for name in _ABOUT if name in tables] + [name for name in tables if name not in _ABOUT]
    drawn: dict[str, list[Figure]] = {}
    for figure in figures(tables):
        drawn.setdefault(figure.table, []).append(figure)
    links = [("summary", "Summary"), *([("loci", "Genome browser")] if shown else [])]
    links += [(name, _ABOUT.get(name, name)) for name in order]
    body = [
        _header(summary, links),
        "<main>",
        _summary(summary, findings),
        _browser_section(shown),
        *(_section(tables[name], drawn.get(name, ()), findings) for name in order),
        "</main>",
        "<footer>Made by hnet-dna. Everything on this page is in the page or in the files beside it.",
        " The genome browser is igv.js, MIT licence.</footer>" if shown else "</footer>",
        _scripts(shown, summary),
    ]
    page = folder / PAGE
    with write_beside(page) as temporary:
        temporary.write_text(_document("\n".join(body), summary), encoding="utf-8")
    return page


def _document(body: str, summary: Mapping[str, Any]) -> str:
    style = (files("hnet_dna.explanation") / "page.css").read_text()
    title = escape(f"Chunk boundaries: {_last(summary.get('model'))} on {summary.get('genome', 'a genome')}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _header(summary: Mapping[str, Any], links: Iterable[tuple[str, str]]) -> str:
    read = summary["read"]
    facts = [
        ("Model", summary.get("model")),
        ("Genome", summary.get("genome")),
        ("Annotation", summary.get("annotation")),
        ("Repeats", summary.get("repeats")),
        ("Read", f"{read['bases']:,} bases: {read['rule']}"),
        ("Controls", f"{summary['shifts']:,} circular shifts, an untrained model, dinucleotide-shuffled sequence"),
    ]
    told = "".join(f"<dt>{name}</dt><dd>{escape(str(fact))}</dd>" for name, fact in facts if fact)
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>' for anchor, name in links)
    return (
        f"<header><h1>Where chunk boundaries lie</h1>\n<dl>{told}</dl>\n"
        f'<nav aria-label="Contents"><ul>{items}</ul></nav></header>'
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
            f"{len(here)} classes and codon positions were judged.</p>"
        )
        parts += [_verdict(verdict, here) for verdict in WORDS]
    parts.append(
        '<div class="note"><p><strong>How this was judged.</strong> A class stands out if its boundaries are denser, '
        "or sparser, than all three controls have them: p against circular shifts passes Benjamini and Hochberg's "
        f"procedure at a false discovery rate of {100 * RATE:.0f} % over all {len(findings)} rows judged, and the 95 % "
        "interval lies beyond 1, beyond the untrained model and beyond shuffled sequence.</p>"
        "<p>A small p against shifts alone does not show that anything was learned: it says that boundaries follow the "
        "sequence there, which a network that was never trained does too. The untrained model is one model, and its "
        "number has no interval. Standing out is no proof of a function either: classes differ in composition and "
        "repeats, of which shuffling keeps dinucleotides alone.</p>" + _too_few(summary["shifts"]) + "</div></section>"
    )
    return "\n".join(parts)


def _too_few(shifts: int) -> str:
    least = 1 / (1 + shifts)
    if least <= RATE:
        return ""
    return (
        f"<p><strong>{shifts:,} shifts are too few:</strong> p cannot be below {least:.2g}, so that nothing can pass. "
        "Give --shifts 200.</p>"
    )


_HEADINGS: dict[Verdict, tuple[str, str]] = {
    "stands out": ("Stands out against all three controls", "Nothing stands out against all three controls."),
    "as untrained": ("Differs from shifts, but the untrained model does as much", ""),
    "as shuffled": ("Differs from shifts and from the untrained model, but shuffled sequence does as much", ""),
    "as chance": ("Not told from shifted boundaries", ""),
    "too little": ("Too little to say", ""),
}


def _verdict(verdict: Verdict, findings: Sequence[Finding]) -> str:
    heading, none = _HEADINGS[verdict]
    found = [finding for finding in findings if finding.verdict == verdict]
    if not found:
        return f"<p><strong>{none}</strong></p>" if none else ""
    if verdict in ("as chance", "too little"):
        return f"<p><strong>{heading}:</strong> {escape('; '.join(f.name for f in found))}.</p>"
    items = "".join(f"<li>{escape(finding.sentence())}.</li>" for finding in found[:_LISTED])
    more = f"<li>{len(found) - _LISTED} more: see the tables.</li>" if len(found) > _LISTED else ""
    return f"<p><strong>{heading}:</strong></p><ul>{items}{more}</ul>"


def _section(table: Table, drawn: Sequence[Figure], findings: Sequence[Finding]) -> str:
    name = escape(table.name)
    link = f'<a href="{name}.tsv" download>{name}.tsv</a>'
    parts = [f'<section id="{name}"><h2>{escape(_ABOUT.get(table.name, table.name))}</h2>']
    for figure in drawn:
        picture = base64.b64encode(figure.svg.encode()).decode()
        parts.append(
            f'<figure><img alt="{escape(figure.title)}. {escape(figure.caption)}" '
            f'src="data:image/svg+xml;base64,{picture}">\n'
            f"<figcaption><strong>{escape(figure.title)}.</strong> {escape(figure.caption)} Data: {link}.</figcaption>"
            "</figure>"
        )
    if len(table.rows) > _MOST_ROWS:
        parts.append(f"<p>{len(table.rows):,} rows, too many to show here: {link}.</p>")
    elif table.rows:
        parts.append(_table(table, findings))
        parts.append(f"<p>All columns: {link}.</p>" if table.name in _SHOWN else f"<p>Data: {link}.</p>")
    else:
        parts.append(f"<p>No rows ({link}).</p>")
    return "\n".join(parts) + "</section>"


def _table(table: Table, findings: Sequence[Finding]) -> str:
    judged = {finding.row: WORDS[finding.verdict] for finding in findings if finding.table == table.name}
    columns = [name for name in _SHOWN.get(table.name, table.columns) if name in (*table.columns, _VERDICT)]
    rows = [{**row, _VERDICT: judged.get(number, "")} for number, row in enumerate(table.rows)]
    text = {name for name in columns if any(isinstance(row[name], str) for row in rows)}
    head = "".join(
        f'<th scope="col" aria-sort="none"{_class(name in text)}><button type="button">'
        f"{escape(name.replace('_', ' '))}</button></th>"
        for name in columns
    )
    lines = [f"<tr>{''.join(_cell(row[name], name in text) for name in columns)}</tr>" for row in rows]
    title = escape(_ABOUT.get(table.name, table.name))
    return (
        f'<details open><summary>Table: {len(table.rows):,} rows</summary><div class="wide" tabindex="0" role="region" '
        f'aria-label="{title}"><table class="sortable"><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div></details>"
    )


def _browser_section(shown: Sequence[Shown]) -> str:
    if not shown:
        return ""
    choices = "".join(
        f'<option value="{number}">{escape(one.name)}: {escape(str(one.middle))}</option>'
        for number, one in enumerate(shown)
    )
    return (
        '<section id="loci"><h2>Genome browser</h2>\n'
        "<p>One example of each of the first classes in the summary: the one of median length among those read, "
        "whatever the model does there. Genes and other features are those of the annotation; a chunk begins where "
        "boundary probability passes 0.5; bits per base are -log2 of the probability that the model gave the base, 2 "
        f"for a guess among four. The model read from up to {CONTEXT:,} bases before each locus, forward; outside of "
        "the loci there is nothing to see.</p>\n"
        f'<p class="screen"><label>Locus <select id="locus" autocomplete="off">{choices}</select></label> '
        '<span id="about-locus" aria-live="polite"></span></p>\n'
        '<div id="browser" class="screen"></div></section>'
    )


def _scripts(shown: Sequence[Shown], summary: Mapping[str, Any]) -> str:
    script = (files("hnet_dna.explanation") / "page.js").read_text()
    if not shown:
        return f"<script>\n{script}</script>"
    igv, licence = browser.igv()
    loci = [
        {"view": browser.view(one), "about": f"in {one.locus.interval}, {len(one.locus.interval):,} bases"}
        for one in shown
    ]
    told = json.dumps({"options": browser.options(shown, str(summary.get("genome"))), "loci": loci})
    # Data that holds "</script>" would end its own element. The map of igv.js's source is not in the page.
    data = told.replace("<", "\\u003c")
    igv = igv.rpartition("//# sourceMappingURL")[0]
    return (
        f'<script type="application/json" id="browser-data">{data}</script>\n<!-- igv.js\n\n{licence}\n-->\n'
        f"<script>{igv}</script>\n<script>\n{script}</script>"
    )


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


def _last(path: Any) -> str:
    return Path(str(path)).name
