"""One daemon for all tests that only call it; tests that kill start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.hood import Hood
from support.hood import hood as start


@pytest.fixture(scope="session")
def hood() -> Iterator[Hood]:
    with start() as running:
        yield running
