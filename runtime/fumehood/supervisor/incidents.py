"""Incidents: what was seen that somebody must look at, kept with what was known then.

Rules of the configuration turn signals into incidents and actions. Each incident is one file,
private and bounded; what it captured of a call is encrypted under the key `content`. Must never
hold up a call: which are open is known from memory, and an incident that cannot be written is on
record, and kept in memory until it can. Must never forget one whose file is damaged: it is listed
as `unreadable` until its file is whole, or gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from fumehood.audit.incident import Incident, bound, opened_capture, read_incident
from fumehood.audit.record import Field
from fumehood.crypto.files import write_private
from fumehood.crypto.ring import Ring
from fumehood.errors import (
    AuditError,
    KeyringError,
    UnknownIncident,
    UnreadableIncident,
    UsageError,
)
from fumehood.model.ids import uuid7
from fumehood.model.incident_rules import IncidentRule
from fumehood.supervisor.counts import Counts
from fumehood.supervisor.signals import Case

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 1000
"""Beyond it, what would open another is counted by one more, of the signal `overflow`."""
OVERFLOW: Final = "overflow"
UNREADABLE: Final = "unreadable"
"""The signal, in lists, of one of which the file does not tell it any more."""
MAX_KEPT: Final = 2_000
"""On disk, closed ones included; beyond it the oldest closed ones go."""
MAX_LISTED: Final = MAX_OPEN + 1
READ_AT_ONCE: Final = 16
LISTED_EVENTS: Final = 9
"""Of a timeline, in a list; besides how it began."""
MAX_EVENTS: Final = 200
"""Of one incident's timeline: its beginning, and what came last."""
FIRST_EVENTS: Final = 20
MAX_UNKEPT_CAPTURES: Final = 64
"""Of incidents that the disk did not take; a look alone has up to 1 MiB."""
WRITTEN_LATER: Final = 8
"""Of those, so many are written after one that the disk took."""

TELL_SECONDS: Final = 1.0
"""How often one incident's file is written for more of the same."""

Key = tuple[str, str, int]
"""Signal, tool, caller: one incident is open for each."""


class Incidents:
    """The incidents of one state directory, of which nobody else writes. On the event loop only."""

    def __init__(
        self,
        folder: Path,
        rules: tuple[IncidentRule, ...],
        ring: Ring,
        append: Callable[[str, Mapping[str, Field]], object],
    ) -> None:
        """append: puts a record into the audit log."""
        self._folder = folder
        self._append = append
        self._rules = rules
        self._ring = ring
        self._counts = Counts()
        self._open: dict[Key, str] = {}
        """The newest of each that is open."""
        self._alive: dict[str, Key] = {}
        """All that are open."""
        self._closed: set[str] = set()
        self._unreadable: set[str] = set()
        """Whose files are there, and cannot be read: each is on record, once."""
        self._unkept: dict[str, Incident] = {}
        """What the disk did not take, as it stands."""
        self._more: dict[str, tuple[float, int]] = {}
        """By incident: when it was written last, and what came since."""
        for name in self._names():
            with contextlib.suppress(UnknownIncident):
                self._know(self.get(name))

    def _know(self, incident: Incident) -> None:
        name = incident.incident
        self._unreadable.discard(name)
        if incident.closed:
            self._closed.add(name)
            self._forget(name)
        else:
            self._alive[name] = _key(incident)
            self._open[_key(incident)] = max(name, self._open.get(_key(incident), ""))

    def _forget(self, name: str) -> None:
        """It is not open any more."""
        key = self._alive.pop(name, None)
        if key is not None and self._open.get(key) == name:
            del self._open[key]
        self._more.pop(name, None)

    def _gone(self, name: str) -> None:
        """Somebody took its file away."""
        self._forget(name)
        self._closed.discard(name)
        self._unreadable.discard(name)

    def _cannot_read(self, name: str, error: UnreadableIncident) -> None:
        """Whether it was open nobody can tell. The next of its signals opens another, so that
        somebody hears of it."""
        if name in self._unreadable:
            return
        self._forget(name)
        self._closed.discard(name)
        self._unreadable.add(name)
        log.error("an incident cannot be read", incident=name, error=error.detail,
                  remedy=error.remedy)  # fmt: skip
        with contextlib.suppress(AuditError):  # the log's own failure refuses all calls
            self._append("incident.unreadable", {"incident": name, "reason": error.detail})

    def see(self, case: Case, now: float) -> Iterator[tuple[Incident, IncidentRule, bool]]:
        """Incidents of a signal, each with its rule, and whether it is new."""
        for number, rule in enumerate(self._rules):
            if rule.signal != case.signal:
                continue
            key = (number, case.tool, case.uid)
            if self._counts.seen(key, now, within=rule.within, most=rule.count) >= rule.count:
                yield self._opened(case, rule, now)

    def _opened(
        self, case: Case, rule: IncidentRule, now: float
    ) -> tuple[Incident, IncidentRule, bool]:
        known = self._known((case.signal, case.tool[:128], case.uid))
        if known is None:
            incident, new = self.open(case, tuple(rule.actions), now)
            return incident, rule, new
        self._again(known.incident, case.what, now)
        return known, rule, False

    def _known(self, key: Key) -> Incident | None:
        """The one that is open."""
        name = self._open.get(key)
        if name is None:
            return None
        try:
            return self.get(name)
        except UnreadableIncident:
            return None
        except UnknownIncident:
            self._gone(name)
            return None

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

    def open(
        self, case: Case, actions: tuple[str, ...] = (), now: float | None = None
    ) -> tuple[Incident, bool]:
        """A new incident, whatever is open already; of MAX_OPEN on, one for all that is more.

        now: without it, what is more is told at once. The flag says whether the incident is new.
        """
        if len(self._alive) >= MAX_OPEN:
            return self._overflown(case, now)
        moment = _now()
        incident = Incident(
            incident=uuid7(), signal=case.signal, tool=case.tool[:128], tool_digest=case.digest,
            uid=case.uid, opened=moment, invocation=case.invocation, actions=actions,
            timeline=(*case.before, (moment, case.what)),
            capture=self._sealed(case.invocation, case.capture() if case.capture else None),
        )  # fmt: skip
        self._begin(incident)
        return incident, True

    def _overflown(self, case: Case, now: float | None) -> tuple[Incident, bool]:
        """Captures nothing: what is one call's would stand with another's."""
        what = f"{case.signal} of {case.tool[:128] or 'no tool'}, uid {case.uid}: {case.what}"
        known = self._known((OVERFLOW, "", -1))
        if known is None:
            moment = _now()
            first = f"{MAX_OPEN} incidents are open: what would open another is told here"
            known = Incident(
                incident=uuid7(), signal=OVERFLOW, tool="", tool_digest="", uid=-1, opened=moment,
                invocation="", actions=("notify",),
                timeline=((moment, first), (moment, what[:400])),
            )  # fmt: skip
            self._begin(known)
            return known, True
        if now is None:
            self._changed(known.incident, what)
        else:
            self._again(known.incident, what, now)
        return known, False

    def _begin(self, incident: Incident) -> None:
        self._make_room()
        self._know(incident)
        self._write(incident)

    def tell(self, name: str, what: str, found: Mapping[str, Any] | None = None) -> None:
        """Something more about an incident, and what more was captured of its call."""
        if self._alive.get(name, ("",))[0] == OVERFLOW:
            found = None
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
        grown = replace(known, timeline=_bounded((*known.timeline, (_now(), what[:400]))))
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

    def count(self) -> Counter[str]:
        """How many are open, by signal, and how many nobody can read."""
        found = Counter(signal for signal, _, _ in self._alive.values())
        return found + Counter({UNREADABLE: len(self._unreadable)})

    async def listed(self, *, closed: bool) -> list[dict[str, Any]]:
        """The newest first, without what is captured, and of their timelines how they began and
        what came last. A thread reads their files, some at a time: each may have megabytes."""
        names = {*self._alive, *self._unreadable, *(self._closed if closed else ())}
        order = sorted(names, reverse=True)[:MAX_LISTED]
        found: list[dict[str, Any]] = []
        for start in range(0, len(order), READ_AT_ONCE):
            some = order[start : start + READ_AT_ONCE]
            for name, read in zip(some, await asyncio.to_thread(self._told, some), strict=True):
                if isinstance(read, UnreadableIncident):
                    self._cannot_read(name, read)
                    found.append(_unread(name, read))
                elif isinstance(read, UnknownIncident):
                    self._gone(name)
                else:
                    if name in self._unreadable:  # its file was put back
                        self._know(self.get(name))
                    found.append(read)
        return found

    def _told(self, names: Iterable[str]) -> list[dict[str, Any] | UnknownIncident]:
        """In a thread, which changes nothing."""
        found: list[dict[str, Any] | UnknownIncident] = []
        for name in names:
            try:
                known = self._read(name)
            except UnknownIncident as error:
                found.append(error.with_traceback(None))
                continue
            first, rest = known.timeline[:1], known.timeline[1:]
            short = replace(known, timeline=(*first, *rest[-LISTED_EVENTS:]))
            found.append(short.to_json())
        return found

    def _names(self) -> list[str]:
        """Of what is on disk, the oldest first (RFC 9562, 6.11: UUIDv7 sort by their time)."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            log.error("incidents cannot be read", folder=str(self._folder), error=str(error))  # noqa: TRY400
            return []
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))

    def _make_room(self) -> None:
        others = len(self._alive) + len(self._unreadable)
        while self._closed and others + len(self._closed) >= MAX_KEPT:
            name = min(self._closed)
            try:
                (self._folder / f"{name}.json").unlink(missing_ok=True)
            except OSError as error:
                log.error("an old incident cannot be removed", incident=name, error=str(error))  # noqa: TRY400
                return
            self._closed.discard(name)
            self._unkept.pop(name, None)

    def get(self, name: str) -> Incident:
        """Raises UnknownIncident, UnreadableIncident."""
        try:
            return self._read(name)
        except UnreadableIncident as error:
            self._cannot_read(name, error)
            raise

    def _read(self, name: str) -> Incident:
        unkept = self._unkept.get(name)
        return read_incident(self._folder, name) if unkept is None else unkept

    def close(self, name: str, *, by: str, note: str) -> Incident:
        """Raises UnknownIncident, UnreadableIncident, UsageError."""
        incident = self.get(name)
        if incident.closed:
            raise UsageError(f"the incident was closed at {incident.closed}", "it needs nothing")
        moment = _now()
        done = replace(
            incident, closed=moment, closed_by=by, note=note[:4000],
            timeline=_bounded((*incident.timeline, (moment, f"closed by {by}"))),
        )  # fmt: skip
        self._know(done)
        self._write(done)
        return done

    def _write(self, incident: Incident) -> None:
        if self._written(incident):
            for other in list(self._unkept.values())[:WRITTEN_LATER]:
                if not self._written(other):
                    return

    def _written(self, incident: Incident) -> bool:
        """Whether the disk took it; else it is kept here, and on record once."""
        name = incident.incident
        data = json.dumps(asdict(incident)).encode()
        try:
            write_private(self._folder / f"{name}.json", data, replace=True)
        except OSError as error:
            new = name not in self._unkept
            if new and len(self._unkept) >= MAX_UNKEPT_CAPTURES:
                incident = replace(incident, capture=None)
            self._unkept[name] = incident
            if new:
                self._tell_unkept(incident, error)
            return False
        self._unkept.pop(name, None)
        return True

    def _tell_unkept(self, incident: Incident, error: OSError) -> None:
        log.error("an incident is not on disk", incident=incident.incident, error=str(error))
        fields: dict[str, Field] = {
            "incident": incident.incident, "rule": incident.signal, "tool": incident.tool,
            "uid": incident.uid, "captured": incident.capture is not None,
            "reason": error.strerror or "",
        }  # fmt: skip
        with contextlib.suppress(AuditError):  # the log's own failure refuses all calls
            self._append("incident.unkept", fields)


def _unread(name: str, error: UnreadableIncident) -> dict[str, Any]:
    """In a list, in place of what the file held."""
    blank = Incident(name, UNREADABLE, "", "", -1, "", "")
    return {**blank.to_json(), "unreadable": error.detail}


def _bounded(timeline: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if len(timeline) <= MAX_EVENTS:
        return timeline
    return (*timeline[:FIRST_EVENTS], *timeline[FIRST_EVENTS - MAX_EVENTS :])


def _key(incident: Incident) -> Key:
    return incident.signal, incident.tool, incident.uid


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
