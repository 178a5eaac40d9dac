"""One private Docker Engine for all tests that only use it; tests that kill start their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docker import DockerProcess, Engine, docker_launcher


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


@pytest.fixture(scope="module")
def containers(
    docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerProcess]:
    """A Docker launcher; whatever a test leaves in it is the next one's trouble, so none does."""
    with docker_launcher(tmp_path_factory.mktemp("store"), docker_engine) as process:
        yield process
