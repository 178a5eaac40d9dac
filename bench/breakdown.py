"""Section 5: where the time of one call goes at each level, step by step: none is the cold call,
opened and started are the warm ones.

Measured in a scratch copy of the package in which the doors between rooms are marked
(`bench.marks`); the clock is CLOCK_MONOTONIC, one for client, supervisor and launcher.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import ROOT, RUNTIME, report
from bench.daemon import LEVELS, Daemon, console, daemon
from bench.latency import WORK
from bench.marks import PREFIX
from bench.peers.base import PeerFailed, Place
from bench.section import Findings, Scale, alone
from bench.stats import spread

CALLS = 30
GAP_SECONDS = 0.2

STEPS = (
    ("handler", "client sends; frame read, checked and decoded"),
    ("admitted", "admission: tool, schema, caller, quota"),
    ("taken", "plan, first audit record queued, sandbox taken or asked for"),
    ("open asked", "the launcher reads and checks the plan, makes the cgroup"),
    ("spawned", "scratch mount, bubblewrap spawned, attached to its cgroup"),
    ("opened", "bubblewrap sets up; read back from the kernel"),
    ("start sent", "the supervisor says start"),
    ("begin sent", "the same for a tool that is started already"),
    ("let go", "the launcher opens the gate"),
    ("started", "bubblewrap loads the filter, executes the tool; proven"),
    ("fed", "the supervisor feeds stdin"),
    ("end seen", "the tool runs and ends; the launcher sees it"),
    ("end sent", "everything reaped, counters read, artifacts collected"),
    ("run over", "the supervisor drains the streams"),
    ("scanned", "scan"),
    ("recorded", "audit record on disk"),
    ("answered", "result encoded and sent"),
    ("returned", "the client reads it"),
)
"""What leads up to each mark, in the order of a call."""


@dataclass(slots=True)
class Timeline:
    """Milliseconds of each step, call by call."""

    steps: dict[str, list[float]] = field(default_factory=dict)
    totals: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def run(place: Place, scale: Scale) -> Findings:
    argv = _marked_console(place)
    calls = scale.of(CALLS, 5)
    found: dict[str, Timeline] = {}
    for level in LEVELS:
        # A daemon for each: its log holds the marks of one level only.
        with daemon(place, f"daemon-{level}-marked", argv=argv) as ours:
            ours.add(WORK, "echo", warm=level)
            found[level] = _measure(ours, calls)
    print(_table(found))
    return Findings(data={level: _json(timeline) for level, timeline in found.items()})


def _marked_console(place: Place) -> list[str]:
    """The command line of a copy in which both processes install marks."""
    copy = place.path / "marked"
    shutil.copytree(
        RUNTIME, copy, symlinks=False, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    package = copy / "fumehood"
    shutil.copy(ROOT / "bench" / "marks.py", package / "_marks.py")
    for name in ("daemon.py", "launcher/process.py"):
        with (package / name).open("a") as file:
            file.write("\n\nfrom fumehood import _marks\n\n_marks.install(__name__)\n")
    return [word.replace(repr(RUNTIME), repr(str(copy))) for word in console()]


def _measure(ours: Daemon, calls: int) -> Timeline:
    spans = []
    with ours.client() as client:
        for number in range(calls + 3):
            time.sleep(GAP_SECONDS)
            begin = time.monotonic()
            result = client.call("echo", WORK.arguments, timeout=60)
            end = time.monotonic()
            if result["status"] != "ok":
                raise PeerFailed(f"status {result['status']}")
            if number >= 3:
                spans.append((begin, end))
    time.sleep(0.2)
    return _fold(spans, *_read(ours.folder / "log"))


def _read(log: Path) -> tuple[list[tuple[str, float, str]], list[str]]:
    marks: list[tuple[str, float, str]] = []
    missing: list[str] = []
    for line in log.read_text().splitlines():
        if line.startswith(PREFIX):
            found = json.loads(line.removeprefix(PREFIX))
            marks += [(label, at, sandbox) for label, at, sandbox in found.get("marks", ())]
            missing += found.get("missing", ())
    return marks, missing


def _fold(
    spans: Sequence[tuple[float, float]],
    marks: Sequence[tuple[str, float, str]],
    missing: list[str],
) -> Timeline:
    timeline = Timeline(missing=missing)
    for begin, end in spans:
        inside = [mark for mark in marks if begin <= mark[1] <= end]
        sandbox = next((name for label, _, name in inside if label == "taken" and name), "")
        passed = {"returned": end}
        # The last of its kind counts.
        passed |= {label: at for label, at, name in inside if name in ("", sandbox)}
        timeline.totals.append((end - begin) * 1000)
        before = begin
        for label, _ in STEPS:
            if label in passed:
                # Two processes: what happened earlier than the step before it cost nothing more.
                took = max(passed[label] - before, 0.0)
                timeline.steps.setdefault(label, []).append(took * 1000)
                before = max(before, passed[label])
    return timeline


def _table(found: Mapping[str, Timeline]) -> str:
    def cell(kind: str, label: str) -> str:
        values = found[kind].steps.get(label)
        return spread(values, 2) if values else "-"

    rows = [[what, *(cell(kind, label) for kind in found)] for label, what in STEPS]
    totals = [spread(timeline.totals, 2) for timeline in found.values()]
    rows.append(["the whole call, as the client sees it", *totals])
    least = [f"{min(timeline.totals):.2f}" for timeline in found.values()]
    rows.append(["the shortest", *least])
    calls = min(len(timeline.totals) for timeline in found.values())
    of = f"median ± MAD of {calls} calls"
    title = f"5. Where the time goes, {GAP_SECONDS:g} s between calls: ms, {of}"
    notes = [
        f"{kind}: no longer found in the code, so part of the next step: {label}"
        for kind, timeline in found.items()
        for label in timeline.missing
    ]
    return "\n".join([report.table(title, ["step", *found], rows), *notes])


def _json(timeline: Timeline) -> dict[str, object]:
    return {
        "total_ms": round(statistics.median(timeline.totals), 4),
        "steps": {
            label: round(statistics.median(values), 4) for label, values in timeline.steps.items()
        },
        "missing": timeline.missing,
    }


if __name__ == "__main__":
    alone("breakdown", run, docker=False)
