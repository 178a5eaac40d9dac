"""Incidents: what was seen that somebody must look at, kept with what was known then.

Rules of the configuration turn signals into incidents and actions. Each incident is one file,
private and bounded; what it captured of a call is encrypted under the key `content`. Must never
hold up a call: an incident that cannot be written is logged and recorded.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from fumehood.audit.incident import Incident, bound, opened_capture, read_incident
from fumehood.crypto.files import write_private
from fumehood.crypto.ring import Ring
from fumehood.errors import KeyringError, UnknownIncident, UsageError
from fumehood.model.ids import uuid7
from fumehood.model.incident_rules import IncidentRule
from fumehood.supervisor.signals import Case

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 1000
MAX_KEPT: Final = 2_000
"""On disk, closed ones included; beyond it the oldest closed ones go."""
MAX_EVENTS: Final = 200
"""Of one incident's timeline."""

TELL_SECONDS: Final = 1.0
"""How often one incident's file is written for more of the same."""

Key = tuple[str, str, int]
"""Signal, tool, caller: one incident is open for each."""


class Incidents:
    """The incidents of one state directory. Used on the event loop only."""

    def __init__(self, folder: Path, rules: tuple[IncidentRule, ...], ring: Ring) -> None:
        self._folder = folder
        self._rules = rules
        self._ring = ring
        self._seen: dict[tuple[int, str, int], deque[float]] = defaultdict(deque)
        self._open: dict[Key, str] = {
            _key(item): item.incident for item in reversed(self.listed(closed=False))
        }
        self._more: dict[str, tuple[float, int]] = {}
        """By incident: when it was written last, and what came since."""

    def see(self, case: Case, now: float) -> Iterator[tuple[Incident, IncidentRule, bool]]:
        """Incidents of a signal, each with its rule, and whether it is new."""
        for number, rule in enumerate(self._rules):
            if rule.signal == case.signal and self._often(number, rule, case, now):
                yield self._opened(case, rule, now)

    def _often(self, number: int, rule: IncidentRule, case: Case, now: float) -> bool:
        times = self._seen[(number, case.tool, case.uid)]
        times.append(now)
        while (times and times[0] <= now - rule.within) or len(times) > rule.count:
            times.popleft()
        if len(self._seen) > MAX_OPEN:  # forget the rest: counts begin anew
            self._seen = defaultdict(deque)
        return len(times) >= rule.count

    def _opened(
        self, case: Case, rule: IncidentRule, now: float
    ) -> tuple[Incident, IncidentRule, bool]:
        try:
            known = self.get(self._open.get((case.signal, case.tool, case.uid), ""))
        except UnknownIncident:
            known = None
        if known is None or known.closed:
            return self.open(case, tuple(rule.actions)), rule, True
        self._again(known.incident, case.what, now)
        return known, rule, False

    def _again(self, name: str, what: str, now: float) -> None:
        """A flood of signals is few lines, and few writes."""
        last, missed = self._more.get(name, (-TELL_SECONDS, 0))
        if now - last < TELL_SECONDS:
            self._more[name] = (last, missed + 1)
            return
        if len(self._more) >= MAX_OPEN:
            self._more.clear()
        self._more[name] = (now, 0)
        self._changed(name, f"{what}; {missed} more before it" if missed else what)

    def open(self, case: Case, actions: tuple[str, ...] = ()) -> Incident:
        """A new incident, whatever is open already."""
        moment = _now()
        incident = Incident(
            incident=uuid7(), signal=case.signal, tool=case.tool[:128], tool_digest=case.digest,
            uid=case.uid, opened=moment, invocation=case.invocation, actions=actions,
            timeline=(*case.before, (moment, case.what)),
            capture=self._sealed(case.invocation, case.capture() if case.capture else None),
        )  # fmt: skip
        if len(self._open) >= MAX_OPEN:
            self._open.clear()
        self._open[(case.signal, case.tool, case.uid)] = incident.incident
        self._make_room()
        self._write(incident)
        return incident

    def tell(self, name: str, what: str, found: Mapping[str, Any] | None = None) -> None:
        """Something more about an incident, and what more was captured of its call."""
        self._changed(name, what, found)

    def _changed(
        self, name: str, what: str, found: Mapping[str, Any] | None = None
    ) -> Incident | None:
        try:
            known = self.get(name)
        except UnknownIncident:
            return None
        if known.closed:
            return known
        grown = replace(known, timeline=(*known.timeline, (_now(), what[:400]))[-MAX_EVENTS:])
        if found is not None:
            before: Mapping[str, Any] = {}
            with contextlib.suppress(KeyringError):
                before = opened_capture(known, self._ring)
            sealed = self._sealed(known.invocation, {**before, **found})
            grown = replace(grown, capture=sealed or known.capture)
        self._write(grown)
        return grown

    def _sealed(self, invocation: str, found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if found is None:
            return None
        try:
            return self._ring.seal(json.dumps(found).encode(), bound(invocation))
        except KeyringError as error:
            log.error("nothing could be captured", error=error.cause)  # noqa: TRY400
            return None

    # --- looking and closing

    def listed(self, *, closed: bool) -> list[Incident]:
        """The newest first."""
        found: list[Incident] = []
        for name in self._names():
            with contextlib.suppress(UnknownIncident):
                item = self.get(name)
                if closed or not item.closed:
                    found.append(item)
            if len(found) >= MAX_OPEN:
                break
        return found

    def _names(self) -> list[str]:
        try:
            return sorted((path.stem for path in self._folder.glob("*.json")), reverse=True)
        except OSError:
            return []

    def _make_room(self) -> None:
        names = self._names()
        for name in reversed(names):
            if len(names) < MAX_KEPT:
                return
            with contextlib.suppress(UnknownIncident, OSError):
                if self.get(name).closed:
                    (self._folder / f"{name}.json").unlink()
                    names.remove(name)

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


def _key(incident: Incident) -> Key:
    return incident.signal, incident.tool, incident.uid


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
