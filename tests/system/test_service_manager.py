"""Under a service manager: told when ready, alive and stopping; given its socket; hardened.

There is no systemd here, so the tests are the manager: they hold the notification socket and the
listening socket, and start the daemon with what the unit leaves it.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import select
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fumehood.client import Client
from fumehood.errors import DaemonUnreachable, FumehoodError
from support.hood import Hood, command, eventually, hood, processes_of
from support.inside import faulty
from support.ledger import Ledger, records

DEPLOY = Path(__file__).parents[2] / "deploy" / "systemd"
ACCOUNTS = (1_957_000_000, 50)
ACCOUNTS_CONFIG = {"first": ACCOUNTS[0], "count": ACCOUNTS[1]}


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hood-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Call:
    """One call in a thread of its own, and how it ended."""

    def __init__(self, running: Hood, tool: str) -> None:
        self.end: dict[str, Any] | FumehoodError | None = None
        self._thread = threading.Thread(target=self._call, args=(running, tool))
        self._thread.start()

    def _call(self, running: Hood, tool: str) -> None:
        try:
            self.end = running.call(tool)
        except FumehoodError as error:
            self.end = error

    def join(self) -> dict[str, Any] | FumehoodError:
        self._thread.join(60)
        assert self.end is not None, "a caller waits in silence"
        return self.end


def sleeper(running: Hood, seconds: float) -> None:
    script = f"sleep {seconds}; echo done"
    running.register(None, "sleeper", command=["sh", "-c", script], limits={"timeout": "120s"})


def started(running: Hood, count: int) -> None:
    eventually(lambda: int(running.status()["running"]) == count, 30, "the calls run")


def test_what_runs_may_end_within_the_grace_and_what_waits_is_refused(place: Path) -> None:
    config = {"accounts": ACCOUNTS_CONFIG, "sandboxes": 1, "shutdown": {"grace": "60s"}}
    with hood(place, config=config) as running:
        sleeper(running, 4)
        client = running.client()
        first = Call(running, "sleeper")
        started(running, 1)
        second = Call(running, "sleeper")
        eventually(lambda: int(running.status()["waiting"]) == 1, 10, "one waits")
        running.process.send_signal(signal.SIGTERM)
        refused = second.join()
        assert isinstance(refused, dict)
        assert refused["status"] == "rejected"
        assert "stopping" in refused["message"]
        assert refused["retry_after"] > 0
        with client:
            late = client.call("sleeper", {})
        assert late["status"] == "rejected"
        with pytest.raises(DaemonUnreachable):
            Client.connect(running.socket)
        end = first.join()
        assert isinstance(end, dict)
        assert (end["status"], end["content"][0]["text"]) == ("ok", "done\n")
        assert running.process.wait(30) == 0
    Ledger.of(place / "state").check()
    assert records(place / "state")[-1]["event"] == "supervisor.stopped"


def test_a_second_signal_kills_at_once(place: Path) -> None:
    config = {"accounts": ACCOUNTS_CONFIG, "shutdown": {"grace": "10m"}}
    with hood(place, config=config) as running:
        sleeper(running, 100)
        call = Call(running, "sleeper")
        started(running, 1)
        running.process.send_signal(signal.SIGTERM)
        select.select([], [], [], 0.2)
        assert running.process.poll() is None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) != 0
        assert not processes_of(*ACCOUNTS)
        assert isinstance(call.join(), FumehoodError)
    assert len(Ledger.of(place / "state").open) == 1
    with hood(place, config=config):
        Ledger.of(place / "state").check()


def test_a_supervisor_that_does_not_end_is_killed(place: Path) -> None:
    config = {"accounts": ACCOUNTS_CONFIG, "shutdown": {"grace": "100ms"}}
    with hood(place, config=config, entry=faulty) as running:
        sleeper(running, 100)
        call = Call(running, "sleeper")
        started(running, 1)
        os.kill(running.supervisor, signal.SIGSTOP)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) != 0
        assert not processes_of(*ACCOUNTS)
        assert isinstance(call.join(), FumehoodError)
        assert "did not end in time" in running.log.read_text()
    assert len(Ledger.of(place / "state").open) == 1
    with hood(place, config=config):
        Ledger.of(place / "state").check()


class Manager:
    """The other end of sd_notify(3)."""

    def __init__(self, place: Path) -> None:
        self.address = str(place / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def wait_for(self, word: str, seconds: float) -> str:
        """The next message that has this line."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with contextlib.suppress(TimeoutError):
                message = self._socket.recv(4096).decode()
                if word in message.split("\n"):
                    return message
        raise AssertionError(f"no {word} within {seconds} s")

    def close(self) -> None:
        self._socket.close()

    def drain(self) -> list[str]:
        self._socket.setblocking(False)
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(4096).decode())
        return found


def test_the_manager_hears_of_ready_alive_and_stopping(place: Path) -> None:
    manager = Manager(place)
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with (
        contextlib.closing(manager),
        hood(place, config={"accounts": ACCOUNTS_CONFIG}, environ=environ) as running,
    ):
        manager.wait_for("READY=1", 30)
        for _ in range(3):
            manager.wait_for("WATCHDOG=1", 5)
        supervisor = running.supervisor
        os.kill(supervisor, signal.SIGSTOP)
        select.select([], [], [], 0.5)
        manager.drain()
        select.select([], [], [], 1.0)
        assert manager.drain() == [], "a stalled supervisor is reported alive"
        os.kill(supervisor, signal.SIGCONT)
        manager.wait_for("WATCHDOG=1", 5)
        running.process.send_signal(signal.SIGTERM)
        message = manager.wait_for("STOPPING=1", 10)
        assert "EXTEND_TIMEOUT_USEC=55000000" in message
        assert running.process.wait(30) == 0


def test_a_manager_that_does_not_listen_disturbs_nobody(place: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(place / "nobody"), "WATCHDOG_USEC": "nonsense"}
    with hood(place, config={"accounts": ACCOUNTS_CONFIG}, environ=environ) as running:
        assert running.status()["running"] == 0


def activated(listener: socket.socket) -> Any:
    """Starts the daemon as a manager does: the socket as descriptor 3, LISTEN_PID its own."""

    def entry(*words: str) -> list[str]:
        # `--ready-fd N` follows: only the socket is moved.
        script = f'export LISTEN_PID=$$; exec "$@" 3<&{listener.fileno()}'
        return ["bash", "-c", script, "bash", *command(*words)]

    return entry


def listening(path: Path, mode: int = 0o660) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(16)
    with listener:  # out of the way of 3, which the shell makes of it
        return socket.socket(fileno=os.dup2(listener.fileno(), 50, inheritable=True))


def test_a_passed_socket_is_served_left_alone_and_keeps_callers_over_a_restart(
    place: Path,
) -> None:
    listener = listening(place / "socket")
    options: dict[str, Any] = {
        "config": {"accounts": ACCOUNTS_CONFIG},
        "entry": activated(listener),
        "environ": {"LISTEN_FDS": "1"},
        "descriptors": [listener.fileno()],
    }
    with hood(place, **options) as running:
        running.register(None, "echo", command=["cat"])
        assert running.call("echo")["status"] == "ok"
        assert running.stop() == 0
    assert (place / "socket").is_socket(), "the manager's socket was removed"
    with Client.connect(place / "socket", timeout=60) as client, hood(place, **options):
        assert client.call("echo", {"a": 1}, timeout=60)["status"] == "ok"
    listener.close()


@pytest.mark.parametrize("harm", ["open to all", "two", "no socket"])
def test_a_passed_socket_that_will_not_do_stops_the_start(place: Path, harm: str) -> None:
    listener = listening(place / "socket", 0o666 if harm == "open to all" else 0o660)
    given = listener.fileno()
    if harm == "no socket":
        null = os.open("/dev/null", os.O_RDONLY)
        given = os.dup2(null, 51, inheritable=True)
        os.close(null)
    script = f'export LISTEN_PID=$$; exec "$@" 3<&{given}'
    words = ["serve", "--socket", str(place / "x"), "--state", str(place / "state")]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *command(*words)],
        env={**os.environ, "LISTEN_FDS": "2" if harm == "two" else "1"},
        pass_fds=(given,), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    listener.close()
    if given == 51:
        os.close(given)
    assert done.returncode == 2, done.stderr
    assert "error:" in done.stderr
    assert "socket" in done.stderr


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its manual says
    parser.read(DEPLOY / "fumehood.service")
    return parser["Service"]


def test_the_units_pass_systemds_own_check(tmp_path: Path) -> None:
    for name in ("fumehood.service", "fumehood.socket"):
        text = (DEPLOY / name).read_text()
        # The program need not be installed here for the unit to be right.
        (tmp_path / name).write_text(text.replace("/usr/bin/fumehood", "/usr/bin/true"))
    drop_in = tmp_path / "fumehood.service.d"
    units = [str(tmp_path / "fumehood.service"), str(tmp_path / "fumehood.socket")]
    for _ in range(2):  # then with the drop-in for Docker
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        drop_in.mkdir(exist_ok=True)
        (drop_in / "docker.conf").write_text((DEPLOY / "docker.conf").read_text())


def test_what_the_unit_leaves_is_enough(place: Path) -> None:
    """Its capabilities, no_new_privs, umask, a read-only host and private devices."""
    unit = service()
    kept = ",".join("+" + name.removeprefix("CAP_").lower()
                    for name in unit["CapabilityBoundingSet"].split())  # fmt: skip
    assert unit["NoNewPrivileges"] == "yes"

    def entry(*words: str) -> list[str]:
        # As systemd does: a slave mount namespace, the host read-only but for ReadWritePaths=.
        # Rebuilt from the unit by hand, so that a directive that breaks sandboxes shows.
        script = (
            f"mount --make-rslave / && mkdir {place}/root && mount --rbind / {place}/root && "
            f"cd {place}/root && mount -o remount,bind,ro . && "
            f"mount --bind {place} .{place} && mount --bind /var/cache var/cache && "
            "mount -t tmpfs none home && pivot_root . mnt && umount --lazy /mnt && cd / && "
            f"umask {unit['UMask']} && "
            f"exec setpriv --bounding-set=-all,{kept} --no-new-privs {shlex.join(command(*words))} "
            '"$@"'
        )
        return ["unshare", "--mount", "sh", "-ec", script, "sh"]

    with hood(place, config={"accounts": ACCOUNTS_CONFIG}, entry=entry) as running:
        running.register(None, "echo", command=["cat"], files={"main.py": "print()"})
        result = running.call("echo", {"a": 1})
        assert result["status"] == "ok", (result, running.log.read_text())
        assert result["enforced"]["uid"] >= ACCOUNTS[0]
        assert result["enforced"]["not_enforced"] == []
