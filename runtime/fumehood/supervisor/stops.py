"""What is stopped: tools, callers, or everything; kept on disk, so that no restart forgets it.

Must never let a call pass that a stop is on record for: a list that cannot be read stops all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from fumehood.crypto.files import read_private, write_private
from fumehood.errors import KeyringError, Stopped, Unavailable, UsageError

log = structlog.get_logger(__name__)

Kind = Literal["all", "tool", "caller"]
KINDS: Final = ("all", "tool", "caller")
MAX_STOPS: Final = 10_000
_MAX_FILE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop. name: of the tool, or the caller's UID in digits; empty for all."""

    kind: Kind
    name: str
    since: str
    by: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "name": self.name, "since": self.since, "by": self.by,
            "reason": self.reason,
        }  # fmt: skip


class Stops:
    """The stops of one state directory. Used on the event loop only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stops: dict[tuple[Kind, str], Stop] = _read(path)

    def check(self, tool: str, uid: int) -> None:
        """Raises Stopped when this tool, this caller or everything is stopped."""
        if not self._stops:
            return
        keys: tuple[tuple[Kind, str], ...] = (("all", ""), ("tool", tool), ("caller", str(uid)))
        for key in keys:
            if (stop := self._stops.get(key)) is not None:
                raise _refusal(stop)

    def add(self, kind: Kind, name: str, *, by: str, reason: str) -> Stop:
        """Stop something from now on; on disk when this returns. Raises as `hold` and `keep`."""
        stop = self.hold(kind, name, by=by, reason=reason)
        self.keep()
        return stop

    def hold(self, kind: Kind, name: str, *, by: str, reason: str) -> Stop:
        """Stop something from now on, until a restart.

        Raises UsageError when as many as may be are stopped; never for everything, which is what
        is left to an operator then.
        """
        if len(self._stops) >= MAX_STOPS and kind != "all" and (kind, name) not in self._stops:
            raise UsageError(f"{MAX_STOPS} stops are in force", "`fumehood resume` some")
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        stop = Stop(kind, name, since, by, reason[:400])
        self._stops = {**self._stops, (kind, name): stop}
        return stop

    def keep(self) -> None:
        """Put what is stopped on disk. Raises Unavailable; it stays stopped all the same."""
        self._write()

    def remove(self, kind: Kind, name: str) -> Stop:
        """Let it go on. Raises UsageError when it is not stopped, Unavailable."""
        if (kind, name) not in self._stops:
            what = "everything" if kind == "all" else f"the {kind} {name[:64]!r}"
            raise UsageError(f"{what} is not stopped", "`fumehood stop --list` shows what is")
        before, stop = self._stops, self._stops[(kind, name)]
        self._stops = {key: value for key, value in before.items() if key != (kind, name)}
        try:
            self._write()
        except Unavailable:
            self._stops = before
            raise
        return stop

    def holds(self, kind: Kind, name: str) -> bool:
        """Whether this is stopped."""
        return (kind, name) in self._stops

    def listed(self) -> list[Stop]:
        return list(self._stops.values())

    def _write(self) -> None:
        data = json.dumps([stop.to_json() for stop in self._stops.values()], indent=1).encode()
        try:
            write_private(self._path, data + b"\n", replace=True)
        except OSError as error:
            raise Unavailable(
                "the list of stops cannot be written; what was stopped is, until a restart",
                "see to the disk of the state directory, and do it again",
                detail=str(error),
            ) from error


def _refusal(stop: Stop) -> Stopped:
    what = {"all": "all calls are", "tool": "this tool is", "caller": "your calls are"}[stop.kind]
    return Stopped(
        f"{what} stopped since {stop.since}", "an operator must resume it", detail=stop.reason
    )


def _read(path: Path) -> dict[tuple[Kind, str], Stop]:
    try:
        raw = read_private(path, _MAX_FILE, "list of stops")
        stops = [_stop(item) for item in json.loads(raw)] if raw is not None else []
    except (OSError, KeyringError, ValueError, KeyError, TypeError) as error:
        log.error("the list of stops cannot be read: everything is stopped", error=str(error))  # noqa: TRY400
        stops = [Stop("all", "", "the start", "fumehood", "the list of stops cannot be read")]
    return {(stop.kind, stop.name): stop for stop in stops}


def _stop(item: Mapping[str, Any]) -> Stop:
    if item["kind"] not in KINDS:
        raise ValueError(f"no kind of stop: {item['kind']!r}")
    return Stop(
        item["kind"], str(item["name"]), str(item["since"]), str(item["by"]), str(item["reason"])
    )
