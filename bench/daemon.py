"""Our daemon, started as a user starts it, for measuring; and tools registered at a level.

A level is what is paid before the call: `none` opens the sandbox when it is called, `opened` has
it open before, `started` has the tool itself running and waiting on stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ROOT, RUNTIME
from bench.peers import Competitor
from bench.peers.base import PeerUnavailable, Place, Work
from fumehood.client import Client
from fumehood.errors import FumehoodError, ManifestError

LEVELS = ("none", "opened", "started")
START_SECONDS = 120.0
STOP_SECONDS = 30.0
_CONSOLE = "import sys; sys.path.insert(0, {path!r}); from fumehood.cli.main import main; main()"
ROOMY = {"connections": 1024}
"""One account makes all calls here, and none holds more connections than are left for others."""
LIMITS = {
    "timeout": "60s",
    "cpu": 2.0,
    "memory": "256MiB",
    "pids": 32,
    "scratch": "8MiB",
    "output": "1MiB",
}


def console() -> list[str]:
    """argv of the command line: of `.venv` unless FUMEHOOD_PYTHON names another."""
    own = ROOT / ".venv" / "bin" / "python"
    python = os.environ.get("FUMEHOOD_PYTHON") or (str(own) if own.exists() else sys.executable)
    return [python, "-I", "-c", _CONSOLE.format(path=RUNTIME)]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon; `process` is its keeper."""

    folder: Path
    process: subprocess.Popen[bytes]
    state: Path

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def client(self) -> Client:
        return Client.connect(self.socket, timeout=60)

    def launcher(self) -> int:
        """PID of the launcher."""
        with self.client() as client:
            return int(client.status()["launcher_pid"])

    def supervisor(self) -> int:
        """PID of the supervisor."""
        launcher = self.launcher()
        keeper = self.process.pid
        words = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return next(int(word) for word in words if int(word) != launcher)

    def add(
        self,
        work: Work,
        name: str,
        *,
        warm: str = "",
        limits: Mapping[str, object] | None = None,
        engine: str = "",
        runtime: str = "",
    ) -> None:
        """Register `work` as a tool. warm, engine, runtime: of `run`, left out when empty."""
        files: dict[str, tuple[bytes, bool]] = {}
        if work.folder:
            top = Path(work.folder)
            files = {
                str(path.relative_to(top)): (path.read_bytes(), os.access(path, os.X_OK))
                for path in top.rglob("*")
                if path.is_file()
            }
        run: dict[str, Any] = {"image": "host", "command": list(work.argv)}
        run |= {"files": "."} if files else {}
        run |= {"warm": warm} if warm else {}
        run |= {"engine": engine} if engine else {}
        run |= {"runtime": runtime} if runtime else {}
        manifest = {
            "name": name,
            "version": "1.0.0",
            "description": f"Benchmark: {work.name}.",
            "inputSchema": {"type": "object"},
            "run": run,
            "limits": {**LIMITS, **(limits or {})},
        }
        with self.client() as client:
            client.add_tool(json.dumps(manifest), files)


@contextlib.contextmanager
def daemon(
    place: Place,
    name: str,
    *,
    config: Mapping[str, object] | None = None,
    argv: list[str] | None = None,
    state: Path | None = None,
) -> Iterator[Daemon]:
    """Start one below `place.folder` and stop it afterwards.

    argv: instead of `console()`. state: the state of an earlier one, instead of a new one.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=place.folder))
    folder.chmod(0o755)
    (folder / "config.yaml").write_text(json.dumps(dict(config or {})))
    readable, writable = os.pipe()
    words = ["serve", "--ready-fd", str(writable), "--config", str(folder / "config.yaml")]
    state = state or folder / "state"
    words += ["--socket", str(folder / "socket"), "--state", str(state)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*(argv or console()), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writable,),
            start_new_session=True,
            cwd=folder,
        )
    os.close(writable)
    ready, _, _ = select.select([readable], [], [], START_SECONDS)
    began = bool(ready) and os.read(readable, 1) == b"1"
    os.close(readable)
    try:
        if not began:
            raise PeerUnavailable(
                f"the daemon did not start: {(folder / 'log').read_text()[-500:]}"
            )
        yield Daemon(folder, process, state)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Levels:
    """Daemons that offer one piece of work at every level that this version has."""

    def __init__(self, stack: contextlib.ExitStack, place: Place) -> None:
        self._stack = stack
        self._place = place
        self.warm = stack.enter_context(daemon(place, "daemon", config=ROOMY))
        self._cold: Daemon | None = None

    def offer(self, work: Work, level: str) -> Competitor | str:
        """Register `work` at `level`: our row for it, or why there is none."""
        name = f"{work.name}-{level}"
        where = self.warm
        try:
            self.warm.add(work, name, warm=level)
        except ManifestError as error:
            if "warm" not in str(error):
                raise
            # This version has no `run.warm`: two of the levels exist all the same.
            if level == "started":
                return f"this version has no such level ({error.cause})"
            if level == "none":
                where = self._cold = self._cold or self._start_cold()
            where.add(work, name)
        except FumehoodError as error:
            return str(error)
        options = {"socket": str(where.socket), "tool": name, "console": console()}
        return Competitor(f"fumehood {level}", "fumehood:Fumehood", options=options)

    def _start_cold(self) -> Daemon:
        return self._stack.enter_context(
            daemon(self._place, "daemon-cold", config={**ROOMY, "warm": 0})
        )
