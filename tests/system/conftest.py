"""One daemon with both engines, for tests that ask the same of each by the front door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.docker import Engine, beside_bubblewrap
from support.hood import Hood
from support.hood import hood as start
from support.on import On

ACCOUNTS = {"first": 1_962_000_000, "count": 400}
"""Nobody else's on a machine where several suites run."""


@pytest.fixture(scope="session")
def both_engines(docker_engine: Engine) -> Iterator[Hood]:
    config = {
        "accounts": ACCOUNTS,
        **beside_bubblewrap(docker_engine),
    }
    with start(config=config) as running:
        yield running


@pytest.fixture(params=["bubblewrap", "docker"])
def on(request: pytest.FixtureRequest, both_engines: Hood) -> On:
    return On(both_engines, request.param)
