"""Every hostile case on every engine, through one real daemon: the status named, nothing alive,
the host unchanged, the supervisor small, and the next caller served."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hostile.cases import SECRET, Case, answers, said
from hostile.expected import ALL
from support.engines import TARGETS, Target
from support.hood import Hood, eventually

PAYLOADS = Path(__file__).parent / "payloads"
GONE_SECONDS = 20.0
GROWTH_BYTES = 48 << 20
"""The most that the supervisor's memory may grow in one case; a flood is 10 GB."""
SCHEMA = {"type": "object"}


@pytest.fixture(scope="session")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The payload folder with the prober compiled into it."""
    folder = tmp_path_factory.mktemp("payloads") / "tool"
    shutil.copytree(PAYLOADS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["gcc", "-static", "-O1", "-Wall", "-o", folder / "prober", folder / "prober.c"],
        check=True,
    )
    return folder


@dataclass
class Bait:
    """What the host holds for payloads to find: a secret file, and listeners that must stay
    unvisited."""

    secret: Path
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    datagram: socket.socket
    abstract: str
    visitors: list[str] = field(default_factory=list)

    def fill(self, arguments: object) -> Any:
        text = json.dumps(arguments)
        for key, value in {
            "{secret}": str(self.secret),
            "{port}": str(self.tcp.getsockname()[1]),
            "{abstract}": self.abstract,
        }.items():
            text = text.replace(key, value)
        return json.loads(text)

    def visits(self) -> list[str]:
        """Who came: non-blocking, because nobody should."""
        for name in ("tcp", "unix"):
            with contextlib.suppress(BlockingIOError):
                getattr(self, name).accept()[0].close()
                self.visitors.append(name)
        for name in ("udp", "datagram"):
            with contextlib.suppress(BlockingIOError):
                getattr(self, name).recv(64)
                self.visitors.append(name)
        return self.visitors


@pytest.fixture(scope="session")
def bait(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bait]:
    secret = tmp_path_factory.mktemp("host") / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    abstract = f"bait-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind("\0" + abstract)
        unix.listen()
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind("\0" + abstract + "-datagram")
        for listener in (tcp, udp, unix, datagram):
            listener.setblocking(False)
        yield Bait(secret, tcp, udp, unix, datagram, abstract)


# --- the host before and after ------------------------------------------------------------

WATCHED = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/vm/overcommit_memory",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/pids/release_agent",
    "/etc/passwd",
)


def host_state() -> dict[str, object]:
    def read(path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError:
            return b""

    state: dict[str, object] = {path: read(path) for path in WATCHED}
    state["sysv"] = [len(read(f"/proc/sysvipc/{kind}").splitlines()) for kind in ("shm", "msg")]
    state["modules"] = sorted(os.listdir("/sys/module"))
    return state


def supervisor_bytes(hood: Hood) -> int:
    text = Path(f"/proc/{hood.supervisor}/status").read_text()
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


@pytest.fixture(scope="session")
def canary(hood: Hood) -> str:
    hood.register(None, "canary", command=["cat"])
    return "canary"


def assert_served(hood: Hood, canary: str) -> None:
    answer = hood.call(canary, {"still": "here"})
    assert answer["status"] == "ok", answer
    assert json.loads(said(answer)) == {"still": "here"}


# --- the cases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "case"), ALL, ids=[f"{target.name}-{case.name}" for target, case in ALL]
)
def test_hostile(
    target: Target, case: Case, hood: Hood, payloads: Path, bait: Bait, canary: str
) -> None:
    name = target.tool(f"hostile-{case.name}")
    hood.register(
        payloads,
        name,
        command=case.command,
        limits={**target.limits, **case.limits},
        output_schema=case.output_schema,
        run=target.run,
    )
    assert_served(hood, canary)
    before, memory = host_state(), supervisor_bytes(hood)

    result = hood.call(name, bait.fill(dict(case.arguments)))

    eventually(lambda: hood.alive(name) == [], GONE_SECONDS, "everything of the tool is dead")
    assert result["status"] in case.statuses, result
    case.check(result)
    assert SECRET not in json.dumps(result)
    assert bait.visits() == []
    assert host_state() == before
    assert supervisor_bytes(hood) - memory < GROWTH_BYTES
    assert_served(hood, canary)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_two_calls_of_one_tool_do_not_meet(target: Target, hood: Hood, payloads: Path) -> None:
    name = target.tool("siblings")
    command = ["python3", "/tool/siblings.py"]
    hood.register(payloads, name, command=command, run=target.run, limits=target.limits)
    results: dict[str, dict[str, Any]] = {}

    def call(mark: str) -> None:
        results[mark] = hood.call(name, {"mark": mark, "seconds": 1.0})

    threads = [threading.Thread(target=call, args=(mark,)) for mark in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for mark in ("one", "two"):
        assert results[mark]["status"] == "ok"
        found = answers(results[mark])
        assert found["seen"] == found["answered"] == [1, found["pid"]]
        assert found["files"] == [mark]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("flood", {"stream": "stdout", "one_line": True}),
        ("flood", {"stream": "stderr", "one_line": False}),
    ],
)
def test_others_are_served_while_a_tool_floods(
    action: str, arguments: dict[str, object], hood: Hood, payloads: Path, canary: str
) -> None:
    name = f"flooding-{arguments['stream']}"
    command = ["python3", "/tool/streams.py", action]
    hood.register(payloads, name, command=command, limits={"timeout": "30s", "output": "16MiB"})
    floods = [threading.Thread(target=hood.call, args=(name, arguments)) for _ in range(3)]
    for thread in floods:
        thread.start()
    served = 0
    while any(thread.is_alive() for thread in floods) or served == 0:
        assert_served(hood, canary)
        served += 1
    for thread in floods:
        thread.join()
    assert served >= 1
