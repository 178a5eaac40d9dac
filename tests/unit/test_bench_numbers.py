"""The benchmark's arithmetic: what is counted, in which order, and what a ratio means."""

from __future__ import annotations

import random

import pytest
from bench import latency, report, throughput
from bench.peers import Competitor
from bench.peers.base import Peer, Place, Work
from bench.rounds import Row, round_of
from bench.stats import percentile, spread, summarise
from bench.targets import ratio
from bench.worker import _calls

WORK = Work("echo", ("cat",), {"text": "given"})


class _Answers(Peer):
    def __init__(self, *answers: bytes) -> None:
        super().__init__(WORK, Place("/nowhere"), {})
        self._answers = list(answers)

    def call(self) -> bytes:
        return self._answers.pop(0)


def test_a_wrong_answer_is_a_failure_and_its_time_does_not_count() -> None:
    found = _calls(_Answers(WORK.stdin, b'{"text": "another"}', b"", WORK.stdin), WORK, 4)
    assert len(found["seconds"]) == 2
    assert len(found["failures"]) == 2


def test_percentiles_are_of_the_slow_side() -> None:
    assert percentile(range(1, 101), 0.9) == 90
    assert percentile(range(1, 101), 0.99) == 99
    summary = summarise([it / 1000 for it in range(1, 101)])
    assert (summary.least, summary.p50, summary.p90) == (1, 50.5, 90)
    assert spread([1.0, 2.0, 9.0]) == "2.0 ±1.0"


def test_a_round_has_an_order_of_its_own_and_who_takes_long_is_seldom_in_it() -> None:
    field = [Competitor("a", ""), Competitor("b", ""), Competitor("slow", "", every=4)]
    shuffled = random.Random(1)
    rounds = [round_of(field, number, shuffled) for number in range(40)]
    assert {tuple(it for it in turn if it != 2) for turn in rounds} == {(0, 1), (1, 0)}
    assert sum(2 in turn for turn in rounds) == 10
    assert round_of(field, 0, shuffled, lambda it: 0 if it.name == "a" else 1) != []
    assert 0 not in round_of(field, 0, shuffled, lambda it: 0 if it.name == "a" else 1)


def test_a_ratio_is_ours_by_theirs() -> None:
    assert ratio(1.0, 4.0) == 0.25
    assert ratio(None, 4.0) is None
    rows = [
        Row(Competitor("fumehood started", ""), [0.001, 0.001]),
        Row(Competitor("bwrap", ""), [0.004, 0.004]),
    ]
    started = latency.verdicts(rows)[0]
    assert started.measured == pytest.approx(0.25)
    assert started.met is True


def test_throughput_is_judged_by_the_worst_parallelism() -> None:
    cells = {
        (name, callers): throughput.Cell([100.0, 100.0], [5.0, 5.0])
        for name in ("fumehood none", throughput.LOOP)
        for callers in throughput.CALLERS
    }
    most = throughput.CALLERS[-1]
    cells["fumehood none", most] = throughput.Cell([30.0, 20.0, 10.0], [9.0])
    verdict = throughput._verdict("fumehood none", cells)
    assert verdict.measured == pytest.approx(0.2)
    assert "20.0 ±10.0" in throughput._tables(["fumehood none", throughput.LOOP], cells)


def test_the_cpu_of_a_call_is_that_of_its_window() -> None:
    cell = throughput.Cell()
    throughput._measure(cell, lambda callers: throughput.Window(10 * callers, 2.0, 0.5), 2)
    assert cell.rates == [10.0]
    assert cell.cpu_ms == [25.0]


def test_of_few_calls_no_99th_percentile_is_told() -> None:
    few = Row(Competitor("bwrap", ""), [0.001] * 49)
    enough = Row(Competitor("nsjail", ""), [0.001] * 50)
    text = report.latency_table("t", [few, enough], "bwrap").splitlines()
    assert next(line for line in text if line.startswith("bwrap")).split()[3] == "-"
    assert next(line for line in text if line.startswith("nsjail")).split()[3] == "1.00"
