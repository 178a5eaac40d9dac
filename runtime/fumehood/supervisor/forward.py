"""Sends the audit log on to a SIEM: syslog over TLS, HTTP, OTLP; the log itself is the spool.

A cursor on disk says up to where the receiver has it, and moves only after that: a receiver that
is down, slow, or this daemon's end loses nothing, and may get records twice. Must never hold up a
call, nor pass over a record in silence: what was removed unsent, by retention or by anybody, or a
log that is not the one that was sent, is recorded as a gap.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

import structlog

from fumehood.audit.folder import list_segments
from fumehood.audit.follow import Place, read_on
from fumehood.audit.head import read_head
from fumehood.audit.ocsf import message, milliseconds, render, severity
from fumehood.audit.record import Field, Unsealed, digest, read
from fumehood.crypto.files import read_private
from fumehood.errors import AuditError, ConfigError, KeyringError
from fumehood.model.forward import ForwardSpec
from fumehood.supervisor.cursor import Cursor, astray, follows, read_cursor, write_cursor
from fumehood.supervisor.posting import Link, shut, within

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
FIRST_RETRY_SECONDS: Final = 0.5
MOST_RETRY_SECONDS: Final = 60.0
SEND_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 2.0
BATCH: Final = 500
BATCH_BYTES: Final = 512 * 1024
_SIOCOUTQ: Final = 0x5411
"""Bytes that the peer's TCP has not acknowledged yet (tcp(7))."""
_PRIORITY: Final = 13 * 8  # facility log audit (RFC 5424, 6.2.1)
_SYSLOG_SEVERITY: Final = {1: 6, 2: 5, 3: 4, 4: 2}

GAP: Final = "forward.gap"
FOREIGN: Final = "forward.foreign"


class Foreign(ValueError):
    """A line that stands in the log and is no record: nothing behind it is sent."""


class Sink(Protocol):
    """Raises OSError when the receiver has not taken all of a batch."""

    def send(self, records: list[dict[str, Any]]) -> None: ...

    def abort(self) -> None:
        """From another thread: make a `send` that hangs fail."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """behind: bytes of the log that are not sent. failing: why not, empty while it works."""

    sent: int
    behind: int
    failing: str


class Forwarder:
    """One thread that follows the log. Close it; what is not sent is sent after the next start."""

    def __init__(
        self,
        directory: Path,
        cursor: Path,
        connect: Callable[[], Sink],
        append: Callable[[str, Mapping[str, Field]], object],
    ) -> None:
        """connect: makes a sink; append: puts a record into the log."""
        self._directory = directory
        self._cursor = cursor
        self._connect = connect
        self._append = append
        self._stop = threading.Event()
        self._sink: Sink | None = None
        self._sent = 0
        self._failing = ""
        self._foreign = ""
        self._at = read_cursor(cursor)
        self._looked = False
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let a batch that is under way arrive, for a moment, and stop."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() and (sink := self._sink) is not None:
            sink.abort()
            self._thread.join(CLOSE_SECONDS)

    def status(self) -> Status:
        behind, place = 0, self._at.place
        for segment in list_segments(self._directory):
            if segment.first < place.segment:
                continue
            with contextlib.suppress(FileNotFoundError):  # retention removed it just now
                sent = place.offset if segment.first == place.segment else 0
                behind += max(0, segment.path.lstat().st_size - sent)
        return Status(self._sent, behind, self._failing)

    def _run(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while not self._stop.is_set():
            try:
                moved = self._step()
            except Exception as error:  # noqa: BLE001  (a thread that ends is a silence for good)
                self._failed(error)
                self._stop.wait(wait)
                wait = min(wait * 2, MOST_RETRY_SECONDS)
                continue
            if self._failing:
                log.warning("records are forwarded again", after=self._failing)
                self._failing = ""
            wait = FIRST_RETRY_SECONDS
            if not moved:
                self._stop.wait(LOOK_SECONDS)
        self._drop()

    def _step(self) -> bool:
        """Send what is next; whether there was anything."""
        head = read_head(self._directory)
        chain = head.chain if head else ""
        self._look_for_another(chain)
        self._look_for_a_gap()
        start = self._at.place if self._at.place.segment else Place(1, 0)
        lines, place = read_on(self._directory, start)
        if not lines:
            if place != start:
                self._at = replace(self._at, place=place)
            return False
        at = place.offset - _size(lines)
        records, linked = _records(lines, Place(place.segment, at))
        if records:
            self._look_for_missing(records[0], Place(place.segment, at))
        for batch in _batches(lines[: len(records)]):
            if self._sink is None:
                self._sink = self._connect()
            self._sink.send(records[: len(batch)])
            last = int(records[len(batch) - 1]["seq"])
            del records[: len(batch)]
            self._sent += len(batch)
            at += _size(batch)
            # The head's chain, not what a record claims: a forged one would look like another log.
            sent = Cursor(
                Place(place.segment, at), chain or self._at.chain, last, digest(batch[-1])
            )
            self._move(sent)
        if linked and at < place.offset:
            raise Foreign(f"no record at byte {at} of segment {place.segment}")
        return True

    def _look_for_another(self, chain: str) -> None:
        """Whether the log is still the one that the cursor is of; if not, begin with it anew."""
        why = astray(self._directory, self._at, chain, closely=not self._looked)
        if why:
            firsts = [s.first for s in list_segments(self._directory)]
            place = self._at.place
            known = bool(chain) and chain == self._at.chain and place.segment in firsts
            log.error("not all that was written was forwarded", reason=why, after=self._at.seq)
            self._append(
                GAP,
                {
                    "from_segment": place.segment,
                    "after": self._at.seq,
                    "earlier": self._at.chain,
                    "reason": why,
                },
            )
            self._move(Cursor(Place(place.segment, 0) if known else Place(0, 0), chain))
        self._looked = True

    def _look_for_a_gap(self) -> None:
        firsts = [s.first for s in list_segments(self._directory)]
        segment = self._at.place.segment
        if not segment or not firsts or segment >= firsts[0]:
            return
        if self._at.seq + 1 < firsts[0]:  # or all of it was sent
            log.error("records were removed before they were forwarded", up_to=firsts[0] - 1)
            self._append(GAP, {"from_segment": segment, "to": firsts[0] - 1})
        self._move(Cursor(Place(firsts[0], 0), self._at.chain, firsts[0] - 1))

    def _look_for_missing(self, record: Mapping[str, Any], place: Place) -> None:
        """Whether what is sent next is what stood behind what was sent last."""
        gap = self._at.lacking(record)
        if gap:
            log.error("not all that was written was forwarded", **gap)
            self._append(GAP, gap)
            self._move(Cursor(place, self._at.chain, int(record["seq"]) - 1))

    def _move(self, to: Cursor) -> None:
        self._at = to
        write_cursor(self._cursor, to)

    def _failed(self, error: Exception) -> None:
        self._drop()
        why = f"{type(error).__name__}: {error}"[:200]
        if not self._failing and not self._stop.is_set():
            log.error("records cannot be forwarded; they are kept and tried again", error=why)
        if isinstance(error, Foreign) and why != self._foreign:
            self._foreign = why
            with contextlib.suppress(AuditError):  # the log's own failure is told elsewhere
                self._append(FOREIGN, {"reason": why})
        self._failing = why

    def _drop(self) -> None:
        if self._sink is not None:
            self._sink.close()
            self._sink = None


def _records(lines: list[bytes], place: Place) -> tuple[list[dict[str, Any]], bool]:
    """What may be sent of lines, up to the first that is no record, or is not the next one; the
    flag tells that it was not that.

    The first of a segment has the number that the segment's name says.
    """
    found: list[dict[str, Any]] = []
    last = ""
    for line in lines:
        try:
            entry = read(line)
            if not found and not place.offset and entry.position.seq != place.segment:
                break
            record = json.loads(line)
        except (Unsealed, ValueError, RecursionError):
            break
        if found and not follows(record, int(found[-1]["seq"]), last):
            return found, False
        found.append(record)
        last = entry.position.digest
    return found, True


def _batches(lines: list[bytes]) -> Iterator[list[bytes]]:
    """What is sent in one exchange: by size, too, so that a slow line gets it done in time."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= BATCH or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _size(lines: list[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)


# --- sinks


def connector(spec: ForwardSpec, version: str) -> Callable[[], Sink]:
    """What makes connections to the receiver of a configuration. Raises ConfigError."""
    target = urlsplit(spec.to)
    try:
        context = ssl.create_default_context(cafile=spec.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"forward.ca: {spec.ca} cannot be used: {error}", "name a PEM file of certificates"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    token = bearer(Path(spec.token_file), "forward.token_file") if spec.token_file else ""
    host = socket.gethostname()
    if target.scheme == "tls":
        return lambda: SyslogSink(target, context, spec.format, version, host)
    return lambda: HttpSink(target, context, spec, version, host, token)


def bearer(path: Path, key: str) -> str:
    """The token in a file. key: of the configuration, for the error. Raises ConfigError."""
    try:
        raw = read_private(path, 16 * 1024, "token")
    except (OSError, KeyringError) as error:
        raise ConfigError(f"{key}: {error}", "name a file of yours alone") from None
    if raw is None:
        raise ConfigError(
            f"{key}: {path} is missing, or out of the supervisor's sight",
            "put it below /etc or into the state directory, owned by the supervisor's user",
        )
    return raw.decode().strip()


class SyslogSink:
    """RFC 5424 messages over TLS with octet counting (RFC 5425)."""

    def __init__(
        self, target: SplitResult, context: ssl.SSLContext, form: str, version: str, host: str
    ) -> None:
        name, port = target.hostname or "", target.port or 6514
        raw = socket.create_connection((name, port), timeout=SEND_SECONDS)
        try:
            self._tls = context.wrap_socket(
                raw, server_hostname=name, do_handshake_on_connect=False
            )
        except OSError:
            raw.close()
            raise
        self._form, self._version, self._host = form, version, host
        try:
            with within(SEND_SECONDS, self.abort):
                self._tls.do_handshake()
        except OSError:
            self.close()
            raise

    def send(self, records: list[dict[str, Any]]) -> None:
        """Within `SEND_SECONDS` in all: a timeout of the socket begins anew with every byte."""
        with within(SEND_SECONDS, self.abort):
            for record in records:
                text = syslog(record, self._form, self._version, self._host).encode()
                self._tls.sendall(b"%d %b" % (len(text), text))
            self._await_acknowledged()

    def _await_acknowledged(self) -> None:
        """The protocol has no answer: what the peer's TCP has acknowledged has arrived there."""
        deadline = time.monotonic() + SEND_SECONDS
        while self._unacknowledged():
            if time.monotonic() > deadline:
                raise TimeoutError("the receiver does not take what was sent")
            time.sleep(0.005)  # nothing waits for acknowledgements: poll(2) tells of room

    def _unacknowledged(self) -> int:
        found = fcntl.ioctl(self._tls.fileno(), _SIOCOUTQ, b"\0" * 4)
        return int(struct.unpack("i", found)[0])

    def abort(self) -> None:
        shut(self._tls)

    def close(self) -> None:
        self._tls.close()


def syslog(record: Mapping[str, Any], form: str, version: str, host: str) -> str:
    """One RFC 5424 message."""
    priority = _PRIORITY + _SYSLOG_SEVERITY[severity(record)]
    event = str(record["event"])[:32]
    data = f'[fumehood@32473 seq="{record["seq"]}" key="{record["key"]}"]'
    body = render(form, record, version=version, host=host)
    return f"<{priority}>1 {record['time']} {host or '-'} fumehood - {event} {data} {body}"


class HttpSink:
    """POSTs batches, and takes 2xx for an answer: JSON lines, or OTLP logs as JSON."""

    def __init__(
        self,
        target: SplitResult,
        context: ssl.SSLContext,
        spec: ForwardSpec,
        version: str,
        host: str,
        token: str,
    ) -> None:
        self._path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        self._link = Link(target, context, SEND_SECONDS)
        self._spec, self._version, self._host = spec, version, host
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, records: list[dict[str, Any]]) -> None:
        if self._spec.format == "otlp":
            kind, body = "application/json", otlp(records, self._version, self._host)
        else:
            lines = [
                render(self._spec.format, record, version=self._version, host=self._host)
                for record in records
            ]
            kind, body = "application/x-ndjson", "\n".join(lines) + "\n"
        headers = {"Content-Type": kind, **self._headers}
        self._link.post(self._path, body.encode(), headers)

    def abort(self) -> None:
        self._link.shut()

    def close(self) -> None:
        self._link.close()


def otlp(records: list[dict[str, Any]], version: str, host: str) -> str:
    """An ExportLogsServiceRequest (OTLP 1.x) in JSON."""
    numbers = {1: 9, 2: 10, 3: 13, 4: 17}
    logs = [
        {
            "timeUnixNano": str(milliseconds(str(record["time"])) * 1_000_000),
            "severityNumber": numbers[severity(record)],
            "body": {"stringValue": message(record)},
            "attributes": [
                {"key": f"fumehood.{name}", "value": {"stringValue": _text(value)}}
                for name, value in record.items()
            ],
        }
        for record in records
    ]
    resource = [
        {"key": "service.name", "value": {"stringValue": "fumehood"}},
        {"key": "service.version", "value": {"stringValue": version}},
        {"key": "host.name", "value": {"stringValue": host}},
    ]
    scope = {"scope": {"name": "fumehood.audit"}, "logRecords": logs}
    value = {"resourceLogs": [{"resource": {"attributes": resource}, "scopeLogs": [scope]}]}
    return json.dumps(value, separators=(",", ":"))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
