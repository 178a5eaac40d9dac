"""The launcher wakes up when it must listen again, although nothing else happens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fumehood.engines.protocol import NEVER, NOW
from fumehood.launcher.denials import Denials
from fumehood.launcher.loop import Launcher
from fumehood.launcher.running import Running

QUIET = SimpleNamespace(due=NEVER, descriptors=(), writable=())


@pytest.fixture
def heard() -> Iterator[SimpleNamespace]:
    """Stands in for the book of denied calls; `fd` is a pipe that nobody writes to."""
    readable, writable = os.pipe()
    yield SimpleNamespace(fd=readable, paused_until=0.0)
    os.close(readable)
    os.close(writable)


@pytest.fixture
def launcher(heard: SimpleNamespace) -> Iterator[Launcher]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    engine: Any = SimpleNamespace(name="bubblewrap", unenforceable=dict)
    ceilings: Any = None
    with ours, theirs:
        yield Launcher(ours, engine, ceilings, {}, lambda _: True, cast(Denials, heard))


def run(launcher: Launcher) -> None:
    """One sandbox runs, whose deadline is far away."""
    sandbox: Any = QUIET
    launcher._running["one"] = Running(sandbox, 1, 60.0, time.monotonic() + 60.0, 1.0)


def test_it_listens_again_when_a_flood_has_paused_it(
    launcher: Launcher, heard: SimpleNamespace
) -> None:
    run(launcher)
    heard.paused_until = time.monotonic() + 30.0
    launcher._hear_denials()
    assert 0 < launcher._wait_seconds() <= 30.0, "not only when the sandbox's deadline comes"
    heard.paused_until = 0.0
    launcher._hear_denials()
    assert launcher._hears_denials
    assert launcher._wait_seconds() > 30.0


def test_it_sleeps_while_nothing_runs(launcher: Launcher, heard: SimpleNamespace) -> None:
    heard.paused_until = time.monotonic() + 30.0
    launcher._hear_denials()
    assert launcher._wait_seconds() == -1


def test_it_looks_at_a_sandbox_when_that_is_due(launcher: Launcher) -> None:
    """One that opens is told of by descriptors; one that never gets there, by nobody."""
    run(launcher)
    launcher._hear_denials()
    assert launcher._wait_seconds() > 30.0
    launcher._running["one"].sandbox = cast(
        Any, SimpleNamespace(due=time.monotonic() + 5.0, descriptors=(), writable=())
    )
    assert 0 < launcher._wait_seconds() <= 5.0
    launcher._running["one"].sandbox = cast(
        Any, SimpleNamespace(due=NOW, descriptors=(), writable=())
    )
    assert 0 < launcher._wait_seconds() < 0.01
