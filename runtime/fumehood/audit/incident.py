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
from fumehood.errors import KeyringError, UnknownIncident

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

    def to_json(self) -> dict[str, Any]:
        """All but the capture, which only its keys open."""
        value = asdict(replace(self, capture=None))
        del value["capture"]
        return {**value, "captured": self.capture is not None}


def read_incident(folder: Path, name: str) -> Incident:
    """Raises UnknownIncident."""
    unknown = UnknownIncident(f"no incident {name[:64]!r}", "`fumehood incident list` shows them")
    if not _ID.fullmatch(name):
        raise unknown
    try:
        raw = read_private(folder / f"{name}.json", _MAX_FILE, "incident")
        value = json.loads(raw or b"")
        value["actions"] = tuple(value["actions"])
        value["timeline"] = tuple((str(when), str(what)) for when, what in value["timeline"])
        return Incident(**value)
    except (OSError, KeyringError, ValueError, KeyError, TypeError):
        raise unknown from None


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
