"""Numbers for Prometheus: what is counted, and from where.

Labels are bounded: beyond so many tools, the rest are `other`. Must never hold a caller's data:
no argument, no output, no name that a caller chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, get_args

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fumehood.crypto.ring import Ring
from fumehood.errors import KeyringError
from fumehood.model.incident_rules import Signal
from fumehood.model.outcome import Status
from fumehood.model.result import NOTHING_RAN, Result
from fumehood.supervisor.incidents import OVERFLOW, UNREADABLE
from fumehood.supervisor.live import BY_A_RULE, BY_ITS_CALLER, SHUTDOWN
from fumehood.supervisor.pressure import stalled
from fumehood.supervisor.scanners import Tally

MAX_TOOLS: Final = 200
OTHER: Final = "other"
SIGNALS: Final = (*get_args(Signal), OVERFLOW, UNREADABLE)
ALARMING: Final[tuple[Status, ...]] = ("syscall_killed", "withheld", "engine_error")
"""What alert rules count. A counter that is not there before its first event has no increase for
it (Prometheus: `increase` needs two samples), so these begin at 0."""
_STEPS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
    """How the supervisor is at the moment of a scrape."""

    running: int
    waiting: int
    ready: int
    tools: int
    audit_seq: int
    audit_broken: bool
    refusing: bool
    stops: int
    forward_behind: int = 0
    forward_failing: bool = False
    forward_rejected: int = 0
    spans_dropped: int = 0
    first_key_here: bool = False
    incidents: Mapping[str, int] = field(default_factory=dict)
    """How many are open, by signal."""


class Metrics:
    """What is counted. Used on the event loop only."""

    def __init__(
        self,
        state: Callable[[], State],
        ring: Ring,
        tally: Tally | None = None,
        tools: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """state: looks at the supervisor. tally: of the detectors. tools: names of the registered
        ones."""
        self._registered = tools
        self._tools: set[str] = set()
        self._registry = own = CollectorRegistry()
        self._ended = Counter(
            "fumehood_invocations", "Calls that ended.", ["tool", "status"], registry=own
        )
        self._steps = Histogram(
            "fumehood_step_seconds", "Time of each step of a call.", ["step"],
            buckets=_STEPS, registry=own,
        )  # fmt: skip
        self._audited = Histogram(
            "fumehood_audit_seconds", "Time until a terminal record is on disk.",
            buckets=_STEPS, registry=own,
        )  # fmt: skip
        self._breaches = Counter(
            "fumehood_breaches", "Limits that fired, by control.", ["control"], registry=own
        )
        self._kills = Counter(
            "fumehood_kills", "Calls that were ended for a limit or by somebody.", ["control"],
            registry=own,
        )  # fmt: skip
        self._findings = Counter(
            "fumehood_findings", "What scanners found, and what was done.", ["kind", "action"],
            registry=own,
        )  # fmt: skip
        self._incidents = Counter(
            "fumehood_incidents", "Incidents that were opened.", ["signal"], registry=own
        )
        for signal in SIGNALS:
            self._incidents.labels(signal)
        self._cpu = Counter("fumehood_tool_cpu_seconds", "CPU that tools used.", registry=own)
        own.register(_Now(state, ring))
        if tally is not None:
            own.register(_Detectors(tally))

    def ended(self, result: Result, audit_seconds: float, cancelled_by: str = "") -> None:
        """A call has ended, refused ones included, and its record is on disk.

        cancelled_by: who had it killed (`Live.cancelled_by`); empty for nobody."""
        # Only registered tools have a version: a name that a caller made up is `other`.
        tool = self._tool(result.tool_name) if result.tool_version else OTHER
        self._ended.labels(tool, result.status).inc()
        self._audited.observe(audit_seconds)
        for finding in result.findings:
            self._findings.labels(finding.kind, finding.action).inc()
        if result.breach is not None:
            self._breaches.labels(result.breach.control).inc()
        if control := _killer(result, cancelled_by):
            self._kills.labels(control).inc()
        if result.timing == NOTHING_RAN:
            return
        timing = result.timing
        for step, milliseconds in (
            ("queued", timing.queued_ms), ("opened", timing.started_ms),
            ("ran", timing.ran_ms), ("scanned", timing.scanned_ms),
        ):  # fmt: skip
            self._steps.labels(step).observe(milliseconds / 1000)
        self._cpu.inc(result.usage.cpu_seconds or 0.0)

    def incident(self, signal: str) -> None:
        self._incidents.labels(signal).inc()

    def _tool(self, name: str) -> str:
        if name not in self._tools:
            if len(self._tools) >= MAX_TOOLS:
                return OTHER
            self._tools.add(name)
        return name

    def _begin_alarming(self) -> None:
        for tool in self._registered():
            for status in ALARMING:
                self._ended.labels(self._tool(tool), status)

    def collect(self) -> Iterator[Metric]:
        """All of it, in parts."""
        self._begin_alarming()
        return iter(self._registry.collect())

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        self._begin_alarming()
        return generate_latest(self._registry)


def _killer(result: Result, cancelled_by: str) -> str:
    """The control that ended a call: a limit by name, a rule for incidents, an operator, its
    caller, the daemon's end; empty when it ended by itself."""
    if cancelled_by and result.status in ("cancelled", "engine_error"):
        return {BY_A_RULE: "rule", BY_ITS_CALLER: "caller", SHUTDOWN: "shutdown"}.get(
            cancelled_by, "operator"
        )
    return result.breach.control if result.breach is not None else ""


@dataclass(frozen=True, slots=True)
class _Now(Collector):
    """What is looked at when somebody asks."""

    state: Callable[[], State]
    ring: Ring

    def collect(self) -> Iterator[Metric]:
        now = self.state()
        memory, (load, _, _) = psutil.virtual_memory(), psutil.getloadavg()
        values: list[tuple[str, str, float]] = [
            ("running", "Sandboxes that run calls.", now.running),
            ("waiting", "Calls that wait for a sandbox.", now.waiting),
            ("ready", "Sandboxes kept open ahead of calls.", now.ready),
            ("tools", "Registered tools.", now.tools),
            ("audit_records", "Number of the last record on disk.", now.audit_seq),
            ("audit_broken", "1 while the audit log cannot be written.", now.audit_broken),
            ("refusing", "1 while no call is taken.", now.refusing),
            ("stops", "Stops in force.", now.stops),
            ("forward_behind_bytes", "Bytes of the log not yet forwarded.", now.forward_behind),
            ("forward_failing", "1 while records cannot be forwarded.", now.forward_failing),
            ("host_memory_available_bytes", "Memory available on the host.", memory.available),
            ("first_key_here", "1 while the first key is beside the log.", now.first_key_here),
            ("host_load1", "Load average of a minute.", load),
        ]
        for name, text, value in values:
            yield GaugeMetricFamily(f"fumehood_{name}", text, value)
        yield CounterMetricFamily(
            "fumehood_forward_rejected", "Records that the receiver refused for good.",
            value=now.forward_rejected,
        )  # fmt: skip
        yield CounterMetricFamily(
            "fumehood_spans_dropped", "Spans of traces that no collector has.",
            value=now.spans_dropped,
        )  # fmt: skip
        yield _open(now.incidents)
        yield self._keys()
        yield _pressure()

    def _keys(self) -> Metric:
        left = GaugeMetricFamily(
            "fumehood_key_seconds_left", "Until the active key ends; 0 when there is none.",
            labels=["purpose"],
        )  # fmt: skip
        moment = datetime.now(UTC)
        try:
            newest = {entry.purpose: entry for entry in reversed(self.ring.entries())}
            missing = self.ring.missing()
        except KeyringError:
            return left
        for purpose, entry in newest.items():
            until = datetime.fromisoformat(entry.active_until)
            seconds = 0.0 if purpose in missing else (until - moment).total_seconds()
            left.add_metric([purpose], max(seconds, 0.0))
        return left


def _open(incidents: Mapping[str, int]) -> Metric:
    found = GaugeMetricFamily("fumehood_incidents_open", "Incidents to look at.", labels=["signal"])
    for signal in SIGNALS:
        found.add_metric([signal], incidents.get(signal, 0))
    return found


def _pressure() -> Metric:
    """Five values, none where the kernel has no PSI. `full` of the CPU is not defined for a whole
    host, which says 0 for it (Documentation/accounting/psi.rst): left out."""
    found = GaugeMetricFamily(
        "fumehood_host_pressure",
        "Part of the last 10 s in which some, or all (full), of what runs waited for a resource.",
        labels=["resource", "kind"],
    )
    for resource in ("cpu", "memory", "io"):
        for kind, percent in stalled(resource).items():
            if (resource, kind) != ("cpu", "full"):
                found.add_metric([resource, kind], percent / 100)
    return found


@dataclass(frozen=True, slots=True)
class _Detectors(Collector):
    """What each detector costs, finds and misses."""

    tally: Tally

    def collect(self) -> Iterator[Metric]:
        counts, failures = self.tally.read()
        seconds = CounterMetricFamily(
            "fumehood_scanner_seconds", "Time that a detector looked.", labels=["detector"]
        )
        matches = CounterMetricFamily(
            "fumehood_scanner_matches", "What a detector found, before any policy.",
            labels=["detector"],
        )  # fmt: skip
        for name, (spent, found) in sorted(counts.items()):
            seconds.add_metric([name], spent)
            matches.add_metric([name], found)
        failed = CounterMetricFamily(
            "fumehood_scanner_failures", "Output that a detector has not seen to its end.",
            labels=["detector"],
        )  # fmt: skip
        for name, count in sorted(failures.items()):
            failed.add_metric([name], count)
        yield from (seconds, matches, failed)
