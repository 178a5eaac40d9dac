"""Sends spans and metrics to an OpenTelemetry collector, by OTLP over HTTP.

A thread of its own sends; who hands over a span never waits. What a receiver that is down does not
take is kept up to a bound, then dropped and counted: traces are no evidence, the audit log is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from prometheus_client.core import Metric

from fumehood.model.result import NOTHING_RAN, Result
from fumehood.model.telemetry import TelemetrySpec
from fumehood.model.tracing import of_invocation, span_of
from fumehood.supervisor import otlp
from fumehood.supervisor.live import Live
from fumehood.supervisor.otlp import SERVER, Span
from fumehood.supervisor.posting import Link, trusting
from fumehood.supervisor.sinks import Refused, bearer, refused

log = structlog.get_logger(__name__)

MAX_SPANS: Final = 8192
"""That wait; more are dropped, the newest first."""
BATCH: Final = 512
MAX_POINTS: Final = 1_000_000
"""Of one export of metrics, whatever a receiver says that it refused."""
LOOK_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 1.0
MOST_RETRY_SECONDS: Final = 60.0
SEND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
_NS: Final = 1_000_000_000


class Telemetry:
    """One exporter. `ended` on the event loop; the rest in its thread. Close it."""

    def __init__(self, spec: TelemetrySpec, version: str) -> None:
        """Raises ConfigError."""
        self._spec = spec
        self._version = version
        self._resource = {
            "service.name": "fumehood",
            "service.version": version,
            "host.name": socket.gethostname(),
        }
        self._since = time.time_ns()
        self._spans: deque[Span] = deque()
        self._metrics: bytes | None = None
        self.dropped = 0
        """Spans that nobody has."""
        self._stop = threading.Event()
        self._post = _poster(spec)
        self._failing = ""
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what waits, for a moment."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)

    # --- on the event loop

    def ended(self, live: Live, result: Result, recorded: float) -> None:
        """An invocation has ended, refused ones included. recorded: when its record was begun
        (time.monotonic()); it is on disk now."""
        came = live.request.trace
        if came is not None and not came.sampled:
            return
        for span in spans(live, result, recorded):
            if len(self._spans) >= MAX_SPANS:
                self.dropped += 1
            else:
                self._spans.append(span)

    async def measure(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Hand over what is counted, now and then, for ever."""
        while True:
            self._metrics = otlp.metrics(
                collect(), self._resource, self._version, since=self._since, now=time.time_ns()
            )
            await asyncio.sleep(self._spec.interval)

    # --- in the thread

    def _run(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while True:
            last = self._stop.is_set()
            try:
                self._send_all()
            except Exception as error:  # noqa: BLE001  (a thread that ends is a silence for good)
                self._failed(error)
                if last:
                    return
                self._stop.wait(wait)
                wait = min(wait * 2, MOST_RETRY_SECONDS)
                continue
            if self._failing:
                log.warning("telemetry is sent again", after=self._failing, dropped=self.dropped)
                self._failing = ""
            wait = FIRST_RETRY_SECONDS
            if last:
                return
            self._stop.wait(LOOK_SECONDS)

    def _send_all(self) -> None:
        while self._spans:
            # Taken out first: nobody may walk through what the event loop appends to.
            batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
            try:
                traces = otlp.traces(batch, self._resource, self._version)
                self.dropped += self._post("/v1/traces", traces, "rejectedSpans", len(batch))
            except BaseException:
                self._spans.extendleft(reversed(batch))
                raise
        if (body := self._metrics) is not None:
            self._post("/v1/metrics", body, "rejectedDataPoints", MAX_POINTS)
            if self._metrics is body:
                self._metrics = None

    def _failed(self, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"[:200]
        if not self._failing and not self._stop.is_set():
            log.error("telemetry cannot be sent; it is kept up to a bound", error=why)
        self._failing = why


def spans(live: Live, result: Result, recorded: float) -> list[Span]:
    """One for the invocation, below it one for each step that it came to."""
    request, timing = live.request, result.timing
    trace = of_invocation(request.invocation, request.trace)
    own, now, wall = span_of(request.invocation), time.monotonic(), time.time_ns()

    def at(moment: float) -> int:
        return wall - round((now - moment) * _NS)

    def step(name: str, start: float, end: float) -> Span:
        return Span(trace.trace, os.urandom(8).hex(), own, name, at(start), at(end))

    # A name that a caller made up is nobody's label.
    name = f"tools/call {result.tool_name}" if result.tool_version else "tools/call"
    whole = Span(
        trace.trace, own, trace.parent, name,
        at(request.received), wall, SERVER, trace.state,
        "" if result.status == "ok" else result.status, _attributes(result),
    )  # fmt: skip
    queued = live.queued
    if queued is None:  # refused
        return [
            whole, step("admission", request.received, recorded), step("audit", recorded, now),
        ]  # fmt: skip
    if timing == NOTHING_RAN:
        return [
            whole, step("admission", request.received, queued), step("queue", queued, recorded),
            step("audit", recorded, now),
        ]  # fmt: skip
    launched = request.received + timing.queued_ms / 1000
    started = launched + timing.started_ms / 1000
    ran = started + timing.ran_ms / 1000
    return [
        whole,
        step("admission", request.received, queued),
        step("queue", queued, launched),
        step("open", launched, started),
        step("run", started, ran),
        step("scan", ran, ran + timing.scanned_ms / 1000),
        step("audit", recorded, now),
    ]


def _attributes(result: Result) -> dict[str, str | int | float | bool]:
    """Of registered tools only what the operator named; no argument, no output."""
    told: dict[str, str | int | float | bool] = {
        "fumehood.invocation": result.invocation,
        "fumehood.status": result.status,
        "fumehood.findings": len(result.findings),
    }
    if result.tool_version:
        told |= {"gen_ai.tool.name": result.tool_name, "fumehood.tool.version": result.tool_version}
    if result.breach is not None:
        told["fumehood.breach"] = result.breach.control
    if result.usage.cpu_seconds is not None:
        told["fumehood.cpu_seconds"] = result.usage.cpu_seconds
    if result.usage.memory_peak_bytes is not None:
        told["fumehood.memory_peak_bytes"] = result.usage.memory_peak_bytes
    return told


def _poster(spec: TelemetrySpec) -> Callable[[str, bytes, str, int], int]:
    target = urlsplit(spec.to)
    context = trusting(spec.ca, "telemetry.ca")
    token = bearer(Path(spec.token_file), "telemetry.token_file") if spec.token_file else ""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    odd: set[str] = set()
    """What was logged of receivers that say something odd; once each, not once a batch."""

    def post(path: str, body: bytes, field: str, sent: int) -> int:
        """How many of `sent` the receiver has refused: never to be sent again (OTLP 1.x)."""
        with contextlib.closing(Link(target, context, SEND_SECONDS)) as link:
            answer = link.post(target.path.rstrip("/") + path, body, headers)
        try:
            part = refused(answer, sent, field)
        except OSError as error:  # it has taken them: its 2xx says so
            part = Refused(0, str(error))
        if part is None:
            odd.discard(path)
            return 0
        if path not in odd:
            odd.add(path)
            log.warning("the collector refuses telemetry, or says nothing that is OTLP",
                        path=path, rejected=part.records, reason=part.reason)  # fmt: skip
        return part.records

    return post
