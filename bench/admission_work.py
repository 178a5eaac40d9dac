"""What admission of one call costs, with 1,000 tools and 500 rules, in this process, which is run
by the daemon's interpreter: `python -m bench.admission_work CALLS FOLDER` prints JSON.

Everything that a call passes before a plan is made: who it is, its session, rates, the tool, its
arguments, the rules, and its budgets on disk.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.budgets import Budgets
from fumehood.admission.quota import Quota
from fumehood.admission.sessions import Sessions
from fumehood.config import Config
from fumehood.model.manifest import load_manifest
from fumehood.model.request import Asking, Caller, RegisteredTool, Request
from fumehood.supervisor.usage import Usage, steady_utc

TOOLS, RULES, TEAMS = 1_000, 500, 50
FIRST_UID = 70_000
SCHEMA = {
    "type": "object",
    "required": ["path", "limit"],
    "additionalProperties": False,
    "properties": {
        "path": {"type": "string", "pattern": "^/[a-z0-9/._-]{1,200}$"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
        "tags": {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 40}},
    },
}


def configuration() -> Config:
    """Fifty teams; each rule gives one of them a twentieth of one team's tools, some of the
    arguments."""
    rules: list[dict[str, Any]] = []
    for number in range(RULES):
        team = number % TEAMS
        effect = "deny" if number // TEAMS == 9 else "allow"
        rule: dict[str, Any] = {
            "effect": effect,
            "who": [f"team-{team}"],
            "tools": [f"tool-{team}-{number // TEAMS}*"],
            "labels": {"team": f"t{team}"},
        }
        if number % 3 == 0 or effect == "deny":
            area = "secret" if effect == "deny" else "data"
            rule["arguments"] = {
                "required": ["path"],
                "properties": {"path": {"pattern": f"^/{area}/{team}/"}},
            }
        rules.append(rule)
    uids = range(FIRST_UID, FIRST_UID + TEAMS)
    return Config.model_validate(
        {
            "callers": {"users": list(uids)},
            "roles": {f"team-{i}": {"users": [uid]} for i, uid in enumerate(uids)},
            "rules": rules,
            "rates": {"caller": "1000000/s", "session": "1000000/s", "all": "9000000/s"},
            "budgets": [
                {"window": "hour", "invocations": 1_000_000_000, "cpu": "700h"},
                {"window": "day", "per": "tool", "invocations": 1_000_000_000},
            ],
            "per_caller": 65_536,
        }
    )


def tools() -> dict[str, RegisteredTool]:
    found = {}
    for number in range(TOOLS):
        team = number % TEAMS
        manifest = load_manifest(
            json.dumps(
                {
                    "name": f"tool-{team}-{number // TEAMS}",
                    "version": "1.0.0",
                    "description": "A tool.",
                    "labels": {"team": f"t{team}"},
                    "inputSchema": SCHEMA,
                    "run": {"command": ["cat"]},
                }
            ),
            source="bench",
        )
        digest = f"sha384:{number:096x}"
        found[manifest.name] = RegisteredTool(
            manifest, digest, None, FIRST_UID + number, "active", "2026-01-01T00:00:00Z"
        )
    return found


def measure(calls: int, folder: Path) -> float:
    """µs of CPU for one call."""
    config, registered = configuration(), tools()
    usage = Usage(folder / "usage.sqlite3")
    admission = Admission(
        registered.get,
        authorizer=Authorizer(config, own_uid=None),
        quota=Quota(per_caller=config.per_caller, rates=config.rates),
        lint=lambda _: None,
        budgets=Budgets(config.budgets, usage, steady_utc()),
        sessions=Sessions(3_600, 64, time.monotonic),
    )
    chance = random.Random(7)
    requests = [_request(admission, chance) for _ in range(200)]
    for request in requests:  # schemas are compiled, rules looked up
        _once(admission, request)
    begin = time.process_time()
    for number in range(calls):
        _once(admission, requests[number % len(requests)])
    each = (time.process_time() - begin) / calls * 1e6
    usage.close()
    return each


def _request(admission: Admission, chance: random.Random) -> Request:
    """A call of one of the team's tools that its rules allow."""
    team, number = chance.randrange(TEAMS), chance.randrange(9)
    uid = FIRST_UID + team
    handle, _ = admission.sessions.open(f"uid:{uid}")
    arguments: dict[str, object] = {"path": f"/data/{team}/report.txt", "limit": 10, "tags": ["a"]}
    return Request(
        invocation="0190a0a0-0000-7000-8000-000000000000",
        tool=f"tool-{team}-{number}",
        arguments=arguments,
        arguments_json=json.dumps(arguments).encode(),
        caller=Caller(uid, uid, 1, "bench"),
        received=0.0,
        session=handle,
    )


def _once(admission: Admission, request: Request) -> None:
    admitted = admission.admit(replace(request))
    assert not isinstance(admitted, Asking)
    principal = admission.authorizer.principal(request.caller)
    with admission.quota.hold(principal.name, admitted.session):
        limits = admitted.tool.manifest.limits.to_plan()
        admission.budgets.reserve(principal, request.tool, limits).settle((1, 5, 100))


if __name__ == "__main__":
    print(json.dumps({"us": measure(int(sys.argv[1]), Path(sys.argv[2]))}))
