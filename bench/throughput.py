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
from bench.stats import spread
from bench.targets import Verdict, ratio

CALLERS = (1, 2, 4, 8, 16, 32, 64)
"""The promise is judged by the worst of them."""
WINDOW_SECONDS = 0.6
BEFORE_SECONDS = 0.3
"""Calls of ours that do not count: the pool learns the new rate."""
REPEATS = 3
LOOP_CALLS = 160
"""Calls of all shell loops together in one measurement."""
LOOP = "bwrap loop"


@dataclass(frozen=True, slots=True)
class Window:
    """What was done in one measurement. cpu: seconds of the whole machine in it."""

    calls: int
    seconds: float
    cpu: float
    failures: int = 0
    first_failure: str = ""


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
        measures: dict[str, Callable[[int], Window]] = {
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
        for _ in range(scale.of(REPEATS, REPEATS)):
            order = list(cells)
            shuffled.shuffle(order)
            for name, callers in order:
                _measure(cells[name, callers], measures[name], callers)
    names = list(measures)
    print(_tables(names, cells))
    print("\n".join(missing))
    return Findings(_data(cells), [_verdict(name, cells) for name in names[1:]], _plots(cells))


def _measure(cell: Cell, measure: Callable[[int], Window], callers: int) -> None:
    time.sleep(0.2)
    window = measure(callers)
    cell.failures += window.failures
    cell.first_failure = cell.first_failure or window.first_failure
    if window.calls:
        cell.rates.append(window.calls / window.seconds)
        cell.cpu_ms.append(window.cpu / window.calls * 1000)


def _ours(row: Competitor, seconds: float) -> Callable[[int], Window]:
    socket = Path(row.options["socket"])
    data = frame(row.options["tool"], WORK.arguments)

    def measure(callers: int) -> Window:
        drive(socket, data, callers, BEFORE_SECONDS)
        busy = machine.steal_and_busy()[1]
        load = drive(socket, data, callers, seconds)
        used = machine.steal_and_busy()[1] - busy
        return Window(load.calls, load.seconds, used, load.failures, load.first_failure)

    return measure


def _bwrap(place: Place, callers: int, calls: int) -> Window:
    given = place.path / "stdin"
    given.write_bytes(WORK.stdin)
    each = max(2, calls // callers)
    command = f"{shlex.join(bwrap_argv(WORK))} <{shlex.quote(str(given))} >/dev/null"
    script = f"i=0; while [ $i -lt {each} ]; do {command} || exit 1; i=$((i+1)); done"
    busy = machine.steal_and_busy()[1]
    begin = time.perf_counter()
    loops = [
        subprocess.Popen(["/bin/sh", "-c", script], env=ENVIRONMENT, stdin=subprocess.DEVNULL)
        for _ in range(callers)
    ]
    failed = sum(loop.wait() != 0 for loop in loops)
    seconds, used = time.perf_counter() - begin, machine.steal_and_busy()[1] - busy
    return Window(each * callers, seconds, used, failed, "a loop failed" if failed else "")


def _tables(names: list[str], cells: dict[tuple[str, int], Cell]) -> str:
    def row(callers: int, pick: Callable[[Cell], list[float]]) -> list[str]:
        picked = [pick(cells[name, callers]) for name in names]
        return [str(callers), *(spread(v) if v else "-" for v in picked)]

    rates = [row(callers, lambda cell: cell.rates) for callers in CALLERS]
    cpu = [row(callers, lambda cell: cell.cpu_ms) for callers in CALLERS]
    windows = max(len(cell.rates) for cell in cells.values())
    of = f"median ± MAD of {windows} windows"
    title = f"3. Throughput, a fresh sandbox for each call: calls a second, {of}"
    text = [report.table(title, ["callers", *names], rates)]
    title = f"CPU for one call, of the whole machine with the load generator: ms, {of}"
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
    for callers in CALLERS:
        ours, theirs = cells[name, callers].rates, cells[LOOP, callers].rates
        one = ratio(
            statistics.median(ours) if ours else None, statistics.median(theirs) if theirs else None
        )
        ratios += [one] if one is not None else []
    level = name.removeprefix("fumehood ")
    text = f"throughput: {level} ÷ {LOOP}, worst of {CALLERS[0]} to {CALLERS[-1]} callers"
    return Verdict(
        text, least=0.6, measured=min(ratios) if ratios else None, bound=_bound(name, cells)
    )


def _bound(name: str, cells: dict[tuple[str, int], Cell]) -> str:
    """CPU of one call, ours and theirs, over all parallelisms."""
    ours, theirs = (
        [value for callers in CALLERS for value in cells[one, callers].cpu_ms]
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
