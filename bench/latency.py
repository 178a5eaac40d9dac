"""Section 1: one echo-like call, back to back and with idle gaps, everybody in the same rounds."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace

from bench import plot, report
from bench.daemon import LEVELS, Levels, console, daemon
from bench.peers import BWRAP, DOCKER, OTHERS, Competitor
from bench.peers.base import PeerUnavailable, Place, Work
from bench.rounds import SETTLE_SECONDS, Field, Row
from bench.section import Findings, Scale, alone
from bench.targets import Verdict, ratio
from fumehood.engines.promises import lacking
from fumehood.errors import FumehoodError

WORK = Work("echo", ("cat",), {"text": "the quick brown fox jumps over the lazy dog " * 4})
BURST = 3
"""Calls in a row in one turn, back to back."""
GAP_SECONDS = 0.5
IDLE_ROUNDS = 30
MOST_SECONDS, MOST_IDLE_SECONDS = 105.0, 60.0
"""A slow machine makes fewer rounds, not a longer run."""
SELDOM = 6
"""After idleness the variants of a row, and what takes long, take part in every sixth round."""
LEFT_OUT = "llm-sandbox docker"
"""Ten seconds for one call: as many as all the others take for a round."""

BOUNDS = {
    "started": "two records on disk; the proven death of the tool's namespace; the Python of "
    "supervisor and launcher",
    "opened": "as started, and bubblewrap's last step: it loads the filter, forks, executes",
    "none": "bubblewrap sets itself up and is read back from the kernel; then as opened",
    "docker started": "the output's way through shim and dockerd, which open the next meanwhile",
}
"""What keeps a level from being quicker; docs/benchmarks.md says more."""


def run(place: Place, scale: Scale) -> Findings:
    found = Findings()
    with contextlib.ExitStack() as stack:
        ours, missing = rows_of_ours(Levels(stack, place), WORK)
        contained, more = in_containers(stack, place)
        ours += contained
        missing += more
        field = stack.enter_context(Field([*OTHERS, *ours], WORK, place))
        field.warm_up()
        back = field.play(scale.of(60, 2), burst=BURST, gap=SETTLE_SECONDS, most=MOST_SECONDS)
        rounds = scale.of(IDLE_ROUNDS, 2)
        idle = field.play(
            rounds, burst=1, gap=GAP_SECONDS, most=MOST_IDLE_SECONDS, every=_after_idleness
        )
        for row in idle:
            if row.competitor.name == LEFT_OUT and not row.unavailable:
                row.unavailable = "ten seconds for one call; above it has one"
        idle += missing
        back += missing
    title = "1. One echo-like call"
    print(report.latency_table(f"{title}, {BURST} back to back in a turn", back, BWRAP))
    print(report.latency_table(f"{title}, after {GAP_SECONDS:g} s of idleness", idle, BWRAP))
    found.data = {"back to back": report.rows_json(back), "idle": report.rows_json(idle)}
    found.verdicts = verdicts(back)
    found.plots = {
        "latency.svg": plot.bars("One echo-like call, back to back", report.latency_rows(back)),
        "latency-idle.svg": plot.bars("… after 0.5 s of idleness", report.latency_rows(idle)),
    }
    return found


def _after_idleness(it: Competitor) -> int:
    if it.name == LEFT_OUT:
        return 0
    variant = "new connection" in it.name or "llm-sandbox" in it.name or "command" in it.name
    return max(it.every, SELDOM) if variant or it.every > 1 else 1


def rows_of_ours(
    levels: Levels, work: Work, *, fresh: bool = True
) -> tuple[list[Competitor], list[Row]]:
    """Our competitors, and rows that say why a level is missing. fresh: also a new connection
    for each call, and the command line."""
    ours: list[Competitor] = []
    missing: list[Row] = []
    for level in LEVELS:
        row = levels.offer(work, level)
        if isinstance(row, str):
            missing.append(Row(Competitor(f"fumehood {level}", ""), unavailable=row))
            continue
        ours.append(row)
        if fresh:
            options = {**row.options, "fresh": True}
            ours.append(replace(row, name=f"{row.name}, new connection", options=options))
    if fresh and ours:
        options = {**ours[-1].options, "console": console()}
        ours.append(Competitor("fumehood call (command line)", "fumehood:CommandLine", 2, options))
    return ours, missing


def in_containers(stack: contextlib.ExitStack, place: Place) -> tuple[list[Competitor], list[Row]]:
    """Ours on the Docker engine at every level, with runc and with gVisor; and rows that say why
    one is missing."""
    names = {
        (runtime, level): f"fumehood docker {also}{level}"
        for runtime, also in (("runc", ""), ("runsc", "gVisor "))
        for level in LEVELS
    }
    ours: list[Competitor] = []
    missing: list[Row] = []
    if not place.docker:
        why = "no Docker Engine runs here"
        return [], [Row(Competitor(name, ""), unavailable=why) for name in names.values()]
    gvisor = shutil.which("runsc") is not None
    runtimes = ["runc", *(["runsc"] if gvisor else [])]
    config = {
        "engines": ["bubblewrap", "docker"],
        "docker": {"socket": place.docker, "runtimes": runtimes},
        "accept_unenforced": sorted(lacking("runsc")) if gvisor else [],
    }
    try:
        where = stack.enter_context(daemon(place, "daemon-docker", config=config))
    except (FumehoodError, PeerUnavailable) as error:
        why = str(error)[-300:]
        return [], [Row(Competitor(name, ""), unavailable=why) for name in names.values()]
    for (runtime, level), name in names.items():
        tool = f"contained-{runtime}-{level}"
        try:
            where.add(WORK, tool, warm=level, engine="docker", runtime=runtime)
        except FumehoodError as error:
            missing.append(Row(Competitor(name, ""), unavailable=str(error)[-300:]))
            continue
        options = {"socket": str(where.socket), "tool": tool}
        every = 1 if (runtime, level) == ("runc", "started") else 4
        ours.append(Competitor(name, "fumehood:Fumehood", every, options=options))
    return ours, missing


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """All of them back to back."""
    found = report.latency_rows(rows)

    def p50(name: str) -> float | None:
        return found[name].p50 if name in found else None

    def against(level: str, other: str, most: float) -> Verdict:
        text = f"echo, {level} ÷ {other}, p50"
        measured = ratio(p50(f"fumehood {level}"), p50(other))
        return Verdict(text, most=most, measured=measured, bound=BOUNDS[level])

    return [
        against("started", BWRAP, 0.35),
        against("started", DOCKER, 0.01),
        against("opened", BWRAP, 0.8),
        against("none", BWRAP, 1.8),
        against("docker started", DOCKER, 0.05),
    ]


if __name__ == "__main__":
    alone("latency", run)
