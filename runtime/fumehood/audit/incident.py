"""An incident on disk: one private file, whose capture only the key ring opens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from fumehood.crypto.files import read_private
from fumehood.crypto.ring import Ring
from fumehood.errors import KeyringError, UnknownIncident, UnreadableIncident

_MAX_FILE: Final = 4 * 1024 * 1024
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Incident:
    """times: RFC 3339. timeline: (time, what). capture: sealed, of the call that opened it."""

    incident: str
    signal: str
    tool: str
    tool_digest: str
    uid: int
    opened: str
    invocation: str
    actions: tuple[str, ...] = ()
    timeline: tuple[tuple[str, str], ...] = ()
    closed: str = ""
    closed_by: str = ""
    note: str = ""
    capture: Mapping[str, Any] | None = field(default=None, repr=False)

    def is_sound(self) -> bool:
        """Whether each field is of its type: whoever wrote the file may have been anybody."""
        texts = (
            self.incident, self.signal, self.tool, self.tool_digest, self.opened, self.invocation,
            self.closed, self.closed_by, self.note,
        )  # fmt: skip
        capture = self.capture is None or isinstance(self.capture, dict)
        return capture and isinstance(self.uid, int) and all(isinstance(it, str) for it in texts)

    def to_json(self) -> dict[str, Any]:
        """All but the capture, which only its keys open."""
        value = asdict(replace(self, capture=None))
        del value["capture"]
        return {**value, "captured": self.capture is not None}


def read_incident(folder: Path, name: str) -> Incident:
    """Raises UnknownIncident where there is no such file, UnreadableIncident where it holds none:
    what is damaged is not gone, and somebody has to look at it all the same."""
    raw: bytes | None = None
    if _ID.fullmatch(name):
        try:
            raw = read_private(folder / f"{name}.json", _MAX_FILE, "incident")
        except (OSError, KeyringError) as error:
            why = error.cause if isinstance(error, KeyringError) else error.strerror
            raise _unreadable(name, why or "it cannot be read") from None
    if raw is None:
        raise UnknownIncident(f"no incident {name[:64]!r}", "`fumehood incident list` shows them")
    try:
        value = json.loads(raw)
        value["actions"] = tuple(map(str, value["actions"]))
        value["timeline"] = tuple((str(when), str(what)) for when, what in value["timeline"])
        incident = Incident(**value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreadable(name, "the file is torn, or was changed") from None
    if incident.incident != name or not incident.is_sound():
        raise _unreadable(name, "the file was changed")
    return incident


def _unreadable(name: str, why: str) -> UnreadableIncident:
    return UnreadableIncident(
        f"incident {name} cannot be read: {why}",
        f"put back a copy of `incidents/{name}.json` in the state, or move it elsewhere once it"
        " was looked at: until then `fumehood incident list` names it",
        detail=why,
    )


def opened_capture(incident: Incident, ring: Ring) -> dict[str, Any]:
    """What was captured. Raises KeyringError: nothing was, or its key is gone."""
    if incident.capture is None:
        raise KeyringError("nothing was captured of this incident")
    value = json.loads(ring.unseal(incident.capture, bound(incident.invocation)))
    return dict(value)


def notice(incident: Incident) -> bytes:
    """What a program is told: no argument and no output."""
    return json.dumps(incident.to_json(), separators=(",", ":")).encode() + b"\n"


def bound(invocation: str) -> bytes:
    """What a capture is bound to."""
    return b"fumehood incident " + invocation.encode()
