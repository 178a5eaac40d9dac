"""Puts the latest run into docs/benchmarks.md: its tables word for word, its plots, its JSON.

    python -m bench.document

Prose around the markers is written by hand and stays; must never change a number.
"""

from __future__ import annotations

import json
import shutil
import sys

from bench import ROOT, targets
from bench.report import LATEST, RESULTS, TRANSCRIPT

PAGE = ROOT / "docs" / "benchmarks.md"
FOLDER = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- run: begin -->", "<!-- run: end -->"
_PLOTS = {
    "latency.svg": "Latency of one echo-like call, back to back",
    "latency-idle.svg": "Latency of one echo-like call after half a second of idleness",
    "pandas.svg": "Latency of a Python tool that imports pandas",
    "throughput.svg": "Calls a second over callers at once",
    "throughput-cpu.svg": "CPU for one call over callers at once",
    "growth-size.svg": "Time of one call over bytes of output and of arguments",
    "growth-size-memory.svg": "The supervisor's memory over bytes of output and of arguments",
    "growth-count.svg": "Time of one call over registered tools and connected clients",
    "growth-audit.svg": "Start of the daemon and check of the log over audit records",
}


def main() -> int:
    if not LATEST.exists() or not TRANSCRIPT.exists():
        print("there is no run of all sections: make bench", file=sys.stderr)
        return 1
    run = json.loads(LATEST.read_text())
    FOLDER.mkdir(exist_ok=True)
    shutil.copy(LATEST, FOLDER / "run.json")
    plots = [name for name in _PLOTS if (RESULTS / name).exists()]
    for name in plots:
        shutil.copy(RESULTS / name, FOLDER / name)
    text = [BEGIN, f"`make bench ROUNDS={run['rounds']}`, {run['seconds']:.0f} seconds.", ""]
    text += [*targets.rows(run["targets"]), ""]
    text += ["```", TRANSCRIPT.read_text().strip(), "```", ""]
    text += [f"![{_PLOTS[name]}](benchmarks/{name})" for name in plots]
    text += ["", "The same as JSON: [run.json](benchmarks/run.json).", END]
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + "\n".join(text) + after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
