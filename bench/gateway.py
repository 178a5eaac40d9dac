"""What the gateway adds to one call: server CPU and wall time in µs, with no sandbox behind it.

    PYTHONPATH=runtime:tests python bench/gateway.py [CALLS]

The server is a process of its own with a supervisor of memory; the peer is a bare socket, so
that no client's cost is in the numbers. Wall times of a busy machine mean little: compare CPU.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import structlog

from support.gateway import MODERN, FakeSupervisor, serving

ARGUMENTS = {"text": "to be or not to be"}


def frame(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def modern(request_id: int) -> bytes:
    params = {"name": "echo", "arguments": ARGUMENTS, "_meta": MODERN}
    return frame(id=request_id, method="tools/call", params=params)


def handshake(request_id: int) -> bytes:
    return frame(
        id=request_id, method="tools/call", params={"name": "echo", "arguments": ARGUMENTS}
    )


def beside_mcp(request_id: int) -> bytes:
    return frame(id=request_id, method="fumehood/status", params={})


def refused(_request_id: int) -> bytes:
    return b"no JSON\n"


async def serve(path: Path) -> None:
    async with serving(FakeSupervisor(), path):
        await anyio.sleep_forever()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, path: Path, pid: int, make: Callable[[int], bytes], calls: int) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        answers = peer.makefile("rb")
        if make is handshake:
            info = {"name": "bench", "version": "1"}
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
            peer.sendall(frame(id=0, method="initialize", params=params))
            answers.readline()
            peer.sendall(frame(method="notifications/initialized"))
        walls, before = [], cpu_seconds(pid)
        for request_id in range(1, calls + 1):
            start = time.perf_counter()
            peer.sendall(make(request_id))
            answers.readline()
            walls.append((time.perf_counter() - start) * 1e6)
        cpu = (cpu_seconds(pid) - before) / calls * 1e6
        answers.close()
    print(f"{name:28} cpu {cpu:6.0f}  wall median {statistics.median(walls):6.0f}  "
          f"least {min(walls):6.0f}  µs")  # fmt: skip


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    path = Path(tempfile.mkdtemp()) / "s"
    pid = os.fork()
    if pid == 0:
        anyio.run(serve, path)
    try:
        while not path.exists():
            time.sleep(0.05)
        measure("refused frame", path, pid, refused, calls)
        measure("fumehood/status (no SDK)", path, pid, beside_mcp, calls)
        measure("tools/call, handshake era", path, pid, handshake, calls)
        measure("tools/call, 2026-07-28", path, pid, modern, calls)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
