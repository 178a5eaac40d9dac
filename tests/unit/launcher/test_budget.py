"""A CPU budget is held at few looks, whatever the tool does between them."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import pytest

from fumehood.launcher.budget import LEAST_SECONDS, CpuBudget
from support.launcher import LIMITS


def looks(budget: CpuBudget, rate: float) -> tuple[int, float]:
    """Run a tool that burns `rate` CPUs: how often it is looked at, what it has burnt at last."""
    budget.begin(100.0)
    for count in range(1, 100_000):
        now = budget.check
        used = (now - 100.0) * rate
        if budget.spent(used, now):
            return count, used
    raise AssertionError("never spent")


def test_no_budget_no_looks() -> None:
    assert CpuBudget.of(LIMITS, enforced=True) is None


def test_nothing_is_looked_at_before_the_call_begins() -> None:
    budget = CpuBudget.of(replace(LIMITS, cpu_time_ms=500), enforced=True)
    assert budget is not None
    assert budget.check == math.inf


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0])
def test_a_budget_costs_few_looks_and_little_more_than_it_allows(rate: float) -> None:
    budget = CpuBudget(10.0, 1.0)
    count, used = looks(budget, rate)
    assert 10.0 <= used <= 10.0 + 2 * LEAST_SECONDS * rate + 0.01
    assert count < 10.0 / rate / LEAST_SECONDS
    if rate == 1.0:
        assert count <= 7


def test_the_bandwidth_is_not_trusted_where_it_is_not_enforced() -> None:
    limits = replace(LIMITS, cpu_time_ms=500, cpu_millis=10)
    held, free = (CpuBudget.of(limits, enforced=value) for value in (True, False))
    assert held is not None
    assert free is not None
    assert (held.cores, free.cores) == (0.01, os.cpu_count())
