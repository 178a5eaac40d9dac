"""What leaves the log in others' forms: valid by the published schemas, and nothing lost."""

from __future__ import annotations

import functools
import json
from typing import Any

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from fumehood.audit import ocsf

CALLER = {"uid": 1000, "gid": 1000, "pid": 7}
ENDED = {
    "invocation": "01a2002f-a269-716f-a068-95ee26d21dae", "tool": "echo", "caller": CALLER,
    "status": "ok", "exit_code": 0, "findings": ["secret:aws:redact"], "tool_digest": "sha384:0",
}  # fmt: skip
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("supervisor.started", {"version": "1", "interrupted": 0}),
    ("supervisor.stopped", {"reason": "SIGTERM"}),
    ("tool.added", {"tool": "echo", "caller": CALLER}),
    ("tool.removed", {"tool": "echo", "caller": CALLER}),
    ("tool.quarantined", {"tool": "echo", "tool_digest": "x"}),
    ("tool.add_refused", {"caller": CALLER}),
    ("plan.used", {"plan": "sha384:1", "content": {}}),
    ("key.created", {"key_id": "k", "purpose": "audit"}),
    ("key.revoked", {"key_id": "k", "purpose": "audit"}),
    ("key.expiring", {"key_id": "k", "purpose": "audit"}),
    ("invocation.launched", {**ENDED, "status": None}),
    ("invocation.ended", ENDED),
    ("invocation.ended", {**ENDED, "status": "syscall_killed"}),
    ("invocation.rejected", {**ENDED, "status": "rejected", "cause": "no | such = tool\n"}),
    ("invocation.cancelled", {**ENDED, "status": "cancelled"}),
    ("approval.granted", {"approval": "a", "caller": CALLER}),
    ("admission.closed", {"reason": "memory"}),
    ("audit.pruned", {"last": 7, "segments": 1}),
    ("audit.open_from", {"oldest": 7}),
    ("audit.clock_stepped", {"seconds": -3600.0}),
    ("audit.first_key_taken", {"noticed": "start"}),
    ("incident.opened", {"incident": "i", "rule": "tripwire"}),
    ("incident.closed", {"incident": "i", "rule": "tripwire", "caller": CALLER}),
]


def record(event: str, fields: dict[str, Any]) -> dict[str, Any]:
    chain = {"alg": "HMAC-SHA-384", "key": "0" * 16, "epoch": "0.1", "prev": "0", "mac": "1"}
    return {"seq": 3, "time": "2026-01-01T00:00:00.500000Z", "event": event, **chain, **fields}


@functools.cache
def schemas() -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.OCSF_VERSION))


@functools.cache
def validator(class_uid: int) -> jsonschema.Draft202012Validator:
    name = schemas().lookup_class_name_from_uid(class_uid)
    return jsonschema.Draft202012Validator(schemas().get_class_schema(name))


@pytest.mark.parametrize(("event", "fields"), EVENTS, ids=[event for event, _ in EVENTS])
def test_every_event_is_valid_by_the_published_schema_of_its_class(
    event: str, fields: dict[str, Any]
) -> None:
    made = ocsf.to_ocsf(record(event, fields), version="1", host="h")
    errors = [error.message for error in validator(made["class_uid"]).iter_errors(made)]
    assert errors == []
    assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]
    for name, value in fields.items():
        assert made["unmapped"][name] == value


def test_the_validator_is_one() -> None:
    made = ocsf.to_ocsf(record("invocation.ended", ENDED), version="1")
    made["activity_id"] = 77
    assert list(validator(6003).iter_errors(made))
    del made["actor"]
    assert len(list(validator(6003).iter_errors(made))) >= 2


def test_times_and_outcomes_are_those_of_the_record() -> None:
    made = ocsf.to_ocsf(record("invocation.ended", ENDED), version="1")
    assert made["time"] == 1767225600500
    assert (made["status_id"], made["severity_id"]) == (1, 2)
    assert made["actor"]["user"]["uid"] == "1000"
    killed = {**ENDED, "status": "syscall_killed"}
    made = ocsf.to_ocsf(record("invocation.ended", killed), version="1")
    assert (made["status_id"], made["severity_id"]) == (2, 3)


def test_ecs_has_the_fields_that_dashboards_ask_for() -> None:
    made = ocsf.to_ecs(record("invocation.rejected", {**ENDED, "status": "rejected"}), version="1")
    assert made["@timestamp"] == "2026-01-01T00:00:00.500000Z"
    assert made["event"]["outcome"] == "failure"
    assert made["user"]["id"] == "1000"
    assert made["fumehood"]["tool"] == "echo"


def test_a_cef_line_is_one_line_whatever_stands_in_the_record() -> None:
    hostile = {**ENDED, "status": "rejected", "cause": "a|b=c\\d\ne", "tool": "x|y\u2028"}
    line = ocsf.to_cef(record("invocation.rejected", hostile), version="1", host="h")
    assert "\n" not in line
    assert "\u2028" not in line
    head = line.replace("\\|", "").split("|")
    assert head[:3] == ["CEF:0", "Fumehood", "fumehood"]
    assert len(head) == 8 + head[7:].count("") + len(head[8:])
    assert "reason=a|b\\=c\\\\d\\ne" in line
    assert json.dumps("ok")[1:-1] not in head[6]
