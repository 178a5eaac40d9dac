"""Results for people and for programs: a table on stdout, JSON and SVG in bench/results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from bench import ROOT
from bench.rounds import Row
from bench.stats import Summary, summarise
from bench.targets import Verdict

RESULTS = ROOT / "bench" / "results"
LATEST = RESULTS / "latest.json"
TRANSCRIPT = RESULTS / "latest.txt"
LEAST_FOR_P99 = 50
"""Of fewer calls none is told; of fewer than a hundred it is the slowest one."""


class Tee:
    """A text stream that also keeps what was written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._kept: list[str] = []

    def write(self, text: str) -> int:
        self._kept.append(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def save(self) -> None:
        """Write everything into the transcript."""
        RESULTS.mkdir(exist_ok=True)
        TRANSCRIPT.write_text("".join(self._kept))


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned; the first to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = [f"\n{title}"]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append("  ".join(cells).rstrip())
        if number == 0:
            text.append("  ".join("-" * width for width in widths))
    return "\n".join(text)


def latency_rows(rows: Sequence[Row]) -> dict[str, Summary]:
    """Summary for each competitor that answered at all."""
    return {row.competitor.name: summarise(row.seconds) for row in rows if row.seconds}


def latency_table(title: str, rows: Sequence[Row], base: str) -> str:
    """p50, p90, p99, MAD in ms, and the ratio of the medians to the row `base`."""
    found = latency_rows(rows)
    reference = found[base].p50 if base in found else None
    lines, notes = [], []
    for row in sorted(rows, key=lambda r: found[r.competitor.name].p50 if r.seconds else 1e9):
        name = row.competitor.name
        if row.unavailable:
            notes.append(f"{name}: not measured: {row.unavailable}")
        if row.failures:
            notes.append(f"{name}: {len(row.failures)} calls failed, first: {row.failures[0]}")
        if not row.seconds:
            lines.append([name, *["-"] * 6])
            continue
        it = found[name]
        against = f"{it.p50 / reference:.2f}" if reference else "-"
        p99 = f"{it.p99:.2f}" if it.n >= LEAST_FOR_P99 else "-"
        cells = [f"{it.p50:.2f}", f"{it.p90:.2f}", p99, f"{it.mad:.2f}"]
        lines.append([name, *cells, str(it.n), against])
    head = ["ms for one call", "p50", "p90", "p99", "MAD", "calls", f"÷ {base}"]
    return "\n".join([table(title, head, lines), *notes])


def rows_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "name": row.competitor.name,
            **(summarise(row.seconds).to_json() if row.seconds else {}),
            "failures": len(row.failures),
            **({"first_failure": row.failures[0]} if row.failures else {}),
            **({"unavailable": row.unavailable} if row.unavailable else {}),
        }
        for row in rows
    ]


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    return "\n".join(["\nTargets", *(verdict.line() for verdict in verdicts)])


def save(
    sections: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    seconds: float,
    facts: Mapping[str, str],
    rounds: int,
) -> None:
    """Write what was measured; sections that did not run this time keep no old numbers."""
    RESULTS.mkdir(exist_ok=True)
    whole = {
        "machine": dict(facts),
        "rounds": rounds,
        "seconds": round(seconds, 1),
        "sections": dict(sections),
        "targets": [verdict.to_json() for verdict in verdicts],
    }
    LATEST.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
