"""docs/results.md names every rule, kind and bound that the scan room has."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from fumehood.scan import (
    apart,
    assigned,
    commands,
    contexts,
    control,
    injection,
    national,
    output,
    payload,
    personal,
    policy,
    protocols,
    schema,
    search,
    tokens,
    visible,
)  # fmt: skip
from fumehood.scan.artifacts import REFUSALS
from fumehood.scan.detector import Kind

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "results.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *get_args(Kind),
        *(rule for rule, _, _ in control._RULES),
        *(f"artifact-{reason.replace('_', '-')}" for reason in REFUSALS),
        *("invalid-utf8", "not-json", "output-schema", "not-redactable", "private-key"),
        *("too-many-secrets", "too-many-findings"),
        *("secrets", "private-keys", "control", "utf8", "schema", "pipeline"),
    ],
)
def test_every_kind_and_rule_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_every_bound_is_documented_as_it_is() -> None:
    assert f"at most {policy.MAX_LISTED}" in TEXT
    assert f"more than {search.MAX_SECRETS:,}" in TEXT
    assert f"{visible.MAX_REWRITTEN:,} characters" in TEXT
    assert f"more than {output.STDERR_SHOWN // 1024} Ki characters" in TEXT
    assert f"{schema.MAX_DEPTH} levels deep" in TEXT
    assert f"{search.SCAN_SECONDS:.0f} seconds of CPU time" in TEXT


def test_every_rule_is_named_by_the_page_on_scanning() -> None:
    page = (DOCS / "scanning.md").read_text()
    rules = [
        *tokens.RULES,
        *assigned.RULES,
        *apart.STORED,
        *contexts.RULES,
        *commands.RULES,
        *protocols.RULES,
        *injection.RULES,
        *personal.RULES,
        *personal.CONTACTS,
        *national.FORMED,
        *national.NAMED,
    ]
    for name in {rule.name for rule in rules}:
        family, _, country = name.rpartition("-")
        assert f"`{name}`" in page or (f"`{family}-`" in page and f"`{country}`" in page), name
    for form in payload.PROGRAMS:
        assert f"`program-{form}`" in page
    for rule, _, _ in (*control._RULES, *payload._MEMBERS):
        assert f"`{rule}`" in page
