"""Which rule decides a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission.policy import Policy
from fumehood.model.principal import Principal
from support.manifests import tool
from support.rules import NOBODY, OPERATOR, OTHER, RULES, TEAM, rule


def policy(*rules: dict[str, Any]) -> Policy:
    return Policy([rule(**fields) for fields in rules])


def effect(held: Policy, who: Principal = TEAM, arguments: Any = None, **changes: Any) -> str:
    return held.decide(who, tool(**changes), arguments or {}).effect


def test_without_rules_only_operators_and_callers_named_by_them_call() -> None:
    assert effect(Policy(None)) == "deny"
    assert not Policy(None).knows(TEAM, tool())
    assert effect(Policy(None), OPERATOR) == "allow"
    assert effect(Policy(None, named=True)) == "allow"
    assert effect(Policy(None, named=True), NOBODY) == "deny"


def test_an_empty_list_lets_nobody() -> None:
    assert effect(Policy([])) == "deny"
    assert not Policy([]).knows(TEAM, tool())


def test_what_no_rule_allows_is_denied() -> None:
    held = policy({"effect": "allow", "who": ["team"], "tools": ["word-*"]})
    assert effect(held) == "allow"
    assert effect(held, OTHER) == "deny"
    assert effect(held, name="shell") == "deny"


@pytest.mark.parametrize("first", [0, 1, 2])
def test_deny_wins_over_ask_and_ask_over_allow_in_any_order(first: int) -> None:
    rules = [
        {"effect": "allow"},
        {"effect": "ask", "tools": ["word-*"]},
        {"effect": "deny", "versions": ["1.*"]},
    ]
    turned = rules[first:] + rules[:first]
    assert effect(policy(*turned)) == "deny"
    assert effect(policy(*turned), version="2.0.0") == "ask"
    assert effect(policy(*turned), version="2.0.0", name="other") == "allow"


def test_labels_and_annotations_of_the_tool_count_unset_hints_at_mcps_defaults() -> None:
    held = policy(
        {"effect": "allow", "labels": {"team": "data"}},
        {"effect": "ask", "annotations": {"destructiveHint": True}},
    )
    assert effect(held, labels={"team": "data"}) == "ask"  # unset means destructive
    harmless = {"destructiveHint": False}
    assert effect(held, labels={"team": "data"}, annotations=harmless) == "allow"
    assert effect(held, labels={"team": "web"}, annotations=harmless) == "deny"


UNDER_DATA = {
    "required": ["path"],
    "properties": {"path": {"type": "string", "pattern": "^/data/[a-z/]*$"}},
}


def test_arguments_decide_where_a_rule_has_a_condition() -> None:
    held = policy({"effect": "allow", "arguments": UNDER_DATA})
    assert effect(held, arguments={"path": "/data/a"}) == "allow"
    for arguments in ({"path": "/data/../etc"}, {"path": "/etc"}, {}, {"path": 1}):
        assert effect(held, arguments=arguments) == "deny"
    assert held.knows(TEAM, tool())


def test_a_denial_with_a_condition_leaves_the_tool_known_one_without_hides_it() -> None:
    some = policy({"effect": "allow"}, {"effect": "deny", "arguments": UNDER_DATA})
    assert some.knows(TEAM, tool())
    assert effect(some, arguments={"path": "/data/a"}) == "deny"
    assert not policy({"effect": "allow"}, {"effect": "deny", "who": ["team"]}).knows(TEAM, tool())


def test_a_condition_too_costly_to_decide_denies_whatever_its_effect() -> None:
    heavy: list[object] = []
    for _ in range(100):
        heavy = [heavy]
    for kind in ("allow", "ask", "deny"):
        held = policy(
            {"effect": kind, "arguments": {"required": ["x"]}},
            {"effect": "allow", "who": ["callers"]},
        )
        expected = "allow" if kind == "allow" else "deny"  # the unconditional one decides first
        assert effect(held, arguments={"x": heavy}) == expected
    only = policy({"effect": "allow", "arguments": {"required": ["x"]}})
    assert effect(only, arguments={"x": heavy}) == "deny"


def test_the_trace_names_for_each_rule_what_decides() -> None:
    held = policy(
        {"effect": "allow", "who": ["operators"]},
        {"effect": "deny", "tools": ["shell"]},
        {"effect": "allow", "arguments": UNDER_DATA},
        {"effect": "ask", "who": ["team"], "reason": "the team is new"},
    )
    traced = held.trace(TEAM, tool(), {"path": "/etc"})
    assert [(t.rule, t.fits) for t in traced] == [(4, True), (2, False), (1, False), (3, False)]
    assert traced[1].why == "tools: it is for shell"
    assert traced[2].why == "who: it is for operators"
    assert traced[3].why.startswith("arguments: /path: ")
    decision = held.decide(TEAM, tool(), {"path": "/etc"})
    assert (str(decision), decision.why) == ("ask:4", "the team is new")


@given(
    st.lists(RULES, max_size=8),
    st.sampled_from([TEAM, OTHER, NOBODY]),
    st.sets(st.sampled_from("ab")),
)
def test_the_decision_is_that_of_the_definition(
    rules: list[dict[str, Any]], who: Principal, names: set[str]
) -> None:
    """Matching is read here the slow way: no cache, no order."""
    matching = {
        r["effect"]
        for r in rules
        if who.roles & set(r["who"])
        and r["tools"] != ["other"]
        and (r["arguments"] is None or set(r["arguments"]["required"]) <= names)
    }
    expected = next((e for e in ("deny", "ask", "allow") if e in matching), "deny")
    held = policy(*rules)
    arguments = dict.fromkeys(names, 1)
    assert effect(held, who, arguments) == expected
    if expected != "deny":
        assert held.knows(who, tool())
