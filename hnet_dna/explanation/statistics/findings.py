"""Judges whether each class of bases and codon position stands out against all three controls.

The boundaries of a class are denser, or sparser, than those of all controls if

- shifts: p passes the procedure of Benjamini and Hochberg (1995) at a false discovery rate of 5 % over all rows judged,
  and the 95 % interval of the enrichment lies above 1, or below 1;
- the untrained model: its enrichment lies below that interval, or above it, respectively;
- shuffled sequence: so does the enrichment on it.

Rows in fewer than two blocks, rows for which a control has no boundary, and rows with so few bases that fewer than five
boundaries are expected in them at the rate of all bases, cannot be judged.

A small p against shifts does not show by itself that anything was learned: a network that was never trained also cuts
some sequence more often than other sequence. The untrained model is a single one, and its enrichment has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hnet_dna.explanation.statistics.columns import NOT_JUDGED
from hnet_dna.explanation.statistics.tables import Table
from hnet_dna.plural import counted

RATE = 0.05  # false discovery rate
FEWEST = 5  # boundaries that are expected in a class at the rate of all bases, for it to be judged
Verdict = Literal["stands out", "as untrained", "as shuffled", "as chance", "too little"]
WORDS: dict[Verdict, str] = {
    "stands out": "stands out",
    "as untrained": "untrained does as much",
    "as shuffled": "shuffled does as much",
    "as chance": "no different from shifts",
    "too little": "too few data",
}


@dataclass(frozen=True)
class Finding:
    """One row of `classes` or `codons`, judged.

    Attributes:
        table: the row's table.
        row: its place in the table, from 0.
        stage: 0 outermost.
        name: of the class or codon position.
        bases: in the class.
        enrichment, low, high: boundaries per base over boundaries per base of all bases, with its 95 % interval.
        p: against circular shifts.
        untrained, shuffled: enrichment in these controls.
        verdict: as the module explains.
    """

    table: str
    row: int
    stage: int
    name: str
    bases: int
    enrichment: float
    low: float
    high: float
    p: float
    untrained: float
    shuffled: float
    verdict: Verdict

    @property
    def strength(self) -> float:
        """Distance from 1 to the nearer end of the interval, in doublings."""
        near = self.low if self.enrichment > 1 else self.high
        return abs(math.log2(near)) if near > 0 else math.inf

    def sentence(self) -> str:
        """Return the finding as a sentence with its numbers."""
        return (
            f"{self.name}: {self.enrichment:.2f} times as many boundaries per base as in all bases (95 % interval "
            f"{self.low:.2f} to {self.high:.2f}, p = {self.p:.3g} against shifts); untrained model "
            f"{self.untrained:.2f}, shuffled sequence {self.shuffled:.2f}; {counted(self.bases, 'base')}"
        )


def judge(tables: Mapping[str, Table]) -> list[Finding]:
    """Judge each row of `classes` and `codons` that has bases; those that stand out most come first."""
    rows = [(name, number, row) for name in ("classes", "codons") for number, row in _judged(tables.get(name))]
    rates = {row["stage"]: row["rate"] for row in _rows(tables.get("classes")) if row["group"] == "all"}
    enough = [not row["bases"] * rates.get(row["stage"], math.inf) < FEWEST for _, _, row in rows]
    passed = discoveries(
        [row["p"] if known else math.nan for (_, _, row), known in zip(rows, enough, strict=True)], RATE
    )
    findings = [_finding(*row, known, ok) for row, known, ok in zip(rows, enough, passed, strict=True)]
    order = list(WORDS)
    return sorted(findings, key=lambda f: (f.stage, order.index(f.verdict), -f.strength))


def with_verdicts(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return tables with the column `verdict` of `classes` and `codons` filled in, which older reports lack."""
    judged: dict[str, dict[int, str]] = {}
    for finding in judge(tables):
        judged.setdefault(finding.table, {})[finding.row] = WORDS[finding.verdict]
    filled = dict(tables)
    for name, words in judged.items():
        rows = ({**row, "verdict": words.get(number, NOT_JUDGED)} for number, row in enumerate(tables[name].rows))
        filled[name] = Table(name, tuple(dict.fromkeys((*tables[name].columns, "verdict"))), tuple(rows))
    return filled


def too_few_shifts(shifts: int) -> str:
    """Say why hardly any row can pass with so few shifts; empty if there are enough."""
    least = 1 / (1 + shifts)
    if 2 * least <= RATE:
        return ""
    return (
        f"{counted(shifts, 'shift')} {'is' if shifts == 1 else 'are'} too few: p cannot be below {least:.2g}, so "
        "that hardly any class can be told from shifted boundaries, whatever its rate"
    )


def discoveries(p: Sequence[float], rate: float) -> list[bool]:
    """Tell which p values pass Benjamini and Hochberg's step-up procedure; NaN does not count as a test."""
    known = sorted(value for value in p if not math.isnan(value))
    passing = [value for rank, value in enumerate(known, 1) if value <= rate * rank / len(known)]
    return [bool(passing) and value <= passing[-1] for value in p]


def _judged(table: Table | None) -> list[tuple[int, dict[str, Any]]]:
    return [(number, row) for number, row in enumerate(_rows(table)) if row["bases"] and row.get("group") != "all"]


def _rows(table: Table | None) -> Sequence[dict[str, Any]]:
    return table.rows if table else ()


def _finding(table: str, number: int, row: dict[str, Any], enough: bool, passed: bool) -> Finding:
    value, low, high = row["enrichment"], row["enrichment_low"], row["enrichment_high"]
    untrained, shuffled = row["untrained_enrichment"], row["shuffled_enrichment"]
    verdict: Verdict
    if not enough or any(map(math.isnan, (value, low, high, row["p"], untrained, shuffled))):
        verdict = "too little"
    elif not passed or low <= 1 <= high:
        verdict = "as chance"
    elif not _beyond(low, high, untrained):
        verdict = "as untrained"
    elif not _beyond(low, high, shuffled):
        verdict = "as shuffled"
    else:
        verdict = "stands out"
    name = f"codon position {row['codon_position']}, {row['strand']} strand" if table == "codons" else row["class"]
    return Finding(table, number, row["stage"], name, row["bases"], value, low, high, row["p"], untrained, shuffled,
                   verdict)  # fmt: skip


def interesting(findings: Sequence[Finding]) -> list[str]:
    """Return the classes of bases that could be judged, each once; those that stand out most come first."""
    judged = (f for f in findings if f.table == "classes" and f.verdict != "too little")
    return list(dict.fromkeys(finding.name for finding in judged))


def _beyond(low: float, high: float, control: float) -> bool:
    """Tell whether an interval on one side of 1 also lies beyond a control's value."""
    return low > control if low > 1 else high < control
