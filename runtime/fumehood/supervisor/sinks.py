"""Receivers that answer, over HTTP, and what makes connections to those of a configuration.

Must never take an answer that was not read, or not understood, for one that everything was taken.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, urlsplit

from fumehood.audit.ocsf import message, milliseconds, render, severity
from fumehood.crypto.files import read_private
from fumehood.errors import ConfigError, KeyringError
from fumehood.model.forward import ForwardSpec
from fumehood.supervisor.posting import SEND_SECONDS, Answer, Link, said, trusting
from fumehood.supervisor.syslog import SyslogSink


@dataclass(frozen=True, slots=True)
class Refused:
    """records: how many of a batch the receiver will never take. reason: its own words."""

    records: int
    reason: str


class Sink(Protocol):
    """A connection to a receiver."""

    @property
    def answers(self) -> bool:
        """Whether the receiver has what `send` returned of; else only once `settle` did."""

    def send(self, records: list[dict[str, Any]]) -> Refused | None:
        """Raises OSError, HTTPException when the receiver has not taken a batch."""

    def settle(self) -> None:
        """Make sure of all that was sent; nothing is sent behind it. Raises OSError."""

    def abort(self) -> None:
        """From another thread: make what hangs fail."""

    def close(self) -> None: ...


def connector(spec: ForwardSpec, version: str) -> Callable[[], Sink]:
    """What makes connections to the receiver of a configuration. Raises ConfigError."""
    target = urlsplit(spec.to)
    context = trusting(spec.ca, "forward.ca")
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


class HttpSink:
    """POSTs batches, and takes 2xx for an answer: JSON lines, or OTLP logs as JSON."""

    answers: Final = True

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

    def send(self, records: list[dict[str, Any]]) -> Refused | None:
        if self._spec.format == "otlp":
            kind, body = "application/json", otlp(records, self._version, self._host)
        else:
            lines = [
                render(self._spec.format, record, version=self._version, host=self._host)
                for record in records
            ]
            kind, body = "application/x-ndjson", "\n".join(lines) + "\n"
        headers = {"Content-Type": kind, **self._headers}
        answer = self._link.post(self._path, body.encode(), headers)
        return refused(answer, len(records)) if self._spec.format == "otlp" else None

    def settle(self) -> None:
        """Every answer has done that."""

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


def refused(answer: Answer, sent: int, field: str = "rejectedLogRecords") -> Refused | None:
    """What an Export…ServiceResponse in JSON says was not taken, under `field`; None when all was.

    No body is an empty response. The number is an int64: a string in the JSON of
    protobuf. Raises OSError for what is no such response: who cannot say so took nothing.
    """
    if answer.whole and not answer.body.strip():
        return None
    plain = answer.whole and answer.coding in ("", "identity")
    try:
        part = json.loads(answer.body if plain else b"").get("partialSuccess") or {}
        count = int(part.get(field) or 0)
        reason = said(part.get("errorMessage") or "")
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise OSError("the receiver's answer is no OTLP response in JSON") from None
    if count < 0:
        raise OSError(f"the receiver rejected {count} records")
    return Refused(min(count, sent), reason) if count or reason else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
