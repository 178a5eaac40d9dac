"""kill -9 of each process while calls run: nothing is left, everybody hears of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.engines import docker_scratch
from fumehood.errors import FumehoodError
from support.hood import SOURCES, Hood, cgroups, eventually, hood, processes_of

CALLS = 20
GONE_SECONDS = 2.0
ACCOUNTS = (1_950_000_000, 50)
"""First and count: twenty-five for tools, as many for leases."""


@pytest.fixture
def place() -> Iterator[Path]:
    """Short, because a socket's path holds 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def config() -> dict[str, object]:
    return {"accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]}}


class Calls:
    """Twenty calls of a sleeping tool, each on a connection of its own."""

    def __init__(self, running: Hood) -> None:
        running.register(None, "sleeper", command=["sleep", "60"], limits={"timeout": "60s"})
        self.ends: list[dict[str, Any] | FumehoodError] = []
        self._threads = [threading.Thread(target=self._call, args=(running,)) for _ in range(CALLS)]
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.sleeping() == CALLS, 30, "all calls run")

    def _call(self, running: Hood) -> None:
        try:
            self.ends.append(running.call("sleeper"))
        except FumehoodError as error:
            self.ends.append(error)

    def sleeping(self) -> int:
        return sum(
            Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
            for pid in processes_of(*ACCOUNTS)
            if Path(f"/proc/{pid}").exists()
        )

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a caller waits in silence"


def mounts(place: Path) -> list[str]:
    """Mounts of the host that are ours; containers of other tests have theirs meanwhile."""
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = [line for line in table if "/fumehood" in line and docker_scratch.BASE not in line]
    return ours + [line for line in table if str(place) in line]


def ended(place: Path) -> list[dict[str, Any]]:
    """The audit log's records, in order."""
    lines = []
    for segment in sorted((place / "state" / "audit").glob("*.jsonl")):
        lines += [json.loads(line) for line in segment.read_text().splitlines()]
    return lines


def verify(running: Hood) -> None:
    done = running.cli("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kill_of_the_supervisor_leaves_nothing_and_the_next_daemon_works(place: Path) -> None:
    with hood(place, config=config()) as running:
        calls, instance = Calls(running), running.instance
        os.kill(running.supervisor, signal.SIGKILL)
        eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
        eventually(lambda: not cgroups(instance), GONE_SECONDS, "no cgroup is left")
        calls.join()
        assert all(isinstance(end, FumehoodError) for end in calls.ends)
        assert running.process.wait(20) != 0
    assert not mounts(place)
    with hood(place, config=config()) as running:
        verify(running)
        running.register(None, "hello", command=["echo", "hello"])
        assert running.call("hello")["status"] == "ok"


def test_kill_of_the_launcher_is_an_engine_error_and_a_new_one_serves(place: Path) -> None:
    with hood(place, config={**config(), "warm": 0}) as running:
        calls, instance = Calls(running), running.instance
        first = running.launcher
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
        calls.join()
        statuses = [end["status"] if isinstance(end, dict) else repr(end) for end in calls.ends]
        assert statuses == ["engine_error"] * CALLS
        eventually(lambda: running.launcher not in (0, first), 10, "a new launcher serves")
        eventually(lambda: not cgroups(instance), GONE_SECONDS, "what the old one left is swept")
        assert cgroups(running.instance)
        running.register(None, "hello", command=["echo", "hello"])
        assert running.call("hello")["status"] == "ok"
        verify(running)
        records = [r for r in ended(place) if r["event"] == "invocation.ended"]
        assert sum(r["status"] == "engine_error" for r in records) == CALLS


def test_kill_of_the_keeper_ends_everything(place: Path) -> None:
    with hood(place, config=config()) as running:
        calls, instance = Calls(running), running.instance
        running.process.kill()
        eventually(lambda: not processes_of(*ACCOUNTS), 5, "no process is left")
        eventually(lambda: not cgroups(instance), 5, "no cgroup is left")
        calls.join()
    with hood(place, config=config()) as running:
        verify(running)


def test_kill_of_all_three_at_once_leaves_no_process_and_the_next_start_sweeps(place: Path) -> None:
    with hood(place, config=config()) as running:
        calls, instance = Calls(running), running.instance
        pids = [running.process.pid, running.launcher, running.supervisor]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not processes_of(*ACCOUNTS), GONE_SECONDS, "no process is left")
        calls.join()
    with hood(place, config=config()) as running:
        assert not cgroups(instance)
        verify(running)


def test_a_stop_cancels_what_runs_and_records_it(place: Path) -> None:
    with hood(place, config={**config(), "shutdown": {"grace": "100ms"}}) as running:
        calls, instance = Calls(running), running.instance
        assert running.stop() == 0
        assert not processes_of(*ACCOUNTS)
        assert not cgroups(instance)
        calls.join()
        assert not running.socket.exists()
    records = ended(place)
    assert sum(r.get("status") == "cancelled" for r in records) == CALLS
    assert records[-1]["event"] == "supervisor.stopped"


def test_a_second_daemon_on_the_same_socket_is_refused(place: Path) -> None:
    with hood(place, config=config()) as running:
        second = running.cli("serve", "--config", str(place / "config.yaml"))
        assert second.returncode == 2
        assert "already answers" in second.stderr
        assert running.status()["running"] == 0


def test_a_second_daemon_on_the_same_state_is_refused(place: Path) -> None:
    with hood(place, config=config()) as running:
        second = running.cli(
            "serve", "--socket", str(place / "other"), "--config", str(place / "config.yaml")
        )
        assert second.returncode != 0
        assert "error:" in second.stderr
        assert running.status()["running"] == 0


def test_the_supervisor_has_no_privilege_and_sees_little(place: Path) -> None:
    from fumehood.kernel import proc

    with hood(place, config=config()) as running:
        pid = running.supervisor
        status = proc.read_status(pid)
        assert 0 not in status.uids
        assert not any(status.capabilities)
        assert status.no_new_privs == 1
        seen = set(os.listdir(f"/proc/{pid}/root"))
        way = SOURCES.parts  # to the program's own files, wherever the clone lies
        assert not {"home", "boot", "srv", "run", "mnt", "media"} - {way[1]} & seen
        below = {*way[2:3]} if way[1] == "var" else set()
        assert set(os.listdir(f"/proc/{pid}/root/var")) - below == {"cache"}
        outside = subprocess.run(
            ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "ls", "/root"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert ".ssh" not in outside.stdout
