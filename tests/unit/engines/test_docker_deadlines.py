"""Until when a container must exist, and be open: loading its image takes time of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

import pytest

from fumehood.engines.docker_group import DockerGroup
from fumehood.engines.docker_sandbox import OPEN_SECONDS, ORDER_SECONDS, DockerSandbox
from fumehood.engines.docker_worker import Created, Message, Worker
from support.docker import docker_plan


@dataclass
class Telling:
    """A worker that says what it is told to."""

    said: list[Message] = field(default_factory=list)

    def messages(self) -> list[Message]:
        found, self.said = self.said, []
        return found


class Empty:
    """A group without a process."""

    def starting(self) -> list[int]:
        return []

    def kill(self) -> None:
        pass


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(time, "monotonic", found)
    return found


@pytest.fixture
def worker() -> Telling:
    return Telling()


@pytest.fixture
def sandbox(clock: Clock, worker: Telling) -> DockerSandbox:
    return DockerSandbox(
        name="aaaaaaaa-1",
        plan=docker_plan("cat"),
        group=cast(DockerGroup, Empty()),
        worker=cast(Worker, worker),
        scratch="/none",
        host_namespaces={},
        traced=True,
        unproven={},
        released=lambda _: None,
        init="/none",
    )


def test_loading_an_image_takes_nothing_of_the_time_to_open(
    sandbox: DockerSandbox, worker: Telling, clock: Clock
) -> None:
    clock.now += ORDER_SECONDS - 1
    sandbox.step()
    worker.said.append(Created("c0ffee", ()))
    sandbox.step()
    clock.now += OPEN_SECONDS - 1
    sandbox.step()
    assert sandbox.phase == "opening"
    clock.now += 2
    sandbox.step()
    assert sandbox.phase == "dying"


def test_a_container_that_is_never_made_is_not_waited_for(
    sandbox: DockerSandbox, clock: Clock
) -> None:
    clock.now += ORDER_SECONDS + 1
    sandbox.step()
    assert sandbox.phase == "dying"
