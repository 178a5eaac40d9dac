"""docs/results.md names every rule, kind and bound that the scan room has."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from fumehood.scan import control, output, policy, schema, search, visible
from fumehood.scan.artifacts import REFUSALS
from fumehood.scan.detector import Kind

TEXT = (Path(__file__).parents[3] / "docs" / "results.md").read_text()


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
