"""Incidents: what was seen of calls that somebody must look at, kept with what was known then.

Rules of the configuration turn signals into incidents and actions. Each incident is one file,
private and bounded; what it captured of the call is encrypted under the key `content`. Must never
hold up a call: an incident that cannot be written is logged and recorded.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from fumehood.audit.incident import Incident, bound, read_incident
from fumehood.crypto.files import write_private
from fumehood.crypto.ring import Ring
from fumehood.errors import KeyringError, UnknownIncident, UsageError
from fumehood.model.codec import encode
from fumehood.model.ids import uuid7
from fumehood.model.incident_rules import IncidentRule, Signal
from fumehood.model.result import Result
from fumehood.supervisor.live import Live

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 1000
MAX_EVENTS: Final = 200
"""Of one incident's timeline."""
CAPTURED_BYTES: Final = 64 * 1024
"""Of each stream, its end."""


def signals(result: Result) -> set[Signal]:
    """What a result says that may be an incident."""
    found: set[Signal] = set()
    if result.status == "syscall_killed":
        found.add("tripwire")
    if result.status == "withheld":
        found.add("withheld")
    for finding in result.findings:
        if finding.rule == "canary":
            found.add("canary")
        if finding.kind == "injection":
            found.add("injection")
        if finding.kind == "behaviour":
            found.add("behaviour")
    return found


class Incidents:
    """The incidents of one state directory. Used on the event loop only."""

    def __init__(self, folder: Path, rules: tuple[IncidentRule, ...], ring: Ring) -> None:
        self._folder = folder
        self._rules = rules
        self._ring = ring
        self._seen: dict[tuple[int, str, int], deque[float]] = defaultdict(deque)
        self._open: dict[tuple[str, str, int], str] = {}

    def see(
        self, live: Live, result: Result, now: float
    ) -> Iterator[tuple[Incident, IncidentRule, bool]]:
        """Incidents of a call that ended, each with its rule, and whether it is new."""
        if result.status == "ok" and not result.findings:
            return
        for signal in sorted(signals(result)):
            for number, rule in enumerate(self._rules):
                if rule.signal == signal and self._often(number, rule, live, now):
                    yield self._opened(live, result, rule)

    def _often(self, number: int, rule: IncidentRule, live: Live, now: float) -> bool:
        times = self._seen[(number, live.request.tool, live.request.caller.uid)]
        times.append(now)
        while (times and times[0] <= now - rule.within) or len(times) > rule.count:
            times.popleft()
        if len(self._seen) > MAX_OPEN:  # forget the rest: counts begin anew
            self._seen = defaultdict(deque)
        return len(times) >= rule.count

    def _opened(
        self, live: Live, result: Result, rule: IncidentRule
    ) -> tuple[Incident, IncidentRule, bool]:
        request, moment = live.request, _now()
        what = f"{rule.signal}: {request.invocation} {result.status}"
        key = (rule.signal, request.tool, request.caller.uid)
        with contextlib.suppress(UnknownIncident):
            known = self.get(self._open.get(key, ""))
            if not known.closed:
                grown = replace(known, timeline=(*known.timeline, (moment, what))[-MAX_EVENTS:])
                self._write(grown)
                return grown, rule, False
        incident = Incident(
            incident=uuid7(), signal=rule.signal, tool=request.tool,
            tool_digest=result.tool_digest, uid=request.caller.uid, opened=moment,
            invocation=request.invocation, actions=tuple(rule.actions),
            timeline=((moment, what),), capture=self._captured(live, result),
        )  # fmt: skip
        if len(self._open) >= MAX_OPEN:
            self._open.clear()
        self._open[key] = incident.incident
        self._write(incident)
        return incident, rule, True

    def _captured(self, live: Live, result: Result) -> Mapping[str, Any] | None:
        known: dict[str, Any] = {
            "arguments": live.request.arguments_json[:CAPTURED_BYTES].decode(errors="replace"),
            "stdout": _end(live.stdout),
            "stderr": _end(live.stderr),
            "plan": encode(live.plan) if live.plan else None,
            "proofs": [encode(proof) for proof in live.proofs],
            "usage": encode(result.usage),
            "breach": encode(result.breach) if result.breach else None,
            "syscalls": encode(result.syscalls) if result.syscalls else None,
            "findings": [encode(finding) for finding in result.findings],
        }
        try:
            return self._ring.seal(json.dumps(known).encode(), bound(live.request.invocation))
        except KeyringError as error:
            log.error("nothing could be captured", error=error.cause)  # noqa: TRY400
            return None

    # --- looking and closing

    def listed(self, *, closed: bool) -> list[Incident]:
        """The newest first."""
        with contextlib.suppress(OSError):
            names = sorted((path.stem for path in self._folder.glob("*.json")), reverse=True)
            found = []
            for name in names[:MAX_OPEN]:
                with contextlib.suppress(UnknownIncident):
                    found.append(self.get(name))
            return [item for item in found if closed or not item.closed]
        return []

    def get(self, name: str) -> Incident:
        """Raises UnknownIncident."""
        return read_incident(self._folder, name)

    def close(self, name: str, *, by: str, note: str) -> Incident:
        """Raises UnknownIncident, UsageError."""
        incident = self.get(name)
        if incident.closed:
            raise UsageError(f"the incident was closed at {incident.closed}", "it needs nothing")
        moment = _now()
        done = replace(
            incident, closed=moment, closed_by=by, note=note[:4000],
            timeline=(*incident.timeline, (moment, f"closed by {by}"))[-MAX_EVENTS:],
        )  # fmt: skip
        self._write(done)
        return done

    def _write(self, incident: Incident) -> None:
        data = json.dumps(asdict(incident)).encode()
        try:
            write_private(self._folder / f"{incident.incident}.json", data, replace=True)
        except OSError as error:
            log.error("an incident is not on disk", incident=incident.incident, error=str(error))  # noqa: TRY400


def _end(stream: Any) -> str:
    return "" if stream is None else base64.b64encode(stream.last(CAPTURED_BYTES)).decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
