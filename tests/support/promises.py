"""Marks a test as the attack on a promise, and runs it on every engine that keeps the promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from fumehood.engines.promises import PROMISES, Promise
from support.engines import TARGETS, Target

ROWS: Final = {promise.name: promise for promise in PROMISES}
GAPS: Final = [
    (target, promise) for target in TARGETS for promise in PROMISES if target.gap(promise)
]
Test = Callable[..., None]


def keepers(promise: Promise) -> list[Target]:
    return [target for target in TARGETS if not target.gap(promise)]


def promise(name: str) -> Callable[[Test], Test]:
    """Run the test once for each engine that keeps the promise. Results are recorded by the mark
    and the target: see support.table."""
    row = ROWS[name]

    def mark(test: Test) -> Test:
        over: Any = pytest.mark.parametrize(
            "target", keepers(row), indirect=True, ids=lambda target: target.name, scope="session"
        )
        marked: Test = over(pytest.mark.promise(name)(test))
        return marked

    return mark
