"""Fixtures: a supervisor of memory behind a gateway on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fumehood.gateway.bounds import Bounds
from fumehood.gateway.mcp import Gateway
from support.gateway import FakeSupervisor, Peer, peer, serving


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fumehood.sock"


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


@pytest.fixture
async def supervisor(anyio_backend: str) -> FakeSupervisor:
    return FakeSupervisor()


@pytest.fixture
async def gateway(supervisor: FakeSupervisor, path: Path, bounds: Bounds) -> AsyncIterator[Gateway]:
    async with serving(supervisor, path, bounds=bounds) as gateway:
        yield gateway
        assert gateway.held.taken == 0, "bytes of requests are still accounted for"


@pytest.fixture
async def client(gateway: Gateway, path: Path) -> AsyncIterator[Peer]:
    async with peer(path) as client:
        yield client
