"""What a new version changes, and what of that needs a new look."""

from __future__ import annotations

from typing import Any

import pytest

from fumehood.catalog.changes import compare, reasons
from support.manifests import manifest


def changed(**changes: Any) -> tuple[str, ...]:
    return reasons(compare(manifest(), manifest(version="1.0.1", **changes), None, None))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"description": "Counts words."}, "description changed"),
        ({"title": "Words"}, "title changed"),
        ({"inputSchema": {"type": "object"}}, "inputSchema changed"),
        ({"outputSchema": None}, "outputSchema changed"),
        ({"annotations": {"readOnlyHint": False}}, "annotations changed"),
        ({"labels": {"area": "data"}}, "labels changed"),
        ({"limits__memory": "256MiB"}, "limits.memory is wider"),
        ({"limits__timeout": "11s"}, "limits.timeout is wider"),
        ({"limits__output": "2MiB"}, "limits.output is wider"),
        ({"seccomp": "strict"}, "seccomp changed"),
        ({"run__engine": "docker"}, "run.engine changed"),
        ({"run__warm": "started"}, "run.warm is started"),
        ({"run__trace": True}, "run.trace is asked for"),
    ],
)
def test_what_is_told_or_allowed_anew_needs_approval(changes: Any, reason: str) -> None:
    assert changed(**changes) == (reason,)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"limits__memory": "64MiB"},
        {"limits__cpu_time": "1s"},
        {"run__command": ["python3", "/tool/other.py"]},
        {"run__environment": {"A": "b"}},
        {"run__warm": "none"},
        {"run__image": "python@sha256:" + "a" * 64},
    ],
)
def test_less_and_what_stays_within_does_not(changes: Any) -> None:
    assert changed(**changes) == ()


def test_a_limit_that_was_set_and_is_not_any_more_is_wider() -> None:
    old = manifest(limits__cpu_time="1s")
    assert "limits.cpu_time is wider" in reasons(compare(old, manifest(), None, None))
    pinned = manifest(run__image="python@sha256:" + "a" * 64)
    assert reasons(compare(pinned, manifest(), None, None)) == ("run.image changed",)


def test_files_are_compared_and_what_needs_a_look_comes_first() -> None:
    old = {"same": "-aa", "gone": "-aa", "other": "-aa", "mode": "-aa"}
    new = {"same": "-aa", "new": "-aa", "other": "-bb", "mode": "xaa"}
    changes = compare(manifest(), manifest(description="Other."), old, new)
    assert (changes[0].key, bool(changes[0].review)) == ("description", True)
    files = {c.key: c.new for c in changes if c.kind == "files"}
    assert files == {"gone": "removed", "new": "added", "other": "changed", "mode": "+x"}


def test_equal_versions_differ_in_nothing() -> None:
    assert compare(manifest(), manifest(version="9.9.9"), {}, {}) == []
