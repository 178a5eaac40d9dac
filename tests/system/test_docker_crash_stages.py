"""kill -9 of the launcher of containers, and of dockerd, at every stage of a call."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.engines import docker_scratch
from support.crash import mounts, register
from support.docker import Engine
from support.hood import Hood, cgroups, eventually, hood, processes_of
from support.inside import DOCKER_STAGES, faulty
from support.ledger import Ledger

ACCOUNTS = (1_963_000_000, 50)
GONE_SECONDS = 10.0


@pytest.fixture(scope="module")
def contained(mortal_docker_engine: Engine) -> Iterator[Hood]:
    config = {
        "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
        "warm": 0,
        "engines": ["docker"],
        "docker": {"socket": mortal_docker_engine.socket},
    }
    with hood(config=config, entry=faulty) as running:
        running.register(None, "echo", command=["cat"])
        yield running


def nothing_is_left(running: Hood, engine: Engine) -> None:
    """No process, and of no sandbox a container, a cgroup or a scratch space."""
    eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
    eventually(lambda: running.call("echo", {"a": 2})["status"] == "ok", 30, "it serves again")
    eventually(lambda: not engine.docker("ps", "--all", "--quiet"), GONE_SECONDS, "no container")
    instance = running.instance
    places = [Path(path) for path in cgroups(instance)]
    eventually(
        lambda: not [d for place in places for d in os.scandir(place) if d.is_dir()],
        GONE_SECONDS,
        "no cgroup of a sandbox is left",
    )
    assert not mounts(Path(docker_scratch.BASE, instance))
    eventually(lambda: int(running.status()["running"]) == 0, GONE_SECONDS, "nothing runs")
    Ledger.of(running.state).check()


@pytest.mark.parametrize("stage", DOCKER_STAGES)
def test_a_launcher_of_containers_killed_at_a_stage_leaves_nothing(
    contained: Hood, own_docker_engine: Engine, stage: str
) -> None:
    name = register(contained, stage)
    first, instance = contained.launcher, contained.instance
    result = contained.call(name, {"a": 1})
    told = stage == "reported"
    assert result["status"] in ({"ok", "engine_error"} if told else {"engine_error"})
    eventually(lambda: contained.launcher not in (0, first), 20, "a new launcher serves")
    eventually(lambda: not cgroups(instance), GONE_SECONDS, "what the old one left is swept")
    assert not mounts(Path(docker_scratch.BASE, instance))
    nothing_is_left(contained, own_docker_engine)


@pytest.mark.parametrize("stage", DOCKER_STAGES)
def test_dockerd_killed_at_a_stage_leaves_nothing(
    contained: Hood, own_docker_engine: Engine, stage: str
) -> None:
    where = {"KILL_DOCKERD_AT": stage, "DOCKERD": str(own_docker_engine.pid)}
    name = register(contained, f"{stage}-{own_docker_engine.pid}", **where)
    launcher = contained.launcher
    result = contained.call(name, {"a": 1})
    # Dead by itself, and all it wrote delivered: then dockerd has no part in it any more.
    over = stage in ("dead", "reported")
    assert result["status"] in ({"ok", "engine_error"} if over else {"engine_error"})
    assert not processes_of(*ACCOUNTS), "answered while something of it lives"
    own_docker_engine.start()
    nothing_is_left(contained, own_docker_engine)
    assert contained.launcher == launcher, "dockerd's death is not the launcher's"
