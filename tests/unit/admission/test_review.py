"""What an operator is told about rules before they hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fumehood.admission.policy import Policy
from fumehood.admission.review import coverage, covers, review
from fumehood.config import Config
from support.manifests import tool
from support.rules import NOBODY, OTHER, RULES, TEAM, rule


def remarks(rules: list[dict[str, Any]] | None, **more: Any) -> set[tuple[str, int]]:
    config = Config.model_validate({"rules": rules, **more})
    return {(remark.check, remark.rule) for remark in review(config)}


def test_rules_that_are_fine_have_no_remark() -> None:
    team = {"team": {"users": [1000]}}
    assert remarks([{"effect": "allow", "who": ["team"], "tools": ["a-*"]}], roles=team) == set()


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, {("no_rules", 0)}),
        ([], {("empty", 0)}),
        ([{"effect": "deny"}, {"effect": "allow", "tools": ["a"]}], {("unreachable", 2)}),
        ([{"effect": "allow", "tools": ["a"]}, {"effect": "ask"}], {("unreachable", 1)}),
        ([{"effect": "allow", "tools": ["a-*", "b"]}, {"effect": "allow", "tools": ["a-b*"]}],
         {("shadowed", 2)}),
        ([{"effect": "allow", "tools": ["a"]}, {"effect": "allow"}], {("shadowed", 1)}),
        ([{"effect": "allow"}, {"effect": "deny", "tools": ["a"]}], set()),
        ([{"effect": "allow", "who": ["*"]}, {"effect": "allow", "who": ["callers", "operators"]}],
         {("shadowed", 2)}),
        ([{"effect": "allow", "arguments": {"properties": {"p": {"pattern": "x$"}}}}],
         {("not_required", 1), ("unanchored", 1), ("untyped", 1)}),
        ([{"effect": "ask", "arguments": {"required": ["n"], "properties": {"n": {"maximum": 9}}}}],
         {("untyped", 1)}),
        ([{"effect": "allow", "arguments": {
            "required": ["n", "m"],
            "properties": {"n": {"type": "integer", "maximum": 9}, "m": {"enum": ["a"]}}}}], set()),
        ([{"effect": "deny", "arguments": {"properties": {"p": {"pattern": "x"}}}}], set()),
    ],
)  # fmt: skip
def test_what_is_worth_knowing_is_told(rules: Any, expected: set[tuple[str, int]]) -> None:
    assert remarks(rules) == expected


def test_roles_that_nobody_has_or_no_rule_names_are_told() -> None:
    found = remarks(
        [{"effect": "allow", "who": ["empty"]}], roles={"empty": {}, "unused": {"users": [1]}}
    )
    assert found == {("matches_nobody", 1), ("unused_role", 0)}


def test_tools_for_nobody_and_for_everybody_are_told() -> None:
    rules = [
        {"effect": "allow", "tools": ["word-count"]},
        {"effect": "allow", "who": ["team"], "tools": ["mine", "gone"]},
    ]
    config = Config.model_validate({"rules": rules, "roles": {"team": {"users": [1]}}})
    tools = [tool(), tool(name="mine"), tool(name="lost"), tool(name="new", state="pending")]
    said = {r.check: r.text for r in coverage(config, Policy(config.rules), tools)}
    assert said == {
        "matches_no_tool": "no tool is called gone",
        "for_nobody": "nobody may call lost",
        "for_everybody": "every caller may call word-count",
    }


@given(RULES, RULES)
def test_what_covers_another_matches_wherever_that_does(
    wide: dict[str, Any], narrow: dict[str, Any]
) -> None:
    if not covers(rule(**wide), rule(**narrow)):
        return
    for who in (TEAM, OTHER, NOBODY):
        for names in ({}, {"a": 1}, {"b": 1}, {"a": 1, "b": 1}):
            for entry in (tool(), tool(name="other")):
                narrower = Policy([rule(**narrow)]).trace(who, entry, names)[0].fits
                assert not narrower or Policy([rule(**wide)]).trace(who, entry, names)[0].fits
