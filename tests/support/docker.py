"""A private Docker Engine for tests, and the real launcher that uses it, spoken to directly."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fumehood.launcher import keeper
from fumehood.launcher import messages as m
from fumehood.model.codec import encode
from fumehood.model.plan import Ceilings, DockerLaunch, DockerSettings, Limits
from fumehood.resources import profile_directory
from support.launcher import ACCOUNT, CEILING, Process

SCRIPT = Path(__file__).parents[2] / "scripts" / "dockerd-for-tests"


@dataclass(frozen=True)
class Engine:
    """A private dockerd below one folder."""

    folder: Path

    @property
    def socket(self) -> str:
        return str(self.folder / "docker.sock")

    @property
    def pid(self) -> int:
        return int((self.folder / "docker.pid").read_text())

    def docker(self, *words: str) -> str:
        """Run the docker command line against it; its output."""
        argv = ["docker", "--host", f"unix://{self.socket}", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def start(self) -> None:
        subprocess.run([SCRIPT, "start", self.folder], check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        subprocess.run([SCRIPT, "stop", self.folder], check=True)


@contextlib.contextmanager
def docker_launcher(
    store: Path,
    engine: Engine,
    *,
    limits: Limits = CEILING,
    runtimes: tuple[str, ...] = ("runc",),
    accepted: tuple[str, ...] = (),
    image_store: str = "",
    socket_path: str = "",
) -> Iterator[Process]:
    """Start a Docker launcher as root; it is gone, with everything of it, afterwards."""
    ceilings = Ceilings(
        uid_first=ACCOUNT,
        uid_count=4,
        uid_own=-1,
        store=str(store),
        profiles=str(profile_directory()),
        images=("host",),
        limits=limits,
        sandboxes=8,
        accepted=accepted,
        image_store=image_store,
    )
    settings = DockerLaunch(ceilings, DockerSettings(socket_path or engine.socket, runtimes))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("settings")
    os.write(memory, json.dumps(encode(settings)).encode())
    os.lseek(memory, 0, os.SEEK_SET)
    pid = os.posix_spawn(
        sys.executable,
        keeper._python("docker_process", "3", "4"),
        keeper._environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
            (os.POSIX_SPAWN_DUP2, memory, 4),
        ],
    )
    theirs.close()
    os.close(memory)
    ours.settimeout(40)
    process = Process(pid, ours, store)
    try:
        hello = process.receive()
        assert isinstance(hello, m.Hello)
        process.hello = hello
        yield process
        process.close()
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        ours.close()
