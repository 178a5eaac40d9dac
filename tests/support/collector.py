"""A local OpenTelemetry collector: OTLP over HTTP, read by the protocol's own schema."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT = 60
_IDS = ("traceId", "spanId", "parentSpanId")


def decoded(body: bytes, message: Any) -> Any:
    """OTLP's JSON is protobuf's, but for ids, which are hex; unknown fields are an error."""
    return json_format.Parse(json.dumps(_as_protobuf(json.loads(body))), message)


def _as_protobuf(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_protobuf(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in _IDS else _as_protobuf(item)
        for key, item in value.items()
    }


class Collector:
    """`spans` and `metrics` in order of arrival; `bodies` as they came; 503 while `down`.

    answer: the body of each 200.
    """

    def __init__(self, port: int = 0) -> None:
        self.down = False
        self.answer = b""
        self.refused = 0
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.metrics: dict[str, Any] = {}
        self.bodies: list[bytes] = []
        self.changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with collector.changed:
                    if collector.down:
                        collector.refused += 1
                    else:
                        collector._take(self.path, body)
                    collector.changed.notify_all()
                self.send_response(503 if collector.down else 200)
                self.send_header("Content-Length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            found = decoded(body, ExportTraceServiceRequest())
            for resource in found.resource_spans:
                self.resources.append(attributes(resource.resource))
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        elif path == "/v1/metrics":
            for resource in decoded(body, ExportMetricsServiceRequest()).resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in scope.metrics}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def until(self, check: Callable[[], object], what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: bool(check()), WAIT), what

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def attributes(holder: Any) -> dict[str, Any]:
    return {
        item.key: getattr(item.value, item.value.WhichOneof("value")) for item in holder.attributes
    }
