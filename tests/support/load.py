"""Many calls at once on few connections, as a busy agent sends them."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.hood import Hood

SEND_SECONDS = 10
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Pipeline:
    """One connection with many calls under way. Closing it cancels what is left."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._socket.setblocking(False)
        self._received = bytearray()
        self._unsent = bytearray()
        self._next = 0
        self.waiting = 0

    def send(self, tool: str, count: int, arguments: Mapping[str, object] | None = None) -> None:
        for _ in range(count):
            self._next += 1
            params = {"name": tool, "arguments": dict(arguments or {}), "_meta": META}
            message = {"jsonrpc": "2.0", "id": self._next, "method": "tools/call", "params": params}
            self._unsent += json.dumps(message).encode() + b"\n"
        self.waiting += count
        while self._unsent:
            select.select([], [self._socket], [], SEND_SECONDS)
            self._push()

    def answers(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Answers as they come, until all are there or the time is over: `fumehood/result`
        objects, or JSON-RPC errors as `{"error": …}`."""
        deadline = time.monotonic() + seconds
        while self.waiting and (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._socket], [], [], left)
            if not readable:
                continue
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError(f"{self.waiting} calls have no answer")
            self._received += data
            while (end := self._received.find(b"\n")) >= 0:
                message = json.loads(self._received[:end])
                del self._received[: end + 1]
                if "id" in message:
                    self.waiting -= 1
                    yield _result(message)

    def _push(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent[: 1 << 16])]
        except BlockingIOError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._socket.close()


def _result(message: dict[str, Any]) -> dict[str, Any]:
    if "error" in message:
        return {"status": "error", "error": message["error"]}
    return dict(message["result"]["_meta"]["fumehood/result"])


def rss(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@dataclass(frozen=True)
class Flat:
    """RSS of a supervisor in bytes: after the `first` calls, at its most after them, and at the
    end. descriptors: how many were open, then and at the end. seconds: how long it took."""

    stood: int
    most: int
    stands: int
    descriptors: tuple[int, int]
    seconds: float


def flat_memory(
    running: Hood,
    calls: int,
    *,
    first: int,
    at_once: int = 4,
    every: int = 100,
    told: Callable[[int, int], None] = lambda done, size: None,
) -> Flat:
    """Calls with 1 MB of output each, and how the supervisor's RSS stood: at no look after the
    `first` of them more than 20 % above where it was then. A look each `every` calls, which
    `told` is called with."""
    running.register(
        None,
        "megabyte",
        command=["seq", "160000"],
        limits={"output": "2MiB", "timeout": "60s"},
    )
    supervisor, began = running.supervisor, time.monotonic()
    stood = most = done = 0
    open_then = 0
    with Pipeline(running.socket) as caller:
        caller.send("megabyte", min(at_once, calls))
        for answer in caller.answers(3600):
            done += 1
            assert answer["status"] == "ok", answer["message"]
            assert len(answer["content"][0]["text"]) >= 1_000_000
            if done + caller.waiting < calls:
                caller.send("megabyte", 1)
            if done == first:
                stood, open_then = rss(supervisor), len(os.listdir(f"/proc/{supervisor}/fd"))
            if done % every == 0 or done == calls:
                told(done, size := rss(supervisor))
                most = max(most, size) if done >= first else 0
    assert done == calls, f"{done} of {calls} calls were answered"
    stands = rss(supervisor)
    open_now = len(os.listdir(f"/proc/{supervisor}/fd"))
    assert most <= stood * 1.2, f"{stood} bytes after {first} calls, {most} later"
    return Flat(stood, most, stands, (open_then, open_now), time.monotonic() - began)
