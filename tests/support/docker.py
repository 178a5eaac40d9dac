"""A private Docker Engine for tests, and the real launcher that uses it, spoken to directly."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fumehood.launcher import messages as m
from fumehood.model.plan import DockerLaunch, DockerSettings, Limits, Plan
from support.launcher import CEILING, Process, ceilings, plan, started

ACCOUNT = 1_900_000_888
"""Nobody else's on a machine where several suites run."""
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

    def revive(self) -> None:
        """Running and without containers, whatever a test did to it."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if str(self.folder) in Path(f"/proc/{self.pid}/cmdline").read_text():
                self.signal(signal.SIGCONT)
        self.start()
        if left := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", *left)


@dataclass(frozen=True)
class Call:
    """One whole life of a sandbox. end: its last message."""

    end: m.EndedMessage | m.Refused
    out: bytes
    err: bytes
    proofs: dict[str, str]


class DockerProcess(Process):
    """A Docker launcher and the supervisor's end of its channel."""

    def opened(self, name: str, wanted: Plan) -> tuple[tuple[int, int, int], dict[str, str]]:
        """A sandbox that is open and held: our ends of its pipes, and what was proven."""
        ends = self.open(name, wanted)
        message = self.receive()
        assert isinstance(message, m.OpenedMessage), message
        return ends, {proof.control: proof.value for proof in message.proofs}

    def start(self, name: str) -> dict[str, str]:
        self.send(m.Start(name, begin=True))
        message = self.receive()
        assert isinstance(message, m.StartedMessage), message
        return {proof.control: proof.value for proof in message.proofs}

    def call(self, name: str, wanted: Plan, stdin: bytes = b"{}") -> Call:
        """Opened, started, fed and read to the end."""
        ends, proofs = self.opened(name, wanted)
        proofs |= self.start(name)
        out, err = self.talk(ends, stdin)
        return Call(self.last(), out, err, proofs)

    def last(self) -> m.EndedMessage | m.Refused:
        while isinstance(message := self.receive(), m.DeniedMessage):
            continue  # told as soon as it happens; the end tells it again
        assert isinstance(message, m.EndedMessage | m.Refused), message
        return message

    def talk(self, ends: tuple[int, int, int], stdin: bytes) -> tuple[bytes, bytes]:
        """Feed stdin as fast as it is taken; read stdout and stderr until both have ended."""
        feed, out, err = ends
        found = {out: b"", err: b""}
        left = memoryview(stdin)
        with selectors.DefaultSelector() as selector:
            for fd in found:
                selector.register(fd, selectors.EVENT_READ)
            os.set_blocking(feed, False)
            selector.register(feed, selectors.EVENT_WRITE)
            while len(selector.get_map()) > 0:
                ready = selector.select(timeout=60)
                assert ready, "nothing moves"
                for key, _ in ready:
                    fd = key.fd
                    if fd == feed:
                        with contextlib.suppress(BlockingIOError, BrokenPipeError):
                            left = left[os.write(fd, left) :] if left else left
                            if left:
                                continue
                        selector.unregister(fd)
                        self._close(fd)
                        continue
                    data = os.read(fd, 1 << 16)
                    found[fd] += data
                    if not data:
                        selector.unregister(fd)
        return found[out], found[err]


def beside_bubblewrap(engine: Engine) -> dict[str, object]:
    """The part of a configuration that lets a daemon run tools in this engine too."""
    return {"engines": ["bubblewrap", "docker"], "docker": {"socket": engine.socket}}


def docker_plan(*argv: str, **changes: object) -> Plan:
    """A plan that the Docker launcher accepts, unless `changes` break it."""
    usual: dict[str, object] = {
        "engine": "docker",
        "uid": ACCOUNT,
        "gid": ACCOUNT,
        "environment": (("HOME", "/tmp"), ("PATH", "/usr/bin:/bin")),
    }
    return plan(*argv, **(usual | changes))


def start_docker_launcher(
    store: Path,
    engine: Engine,
    *,
    limits: Limits = CEILING,
    runtimes: tuple[str, ...] = ("runc",),
    accepted: tuple[str, ...] = (),
    image_store: str = "",
    socket_path: str = "",
    own_profiles: str = "",
) -> DockerProcess:
    """Start a Docker launcher as root; the caller closes or kills it."""
    more = {"accepted": accepted, "image_store": image_store, "own_profiles": own_profiles}
    given = ceilings(ACCOUNT, store, limits=limits, **more)
    settings = DockerLaunch(given, DockerSettings(socket_path or engine.socket, runtimes))
    return started(DockerProcess, "docker_process", settings, store, seconds=40)


@contextlib.contextmanager
def docker_launcher(
    store: Path,
    engine: Engine,
    *,
    runtimes: tuple[str, ...] = ("runc",),
    accepted: tuple[str, ...] = (),
    image_store: str = "",
    socket_path: str = "",
    own_profiles: str = "",
) -> Iterator[DockerProcess]:
    """A Docker launcher that is gone, with everything of it, afterwards."""
    process = start_docker_launcher(
        store,
        engine,
        runtimes=runtimes,
        accepted=accepted,
        image_store=image_store,
        socket_path=socket_path,
        own_profiles=own_profiles,
    )
    try:
        yield process
        process.close()
    finally:
        process.kill()
