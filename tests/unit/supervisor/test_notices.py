"""A notice is told until it was taken, is kept meanwhile, and never lost in silence."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fumehood.audit.incident import Incident
from fumehood.crypto.files import write_private
from fumehood.errors import ConfigError
from fumehood.model.forward import ForwardSpec
from fumehood.model.incident_rules import IncidentSpec
from fumehood.model.telemetry import TelemetrySpec
from fumehood.supervisor import notices
from fumehood.supervisor.notices import Notices, Waiting, channels, signature
from fumehood.supervisor.posting import Link

INCIDENT = Incident("i-1", "canary", "echo", "d", 7, "now", "v", capture={"data": "secret"})

_REFUSED = ConnectionRefusedError("refused")


class Scene:
    """Notices whose one channel fails as often as is wanted."""

    def __init__(
        self,
        tmp_path: Path,
        failures: int = 0,
        clock: Callable[[], float] = time.monotonic,
        error: Exception = _REFUSED,
    ) -> None:
        self.failures, self.error = failures, error
        self.sent: list[tuple[str, dict[str, object]]] = []
        self.told: list[tuple[str, str]] = []
        self.done, self.failed = asyncio.Event(), asyncio.Event()
        self.folder = tmp_path / "notices"
        self.notices = Notices(self.folder, {"webhook": self._send}, self._told, clock)

    def _send(self, name: str, body: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
        self.sent.append((name, json.loads(body)))

    def _told(self, item: Waiting, why: str) -> None:
        self.told.append((item.channel, why))
        self.failed.set()
        if not why or why.startswith("given up"):
            self.done.set()

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*.json"))


def test_it_is_tried_again_until_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "FIRST_RETRY_SECONDS", 0.0)

    async def scene() -> None:
        at = Scene(tmp_path, failures=3)
        at.notices.start()
        at.notices.add(INCIDENT)
        assert at.kept == ["i-1-webhook.json"], "on disk before it is sent"
        await asyncio.wait_for(at.done.wait(), 60)
        assert at.told == [("webhook", "ConnectionRefusedError: refused"), ("webhook", "")]
        ((name, body),) = at.sent
        assert (name, body["signal"]) == ("i-1-webhook", "canary")
        assert "secret" not in json.dumps(body)
        assert at.kept == []
        at.notices.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "error", [UnicodeEncodeError("ascii", "\u00e4", 0, 1, "no"), RuntimeError("no new thread")]
)
def test_no_error_of_a_channel_silences_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(notices, "FIRST_RETRY_SECONDS", 0.0)

    async def scene() -> None:
        at = Scene(tmp_path, failures=2, error=error)
        at.notices.start()
        at.notices.add(INCIDENT)
        (task,) = at.notices._tasks
        done = asyncio.ensure_future(at.done.wait())
        await asyncio.wait({task, done}, return_when=asyncio.FIRST_COMPLETED)
        assert at.told == [("webhook", f"{type(error).__name__}: {error}"), ("webhook", "")]
        at.notices.close()

    asyncio.run(scene())


def test_a_thread_that_cannot_be_started_is_a_failure_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> None:
        at = Scene(tmp_path)
        at.notices.add(INCIDENT)
        (item,) = at.notices._waiting.values()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", full)
            await at.notices._try(item)
        assert at.told == [("webhook", "RuntimeError: can't start new thread")]
        assert at.notices._waiting[item.name].tries == 1

    asyncio.run(scene())


def test_what_was_not_taken_is_told_after_the_next_start(tmp_path: Path) -> None:
    async def scene() -> None:
        first = Scene(tmp_path, failures=1_000)
        first.notices.start()
        first.notices.add(INCIDENT)
        await asyncio.wait_for(first.failed.wait(), 60)
        first.notices.close()
        (first.folder / "broken.json").write_text("{")
        second = Scene(tmp_path)
        second.notices.start()
        await asyncio.wait_for(second.done.wait(), 60)
        assert [name for name, _ in second.sent] == ["i-1-webhook"]
        second.notices.close()

    asyncio.run(scene())


def test_there_is_an_end_and_a_bound_and_both_are_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MAX_NOTICES", 1)
    now = [0.0]

    async def scene() -> None:
        at = Scene(tmp_path, failures=1_000, clock=lambda: now[0])
        at.notices.add(INCIDENT)
        at.notices.add(INCIDENT)
        assert at.told == [("webhook", "1 notices wait already")]
        now[0] = notices.GIVE_UP_SECONDS + 1
        at.notices.start()
        await asyncio.wait_for(at.done.wait(), 60)
        assert at.told[-1] == ("webhook", "given up: ConnectionRefusedError: refused")
        assert (at.kept, at.notices.waiting) == ([], 0)
        at.notices.close()

    asyncio.run(scene())


@pytest.mark.parametrize("step", [-86_400.0, 10 * 86_400.0])
def test_a_clock_that_is_set_neither_holds_a_notice_up_nor_gives_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    monkeypatch.setattr(notices, "FIRST_RETRY_SECONDS", 0.01)
    real, off = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + off[0])

    async def scene() -> None:
        at = Scene(tmp_path, failures=3)
        at.notices.start()
        at.notices.add(INCIDENT)
        await asyncio.wait_for(at.failed.wait(), 60)
        off[0] = step
        await asyncio.wait_for(at.done.wait(), 60)
        assert at.told[-1] == ("webhook", "")
        at.notices.close()

    asyncio.run(scene())


def test_how_long_and_how_often_it_was_tried_is_kept_across_starts(tmp_path: Path) -> None:
    """The monotonic clock of another boot begins anew."""
    now = [500_000.0]

    async def scene() -> None:
        first = Scene(tmp_path, failures=1_000, clock=lambda: now[0])
        first.notices.add(INCIDENT)
        (item,) = first.notices._waiting.values()
        now[0] += notices.GIVE_UP_SECONDS / 2
        first.notices._failed(item, "down")
        now[0] = 5.0
        second = Scene(tmp_path, failures=1_000, clock=lambda: now[0])
        second.notices.start()
        (item,) = second.notices._waiting.values()
        assert (item.tries, item.due) == (1, 5.0)
        now[0] += notices.GIVE_UP_SECONDS / 2 + 1
        second.notices._failed(item, "down")
        assert second.told == [("webhook", "given up: down")]
        second.notices.close()

    asyncio.run(scene())


def test_a_notice_of_an_earlier_version_is_told(tmp_path: Path) -> None:
    value = {"incident": "i-1", "channel": "webhook", "body": "{}", "since": 1.8e9, "tries": 7}
    file = tmp_path / "notices" / "i-1-webhook.json"
    write_private(file, json.dumps(value).encode(), replace=True)

    async def scene() -> None:
        at = Scene(tmp_path)
        at.notices.start()
        await asyncio.wait_for(at.done.wait(), 60)
        assert [name for name, _ in at.sent] == ["i-1-webhook"]
        at.notices.close()

    asyncio.run(scene())


def test_waits_grow_and_stay_bounded(tmp_path: Path) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, clock=lambda: 0.0)
        item = Waiting("i-1", "webhook", "{}", 0.0)
        waits = []
        for _ in range(40):
            at.notices._failed(item, "down")
            item = at.notices._waiting["i-1-webhook"]
            waits.append(item.due)
        assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
        assert waits[-1] == notices.MOST_RETRY_SECONDS

    asyncio.run(scene())


@pytest.mark.parametrize("status", [0, 3])
def test_a_program_gets_the_incident_on_stdin_and_its_failure_is_one(
    tmp_path: Path, status: int
) -> None:
    file = tmp_path / "note"
    program = f"import sys; open({str(file)!r}, 'wb').write(sys.stdin.buffer.read())"
    spec = IncidentSpec(notify=(sys.executable, "-c", f"{program}; sys.exit({status})"))
    send = channels(spec)["command"]
    if status:
        with pytest.raises(OSError, match="exited with 3"):
            send("i-1-command", b'{"a":1}')
    else:
        send("i-1-command", b'{"a":1}')
    assert file.read_bytes() == b'{"a":1}\n'


def test_the_signature_is_of_time_and_body() -> None:
    wanted = hmac.new(b"key", b"12.body", hashlib.sha384).hexdigest()
    assert signature(b"key", "12", b"body") == f"v1={wanted}"
    assert signature(b"key", "13", b"body") != f"v1={wanted}"


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [(None, 0o600, "is missing"), (b"short", 0o600, "no secret"), (b"x" * 32, 0o644, "mode 0644")],
)
def test_a_secret_that_is_none_is_told_at_the_start(
    tmp_path: Path, content: bytes | None, mode: int, problem: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    spec = IncidentSpec(webhook="http://127.0.0.1:1/", webhook_secret_file=str(file))
    with pytest.raises(ConfigError, match=problem):
        channels(spec)


def test_a_webhook_without_a_secret_or_in_the_clear_is_refused() -> None:
    with pytest.raises(ValueError, match="secret_file"):
        IncidentSpec(webhook="https://hooks.example/")
    with pytest.raises(ValueError, match="TLS only"):
        IncidentSpec(webhook="http://hooks.example/", webhook_secret_file="/x")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1/h\u00e4uptling", "printable ASCII"),
        ("https://h\u00e4uptling.example/", "printable ASCII"),
        ("https://hooks.example/a b", "printable ASCII"),
        ("https://a..b/x", "labels"),
        (f"https://{'a' * 64}.example/", "labels"),
    ],
)
def test_an_address_that_cannot_be_asked_for_is_refused_at_once(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"webhook: .*{problem}"):
        IncidentSpec(webhook=url, webhook_secret_file="/x")
    with pytest.raises(ValueError, match=rf"to: .*{problem}"):
        TelemetrySpec(to=url)
    with pytest.raises(ValueError, match=rf"to: .*{problem}"):
        ForwardSpec(to=url)


@pytest.mark.parametrize(
    "url",
    ["https://[2001:db8::1]:8443/x?y=%C3%A4", "https://xn--hochl-jva.example./", "http://[::1]/"],
)
def test_an_address_that_can_be_asked_for_is_taken(url: str) -> None:
    assert IncidentSpec(webhook=url, webhook_secret_file="/x").webhook == url


@pytest.fixture(params=[b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def slow(request: pytest.FixtureRequest) -> Iterator[str]:
    """A receiver that says nothing, or drips its answer for as long as somebody listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(request.param)
            while not over.wait(0.05):
                if request.param:
                    connection.sendall(b"x")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listener.accept()
                threading.Thread(target=drip, args=(taken,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    over.set()
    listener.close()


def test_a_receiver_that_hangs_or_drips_is_given_up_by_a_deadline(slow: str) -> None:
    link = Link(urlsplit(slow), ssl.create_default_context(), 0.5)
    with contextlib.closing(link), pytest.raises(TimeoutError):
        link.post("/", b"{}", {})


HANGING = """
import asyncio, sys, threading
from pathlib import Path
from fumehood.audit.incident import Incident
from fumehood.supervisor.notices import Notices

told = asyncio.Event()

async def main():
    hang = lambda name, body: threading.Event().wait()
    channels = {"webhook": hang, "command": lambda name, body: None}
    notices = Notices(Path(sys.argv[1]), channels, lambda item, why: told.set())
    notices.start()
    notices.add(Incident("i-1", "canary", "echo", "d", 7, "now", "v"))
    await told.wait()
    notices.close()

asyncio.run(main())
"""


def test_a_channel_that_hangs_holds_up_no_other_nor_the_end(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HANGING, str(tmp_path / "notices")]
    assert subprocess.run(argv, timeout=60, check=False).returncode == 0
    assert [path.name for path in (tmp_path / "notices").iterdir()] == ["i-1-webhook.json"]
