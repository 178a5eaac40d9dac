"""Budgets of an hour and a day: exact, and not forgotten."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission.budgets import Amounts, Budgets, Reservation, worst_case
from fumehood.config import Config, load
from fumehood.errors import CatalogError, ConfigError, OverQuota
from fumehood.model.plan import Limits
from fumehood.model.quotas import Budget
from fumehood.supervisor.usage import Usage
from support.rules import OTHER, TEAM

LIMITS = Limits(2_000, 1_000, 1 << 20, 8, 1 << 20, 64, 1_024)
"""At most 2 s of CPU time and 3 KiB of output."""


class Shelf:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], Amounts] = {}

    def load(self, key: str, window: int) -> Amounts:
        return self.kept.get((key, window), (0, 0, 0))

    def save(self, entries: Sequence[tuple[str, int, Amounts]]) -> None:
        self.kept |= {(key, window): amounts for key, window, amounts in entries}


def budget(**fields: Any) -> Budget:
    return Budget.model_validate({"window": "hour", **fields})


def test_invocations_of_one_caller_are_counted_and_refused_with_the_time_to_retry() -> None:
    now = [7_300.0]
    held = Budgets([budget(invocations=2)], Shelf(), lambda: now[0])
    for _ in range(2):
        held.reserve(TEAM, "t", LIMITS).settle((1, 10, 10))
    with pytest.raises(OverQuota, match="budget of 2 invocations in one hour has 0") as caught:
        held.reserve(TEAM, "t", LIMITS)
    assert caught.value.limit == "budget.caller.hour.invocations"
    assert caught.value.retry_after == 3_500
    held.reserve(OTHER, "t", LIMITS)
    now[0] += 3_500
    held.reserve(TEAM, "t", LIMITS)


def test_cpu_and_output_are_reserved_at_their_most_and_given_back() -> None:
    held = Budgets([budget(cpu="3s", output="7KiB")], Shelf(), lambda: 0.0)
    first = held.reserve(TEAM, "t", LIMITS)
    with pytest.raises(OverQuota, match=r"3s of CPU time in one hour has 1s .* may need 2s") as one:
        held.reserve(TEAM, "t", LIMITS)
    assert one.value.limit.endswith("cpu")
    first.settle((1, 500, 0))
    second = held.reserve(TEAM, "t", LIMITS)
    second.settle((1, 0, 5_000))
    second.settle((1, 0, 0))  # only the first time counts
    with pytest.raises(OverQuota, match="of output in one hour has") as two:
        held.reserve(TEAM, "t", LIMITS)
    assert two.value.limit.endswith("output")
    (count,) = held.counts(TEAM)
    assert count.used == (2, 500, 5_000)


def test_a_refusal_by_one_budget_holds_nothing_in_another() -> None:
    shelf = Shelf()
    held = Budgets([budget(invocations=9), budget(per="tool", cpu="1s")], shelf, lambda: 0.0)
    with pytest.raises(OverQuota, match=r"the tool's budget of 1s of CPU time .* is used up"):
        held.reserve(TEAM, "t", LIMITS)
    assert shelf.kept == {}


def test_budgets_are_about_some_callers_and_tools() -> None:
    held = Budgets(
        [
            budget(who=["team"], tools=["a-*"], invocations=1),
            budget(per="caller_tool", invocations=2),
        ],
        Shelf(),
        lambda: 0.0,
    )
    held.reserve(TEAM, "a-b", LIMITS)
    with pytest.raises(OverQuota):
        held.reserve(TEAM, "a-c", LIMITS)
    for name in ("b", "b", "c"):
        held.reserve(TEAM, name, LIMITS)
    with pytest.raises(OverQuota, match=r"2 invocations"):
        held.reserve(TEAM, "b", LIMITS)
    held.reserve(OTHER, "a-b", LIMITS)


def test_the_worst_case_is_what_the_limits_bound() -> None:
    assert worst_case(LIMITS) == (1, 2_000, 3_072)
    assert worst_case(Limits(2_000, 2_500, 1, 1, 1, 1, 8, 1_200)) == (1, 1_200, 24)


USED = st.tuples(st.integers(0, 2_000), st.integers(0, 3_072))


@given(st.lists(st.tuples(st.booleans(), USED), max_size=60))
def test_whatever_runs_at_once_uses_no_more_than_the_budget(
    steps: list[tuple[bool, tuple[int, int]]],
) -> None:
    held = Budgets([budget(invocations=10, cpu="9s", output="10KiB")], Shelf(), lambda: 0.0)
    running: list[Reservation] = []
    used = [0, 0, 0]
    for begins, (cpu, output) in steps:
        if begins:
            with contextlib.suppress(OverQuota):
                running.append(held.reserve(TEAM, "t", LIMITS))
        elif running:
            running.pop(0).settle((1, cpu, output))
            used = [used[0] + 1, used[1] + cpu, used[2] + output]
        assert used[0] + len(running) <= 10
        assert used[1] + 2_000 * len(running) <= 9_000
        assert used[2] + 3_072 * len(running) <= 10_240


def test_what_was_used_survives_and_what_was_running_counts_in_full(tmp_path: Path) -> None:
    def opened() -> tuple[Usage, Budgets]:
        usage = Usage(tmp_path / "usage.sqlite3")
        return usage, Budgets([budget(invocations=9, cpu="1h")], usage, lambda: 4e9)

    usage, held = opened()
    held.reserve(TEAM, "t", LIMITS).settle((1, 7, 0))
    held.reserve(TEAM, "t", LIMITS)  # the supervisor is killed while it runs
    usage.close()
    usage, held = opened()
    assert held.counts(TEAM)[0].used[:2] == (2, 2_007)
    usage.close()
    assert (tmp_path / "usage.sqlite3").stat().st_mode & 0o777 == 0o600


def test_a_store_that_cannot_be_written_refuses_the_call(tmp_path: Path) -> None:
    usage = Usage(tmp_path / "usage.sqlite3")
    held = Budgets([budget(invocations=9)], usage, lambda: 4e9)
    usage.close()
    with pytest.raises(CatalogError, match="budgets"):
        held.reserve(TEAM, "t", LIMITS)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CatalogError):
        Usage(tmp_path / "folder")


def test_a_scope_that_is_written_in_another_way_forgets_nothing() -> None:
    shelf = Shelf()
    held = Budgets([budget(invocations=1, who=["*", "team"])], shelf, lambda: 0.0)
    held.reserve(TEAM, "t", LIMITS)
    again = budget(invocations=1, who=["team", "*", "team"], tools=["*", "*"])
    held.adopt([again])
    with pytest.raises(OverQuota, match="has 0"):
        held.reserve(TEAM, "t", LIMITS)


def test_a_raised_limit_forgets_nothing() -> None:
    assert budget(invocations=1).key == budget(invocations=2, cpu="1h").key
    assert budget(invocations=1).key != budget(invocations=1, window="day").key


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ([{"window": "hour"}], "limits nothing"),
        ([{"window": "week", "cpu": "1h"}], "'hour' or 'day'"),
        ([{"window": "day", "cpu": "1h", "who": ["nosuch"]}], "no role"),
        ([{"window": "day", "cpu": "1h"}, {"window": "day", "cpu": "2h"}], "same as budget 1"),
        (
            [{"window": "day", "cpu": "1h"}, {"window": "day", "cpu": "2h", "who": ["*", "*"]}],
            "same as budget 1",
        ),
        ([{"window": "day", "invocations": 0}], "below the least"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(budgets: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"budgets": budgets}))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=said):
        load(path, trusted_uid=path.stat().st_uid)


def test_rates_and_budgets_cross_processes_as_they_are() -> None:
    config = Config.model_validate(
        {
            "rates": {"caller": "600/m"},
            "budgets": [{"window": "day", "cpu": "2h", "output": "1GiB", "tools": ["a"]}],
        }
    )
    assert Config.from_json(config.model_dump_json()) == config
