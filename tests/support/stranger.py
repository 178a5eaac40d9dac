"""Peers of a daemon under other UIDs: processes of their own, as SO_PEERCRED is not pretended."""

from __future__ import annotations

import contextlib
import grp
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

GROUP = "users"
"""A group that every Debian has; the daemon's `socket_group` in these tests."""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "stranger", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
    "fumehood/answer_cancelled": True,
}
_ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(sys.argv[2].encode() + b"\\n")
sys.stdout.write(peer.makefile().readline())
"""


class Stranger:
    """A caller with this UID."""

    def __init__(self, socket: Path, uid: int) -> None:
        self._socket = socket
        self.uid = uid

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """The whole answer to one request."""
        out, _ = self._send(method, params).communicate(timeout=60)
        answer = json.loads(out)
        assert isinstance(answer, dict)
        return answer

    def call(self, tool: str, arguments: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The fumehood/result of a call, or the error in its place."""
        params = {"name": tool, "arguments": dict(arguments or {}), "_meta": META}
        answer = self.ask("tools/call", **params)
        if "error" in answer:
            return {"status": "refused", **answer["error"]["data"]}
        result = answer["result"]["_meta"]["fumehood/result"]
        assert isinstance(result, dict)
        return result

    @contextlib.contextmanager
    def calling(
        self, tool: str, arguments: Mapping[str, object] | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A call that waits in another process; its answer is what that prints."""
        params = {"name": tool, "arguments": dict(arguments or {}), "_meta": META}
        process = self._send("tools/call", params)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def _send(self, method: str, params: Mapping[str, object]) -> subprocess.Popen[str]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
        return subprocess.Popen(
            ["/usr/bin/python3", "-I", "-c", _ASK, str(self._socket), json.dumps(message)],
            stdout=subprocess.PIPE,
            text=True,
            user=self.uid,
            group=grp.getgrnam(GROUP).gr_gid,
            extra_groups=[],
            cwd="/",
        )
