"""A real launcher process, spoken to directly, as the supervisor or whoever took it over may."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fumehood.kernel.seccomp import load_named
from fumehood.launcher import keeper
from fumehood.launcher import messages as m
from fumehood.model.codec import encode
from fumehood.model.plan import Ceilings, Limits, Mount, Plan
from fumehood.resources import profile_directory

ACCOUNT = 1_900_000_777
CEILING = Limits(
    timeout_ms=60_000,
    cpu_millis=2000,
    memory_bytes=256 << 20,
    pids=128,
    scratch_bytes=64 << 20,
    scratch_inodes=16384,
    output_bytes=4 << 20,
)
LIMITS = Limits(
    timeout_ms=10_000,
    cpu_millis=1000,
    memory_bytes=64 << 20,
    pids=32,
    scratch_bytes=8 << 20,
    scratch_inodes=2048,
    output_bytes=1 << 20,
)
SCRATCH = (Mount("scratch", "", "/tmp", False), Mount("scratch", "", "/out", False))


def plan(*argv: str, **changes: object) -> Plan:
    """A plan that the launcher below accepts, unless `changes` break it."""
    good = Plan(
        engine="bubblewrap",
        image="host",
        argv=argv or ("cat",),
        environment=(("PATH", "/usr/bin:/bin"),),
        mounts=SCRATCH,
        uid=ACCOUNT,
        gid=ACCOUNT,
        seccomp="compute",
        seccomp_digest=load_named(str(profile_directory()), "compute").digest,
        network="none",
        limits=LIMITS,
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # the point is to break it


@dataclass
class Process:
    """A launcher and the supervisor's end of its channel, blocking."""

    pid: int
    channel: socket.socket
    store: Path
    hello: m.Hello | None = None
    _open: list[int] = field(default_factory=list)
    _reaped: bool = False
    """Its PID may be somebody else's by now."""

    def send(self, message: m.ToLauncher, descriptors: tuple[int, ...] = ()) -> None:
        self.send_raw(m.pack(message), descriptors)

    def send_raw(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        socket.send_fds(self.channel, [data], list(descriptors))

    def receive(self) -> m.FromLauncher:
        data, descriptors = m.receive(self.channel)
        m.close_all(descriptors)
        assert data, "the launcher ended"
        message = m.unpack(data, m.FROM_LAUNCHER)
        assert isinstance(message, m.FromLauncher)
        return message

    def open(self, sandbox: str, wanted: Plan) -> tuple[int, int, int]:
        """Ask for a sandbox; returns our ends: stdin to write, stdout and stderr to read."""
        pairs = [os.pipe() for _ in range(3)]
        theirs = (pairs[0][0], pairs[1][1], pairs[2][1])
        self.send(m.Open(sandbox, wanted), theirs)
        for fd in theirs:
            os.close(fd)
        ours = (pairs[0][1], pairs[1][0], pairs[2][0])
        self._open.extend(ours)
        return ours

    def run(self, sandbox: str, wanted: Plan, stdin: bytes = b"{}") -> tuple[m.EndedMessage, bytes]:
        """One whole life: opened, started, fed, ended."""
        feed, out, _ = self.open(sandbox, wanted)
        opened = self.receive()
        assert isinstance(opened, m.OpenedMessage), opened
        self.send(m.Start(sandbox))
        started = self.receive()
        assert isinstance(started, m.StartedMessage), started
        with contextlib.suppress(BrokenPipeError):
            os.write(feed, stdin)
        self._close(feed)
        ended = self.receive()
        assert isinstance(ended, m.EndedMessage), ended
        return ended, os.read(out, 65536)

    def _close(self, fd: int) -> None:
        self._open.remove(fd)
        os.close(fd)

    def close(self) -> None:
        """Hang up, as a dying supervisor does, and wait for the launcher's end."""
        self.channel.close()
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        _, status = os.waitpid(self.pid, 0)
        self._reaped = True
        assert os.waitstatus_to_exitcode(status) == 0

    def kill(self) -> None:
        """SIGKILL; harmless when it ended already."""
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self._reaped = True
        self.channel.close()
        for fd in self._open:
            os.close(fd)
        self._open.clear()


P = TypeVar("P", bound=Process)


def ceilings(account: int, store: Path, **more: Any) -> Ceilings:
    """What a launcher of root's may do here: four accounts, and no more than CEILING."""
    usual: dict[str, Any] = {
        "uid_first": account,
        "uid_count": 4,
        "uid_own": -1,
        "store": str(store),
        "profiles": str(profile_directory()),
        "images": ("host",),
        "limits": CEILING,
        "sandboxes": 8,
    }
    return Ceilings(**(usual | more))


def started(
    kind: type[P], module: str, settings: object, store: Path, *, seconds: float, bare: bool = False
) -> P:
    """A launcher as the keeper starts it, its greeting read. The caller closes or kills it.
    seconds: how long it may be silent. bare: with the standard library alone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("settings")
    os.write(memory, json.dumps(encode(settings)).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    pid = os.posix_spawn(
        sys.executable,
        keeper._python(module, "3", "4", bare=bare),
        keeper._environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
            (os.POSIX_SPAWN_DUP2, memory, 4),
        ],
    )
    theirs.close()
    os.close(memory)
    ours.settimeout(seconds)
    process = kind(pid, ours, store)
    try:
        hello = process.receive()
        assert isinstance(hello, m.Hello)
    except BaseException:
        process.kill()
        raise
    process.hello = hello
    return process


@contextlib.contextmanager
def launcher(store: Path, *, limits: Limits = CEILING, image_store: str = "") -> Iterator[Process]:
    """Start a launcher as root; it is gone, with everything of it, afterwards."""
    given = ceilings(ACCOUNT, store, limits=limits, image_store=image_store)
    process = started(Process, "process", given, store, seconds=20, bare=True)
    try:
        yield process
        process.close()
    finally:
        process.kill()
