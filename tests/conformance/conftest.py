"""A Docker launcher for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.docker import DockerProcess, Engine, docker_launcher


@pytest.fixture(scope="module")
def containers(
    docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerProcess]:
    """A Docker launcher; whatever a test leaves in it is the next one's trouble, so none does."""
    with docker_launcher(tmp_path_factory.mktemp("store"), docker_engine) as process:
        yield process
