"""dockerd hangs in one request: the call is answered, nothing lives, and it serves again after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.docker import Engine
from support.hood import Hood, eventually, hood, processes_of
from support.inside import faulty
from support.ledger import Ledger
from support.stalling import REQUESTS, Stalling, stalling

ACCOUNTS = (1_965_000_000, 50)


@pytest.fixture(scope="module")
def proxy(docker_engine: Engine) -> Iterator[Stalling]:
    with (
        tempfile.TemporaryDirectory(prefix="fh-stall-") as name,
        stalling(Path(name, "docker.sock"), docker_engine.socket) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def contained(proxy: Stalling) -> Iterator[Hood]:
    config = {
        "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
        "warm": 0,
        "engines": ["docker"],
        "docker": {"socket": str(proxy.path)},
    }
    with hood(config=config, entry=faulty) as running:
        running.register(None, "echo", command=["cat"])
        assert running.call("echo", {"a": 1})["status"] == "ok"
        yield running


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_a_request_that_hangs_ends_the_call_and_nothing_runs_late(
    contained: Hood, proxy: Stalling, docker_engine: Engine, kind: str
) -> None:
    launcher = contained.launcher
    proxy.stall(kind)
    try:
        result = contained.call("echo", {"a": 1})
        # How it ended is the kernel's to say: dockerd is not asked. Removal comes after the answer.
        seen = proxy.held.wait(20) if kind == "delete" else proxy.held.is_set()
        assert seen == (kind != "wait")
        if kind in ("wait", "delete"):
            assert result["status"] == "ok", "what is dead and delivered waits for no removal"
        else:
            assert result["status"] == "engine_error"
        assert not processes_of(*ACCOUNTS)
    finally:
        proxy.let_go()
    eventually(lambda: contained.call("echo", {"a": 2})["status"] == "ok", 30, "it serves again")
    eventually(lambda: not docker_engine.docker("ps", "--all", "--quiet"), 20, "nothing is left")
    assert not processes_of(*ACCOUNTS)
    assert contained.launcher == launcher
    Ledger.of(contained.state).check()
