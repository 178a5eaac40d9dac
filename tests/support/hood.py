"""A real daemon started as a user would start it, and its socket."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import fumehood
from fumehood.client import Client

START_SECONDS = 60
ACCOUNTS = {"first": int(os.environ.get("FUMEHOOD_TEST_ACCOUNTS", "1900000000")), "count": 10_000}
"""Of daemons whose test names no others; `scripts/test` runs three of them at a time."""
CONSOLE = "import sys; sys.path.insert(0, {path!r}); from fumehood.cli.main import main; main()"
LIMITS = {
    "timeout": "10s",
    "cpu": 1.0,
    "memory": "64MiB",
    "pids": 32,
    "scratch": "8MiB",
    "output": "1MiB",
}


SOURCES = Path(fumehood.__file__).resolve().parent.parent
ENVIRONMENT = Path(sys.executable).parent.parent
AS_USER = """
mount -t tmpfs -o mode=0755 none /mnt && mkdir /mnt/tree /mnt/env &&
mount --bind "$1" /mnt/tree && mount --bind "$2" /mnt/env && user=$3 && shift 3 &&
exec setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"
"""


def command(*words: str) -> list[str]:
    """argv of the command line, by this interpreter and this package."""
    return [sys.executable, "-I", "-c", CONSOLE.format(path=str(SOURCES)), *words]


def command_as(user: int, *words: str) -> list[str]:
    """The same as another UID, for whom tree and interpreter are shown where anybody may look:
    a clone may lie below a directory of root's."""
    python = f"/mnt/env/bin/{Path(sys.executable).name}"
    sources = f"/mnt/tree/{SOURCES.name}"
    argv = [python, "-I", "-c", CONSOLE.format(path=sources), *words]
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", AS_USER, "sh"]
    return [*shell, str(SOURCES.parent), str(ENVIRONMENT), str(user), *argv]


@dataclass
class Hood:
    """A running daemon. `process` is the keeper."""

    place: Path
    process: subprocess.Popen[bytes]
    log: Path
    user: int | None = None
    _sources: Path = field(default_factory=Path)

    @property
    def socket(self) -> Path:
        return self.place / "socket"

    @property
    def state(self) -> Path:
        return self.place / "state"

    def client(self) -> Client:
        """As the daemon's own user: a client believes no one else's daemon but root's."""
        if self.user is None:
            return Client.connect(self.socket, timeout=30)
        os.seteuid(self.user)
        try:
            return Client.connect(self.socket, timeout=30)
        finally:
            os.seteuid(0)

    def call(self, tool: str, arguments: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The fumehood/result object of one call."""
        with self.client() as client:
            return client.call(tool, arguments or {}, timeout=60)

    def status(self) -> dict[str, Any]:
        with self.client() as client:
            return client.status()

    def register(
        self,
        folder: Path | None,
        name: str,
        *,
        command: Sequence[str],
        limits: Mapping[str, object] | None = None,
        output_schema: Mapping[str, object] | None = None,
        files: Mapping[str, str] | None = None,
        run: Mapping[str, object] | None = None,
        **manifest: object,
    ) -> dict[str, Any]:
        """Register a tool from a folder, or from `files` (path to text). run: more keys of it."""
        packed = {path: (text.encode(), False) for path, text in (files or {}).items()}
        if folder is not None:
            packed |= {
                str(path.relative_to(folder)): (path.read_bytes(), os.access(path, os.X_OK))
                for path in folder.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            }
        text = {
            "name": name,
            "version": "1.0.0",
            "title": name,
            "description": f"A test tool named {name}.",
            "inputSchema": {"type": "object"},
            **({"outputSchema": dict(output_schema)} if output_schema else {}),
            "run": {
                "image": "host",
                "command": list(command),
                **({"files": "."} if packed else {}),
                **(run or {}),
            },
            "limits": {**LIMITS, **(limits or {})},
            **manifest,
        }
        with self.client() as client:
            return client.add_tool(yaml.safe_dump(text), packed)

    def cli(
        self, *words: str, check: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line against this daemon."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "FUMEHOOD_SOCKET": str(self.socket),
            "FUMEHOOD_STATE": str(self.state),
        }
        return subprocess.run(
            command(*words), env=environment, capture_output=True, text=True, timeout=120,
            check=check, **options,
        )  # fmt: skip

    def account(self, tool: str) -> int:
        with self.client() as client:
            return int(client.show_tool(tool)["account"])

    def alive(self, tool: str) -> list[int]:
        """PIDs that run as the tool's account or a leased one, which may be another tool's; the
        waiting bubblewraps of the pool left out."""
        found = processes_of(self.account(tool)) + processes_of(*self.leased)
        return [pid for pid in found if comm(pid) not in ("bwrap", "")]

    @property
    def leased(self) -> tuple[int, int]:
        """The accounts for leases: first and count, as `supervisor.leases.divide` has it:
        twice as many as there may be sandboxes, because those that die count, too."""
        config = json.loads((self.place / "config.yaml").read_text())
        accounts = {**ACCOUNTS, **config["accounts"]}
        wanted = 2 * (config.get("sandboxes", 64) + config.get("warm", 16))
        spare = min(wanted, accounts["count"] // 2)
        return accounts["first"] + accounts["count"] - spare, spare

    @property
    def supervisor(self) -> int:
        """PID of the supervisor."""
        launchers = self.status()["engines"].values()
        return next(pid for pid in children(self.process.pid) if pid not in launchers)

    @property
    def launcher(self) -> int:
        return int(self.status()["launcher_pid"])

    @property
    def instance(self) -> str:
        """Name of the launcher's cgroups, from the lock it holds on one of them."""
        base = f"/proc/{self.launcher}/fd"
        for name in os.listdir(base):
            with contextlib.suppress(OSError):
                target = Path(os.readlink(f"{base}/{name}"))
                if target.name.startswith("fumehood-"):
                    return target.name
        raise AssertionError("the launcher holds no cgroup")

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM to the keeper; its exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def hood(
    place: Path | None = None,
    *,
    config: Mapping[str, object] | None = None,
    user: int | None = None,
    words: Sequence[str] = (),
    entry: Callable[..., list[str]] = command,
    environ: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> Iterator[Hood]:
    """Start a daemon and stop it afterwards.

    place: its folder, kept; a temporary one when None. user: start it as this UID.
    entry: makes its argv. environ: added to the environment. descriptors: inherited.
    """
    with contextlib.ExitStack() as stack:
        if place is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hood-")))
            place.chmod(0o755)
        if user is not None:
            os.chown(place, user, user)
        configuration = place / "config.yaml"
        configuration.write_text(json.dumps({"accounts": ACCOUNTS, **(config or {})}))
        log = place / "log"
        options = [
            "serve", "--socket", str(place / "socket"), "--state", str(place / "state"),
            "--config", str(configuration), *words,
        ]  # fmt: skip
        argv = entry(*options) if user is None else command_as(user, *options)
        if user is not None:
            os.chown(configuration, user, user)
        readable, writable = os.pipe()
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*argv, "--ready-fd", str(writable)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=(writable, *descriptors),
                start_new_session=True,
                cwd=place,
                env={**os.environ, **(environ or {})}
                if user is None
                else {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        os.close(writable)
        ready, _, _ = select.select([readable], [], [], START_SECONDS)
        began = bool(ready) and os.read(readable, 1) == b"1"
        os.close(readable)
        running = Hood(place, process, log, user)
        try:
            assert began, f"the daemon did not start: {log.read_text()}"
            yield running
        finally:
            if process.poll() is None:
                try:
                    running.stop()
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def comm(pid: int) -> str:
    """The name of a process, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def processes_of(uid: int, count: int = 1) -> list[int]:
    """Living processes (no zombies) with this real UID, or one of `count` from it on."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                text = Path(entry.path, "status").read_text()
                fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
                real = int(fields["Uid"].split()[0])
                if uid <= real < uid + count and not fields["State"].startswith("Z"):
                    found.append(int(entry.name))
    return found


def cgroups(instance: str) -> list[str]:
    """The cgroups of one launcher, by its instance's name, in whatever hierarchy."""
    return [
        os.path.join(directory, instance)
        for directory, names, _ in os.walk("/sys/fs/cgroup")
        if instance in names
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition that no event announces."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        select.select([], [], [], 0.02)


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
