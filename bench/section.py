"""What every section of the benchmark is, and how one runs alone."""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench import machine, plot, report
from bench.peers.base import Place
from bench.place import place
from bench.targets import Verdict

ROUNDS = 60
"""Rounds of a whole run; everything else that is counted follows in proportion."""


@dataclass(slots=True)
class Findings:
    """Of one section. data: for JSON. plots: SVG texts by file name."""

    data: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)


BUDGET_SECONDS = 835.0
"""A whole run is promised to take less than 15 minutes, installing what it compares with included;
what does not fit any more is left out."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure: `rounds` as asked, everything else from it; `until` (time.monotonic())
    when the run has to be over."""

    rounds: int
    until: float = math.inf

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def of(self, full: float, least: int = 1) -> int:
        """`full` at ROUNDS, in proportion below, never less than `least`."""
        return max(least, round(full * self.rounds / ROUNDS))


Section = Callable[[Place, Scale], Findings]


def arguments(description: str) -> argparse.Namespace:
    """The options all sections share."""
    parser = argparse.ArgumentParser(description=description)
    default = int(os.environ.get("ROUNDS") or ROUNDS)
    parser.add_argument("--rounds", type=int, default=default, help=f"default {ROUNDS}")
    parser.add_argument("--no-docker", action="store_true", help="start no Docker Engine")
    return parser.parse_args()


def alone(name: str, section: Section, *, docker: bool = True) -> None:
    """Run one section from the command line. docker: whether it needs an engine."""
    options = arguments(f"Fumehood's benchmark, section {name}")
    begin = time.monotonic()
    facts = machine.facts()
    with place(docker=docker and not options.no_docker) as where:
        found = section(where, Scale(options.rounds))
    if found.verdicts:
        print(report.verdict_table(found.verdicts))
    seconds = time.monotonic() - begin
    report.save({name: found.data}, found.verdicts, seconds, facts, options.rounds)
    plot.save(report.RESULTS, found.plots)
