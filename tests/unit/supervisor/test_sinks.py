"""Answers of receivers: only one that was read to its end, and understood, is one."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from fumehood.model.incident_rules import IncidentSpec
from fumehood.supervisor import forward
from fumehood.supervisor.notices import channels
from fumehood.supervisor.posting import MAX_ANSWER
from fumehood.supervisor.sinks import Refused, connector, otlp
from support.forwarding import RECORD, Place, quicken, spec
from support.hood import eventually

WAIT = 60


@contextlib.contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """The address of a receiver that answers each request with these bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, connection.makefile("rb") as request:
                        length = 0
                        while (line := request.readline()) not in (b"\r\n", b""):
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.split(b":")[1])
                        request.read(length)
                        connection.sendall(raw)

        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/in"
        server.shutdown(socket.SHUT_RDWR)
        serving.join(WAIT)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("form", ["jsonl", "otlp"])
@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (answer(b"", "301 Moved", "Location: /else"), "answered 301"),
        (answer(b"", "307 Moved", "Location: /else"), "answered 307"),
        (answer(b"", "400 Bad"), "answered 400"),
        (answer(b"", "413 Large"), "answered 413"),
        (answer(b'{"taken": 1}')[:-5], "ended 5 bytes early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", "IncompleteRead"),
        (b"", "closed connection"),
        (b"HTTP/1.1 \x1b]0;x\x07\r\n\r\n", "does not speak HTTP .BadStatusLine"),
        (b"\x1b[31mSMTP ready\r\n", "does not speak HTTP .BadStatusLine"),
    ],
)
def test_what_is_no_whole_2xx_answer_took_nothing(raw: bytes, says: str, form: str) -> None:
    with answering(raw) as to:
        sink = connector(spec(to, format=form), "1")()
        with pytest.raises(OSError, match=says) as failure:
            sink.send([RECORD])
        assert str(failure.value).isprintable(), "a receiver's own words are no line of ours"
        sink.close()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (answer(b"", "302 Found", "Location: /else"), "answered 302"),
        (answer(b"", "404 Not Found"), "answered 404"),
        (answer(b"taken")[:-1], "ended 1 bytes early"),
    ],
)
def test_a_webhook_that_gives_no_whole_2xx_answer_was_told_nothing(
    tmp_path: Path, raw: bytes, says: str
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(b"s" * 32)
    with answering(raw) as to:
        send = channels(IncidentSpec(webhook=to, webhook_secret_file=str(secret)))["webhook"]
        with pytest.raises(OSError, match=says):
            send("i-1-webhook", b"{}")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", None),
        (b"{}", None),
        (b'{"partialSuccess":{}}', None),
        (b'{"partialSuccess":{"rejectedLogRecords":"0"}}', None),
        (b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"old"}}', Refused(1, "old")),
        (b'{"partialSuccess":{"rejectedLogRecords":1}}', Refused(1, "")),
        (b'{"partialSuccess":{"rejectedLogRecords":"900"}}', Refused(2, "")),
        (b'{"partialSuccess":{"errorMessage":"soon full"}}', Refused(0, "soon full")),
        (b'{"partialSuccess":{"errorMessage":"a\\u001b\\u202eb"}}', Refused(0, "a\ufffd\ufffdb")),
    ],
)
def test_an_otlp_receiver_says_what_it_refused(body: bytes, found: Refused | None) -> None:
    with answering(answer(body)) as to:
        sink = connector(spec(to, format="otlp"), "1")()
        assert sink.send([RECORD, RECORD]) == found
        sink.close()


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"ok"),
        answer(b"[]"),
        answer(b'{"partialSuccess":3}'),
        answer(b'{"partialSuccess":{"rejectedLogRecords":"some"}}'),
        answer(b"\x0a\x05\x08\x01\x12\x01x", "200 OK", "Content-Type: application/x-protobuf"),
        answer(b"{}", "200 OK", "Content-Encoding: gzip"),
        answer(b" " * (MAX_ANSWER + 1)),
    ],
)
def test_an_otlp_answer_that_is_not_understood_took_nothing(raw: bytes) -> None:
    with answering(raw) as to:
        sink = connector(spec(to, format="otlp"), "1")()
        with pytest.raises(OSError, match="no OTLP response"):
            sink.send([RECORD])
        sink.close()


def test_a_connection_goes_on_behind_an_answer_that_is_too_long() -> None:
    with answering(answer(b"x" * (MAX_ANSWER + 1))) as to:
        sink = connector(spec(to), "1")()
        sink.send([RECORD])
        sink.send([RECORD])
        sink.close()


def test_what_a_receiver_refused_is_recorded_and_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once the first time, then by the time: it may refuse those records, too."""
    quicken(monkeypatch)
    body = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'
    with structlog.testing.capture_logs(), answering(answer(body)) as to:
        place = Place(tmp_path, spec(to, format="otlp"))
        place.write(2)
        running = place.forwarder()
        eventually(lambda: place.events, WAIT, "it is on record")
        place.write(3)
        eventually(lambda: running.status().rejected == 4, WAIT, "it is counted")
        running.close()
        assert running.status() == forward.Status(5, 0, "", 4)
        fields = {"records": 2, "up_to": 2, "reason": "too old"}
        assert place.events == [(forward.REJECTED, fields)]
        again = place.forwarder()
        eventually(lambda: len(place.events) == 2, WAIT, "the rest is told after a start")
        again.close()
    assert place.events[1] == (forward.REJECTED, fields | {"up_to": 5})
    assert again.status() == forward.Status(0, 0, "", 0)


def test_otlp_has_the_shape_of_its_protocol() -> None:
    value = json.loads(otlp([RECORD], "1", "h"))
    (logs,) = value["resourceLogs"][0]["scopeLogs"]
    (entry,) = logs["logRecords"]
    assert entry["timeUnixNano"] == "1767225600000000000"
    assert {"key": "fumehood.status", "value": {"stringValue": "ok"}} in entry["attributes"]
