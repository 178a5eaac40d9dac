"""Syslog over TLS: what a receiver has read is sent once, what it may not have read again."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from fumehood.supervisor import forward, syslog
from fumehood.supervisor.sinks import connector
from support.forwarding import RECORD, Place, authority, framed, quicken, spec
from support.hood import eventually

WAIT = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    quicken(monkeypatch)
    with structlog.testing.capture_logs():
        yield


class Siem:
    """A receiver that takes one connection after another, as a test says."""

    def __init__(self, folder: Path) -> None:
        self.ca, self._context = authority(folder)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(WAIT)
        self.address = f"tls://127.0.0.1:{self._server.getsockname()[1]}"

    def accept(self) -> ssl.SSLSocket:
        raw, _ = self._server.accept()
        raw.settimeout(WAIT)
        return self._context.wrap_socket(raw, server_side=True)

    def read(self, *, on: bool = False) -> list[int]:
        """The numbers of what comes on the next connection until the other side ends it; on: and
        wait for its end of TCP behind the one of TLS."""
        data = b""
        with self.accept() as tls:
            while part := tls.recv(65536):
                data += part
            while on and socket.socket.recv(tls, 65536):
                pass
        return [json.loads(text[text.index("{") :])["seq"] for text in framed(data)]

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def siem(tmp_path: Path) -> Iterator[Siem]:
    made = Siem(tmp_path / "siem")
    yield made
    made.close()


def test_what_a_receiver_has_not_read_when_it_ends_is_sent_again(
    tmp_path: Path, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host had acknowledged all of it."""
    monkeypatch.setattr(forward, "SETTLE_SECONDS", 0.01)
    place = Place(tmp_path, spec(siem.address, ca=str(siem.ca)))
    place.write(3)
    running = place.forwarder()
    with siem.accept():
        eventually(lambda: running.status().sent == 3, WAIT, "its host has it")
        assert running.status().behind > 0
    assert siem.read() == [1, 2, 3]
    eventually(lambda: not running.status().behind, WAIT, "it is settled")
    running.close()
    assert place.events == []


def test_what_a_hanging_receiver_has_not_read_at_the_end_is_sent_after_the_next_start(
    tmp_path: Path, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "CLOSE_SECONDS", 0.2)
    place = Place(tmp_path, spec(siem.address, ca=str(siem.ca)))
    place.write(2)
    first = place.forwarder()
    with siem.accept():
        eventually(lambda: first.status().sent == 2, WAIT, "its host has it")
        first.close()
    assert first.status().behind > 0
    second = place.forwarder()
    got: list[int] = []
    reading = threading.Thread(target=lambda: got.extend(siem.read()))
    reading.start()
    eventually(lambda: second.status().sent == 2, WAIT, "it is sent")
    second.close()
    reading.join(WAIT)
    assert got == [1, 2]


@pytest.mark.parametrize("on", [False, True])
def test_what_was_read_to_the_end_is_sent_once(tmp_path: Path, siem: Siem, *, on: bool) -> None:
    place = Place(tmp_path, spec(siem.address, ca=str(siem.ca)))
    for expected in ([1, 2], [3, 4]):
        place.write(2)
        running = place.forwarder()
        got: list[int] = []
        reading = threading.Thread(target=lambda got=got: got.extend(siem.read(on=on)))
        reading.start()
        eventually(lambda running=running: running.status().sent == 2, WAIT, "it is sent")
        running.close()
        reading.join(WAIT)
        assert got == expected
        assert running.status().behind == 0


def test_after_a_bad_end_each_part_is_settled_until_one_is(
    tmp_path: Path, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a receiver that ends connections early gets on, and gets little twice."""
    monkeypatch.setattr(forward, "BATCH", 2)
    place = Place(tmp_path, spec(siem.address, ca=str(siem.ca)))
    place.write(4)
    running = place.forwarder()
    with siem.accept():
        eventually(lambda: running.status().sent == 4, WAIT, "its host has it")
    place.write(1)
    assert siem.read() == [1, 2]
    rest: list[int] = []
    reading = threading.Thread(target=lambda: rest.extend(siem.read()))
    reading.start()
    sent = 4 + 2 + 3
    eventually(lambda: running.status().sent >= sent, WAIT, "the rest is sent")
    running.close()
    reading.join(WAIT)
    assert rest == [3, 4, 5]


def test_syslog_goes_over_tls_to_a_receiver_of_the_named_authority(tmp_path: Path) -> None:
    ca, context = authority(tmp_path / "ca")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT)
        port = server.getsockname()[1]
        place = Place(tmp_path, spec(f"tls://127.0.0.1:{port}", ca=str(ca)))
        place.write(3)
        running = place.forwarder()
        raw, _ = server.accept()
        with context.wrap_socket(raw, server_side=True) as tls:
            tls.settimeout(WAIT)
            data = b""
            while b'"n":2' not in data:
                data += tls.recv(65536)
            while len(framed(data)[-1]) < 100:
                data += tls.recv(65536)
        running.close()
    messages = framed(data)
    assert [json.loads(text[text.index("{") :])["seq"] for text in messages] == [1, 2, 3]
    assert messages[0].startswith("<110>1 20")
    assert '[fumehood@32473 seq="1"' in messages[0]


def test_a_receiver_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    _, context = authority(tmp_path / "theirs")
    ca, _ = authority(tmp_path / "ours")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT)
        port = server.getsockname()[1]
        place = Place(tmp_path, spec(f"tls://127.0.0.1:{port}", ca=str(ca)))
        place.write(1)
        running = place.forwarder()
        raw, _ = server.accept()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(raw, server_side=True).recv(1)
        again, _ = server.accept()  # by now the first attempt has failed
        assert "certificate" in running.status().failing.lower()
        again.close()
        running.close()
    assert json.loads((tmp_path / "cursor").read_bytes())["offset"] == 0


def test_a_receiver_that_takes_a_little_at_a_time_holds_a_batch_no_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read begins a socket's timeout anew; the deadline is the batch's."""
    monkeypatch.setattr(syslog, "SEND_SECONDS", 1.0)
    ca, context = authority(tmp_path / "ca")
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.settimeout(WAIT)

        def take() -> None:
            raw, _ = server.accept()
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                while not over.wait(0.01) and tls.recv(16384):
                    pass

        taker = threading.Thread(target=take)
        taker.start()
        to = f"tls://127.0.0.1:{server.getsockname()[1]}"
        sink = connector(spec(to, ca=str(ca)), "1")()
        with pytest.raises(TimeoutError, match="the receiver took longer than 1 s"):
            sink.send([{**RECORD, "padding": "x" * 60_000}] * 500)
        over.set()
        sink.close()
        taker.join(WAIT)


@pytest.mark.parametrize("form", ["ocsf", "cef", "ecs", "jsonl"])
def test_a_syslog_message_is_one_line_in_every_form(form: str) -> None:
    text = syslog.syslog({**RECORD, "cause": "a\nb"}, form, "1", "h")
    assert "\n" not in text
    assert text.startswith("<110>1 2026-01-01T00:00:00.000000Z h fumehood - invocation.ended [")
