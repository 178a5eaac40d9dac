"""Spans and metrics are what OTLP wants; nothing waits for their receiver, nothing grows for it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fumehood.model import tracing
from fumehood.model.request import Caller, Request
from fumehood.model.result import Result, Timing
from fumehood.model.telemetry import TelemetrySpec
from fumehood.model.tracing import Trace, taken
from fumehood.supervisor import otlp, telemetry
from fumehood.supervisor.telemetry import Telemetry, spans
from support.collector import Collector, attributes, decoded

ID = "01a2002f-a269-716f-a068-95ee26d21dae"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CAME = Trace(TRACE, PARENT, sampled=True, state="vendor=1")


def live(trace: Trace | None = None, *, admitted: bool = True) -> Any:
    now = time.monotonic()
    request = Request(
        ID, "echo", {}, b'{"secret":1}', Caller(7, 7, 1, "ann"), now - 1.0, trace=trace
    )
    return SimpleNamespace(request=request, queued=now - 0.9 if admitted else None)


def result() -> Result:
    return Result(ID, "echo", "1.0", "d", "ok", timing=Timing(200.0, 100.0, 400.0, 50.0))


@pytest.mark.parametrize(
    "value",
    [
        None, 7, "", "00-0-0-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)  # fmt: skip
def test_what_is_no_trace_context_is_none(value: object) -> None:
    assert taken({"traceparent": value}) is None


def test_a_trace_context_is_taken_and_goes_on() -> None:
    came = taken({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"})
    assert came == CAME
    assert taken({"traceparent": f"01-{TRACE}-{PARENT}-00-later"}) == Trace(TRACE, PARENT, False)
    assert taken({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a\nb"}) is not None
    told = tracing.told(ID, came, traced=True)
    assert told == {"traceparent": f"00-{TRACE}-a06895ee26d21dae-01", "tracestate": "vendor=1"}
    unchanged = tracing.told(ID, came, traced=False)
    assert unchanged["traceparent"] == f"00-{TRACE}-{PARENT}-01"
    assert tracing.told(ID, None, traced=False) == {}


def test_each_step_is_a_span_below_the_invocations_own() -> None:
    found = spans(live(CAME), result(), time.monotonic() - 0.05)
    names = [span.name for span in found]
    assert names == [
        "tools/call echo", "admission", "queue", "open", "run", "scan", "audit",
    ]  # fmt: skip
    body = otlp.traces(found, {"service.name": "fumehood"}, "1")
    read = decoded(body, ExportTraceServiceRequest()).resource_spans[0].scope_spans[0].spans
    whole, *steps = read
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    assert (whole.span_id.hex(), whole.trace_state) == (tracing.span_of(ID), "vendor=1")
    assert {step.parent_span_id for step in steps} == {whole.span_id}
    assert len({step.span_id for step in read}) == len(read)
    for step in steps:
        assert whole.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
    run = next(step for step in steps if step.name == "run")
    assert (run.end_time_unix_nano - run.start_time_unix_nano) / 1e6 == pytest.approx(400, abs=1)
    assert attributes(whole)["fumehood.status"] == "ok"
    assert b"secret" not in body


def test_a_refused_call_and_one_without_a_trace_have_spans_too() -> None:
    refused = replace(result(), status="rejected", tool_version="")
    whole, *steps = spans(live(admitted=False), refused, time.monotonic())
    assert [step.name for step in steps] == ["admission", "audit"]
    assert (whole.trace, whole.parent, whole.error) == (ID.replace("-", ""), "", "rejected")
    assert "gen_ai.tool.name" not in whole.attributes, "a name that a caller chose is no label"


def test_metrics_are_read_by_the_protocols_own_schema() -> None:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["tool"], registry=registry).labels("echo").inc(3)
    Gauge("running", "Now.", registry=registry).set(2)
    steps = Histogram("step", "Time.", ["step"], buckets=(0.1, 1.0), registry=registry)
    for value in (0.05, 0.5, 0.5, 7.0):
        steps.labels("ran").observe(value)
    body = otlp.metrics(registry.collect(), {"service.name": "fumehood"}, "1", since=1, now=2)
    scope = decoded(body, ExportMetricsServiceRequest()).resource_metrics[0].scope_metrics[0]
    found = {metric.name: metric for metric in scope.metrics}
    (point,) = found["calls"].sum.data_points
    assert (point.as_double, attributes(point)) == (3.0, {"tool": "echo"})
    assert found["calls"].sum.is_monotonic
    assert found["running"].gauge.data_points[0].as_double == 2.0
    (told,) = found["step"].histogram.data_points
    assert (list(told.bucket_counts), list(told.explicit_bounds)) == ([1, 2, 1], [0.1, 1.0])
    assert (told.count, told.sum) == (4, pytest.approx(8.05))


def test_what_a_receiver_does_not_take_is_kept_and_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "MAX_SPANS", 14)
    monkeypatch.setattr(telemetry, "FIRST_RETRY_SECONDS", 0.05)
    collector = Collector()
    collector.down = True
    sending = Telemetry(TelemetrySpec(to=collector.address), "1")
    try:
        for _ in range(3):
            sending.ended(live(), result(), time.monotonic())
        assert sending.dropped == 7
        sending.start()
        collector.until(lambda: collector.refused >= 2, "it is tried again")
        assert collector.spans == []
        collector.down = False
        collector.until(lambda: len(collector.spans) == 14, "what was kept arrives, once")
    finally:
        sending.close()
        collector.close()


@pytest.mark.parametrize(
    ("answer", "lost", "told"),
    [
        (b'{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}', 3, "too old"),
        (b'{"partialSuccess": {"rejectedSpans": 900}}', 7, ""),
        (b"\x0a\x00", 0, "no OTLP response"),
        (b"{}", 0, None),
    ],
)
def test_spans_that_a_collector_refuses_are_counted_told_once_and_not_sent_again(
    capsys: pytest.CaptureFixture[str], answer: bytes, lost: int, told: str | None
) -> None:
    collector = Collector()
    collector.answer = answer
    sending = Telemetry(TelemetrySpec(to=collector.address), "1")
    try:
        sending.start()
        for n in (1, 2):
            sending.ended(live(), result(), time.monotonic())
            collector.until(lambda n=n: len(collector.spans) == 7 * n, "it arrives")  # type: ignore[misc]  # bound now
    finally:
        sending.close()
        collector.close()
    assert len(collector.spans) == 14
    assert sending.dropped == 2 * lost
    lines = [line for line in capsys.readouterr().out.splitlines() if "refuses telemetry" in line]
    assert len(lines) == (told is not None)
    assert all((told or "") in line for line in lines)


def test_no_error_of_a_receiver_ends_the_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "FIRST_RETRY_SECONDS", 0.0)
    sending = Telemetry(TelemetrySpec(to="http://127.0.0.1:1"), "1")
    over = threading.Event()
    errors: list[Exception] = [UnicodeEncodeError("ascii", "\u00e4", 0, 1, "no"), RuntimeError("x")]

    def post(_path: str, _body: bytes, _field: str, _sent: int) -> int:
        if errors:
            raise errors.pop()
        over.set()
        return 0

    sending._post = post
    sending.ended(live(), result(), time.monotonic())
    sending.start()
    try:
        while sending._thread.is_alive() and not over.wait(0.05):
            pass
        assert over.is_set()
    finally:
        sending.close()


def test_what_its_caller_does_not_sample_is_not_sent() -> None:
    sending = Telemetry(TelemetrySpec(to="http://127.0.0.1:1"), "1")
    sending.ended(live(replace(CAME, sampled=False)), result(), time.monotonic())
    assert len(sending._spans) == 0
