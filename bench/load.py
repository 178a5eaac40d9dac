"""Many callers at once from one small process: connections on an epoll, one call in flight each.

Frames are made once and answers only searched for their status, because on a small machine every
microsecond of the generator is taken from the daemon it measures.
"""

from __future__ import annotations

import json
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fumehood import connection

_OK = (b'"status":"ok"', b'"status": "ok"')
_RECEIVE = 256 * 1024


@dataclass(slots=True)
class Load:
    """What came back within the window."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    first_failure: str = ""


def frame(tool: str, arguments: dict[str, Any]) -> bytes:
    """One tools/call, as the client sends it."""
    params = {"name": tool, "arguments": arguments, "_meta": _envelope()}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _envelope() -> dict[str, Any]:
    return {
        "io.modelcontextprotocol/protocolVersion": connection.PROTOCOL_VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }


def connect(path: Path, count: int) -> list[socket.socket]:
    """That many connections."""
    made = []
    for _ in range(count):
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.connect(str(path))  # without a timeout: with one, a full backlog is an error at once
        one.settimeout(30)
        made.append(one)
    return made


def drive(path: Path, data: bytes, callers: int, seconds: float, most: int = 10**9) -> Load:
    """Calls without pause from `callers` connections until `seconds` are over or `most` were
    made; the calls still in flight then are waited for, and count."""
    peers = connect(path, callers)
    buffers = {peer.fileno(): bytearray() for peer in peers}
    by_fd = {peer.fileno(): peer for peer in peers}
    poll = select.epoll()
    for peer in peers:
        poll.register(peer.fileno(), select.EPOLLIN)
    load = Load()
    begin = time.perf_counter()
    for peer in peers:
        peer.sendall(data)
    live = sent = len(peers)
    try:
        while live:
            for fd, _ in poll.poll(60):
                received = by_fd[fd].recv(_RECEIVE)
                buffers[fd] += received
                if received and b"\n" not in received:
                    continue
                _count(load, bytes(buffers[fd]), over=not received)
                buffers[fd].clear()
                more = time.perf_counter() - begin < seconds and sent < most
                if received and more:
                    by_fd[fd].sendall(data)
                    sent += 1
                else:
                    live -= 1
                    poll.unregister(fd)
        load.seconds = time.perf_counter() - begin
    finally:
        poll.close()
        for peer in peers:
            peer.close()
    return load


def _count(load: Load, answer: bytes, *, over: bool) -> None:
    if not over and any(word in answer for word in _OK):
        load.calls += 1
        return
    load.failures += 1
    load.first_failure = load.first_failure or answer[:300].decode(errors="replace")
