"""Section 3: sustained throughput and CPU for a call, a fresh sandbox each, 1 to 64 callers,
against shell loops of bare bwrap at the same parallelism."""

from __future__ import annotations

import contextlib
import random
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine, plot, report
from bench.daemon import LEVELS, Levels
from bench.latency import WORK
from bench.load import drive, frame
from bench.peers import Competitor
from bench.peers.base import Place
from bench.peers.commands import bwrap_argv
from bench.section import Findings, Scale, alone
from bench.spawn import ENVIRONMENT
from bench.targets import Verdict, ratio

CALLERS = (1, 2, 4, 8, 16, 32, 64)
WINDOW_SECONDS = 1.5
REPEATS = 2
LOOP_CALLS = 300
"""Calls of all shell loops together in one measurement."""
JUDGED_AT = (2, 4, 8, 16)
"""Parallelism at which the promise is judged, by the worst of them: more than one a core, and not
yet a queue."""
LOOP = "bwrap loop"


@dataclass(slots=True)
class Cell:
    """One competitor at one parallelism."""

    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    failures: int = 0
    first_failure: str = ""


def run(place: Place, scale: Scale) -> Findings:
    seconds = max(0.5, WINDOW_SECONDS * min(1.0, scale.rounds / 20))
    loop_calls = scale.of(LOOP_CALLS * 3, 40) if scale.rounds < 20 else LOOP_CALLS
    missing = []
    with contextlib.ExitStack() as stack:
        levels = Levels(stack, place)
        measures: dict[str, Callable[[int], tuple[int, float, int, str]]] = {
            LOOP: lambda callers: _bwrap(place, callers, loop_calls)
        }
        for level in LEVELS:
            row = levels.offer(WORK, level)
            if isinstance(row, str):
                missing.append(f"fumehood {level}: not measured: {row}")
            else:
                measures[row.name] = _ours(row, seconds)
        cells = {(name, callers): Cell() for name in measures for callers in CALLERS}
        shuffled = random.Random(1)
        for _ in range(scale.of(REPEATS)):
            order = list(cells)
            shuffled.shuffle(order)
            for name, callers in order:
                _measure(cells[name, callers], measures[name], callers)
    names = list(measures)
    print(_tables(names, cells))
    print("\n".join(missing))
    return Findings(_data(cells), [_verdict(name, cells) for name in names[1:]], _plots(cells))


def _measure(
    cell: Cell, measure: Callable[[int], tuple[int, float, int, str]], callers: int
) -> None:
    time.sleep(0.2)
    _, busy = machine.steal_and_busy()
    calls, seconds, failures, first = measure(callers)
    used = machine.steal_and_busy()[1] - busy
    cell.failures += failures
    cell.first_failure = cell.first_failure or first
    if calls:
        cell.rates.append(calls / seconds)
        cell.cpu_ms.append(used / calls * 1000)


def _ours(row: Competitor, seconds: float) -> Callable[[int], tuple[int, float, int, str]]:
    socket = Path(row.options["socket"])
    data = frame(row.options["tool"], WORK.arguments)

    def measure(callers: int) -> tuple[int, float, int, str]:
        drive(socket, data, callers, 0.3)
        load = drive(socket, data, callers, seconds)
        return load.calls, load.seconds, load.failures, load.first_failure

    return measure


def _bwrap(place: Place, callers: int, calls: int) -> tuple[int, float, int, str]:
    given = place.path / "stdin"
    given.write_bytes(WORK.stdin)
    each = max(2, calls // callers)
    command = f"{shlex.join(bwrap_argv(WORK))} <{shlex.quote(str(given))} >/dev/null"
    script = f"i=0; while [ $i -lt {each} ]; do {command} || exit 1; i=$((i+1)); done"
    begin = time.perf_counter()
    loops = [
        subprocess.Popen(["/bin/sh", "-c", script], env=ENVIRONMENT, stdin=subprocess.DEVNULL)
        for _ in range(callers)
    ]
    failed = sum(loop.wait() != 0 for loop in loops)
    return each * callers, time.perf_counter() - begin, failed, "a loop failed" if failed else ""


def _tables(names: list[str], cells: dict[tuple[str, int], Cell]) -> str:
    def row(callers: int, pick: Callable[[Cell], list[float]]) -> list[str]:
        picked = [pick(cells[name, callers]) for name in names]
        return [str(callers), *(f"{statistics.median(v):.1f}" if v else "-" for v in picked)]

    rates = [row(callers, lambda cell: cell.rates) for callers in CALLERS]
    cpu = [row(callers, lambda cell: cell.cpu_ms) for callers in CALLERS]
    title = "3. Throughput, a fresh sandbox for each call: calls a second"
    text = [report.table(title, ["callers", *names], rates)]
    title = "CPU for one call, of the whole machine with the load generator: ms"
    text.append(report.table(title, ["callers", *names], cpu))
    text += [
        f"{name}, {callers} callers: {cell.failures} calls failed, first: {cell.first_failure}"
        for (name, callers), cell in cells.items()
        if cell.failures
    ]
    return "\n".join(text)


def _data(cells: dict[tuple[str, int], Cell]) -> dict[str, object]:
    return {
        "cells": [
            {
                "name": name,
                "callers": callers,
                "per_second": [round(rate, 2) for rate in cell.rates],
                "cpu_ms": [round(cpu, 3) for cpu in cell.cpu_ms],
                "failures": cell.failures,
            }
            for (name, callers), cell in cells.items()
        ]
    }


def _verdict(name: str, cells: dict[tuple[str, int], Cell]) -> Verdict:
    ratios = []
    for callers in JUDGED_AT:
        ours, theirs = cells[name, callers].rates, cells[LOOP, callers].rates
        one = ratio(
            statistics.median(ours) if ours else None, statistics.median(theirs) if theirs else None
        )
        ratios += [one] if one is not None else []
    text = f"throughput: {name.removeprefix('fumehood ')} ÷ {LOOP}, worst of {JUDGED_AT} callers"
    return Verdict(
        text, least=0.6, measured=min(ratios) if ratios else None, bound=_bound(name, cells)
    )


def _bound(name: str, cells: dict[tuple[str, int], Cell]) -> str:
    """CPU of one call, ours and theirs, over the parallelisms that are judged."""
    ours, theirs = (
        [value for callers in JUDGED_AT for value in cells[one, callers].cpu_ms]
        for one in (name, LOOP)
    )
    if not ours or not theirs:
        return "CPU"
    return (
        f"CPU: {statistics.median(ours):.1f} ms for a call, "
        f"{statistics.median(theirs):.1f} for one of bare bwrap"
    )


def _plots(cells: dict[tuple[str, int], Cell]) -> dict[str, str]:
    def series(pick: Callable[[Cell], list[float]]) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for (name, callers), cell in cells.items():
            if values := pick(cell):
                found.setdefault(name, []).append((callers, statistics.median(values)))
        return found

    rate = series(lambda cell: cell.rates)
    cpu = series(lambda cell: cell.cpu_ms)
    return {
        "throughput.svg": plot.lines(
            "Throughput, fresh sandboxes", "callers at once", "calls a second", rate, log_y=False
        ),
        "throughput-cpu.svg": plot.lines(
            "CPU for one call", "callers at once", "ms of CPU, whole machine", cpu, log_y=False
        ),
    }


if __name__ == "__main__":
    alone("throughput", run, docker=False)
