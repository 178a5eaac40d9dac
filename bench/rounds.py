"""Interleaves competitors: in every round each has its turn, in shuffled order, so that what the
machine does meanwhile meets all of them alike. Must never drop a failure in silence."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench import ROOT
from bench.peers import Competitor
from bench.peers.base import Place, Work
from bench.quiet import Quiet

SETTLE_SECONDS = 0.03
"""Between turns: what one left to do in the background must not be paid by the next. After a turn
of ours it is waited for (`bench.quiet`)."""


@dataclass(slots=True)
class Row:
    """What one competitor did. `unavailable` says why it did nothing."""

    competitor: Competitor
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    unavailable: str = ""


class Worker:
    """The process of one competitor."""

    def __init__(self, competitor: Competitor, work: Work, place: Place) -> None:
        self.row = Row(competitor)
        order = {
            "factory": competitor.factory,
            "work": work.to_json(),
            "place": asdict(place),
            "options": competitor.options,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            text=True,
        )
        answer = self._ask(json.dumps(order))
        self.row.unavailable = str(answer.get("unavailable", ""))

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        return dict(json.loads(answer)) if answer else {"unavailable": "its worker died"}

    def turn(self, calls: int, *, record: bool = True) -> None:
        """Make calls in a row."""
        if self.row.unavailable:
            return
        answer = self._ask(str(calls))
        if "unavailable" in answer:
            self.row.unavailable = str(answer["unavailable"])
        elif record:
            self.row.seconds += answer["seconds"]
            self.row.failures += answer["failures"]

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def round_of(
    field: Sequence[Competitor],
    number: int,
    shuffled: random.Random,
    every: Callable[[Competitor], int] = lambda it: it.every,
) -> list[int]:
    """Who takes part in round `number`, in an order of its own: indices into `field`."""
    found = [
        index for index, it in enumerate(field) if (often := every(it)) and number % often == 0
    ]
    shuffled.shuffle(found)
    return found


class Field:
    """All competitors for one piece of work."""

    def __init__(self, competitors: Sequence[Competitor], work: Work, place: Place) -> None:
        self.workers = [Worker(item, work, place) for item in competitors]
        self._quiet = Quiet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()

    def warm_up(self) -> None:
        """Two more calls each that do not count, where a call is short: caches, pools."""
        for worker in self.workers:
            if worker.row.competitor.every < 8:
                worker.turn(2, record=False)

    def play(
        self,
        rounds: int,
        *,
        burst: int,
        gap: float,
        most: float = math.inf,
        seed: int = 1,
        every: Callable[[Competitor], int] = lambda it: it.every,
    ) -> list[Row]:
        """`rounds` rounds, or as many as fit into `most` seconds; a turn is `burst` calls in a
        row, `gap` seconds after the last. every: who takes part in which rounds, 0 in none."""
        shuffled = random.Random(seed)
        until = time.monotonic() + most
        turns = restless = 0
        for number in range(rounds):
            if time.monotonic() > until:
                print(f"{number} of {rounds} rounds fitted into {most:.0f} s")
                break
            field = [worker.row.competitor for worker in self.workers]
            for index in round_of(field, number, shuffled, every):
                worker = self.workers[index]
                if not worker.row.unavailable:
                    time.sleep(gap)
                    worker.turn(burst if worker.row.competitor.every == 1 else 1)
                    if socket := worker.row.competitor.options.get("socket"):
                        turns += 1
                        restless += not self._quiet.wait(Path(socket))
        if restless:
            print(f"after {restless} of {turns} turns of ours the machine did not become quiet")
        rows = [worker.row for worker in self.workers]
        for worker in self.workers:
            worker.row = Row(worker.row.competitor, unavailable=worker.row.unavailable)
        return rows
