"""One daemon, and one Docker Engine, for all tests that only use them; tests that kill start
their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docker import Engine
from support.hood import Hood
from support.hood import hood as start


@pytest.fixture(scope="session")
def hood() -> Iterator[Hood]:
    with start() as running:
        yield running


def _engine() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix="fh-dockerd-", dir="/tmp"))
    engine = Engine(folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    yield from _engine()


@pytest.fixture
def own_docker_engine() -> Iterator[Engine]:
    """For tests that stop, kill or restart it."""
    yield from _engine()
