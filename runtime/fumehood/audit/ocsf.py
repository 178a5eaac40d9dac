"""Records in the forms that others read: OCSF 1.5, ECS 8, CEF; pure functions.

Each record becomes one event of a published class, with that class's own ids; what the class has
no attribute for stands under `unmapped` (OCSF) or `fumehood` (ECS), so that nothing is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fumehood.audit.replay import TERMINAL

OCSF_VERSION: Final = "1.5.0"
ECS_VERSION: Final = "8.17.0"
_CHAIN: Final = frozenset({"seq", "time", "event", "alg", "key", "epoch", "prev", "mac"})


@dataclass(frozen=True, slots=True)
class Kind:
    """An OCSF class and activity: schema.ocsf.io, release 1.5."""

    class_uid: int
    activity_id: int
    name: str = ""

    @property
    def category_uid(self) -> int:
        return self.class_uid // 1000

    @property
    def type_uid(self) -> int:
        return self.class_uid * 100 + self.activity_id


API_ACTIVITY: Final = 6003
APPLICATION_LIFECYCLE: Final = 6002
ENTITY_MANAGEMENT: Final = 3004
DETECTION_FINDING: Final = 2004
OTHER: Final = 99

_KINDS: Final = {
    "supervisor.started": Kind(APPLICATION_LIFECYCLE, 3),
    "supervisor.stopped": Kind(APPLICATION_LIFECYCLE, 4),
    "tool.added": Kind(ENTITY_MANAGEMENT, 1),
    "tool.removed": Kind(ENTITY_MANAGEMENT, 4),
    "tool.approved": Kind(ENTITY_MANAGEMENT, 10),
    "tool.quarantined": Kind(ENTITY_MANAGEMENT, 12),
    "tool.stopped": Kind(ENTITY_MANAGEMENT, 12),
    "tool.resumed": Kind(ENTITY_MANAGEMENT, 13),
    "plan.used": Kind(ENTITY_MANAGEMENT, 1),
    "key.created": Kind(ENTITY_MANAGEMENT, 1),
    "key.retired": Kind(ENTITY_MANAGEMENT, 11),
    "key.revoked": Kind(ENTITY_MANAGEMENT, 9),
    "incident.opened": Kind(DETECTION_FINDING, 1),
    "incident.closed": Kind(DETECTION_FINDING, 3),
}
_FAMILIES: Final = {
    "tool": ENTITY_MANAGEMENT,
    "key": ENTITY_MANAGEMENT,
    "incident": DETECTION_FINDING,
    "invocation": API_ACTIVITY,
    "approval": API_ACTIVITY,
}
_SEVERE: Final = {
    "invocation.ended": 1,
    "key.revoked": 3,
    "tool.quarantined": 4,
    "tool.tripped_ahead": 3,
}
_ALARMS: Final = frozenset({"syscall_killed", "withheld"})


def kind(event: str) -> Kind:
    """The class and activity of an event; one that is not known is `Other` of its family."""
    known = _KINDS.get(event)
    if known is not None:
        return known
    family, _, name = event.partition(".")
    return Kind(_FAMILIES.get(family, APPLICATION_LIFECYCLE), OTHER, name or event)


def severity(record: Mapping[str, Any]) -> int:
    """OCSF severity: 1 informational, 2 low, 3 medium, 4 high."""
    event, status = str(record["event"]), record.get("status")
    if event.startswith("incident."):
        return 4
    if status in _ALARMS:
        return 3
    if status in ("rejected", "engine_error") or record.get("findings"):
        return 2
    return _SEVERE.get(event, 1)


def to_ocsf(record: Mapping[str, Any], *, version: str, host: str = "") -> dict[str, Any]:
    """One OCSF event. record: as it stands in the log."""
    what = kind(str(record["event"]))
    event: dict[str, Any] = {
        "class_uid": what.class_uid,
        "category_uid": what.category_uid,
        "activity_id": what.activity_id,
        "type_uid": what.type_uid,
        "severity_id": severity(record),
        "time": milliseconds(str(record["time"])),
        "message": message(record),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Fumehood", "vendor_name": "Fumehood", "version": version},
            "log_name": "audit",
            "sequence": record["seq"],
            "event_code": record["event"],
            "uid": f"{record['key']}:{record['seq']}",
        },
        "unmapped": {name: record[name] for name in record if name not in ("time", "seq")},
    }
    if what.name:
        event["activity_name"] = what.name
    event |= _own(what, record, host)
    if "invocation" in record:
        event["metadata"]["correlation_uid"] = record["invocation"]
    return event


def _own(what: Kind, record: Mapping[str, Any], host: str) -> dict[str, Any]:
    """What the class requires besides the base."""
    if what.class_uid == API_ACTIVITY:
        return _api(record, host)
    if what.class_uid == ENTITY_MANAGEMENT:
        name = str(record.get("tool") or record.get("key_id") or record.get("plan") or "unknown")
        entity = {"name": name, "type": str(record["event"]).partition(".")[0], "uid": name}
        return {"entity": entity, **_actor(record)}
    if what.class_uid == DETECTION_FINDING:
        title, uid = str(record.get("rule", "incident")), str(record.get("incident", record["seq"]))
        return {"finding_info": {"title": title, "uid": uid}}
    return {"app": {"name": "Fumehood", "vendor_name": "Fumehood"}}


def _api(record: Mapping[str, Any], host: str) -> dict[str, Any]:
    event, status = str(record["event"]), record.get("status")
    found: dict[str, Any] = {
        "api": {
            "operation": f"tools/call {record.get('tool', '')}".rstrip(),
            "service": {"name": "fumehood"},
            "request": {"uid": str(record.get("invocation", record["seq"]))},
        },
        "src_endpoint": {"hostname": host or "localhost"},
        "actor": {"user": {"uid": "unknown"}},
        **_actor(record),
    }
    if event in TERMINAL or status is not None:
        found["status_id"] = 1 if status == "ok" else 2
        found["status"] = "Success" if status == "ok" else "Failure"
        found["status_code"] = str(status)
    return found


def _actor(record: Mapping[str, Any]) -> dict[str, Any]:
    caller = record.get("caller")
    if not isinstance(caller, dict):
        return {}
    actor: dict[str, Any] = {"user": {"uid": str(caller.get("uid", "unknown"))}}
    if isinstance(caller.get("pid"), int):
        actor["process"] = {"pid": caller["pid"]}
    return {"actor": actor}


def message(record: Mapping[str, Any]) -> str:
    """One line for a person."""
    parts = [str(record["event"])]
    parts += [str(record[name]) for name in ("tool", "status", "cause") if record.get(name)]
    return " ".join(parts)


def milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)


# --- Elastic Common Schema


def to_ecs(record: Mapping[str, Any], *, version: str, host: str = "") -> dict[str, Any]:
    """One ECS document."""
    event, status = str(record["event"]), record.get("status")
    family = event.partition(".")[0]
    outcome = "unknown" if status is None else "success" if status == "ok" else "failure"
    alert = family == "incident"
    document: dict[str, Any] = {
        "@timestamp": record["time"],
        "message": message(record),
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "alert" if alert else "event",
            "category": ["process"] if family == "invocation" else ["configuration"],
            "type": ["denied"] if status == "rejected" else ["info"],
            "action": event,
            "outcome": outcome,
            "severity": severity(record),
            "sequence": record["seq"],
            "module": "fumehood",
            "dataset": "fumehood.audit",
        },
        "observer": {"product": "Fumehood", "vendor": "Fumehood", "version": version},
        "fumehood": {k: v for k, v in record.items() if k not in ("time", "event", "seq")},
    }
    if host:
        document["host"] = {"hostname": host}
    caller = record.get("caller")
    if isinstance(caller, dict):
        document["user"] = {"id": str(caller.get("uid"))}
        document["process"] = {"parent": {"pid": caller.get("pid")}}
    if "invocation" in record:
        document["trace"] = {"id": str(record["invocation"]).replace("-", "")}
    return document


# --- ArcSight Common Event Format


def to_cef(record: Mapping[str, Any], *, version: str, host: str = "") -> str:
    """One CEF line, without its newline."""
    event = str(record["event"])
    head = [
        "CEF:0", "Fumehood", "fumehood", version, event, message(record), str(severity(record) * 2),
    ]  # fmt: skip
    extension: dict[str, object] = {
        "rt": milliseconds(str(record["time"])),
        "externalId": record["seq"],
        "dvchost": host or None,
        "suid": _caller(record, "uid"),
        "spid": _caller(record, "pid"),
        "outcome": record.get("status"),
        "reason": record.get("cause"),
        "cs1Label": "invocation",
        "cs1": record.get("invocation"),
        "cs2Label": "tool",
        "cs2": record.get("tool"),
        "cs3Label": "digest",
        "cs3": record.get("tool_digest"),
        "cs4Label": "findings",
        "cs4": ",".join(map(str, record.get("findings") or [])) or None,
        "cs5Label": "record",
        "cs5": json.dumps(
            {k: v for k, v in record.items() if k not in _CHAIN}, separators=(",", ":")
        ),
    }
    pairs = [
        f"{name}={_value(value)}"
        for name, value in extension.items()
        if value is not None and extension.get(name.removesuffix("Label")) is not None
    ]
    return "|".join(_header(part) for part in head) + "|" + " ".join(pairs)


def _caller(record: Mapping[str, Any], name: str) -> object:
    caller = record.get("caller")
    return caller.get(name) if isinstance(caller, dict) else None


def _header(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("|", "\\|"))


def _value(value: object) -> str:
    return _one_line(str(value).replace("\\", "\\\\").replace("=", "\\="))


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\\n" for char in text)


def render(form: str, record: Mapping[str, Any], *, version: str, host: str) -> str:
    """One record as one line: `ocsf`, `ecs`, `cef`, or `jsonl` as it stands in the log."""
    if form == "cef":
        return to_cef(record, version=version, host=host)
    value = record
    if form == "ocsf":
        value = to_ocsf(record, version=version, host=host)
    elif form == "ecs":
        value = to_ecs(record, version=version, host=host)
    return json.dumps(value, separators=(",", ":"))
