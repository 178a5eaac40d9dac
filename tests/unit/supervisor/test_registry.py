"""What is remembered of invocations is bounded in number, size and time; cancelling is once."""

from __future__ import annotations

import asyncio

import pytest

from fumehood.model.result import Result
from fumehood.scan.partial import Partial
from fumehood.supervisor.live import RECENT, RECENT_CHARACTERS, RECENT_SECONDS, Live, Registry
from support.manifests import request, tool


def no_scanner() -> Partial:
    raise AssertionError("nothing is scanned here")


def ended(registry: Registry, name: str, stderr: str = "", *, admitted: bool = True) -> None:
    """An invocation that came and went."""
    asked = request({})
    object.__setattr__(asked, "invocation", name)
    live = Live(asked, no_scanner)
    live.tool = tool() if admitted else None
    live.result = Result(name, "t", "1.0.0", "d", "ok", stderr=stderr)
    registry.add(live)
    registry.remove(live)


def test_the_newest_are_remembered() -> None:
    registry = Registry()
    for number in range(RECENT + 5):
        ended(registry, str(number))
    assert registry.ended("4") is None
    assert registry.ended("5") is not None
    assert list(registry) == []


def test_their_text_is_bounded_together() -> None:
    registry = Registry()
    for number in range(4):
        ended(registry, str(number), "x" * (RECENT_CHARACTERS // 2))
    assert [registry.ended(str(number)) is not None for number in range(4)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_they_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    ended(registry, "a")
    found = registry.ended("a")
    assert found is not None
    later = found.when + RECENT_SECONDS + 1
    monkeypatch.setattr("fumehood.supervisor.live.time.monotonic", lambda: later)
    assert registry.ended("a") is None


def test_what_was_refused_is_not_remembered() -> None:
    registry = Registry()
    ended(registry, "a", admitted=False)
    assert registry.ended("a") is None


def test_the_first_who_cancels_is_kept() -> None:
    async def run() -> tuple[str, int]:
        live = Live(request({}), no_scanner)
        started = asyncio.Event()

        async def wait() -> Result:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError

        live.task = asyncio.get_running_loop().create_task(wait())
        await started.wait()
        live.cancel("uid 1")
        live.cancel("shutdown")
        times = live.task.cancelling()
        await asyncio.wait([live.task])
        return live.cancelled_by, times

    assert asyncio.run(run()) == ("uid 1", 1)
