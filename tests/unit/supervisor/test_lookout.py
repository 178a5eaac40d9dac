"""The lookout looks at what runs, ends what the operator does not bear, and rests otherwise."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from fumehood.kernel.gauge import Reading
from fumehood.model.behaviour import Behaviour
from fumehood.supervisor import lookout as module
from fumehood.supervisor.lookout import Lookout
from support.launcher import plan

SETTINGS = Behaviour.model_validate({"fork_storm": 10, "denials": 10, "kill": ["denials"]})


def live(ended: list[str], *, state: str = "running", refused: int = 0, denied: int = 0) -> Any:
    return SimpleNamespace(
        state=state, plan=plan(), conduct=None, stdout=None, stderr=None, end=ended.append,
        sandbox=SimpleNamespace(denied=denied), reading=lambda: Reading(pids_refused=refused),
        request=SimpleNamespace(invocation="x", tool="t"),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.001)


def test_only_what_the_operator_names_is_ended_and_once() -> None:
    async def scenario() -> None:
        ended: list[str] = []
        looked = asyncio.Event()
        lives = [
            live(ended, refused=50, denied=50),
            live(ended, denied=9),
            live(ended, state="scanning", denied=50),
        ]
        looks = 0

        def running() -> list[Any]:
            nonlocal looks
            looks += 1
            if looks == 3:
                looked.set()
            return lives

        lookout = Lookout(SETTINGS, running)
        lookout.wake()
        lookout.wake()
        async with asyncio.timeout(20):
            await looked.wait()
        lookout.close()
        assert ended == ["denials"]
        assert set(lives[0].conduct.signs) == {"fork_storm", "denials"}
        assert lives[1].conduct.signs == {}
        assert lives[2].conduct is None

    asyncio.run(scenario())


def test_it_rests_when_nothing_is_left_and_wakes_again() -> None:
    async def scenario() -> None:
        looked: asyncio.Queue[None] = asyncio.Queue()

        def running() -> list[Any]:
            looked.put_nowait(None)
            return []

        lookout = Lookout(SETTINGS, running)
        async with asyncio.timeout(20):
            lookout.wake()
            await looked.get()
            await asyncio.sleep(0)
            assert lookout.resting
            lookout.wake()
            await looked.get()

    asyncio.run(scenario())
