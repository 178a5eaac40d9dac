"""dockerd hangs, dies and is meddled with; launchers are killed: nothing lives on, nothing stays.

Every test has an engine of its own, and looks at the host afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.engines import docker_scratch
from fumehood.engines.promises import lacking
from fumehood.kernel import cgroup, proc
from fumehood.launcher import messages as m
from support.docker import (
    ACCOUNT,
    DockerProcess,
    Engine,
    docker_launcher,
    docker_plan,
    start_docker_launcher,
)

WAIT_SECONDS = 20.0
SLEEP = docker_plan("sleep", "1000")


@pytest.fixture
def engine(own_docker_engine: Engine) -> Engine:
    return own_docker_engine


@pytest.fixture
def containers(engine: Engine, tmp_path: Path) -> Iterator[DockerProcess]:
    with docker_launcher(tmp_path, engine) as process:
        yield process


def until(what: object, seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition of the host that nobody reports."""
    deadline = time.monotonic() + seconds
    assert callable(what)
    while not what():
        assert time.monotonic() < deadline, f"{what} is still not so"
        os.sched_yield()
        _pause()


def _pause() -> None:
    signal.sigtimedwait([], 0.02)


def processes() -> list[int]:
    """Everything that runs as the tests' service account."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if ACCOUNT in proc.read_status(int(name)).uids:
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def running(process: DockerProcess, name: str = "aaaaaaaa-1") -> tuple[int, int, int]:
    ends, _ = process.opened(name, SLEEP)
    process.start(name)
    assert processes()
    return ends


def leftovers(instance: str) -> list[str]:
    found = [mount.target for mount in proc.mounts("self") if instance in mount.target]
    layout = cgroup.discover()
    for top in {*layout.v1.values(), *layout.others, *([layout.unified] if layout.unified else [])}:
        found += [str(path) for path in top.glob(f"{instance}/*") if path.is_dir()]
    return found


def instance_of(process: DockerProcess) -> str:
    """The launcher's cgroup instance, from the lock it holds."""
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        target = os.readlink(f"/proc/{process.pid}/fd/{fd}")
        if target.startswith(docker_scratch.BASE):
            return target.rpartition("/")[2]
    raise AssertionError("the launcher holds no scratch directory")


def containers_of(engine: Engine) -> str:
    return engine.docker("ps", "--all", "--quiet")


def test_a_kill_needs_no_dockerd(containers: DockerProcess, engine: Engine) -> None:
    ends = running(containers)
    engine.signal(signal.SIGSTOP)
    containers.send(m.Kill("aaaaaaaa-1"))
    until(lambda: not processes())
    end = containers.last()  # while dockerd stands still
    assert isinstance(end, m.Refused)
    assert (end.code, end.control) == ("engine_error", "docker")
    until(lambda: leftovers(instance_of(containers)) == [])  # without dockerd, too
    engine.signal(signal.SIGCONT)
    containers.talk(ends, b"")
    assert containers.call("bbbbbbbb-2", docker_plan("cat"), b"again").out == b"again"
    until(lambda: containers_of(engine) == "")


def test_a_deadline_needs_no_dockerd(engine: Engine, tmp_path: Path) -> None:
    """The launcher's own, which holds when the supervisor stalls: 5 s after the plan's."""
    plan = replace(SLEEP, limits=replace(SLEEP.limits, timeout_ms=200))
    with docker_launcher(tmp_path, engine) as process:
        ends, _ = process.opened("aaaaaaaa-1", plan)
        process.start("aaaaaaaa-1")
        engine.signal(signal.SIGSTOP)
        assert isinstance(process.last(), m.Refused)
        assert processes() == []
        engine.signal(signal.SIGCONT)
        process.talk(ends, b"")


def test_opening_ends_when_dockerd_hangs(containers: DockerProcess, engine: Engine) -> None:
    containers.call("aaaaaaaa-1", docker_plan("true"))
    engine.signal(signal.SIGSTOP)
    ends = containers.open("bbbbbbbb-2", docker_plan("sh", "-c", "echo ran >/out/f; sleep 1000"))
    end = containers.last()
    assert isinstance(end, m.Refused)
    assert end.control == "docker"
    until(lambda: leftovers(instance_of(containers)) == [])  # without dockerd, too
    engine.signal(signal.SIGCONT)
    containers.talk(ends, b"")
    # What was asked of it late must not run now.
    until(lambda: containers_of(engine) == "")
    assert processes() == []


def test_every_sandbox_dies_with_dockerd(
    containers: DockerProcess, engine: Engine, tmp_path: Path
) -> None:
    first = running(containers)
    held, _ = containers.opened("bbbbbbbb-2", SLEEP)
    engine.signal(signal.SIGKILL)
    ends = [containers.last(), containers.last()]
    assert {end.sandbox for end in ends} == {"aaaaaaaa-1", "bbbbbbbb-2"}
    for end in ends:
        assert isinstance(end, m.Refused)
        assert end.control == "docker"
    assert processes() == []
    until(lambda: leftovers(instance_of(containers)) == [])
    for pipes in (first, held):
        containers.talk(pipes, b"")
    nobody = containers.open("cccccccc-3", docker_plan("cat"))
    end = containers.last()
    assert isinstance(end, m.Refused)
    assert end.control == "docker"
    containers.talk(nobody, b"")
    engine.start()
    assert containers.call("dddddddd-4", docker_plan("cat"), b"back").out == b"back"
    until(lambda: containers_of(engine) == "")


MEDDLING = [("rm", "--force"), ("kill",), ("kill", "--signal", "TERM"), ("stop", "--time", "0")]


@pytest.mark.parametrize("command", MEDDLING, ids=" ".join)
@pytest.mark.parametrize("runtime", ["runc", "runsc"])
def test_a_container_that_others_kill_is_an_error_of_the_engine(
    engine: Engine, tmp_path: Path, runtime: str, command: tuple[str, ...]
) -> None:
    """Also by a signal that the tool ends by as if it had sent it to itself, and where the host
    sees nothing of it."""
    accepted = tuple(sorted(lacking(runtime)))
    plan = replace(SLEEP, runtime=runtime, accepted=accepted)
    with docker_launcher(
        tmp_path, engine, runtimes=("runc", "runsc"), accepted=accepted
    ) as process:
        ends, _ = process.opened("aaaaaaaa-1", plan)
        process.start("aaaaaaaa-1")
        engine.docker(*command, containers_of(engine))
        end = process.last()
        assert isinstance(end, m.Refused)
        assert (end.code, end.control) == ("engine_error", "container")
        process.talk(ends, b"")
        until(lambda: containers_of(engine) == "")


def test_a_container_with_our_label_is_not_therefore_ours(
    containers: DockerProcess, engine: Engine, tmp_path: Path
) -> None:
    """Whoever makes one may copy all our labels, and the next launcher sweeps what dead ones left;
    a value is no path either."""
    assert containers.call("aaaaaaaa-1", docker_plan("cat"), b"one").out == b"one"
    until(lambda: containers_of(engine) == "")
    image = engine.docker("images", "--quiet").split()[0]
    dead = "fumehood-1-1-abcdef"
    labels = ("--label", "org.fumehood.sandbox=aaaaaaaa-1")
    own = [
        engine.docker("create", "--label", f"org.fumehood.instance={value}", *more, image, "true")
        for value, more in (
            ("mine", ("--volume", "/data")),
            ("../../etc", ()),
            (dead, ()),
            (dead, ("--name", "fumehood-mine", *labels)),
        )
    ]
    left = f"fumehood-aaaaaaaa-1-{'0' * 16}"
    instance = ("--label", f"org.fumehood.instance={dead}")
    engine.docker("create", "--name", left, *instance, *labels, image, "true")
    (tmp_path / "other").mkdir()
    with docker_launcher(tmp_path / "other", engine) as process:
        assert process.call("bbbbbbbb-2", docker_plan("cat"), b"two").out == b"two"
        until(lambda: left not in engine.docker("ps", "--all", "--format", "{{.Names}}"))
    assert set(engine.docker("ps", "--all", "--quiet", "--no-trunc").split()) == set(own)
    assert engine.docker("volume", "ls", "--quiet")
    engine.docker("rm", "--volumes", *own)


def test_a_container_that_others_pause_dies_all_the_same(
    containers: DockerProcess, engine: Engine
) -> None:
    ends = running(containers)
    engine.docker("pause", containers_of(engine))
    containers.send(m.Kill("aaaaaaaa-1"))
    assert containers.last().sandbox == "aaaaaaaa-1"
    assert processes() == []
    containers.talk(ends, b"")
    until(lambda: containers_of(engine) == "")


@pytest.mark.parametrize("stage", ["opening", "held", "running"])
def test_no_container_outlives_a_launcher_that_is_killed(
    engine: Engine, tmp_path: Path, stage: str
) -> None:
    """The kernel kills what the launcher traces; the next launcher removes what is left, if no
    other launcher of this host came first: each sweeps what belongs to the dead, whoever they
    were."""
    with docker_launcher(tmp_path, engine) as warm:
        warm.call("aaaaaaaa-1", docker_plan("true"))
    process = start_docker_launcher(tmp_path, engine)
    try:
        if stage == "opening":
            process.open("aaaaaaaa-1", SLEEP)
            until(processes)
        else:
            process.opened("aaaaaaaa-1", SLEEP)
        if stage == "running":
            process.start("aaaaaaaa-1")
        instance = instance_of(process)
    finally:
        process.kill()
    until(lambda: not processes())
    with docker_launcher(tmp_path, engine) as successor:
        until(lambda: leftovers(instance) == [])
        assert not os.path.exists(f"{docker_scratch.BASE}/{instance}")
        successor.call("bbbbbbbb-2", docker_plan("true"))
        until(lambda: containers_of(engine) == "")
    assert processes() == []


def test_a_supervisor_that_is_gone_takes_everything_with_it(engine: Engine, tmp_path: Path) -> None:
    with docker_launcher(tmp_path, engine) as process:
        running(process)
        process.opened("bbbbbbbb-2", SLEEP)
        instance = instance_of(process)
    assert processes() == []
    assert leftovers(instance) == []
    assert containers_of(engine) == ""
    assert not os.path.exists(f"{docker_scratch.BASE}/{instance}")


def test_no_engine_at_all_is_told_with_each_call(engine: Engine, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none.sock")
    with docker_launcher(tmp_path, engine, socket_path=nowhere) as process:
        for name in ("aaaaaaaa-1", "bbbbbbbb-2"):
            ends = process.open(name, docker_plan("cat"))
            end = process.last()
            assert isinstance(end, m.Refused)
            assert end.control == "docker"
            assert nowhere in end.cause
            process.talk(ends, b"")


def test_an_image_that_others_remove_is_loaded_again(
    containers: DockerProcess, engine: Engine
) -> None:
    assert containers.call("aaaaaaaa-1", docker_plan("cat"), b"one").out == b"one"
    until(lambda: containers_of(engine) == "")
    engine.docker("rmi", "--force", engine.docker("images", "--quiet"))
    assert containers.call("bbbbbbbb-2", docker_plan("cat"), b"two").out == b"two"


def test_what_docker_was_asked_for(containers: DockerProcess, engine: Engine) -> None:
    """Docker's own fences stand as well, although none of them is relied upon."""
    ends = running(containers)
    (found,) = json.loads(engine.docker("inspect", containers_of(engine)))
    host = found["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] == host["MemorySwap"] > 0
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Type"] == "none"
    assert host["OomScoreAdj"] > 0
    # Of the image nothing: a health check would run beside the tool, as often as it likes.
    assert found["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert found["Config"]["StopSignal"] == "SIGKILL"
    assert found["Config"]["Labels"]["org.fumehood.sandbox"] == "aaaaaaaa-1"
    containers.send(m.Kill("aaaaaaaa-1"))
    containers.talk(ends, b"")
    containers.last()
