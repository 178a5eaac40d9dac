"""Here, every daemon is the one that runs all engines."""

from __future__ import annotations

import pytest

from support.hood import Hood

pytest.register_assert_rewrite("hostile.cases", "hostile.expected")


@pytest.fixture(scope="session")
def hood(engines: Hood) -> Hood:
    return engines
