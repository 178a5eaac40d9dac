"""Spans and metrics as OTLP 1.x has them in JSON. Pure.

Source: opentelemetry-proto, `trace/v1`, `metrics/v1`, and the protocol's page for JSON: ids in hex,
64-bit numbers as strings. Must never hold an argument or an output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import Metric

SERVER, INTERNAL = 2, 1
OK, ERROR = 1, 2
CUMULATIVE: Final = 2


@dataclass(frozen=True, slots=True)
class Span:
    """times: nanoseconds since the epoch. error: empty when it went well."""

    trace: str
    span: str
    parent: str
    name: str
    start: int
    end: int
    kind: int = INTERNAL
    state: str = ""
    error: str | None = None
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


def traces(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> bytes:
    """An ExportTraceServiceRequest."""
    found = [_span(span) for span in spans]
    scope = {"scope": {"name": "fumehood", "version": version}, "spans": found}
    value = {"resourceSpans": [{"resource": _attributes(resource), "scopeSpans": [scope]}]}
    return _encoded(value)


def metrics(
    families: Iterable[Metric], resource: Mapping[str, str], version: str, *, since: int, now: int
) -> bytes:
    """An ExportMetricsServiceRequest of what a Prometheus registry has. since: when counting began,
    nanoseconds since the epoch."""
    found = [told for family in families if (told := _metric(family, since, now))]
    scope = {"scope": {"name": "fumehood", "version": version}, "metrics": found}
    value = {"resourceMetrics": [{"resource": _attributes(resource), "scopeMetrics": [scope]}]}
    return _encoded(value)


def _span(span: Span) -> dict[str, Any]:
    told: dict[str, Any] = {
        "traceId": span.trace,
        "spanId": span.span,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(max(span.end, span.start)),
        **_attributes(span.attributes),
    }
    if span.parent:
        told["parentSpanId"] = span.parent
    if span.state:
        told["traceState"] = span.state
    if span.error is not None:
        told["status"] = {"code": ERROR, "message": span.error} if span.error else {"code": OK}
    return told


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": [{"key": key, "value": _value(v)} for key, v in values.items()]}


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _metric(family: Metric, since: int, now: int) -> dict[str, Any] | None:
    told = {"name": family.name, "description": family.documentation}
    span = {"startTimeUnixNano": str(since), "timeUnixNano": str(now)}
    if family.type == "histogram":
        return {**told, "histogram": _histogram(family, span)}
    suffix = "_total" if family.type == "counter" else ""
    points = [
        {**_attributes(sample.labels), **span, "asDouble": sample.value}
        for sample in family.samples
        if sample.name == family.name + suffix
    ]
    if not points:
        return None
    if family.type == "counter":
        kind = {"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": True}
        return {**told, "sum": kind}
    return {**told, "gauge": {"dataPoints": points}}


def _histogram(family: Metric, span: Mapping[str, str]) -> dict[str, Any]:
    """Prometheus' buckets hold all below; OTLP's each their own."""
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            series.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[key] = sample.value
    points = [
        {**_attributes(dict(key)), **span, **_buckets(sorted(found)), "sum": sums.get(key, 0.0)}
        for key, found in series.items()
    ]
    return {"dataPoints": points, "aggregationTemporality": CUMULATIVE}


def _buckets(found: Sequence[tuple[float, float]]) -> dict[str, Any]:
    counts = [value for _, value in found]
    own = [int(count - before) for count, before in zip(counts, [0.0, *counts], strict=False)]
    return {
        "explicitBounds": [bound for bound, _ in found[:-1]],
        "bucketCounts": [str(count) for count in own],
        "count": str(int(counts[-1])),
    }


def _encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
