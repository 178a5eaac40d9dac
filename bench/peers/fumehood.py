"""Ours, through the daemon's socket with everything on, as any caller reaches it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from bench.peers.base import PeerFailed, Place, Work
from bench.spawn import ENVIRONMENT
from fumehood.client import Client

TIMEOUT_SECONDS = 60.0


class Fumehood:
    """options: `socket`, `tool`; `fresh`: a new connection for each call."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        self._socket = Path(options["socket"])
        self._tool = str(options["tool"])
        self._arguments = work.arguments
        self._kept = None if options.get("fresh") else self._connect()

    def _connect(self) -> Client:
        return Client.connect(self._socket, timeout=TIMEOUT_SECONDS)

    def call(self) -> bytes:
        if self._kept is not None:
            return self._call(self._kept)
        with self._connect() as client:
            return self._call(client)

    def _call(self, client: Client) -> bytes:
        result = client.call(self._tool, self._arguments, timeout=TIMEOUT_SECONDS)
        if result["status"] != "ok":
            raise PeerFailed(f"status {result['status']}: {result.get('message', '')}")
        return str(result["content"][0]["text"]).encode()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()


class CommandLine:
    """`fumehood call`: a process for each call, as `docker run` is. options: `python`,
    `console` (the argv that is the command line), `socket`, `tool`."""

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:  # noqa: ARG002
        self._argv = [*options["console"], "call", str(options["tool"]), "-"]
        self._environment = {**ENVIRONMENT, "FUMEHOOD_SOCKET": str(options["socket"])}
        self._environment["HOME"] = os.environ.get("HOME", "/")
        self._stdin = work.stdin

    def call(self) -> bytes:
        done = subprocess.run(
            self._argv, input=self._stdin, capture_output=True, check=False, env=self._environment
        )
        if done.returncode:
            raise PeerFailed(done.stderr.decode(errors="replace")[-200:])
        return done.stdout

    def close(self) -> None:
        """Nothing is held."""
