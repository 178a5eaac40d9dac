"""Rules as an operator writes them: what is accepted, and what is refused with its place."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.config import Config, load
from fumehood.errors import ConfigError
from fumehood.model.rules import glob


def loaded(directory: Path, text: str) -> Config:
    path = directory / "config.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return load(path, trusted_uid=path.stat().st_uid)


def test_three_lines_are_enough_for_one_team(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "callers: {groups: [agents]}\nrules:\n- {effect: allow, tools: [word-count, 'text-*']}\n",
    )
    assert config.rules is not None
    assert config.rules[0].who == ("*",)
    assert Config.from_json(config.model_dump_json()) == config


def test_a_configuration_without_rules_stays_valid() -> None:
    assert Config.model_validate({"callers": {"users": ["ann"]}}).rules is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "roles: {team: {users: [0]}}\nrules:\n- effect: allow\n  who: [teem]\n",
            r'config.yaml:4: rules\[0\].who\[0\]: there is no role "teem"',
        ),
        (
            "rules:\n- effect: allow\n  tool: [x]\n",
            r":3: rules\[0\].tool: unknown key \"tool\" \(did you mean 'tools'",
        ),
        ("roles:\n  team: {user: [0]}\n", r"unknown key \"user\" \(did you mean 'users'"),
        ("roles: {operators: {users: [0]}}\n", "operators.*is built in"),
        ("rules:\n- effect: alow\n", "effect: expected 'allow', 'ask' or 'deny', got \"alow\""),
        (
            "rules:\n- {effect: allow}\n- {effect: deny}\n",
            r":3: rules\[1\]: the rule contradicts rule 1: deny against allow",
        ),
        ("rules:\n- {effect: ask}\n- {effect: ask}\n", "says the same as rule 1"),
        ("rules:\n- {effect: allow, tools: []}\n", "an empty list matches nothing"),
        ("rules:\n- {effect: allow, tools: ['a[b]']}\n", "is no pattern of tools"),
        ("rules:\n- {effect: allow, tools: ['*a*b*c*d*']}\n", "more than 4 stars"),
        ("rules:\n- {effect: allow, arguments: {type: foo}}\n", "arguments.type: expected one"),
        (
            "rules:\n- {effect: allow, arguments: {properties: {a: {pattern: '(?=x)'}}}}\n",
            "arguments.properties.a.pattern",
        ),
        ("rules:\n- {effect: allow, annotations: {safeHint: true}}\n", "safeHint"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, text)


def test_true_and_one_are_different_conditions() -> None:
    Config.model_validate(
        {
            "rules": [
                {"effect": "allow", "arguments": {"properties": {"a": {"const": 1}}}},
                {"effect": "deny", "arguments": {"properties": {"a": {"const": True}}}},
            ]
        }
    )


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_patterns_match_as_a_shell_would(pattern: str, text: str) -> None:
    assert glob(pattern, text) == fnmatch.fnmatchcase(text, pattern)
