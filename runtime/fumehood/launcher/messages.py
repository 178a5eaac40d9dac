"""The words between supervisor and launcher: small typed messages on a seqpacket socket.

Standard library only. One message is one packet of JSON, `{"type": …, …}`, decoded strictly;
descriptors travel beside it. The launcher believes nothing in them: see `launcher.process`.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from fumehood.errors import ProtocolError
from fumehood.model.codec import decode, encode
from fumehood.model.outcome import Counters, Proof, Syscalls
from fumehood.model.plan import Plan

MAX_MESSAGE = 128 * 1024
"""Bytes of one packet; longer ones are refused unread."""
MAX_DESCRIPTORS = 80
"""At most this many descriptors ride on one packet (the kernel's own limit is 253)."""


@dataclass(frozen=True, slots=True)
class Open:
    """Supervisor: open a sandbox. Beside it: the pipes for stdin, stdout and stderr."""

    sandbox: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Start:
    """Supervisor: execute the tool in an opened sandbox. begin: for a call, and not ahead of it."""

    sandbox: str
    begin: bool = True


@dataclass(frozen=True, slots=True)
class Begin:
    """Supervisor: a sandbox that was started ahead gets its call; time and usage count from now."""

    sandbox: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Supervisor: ask the tool to end (SIGTERM), and kill the sandbox `grace_ms` later."""

    sandbox: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Supervisor: kill a sandbox; `EndedMessage` follows as for any other end."""

    sandbox: str


@dataclass(frozen=True, slots=True)
class Capture:
    """Supervisor: let a sandbox stand still, and look at it; then kill it, or let it go on.
    `CapturedMessage` follows, unless the sandbox is over."""

    sandbox: str
    kill: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Supervisor: say when you are here. `Pong` with the same number follows once everything that
    was sent before has been acted on."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Launcher: it has acted on all that was sent before this Ping."""

    number: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Launcher, first: who it is, and what it cannot enforce on this host (control, reason)."""

    engine: str
    pid: int
    version: str
    cgroup_mode: str
    unenforceable: tuple[tuple[str, str], ...]
    swept: int


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """Launcher: the sandbox is complete, proven, and has run nothing."""

    sandbox: str
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class StartedMessage:
    """Launcher: the tool runs under its filter; feed it."""

    sandbox: str
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class BegunMessage:
    """Launcher: what a sandbox that was started ahead uses counts from here; feed it."""

    sandbox: str


@dataclass(frozen=True, slots=True)
class DeniedMessage:
    """Launcher, while a sandbox runs: its processes were killed for so many system calls by now.
    Sent as the count doubles, so that a flood of them is few messages.

    ahead: its tool was started ahead and made them before its call, whose they are not.
    """

    sandbox: str
    count: int
    kills: int = 0
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """Launcher: what a look at a sandbox found, in the file beside it (`kernel.forensics`), or,
    with none, why nothing. syscalls: those its processes were killed for until then."""

    sandbox: str
    reason: str = ""
    syscalls: Syscalls = field(default_factory=Syscalls)


@dataclass(frozen=True, slots=True)
class ArtifactMessage:
    """One entry of /out. Collected ones have a descriptor beside the message, in order."""

    name: str
    size: int
    refused: str


@dataclass(frozen=True, slots=True)
class EndedMessage:
    """Launcher: everything in the sandbox is dead and its cgroup empty.

    stopped: why the launcher itself killed it: `cpu_time`, or `timeout` for a supervisor that
        does not hold its deadline; empty when it did not.
    held_seconds: how long it was stopped for making the kernel record too many system calls.
    """

    sandbox: str
    exit_code: int | None
    signal: int | None
    executed: bool
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    pids_peak: int | None
    oom_kills: int
    artifacts: tuple[ArtifactMessage, ...]
    counters: Counters = field(default_factory=Counters)
    stopped: Literal["", "cpu_time", "timeout"] = ""
    syscalls: Syscalls = field(default_factory=Syscalls)
    held_seconds: float = 0.0


UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Refused:
    """Launcher: a plan it will not run, or a sandbox that could not be made or proven.

    code: `plan_refused`, `engine_error`, or UNUSED: it failed before it was told to start, so that
    nothing of its tool was ever executed. Nothing of the sandbox is left.
    """

    sandbox: str
    code: str
    control: str
    cause: str
    detail: str


ToLauncher = Open | Start | Begin | Stop | Kill | Capture | Ping
FromLauncher = (
    Hello
    | Pong
    | OpenedMessage
    | StartedMessage
    | BegunMessage
    | DeniedMessage
    | CapturedMessage
    | EndedMessage
    | Refused
)

TO_LAUNCHER: Final[Mapping[str, type[ToLauncher]]] = {
    cls.__name__: cls for cls in (Open, Start, Begin, Stop, Kill, Capture, Ping)
}
FROM_LAUNCHER: Final[Mapping[str, type[FromLauncher]]] = {
    cls.__name__: cls
    for cls in (
        Hello,
        Pong,
        OpenedMessage,
        StartedMessage,
        BegunMessage,
        DeniedMessage,
        CapturedMessage,
        EndedMessage,
        Refused,
    )
}
Word = TypeVar("Word")


_JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def pack(message: ToLauncher | FromLauncher) -> bytes:
    """One packet.

    Raises:
        ProtocolError: the message does not fit; nothing was sent.
    """
    body = {"type": type(message).__name__, **encode(message)}
    data = _JSON.encode(body).encode()
    if len(data) > MAX_MESSAGE:
        raise ProtocolError(
            f"a message of {len(data)} bytes exceeds {MAX_MESSAGE}",
            "shorten the tool's command or environment",
        )
    return data


def unpack(data: bytes, allowed: Mapping[str, type[Word]]) -> Word:
    """Decode one packet of an allowed type, by name, or raise ProtocolError."""
    if len(data) > MAX_MESSAGE:
        raise ProtocolError("the message is too long")
    try:
        body = json.loads(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the message is no JSON") from error
    kind = body.pop("type", None) if isinstance(body, dict) else None
    if not isinstance(kind, str) or kind not in allowed:
        raise ProtocolError("the message has no type that is allowed here")
    return decode(allowed[kind], body)


def receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """One packet and its descriptors, all close-on-exec; b"" at end of file.

    Raises:
        ProtocolError: the packet or its descriptors were truncated; none of them is kept.
        BlockingIOError: nothing to read.
    """
    # Not socket.recv_fds: it drops its flags (CPython through 3.13), and with MSG_CMSG_CLOEXEC
    # the only thing that keeps one sandbox's pipes out of the next.
    item = array.array("i").itemsize
    data, control, flags, _ = channel.recvmsg(
        MAX_MESSAGE + 1, socket.CMSG_SPACE(MAX_DESCRIPTORS * item), socket.MSG_CMSG_CLOEXEC
    )
    found = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % item])
    descriptors = list(found)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors)
        raise ProtocolError("the message was truncated")
    return data, descriptors


def close_all(descriptors: list[int]) -> None:
    """Close descriptors that came with a message that is not acted on."""
    for fd in descriptors:
        os.close(fd)
