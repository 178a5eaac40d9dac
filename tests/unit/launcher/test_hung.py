"""A launcher that answers nothing is reported once, and killed by the keeper; no other is."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from typing import Any, cast

import pytest

from fumehood.launcher import client as clients
from fumehood.launcher import messages as m
from fumehood.launcher.client import LauncherClient, Sandbox
from fumehood.launcher.clients import Launchers
from fumehood.launcher.keeper import HUNG, Keeper, Settings
from fumehood.supervisor import invocation
from fumehood.supervisor.live import Live
from fumehood.supervisor.ready import Pipes, Ready
from support.launcher import LIMITS, plan

ENGINES = ("bubblewrap", "docker")
HELLO = m.pack(m.Hello("bubblewrap", 1, "0", "v2", (), 0))


class Scene:
    """A client whose launcher is the other end of a socket, and what it reports."""

    def __init__(self) -> None:
        self.launcher, channel = self.pair()
        self.client = LauncherClient(channel, lambda _: None)
        self.reports: list[str] = []
        Launchers({"bubblewrap": self.client}).on_hung(self.reports.append)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def open(self, name: str) -> Sandbox:
        with open(os.devnull, "rb") as null:
            return self.client.open(name, plan(), (null.fileno(),) * 3)

    def heard(self) -> list[m.ToLauncher]:
        """What the launcher was told so far."""
        found: list[m.ToLauncher] = []
        self.launcher.setblocking(False)
        while True:
            try:
                data, descriptors = m.receive(self.launcher)
            except BlockingIOError:
                return found
            m.close_all(descriptors)
            found.append(cast("m.ToLauncher", m.unpack(data, m.TO_LAUNCHER)))

    async def judged(self) -> None:
        """Until the timers that are due have run: this one is later than all of them."""
        loop = asyncio.get_running_loop()
        last = loop.create_future()
        loop.call_later(clients.SILENT_SECONDS, last.set_result, None)
        await last

    def close(self) -> None:
        self.client.close()
        self.launcher.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SILENT_SECONDS", 0.0)


def test_a_silent_launcher_is_reported_once_for_all_its_sandboxes() -> None:
    async def check() -> None:
        scene = Scene()
        for name in ("one", "two"):
            scene.open(name).abandon()
        await scene.judged()
        assert scene.reports == ["bubblewrap"]
        assert [told for told in scene.heard() if isinstance(told, m.Kill)] == [
            m.Kill("one"),
            m.Kill("two"),
        ]
        scene.close()

    asyncio.run(check())


def test_a_launcher_that_says_anything_after_the_kill_is_not_reported() -> None:
    async def check() -> None:
        scene = Scene()
        scene.open("one").abandon()
        scene.launcher.send(HELLO)
        await scene.judged()
        assert scene.reports == []
        scene.close()

    asyncio.run(check())


def test_what_the_last_launcher_was_doubted_for_does_not_meet_the_next() -> None:
    async def check() -> None:
        scene = Scene()
        sandbox = scene.open("one")
        sandbox.abandon()
        scene.launcher.close()
        scene.launcher, channel = scene.pair()
        scene.client.replace(channel)
        await scene.judged()
        assert scene.reports == []
        sandbox.abandon()  # it ended with the launcher that held it
        await scene.judged()
        assert scene.reports == []
        scene.open("two").abandon()
        await scene.judged()
        assert scene.reports == ["bubblewrap"]
        scene.close()

    asyncio.run(check())


async def soon() -> None:
    """Until what is due now, and what that brings about, has run."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_launcher_that_does_not_acknowledge_is_reported_and_the_next_one_s_hello_settles_it() -> (
    None
):
    async def check() -> None:
        scene = Scene()
        scene.open("one").kill()
        done = scene.client.acknowledged(0.0)
        await scene.judged()
        assert scene.reports == ["bubblewrap"]
        assert scene.heard()[-2:] == [m.Kill("one"), m.Ping(1)]
        scene.launcher.close()
        await soon()
        assert not done.done()  # what the dead one held may still be dying
        scene.launcher, channel = scene.pair()
        scene.client.replace(channel)
        scene.launcher.send(HELLO)
        await asyncio.wait_for(done, 60)
        scene.close()

    asyncio.run(check())


def test_a_launcher_that_acknowledges_is_not_reported_however_long_the_dying_takes() -> None:
    async def check() -> None:
        scene = Scene()
        sandbox = scene.open("one")
        sandbox.kill()
        done = scene.client.acknowledged(0.0)
        scene.launcher.send(m.pack(m.Pong(1)))
        await asyncio.wait_for(done, 60)
        await scene.judged()
        assert scene.reports == []
        assert not sandbox.ended.done()
        scene.close()

    asyncio.run(check())


def test_a_launcher_that_says_other_things_first_is_busy_and_one_that_falls_silent_hangs() -> None:
    async def check() -> None:
        scene = Scene()
        done = scene.client.acknowledged(0.0)
        scene.launcher.send(m.pack(m.DeniedMessage("another", 1)))
        await scene.judged()
        assert not done.done()
        assert scene.reports == []  # it is given as long again
        await scene.judged()
        assert scene.reports == ["bubblewrap"]
        scene.close()

    asyncio.run(check())


def test_an_answer_to_an_earlier_question_is_none_to_a_later_one() -> None:
    async def check() -> None:
        scene = Scene()
        first, second = scene.client.acknowledged(60.0), scene.client.acknowledged(60.0)
        scene.launcher.send(m.pack(m.Pong(1)))
        await asyncio.wait_for(first, 60)
        assert not second.done()
        scene.launcher.send(m.pack(m.Pong(2)))
        await asyncio.wait_for(second, 60)
        scene.close()

    asyncio.run(check())


class Watcher:
    """Stands in for the live view of a call."""

    end: object = None

    def streams(self, *_: object) -> None: ...
    def opened(self, *_: object) -> None: ...
    def begin(self, *, ahead: bool) -> None: ...
    def enter(self, _phase: str) -> None: ...


@pytest.mark.parametrize("stage", ["open", "kill"])
def test_a_call_is_answered_when_its_hung_launcher_is_gone(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        scene, pipes = Scene(), Pipes()
        limits = dataclasses.replace(LIMITS, timeout_ms=1)
        sandbox = scene.client.open("one", plan(limits=limits), pipes.theirs)
        pipes.close_theirs()
        if stage == "open":
            monkeypatch.setattr(invocation, "OPEN_SECONDS", 0.01)
        else:
            monkeypatch.setattr(invocation, "DEATH_SECONDS", 0.01)
            sandbox.opened.set_result(())
            sandbox.started.set_result(())
        order: list[str] = []
        sandbox.ended.add_done_callback(lambda _: order.append("dead"))

        def kill(engine: str) -> None:
            order.append(f"killed {engine}")
            scene.launcher.close()

        Launchers({"bubblewrap": scene.client}).on_hung(kill)
        ready = Ready(sandbox, pipes, ahead=None)
        call = invocation._Invocation(ready, 0.0, journal, cast("Live", Watcher()), lambda *_: None)
        run = await call.run(b"{}")
        assert run.outcome.status == "engine_error"
        assert order == ["killed bubblewrap", "dead"]
        assert (run.outcome.error or "").startswith({"open": "sandbox: ", "kill": "kill: "}[stage])
        scene.close()

    async def journal() -> None:
        return

    asyncio.run(check())


class Kept:
    """A keeper that has a process for each launcher, and the supervisor's end of its line."""

    def __init__(self) -> None:
        values: dict[str, Any] = {field.name: None for field in dataclasses.fields(Settings)}
        settings = Settings(**{**values, "engines": ENGINES, "socket": "", "state": "/"})
        self.keeper = Keeper(settings, -1, -1)
        self.keeper._control, self.line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.keeper._control.setblocking(False)
        self.launchers = {engine: subprocess.Popen(["sleep", "60"]) for engine in ENGINES}
        self.keeper._launchers = {engine: one.pid for engine, one in self.launchers.items()}

    def close(self) -> None:
        self.line.close()
        assert self.keeper._control is not None
        self.keeper._control.close()
        for process in self.launchers.values():
            process.kill()
            process.wait()


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.close()


def test_the_keeper_kills_the_stopped_launcher_that_is_named_and_no_other(kept: Kept) -> None:
    kept.launchers["docker"].send_signal(signal.SIGSTOP)
    kept.line.send(HUNG + b"docker")
    kept.keeper._hear()
    assert kept.launchers["docker"].wait(30) == -signal.SIGKILL
    assert kept.launchers["bubblewrap"].poll() is None


@pytest.mark.parametrize(
    "word",
    [b"hung ", b"hung", b"hung  docker", b"hung docker ", b"hung dock", b"hung docker\0",
     b"hung -1", b"hung \xff", b"hung docker bubblewrap", b"hung docker" * 9, b"HUNG docker"],
)  # fmt: skip
def test_the_keeper_kills_nothing_for_a_word_that_names_no_launcher(
    kept: Kept, word: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[tuple[int, int]] = []
    monkeypatch.setattr(kept.keeper, "_signal", lambda *given: signalled.append(given))
    kept.line.send(word)
    kept.keeper._hear()
    assert signalled == []


def test_an_engine_without_a_launcher_just_now_is_not_signalled(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[tuple[int, int]] = []
    del kept.keeper._launchers["docker"]
    monkeypatch.setattr(kept.keeper, "_signal", lambda *given: signalled.append(given))
    kept.line.send(HUNG + b"docker")
    kept.keeper._hear()
    assert signalled == []
