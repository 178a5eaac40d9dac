"""A changed configuration takes effect as a whole, or not at all."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
import structlog.testing

from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.quota import Quota
from fumehood.config import Config
from fumehood.errors import ConfigError, OverQuota, Unauthorized, Unavailable, UnknownTool
from fumehood.model.request import Caller, RegisteredTool
from fumehood.supervisor import configured
from fumehood.supervisor.approvals import Approvals
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.governing import Governing
from fumehood.supervisor.reloading import Reloading
from support.manifests import caller, request, tool

OPERATOR, ANN = caller(0, 0), caller(1000)
ALLOW = {"effect": "allow"}
FIRST = {"callers": {"users": [1000]}, "operators": {"users": [0]}, "sandboxes": 4}


def keyed(data: bytes) -> str:
    return f"hmac-sha384:test:{hmac.digest(b'key', data, 'sha384').hex()}"


class Desk:
    def __init__(self) -> None:
        config = Config.model_validate(FIRST)
        self.admission = Admission(
            {"word-count": tool()}.get,
            authorizer=Authorizer(config, own_uid=None),
            quota=Quota(per_caller=9),
            lint=lambda _: None,
        )
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.approvals = Approvals(
            self.admission, config.approvals, self._record, lambda _: "digest",
            Attempts(
                self.admission.authorizer.principal, self._record, lambda *_: None,
                time.monotonic,
            ),
        )  # fmt: skip
        self.here = Reloading(
            config, self.admission, self._record, self._operator_only, keyed,
            approvals=self.approvals,
        )  # fmt: skip

    async def _record(self, event: str, fields: Mapping[str, Any]) -> None:
        self.events.append((event, fields))

    async def _operator_only(self, who: Caller, event: str) -> None:
        if not self.admission.authorizer.is_operator(who):
            raise Unauthorized("no")

    def take(self, value: object, problem: ConfigError | None = None) -> None:
        data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
        with structlog.testing.capture_logs():
            asyncio.run(self.here.take("config.yaml", data, problem))

    def call(self) -> None:
        self.admission.admit(request({"text": "x"}))


def test_rules_callers_rates_and_budgets_take_effect_at_once() -> None:
    desk = Desk()
    desk.call()
    may_connect = desk.admission.authorizer.may_connect  # held by who was composed before
    desk.take({**FIRST, "rules": [{"effect": "deny"}], "approvals": {"wait": "1s"}})
    with pytest.raises(UnknownTool):
        desk.call()
    assert desk.approvals.settings.wait == 1.0
    desk.take({**FIRST, "callers": {}, "rules": []})
    assert not may_connect(ANN)
    desk.take({**FIRST, "rates": {"caller": "1/h"}, "sandboxes": 5, "rules": [ALLOW]})
    desk.call()
    with pytest.raises(OverQuota):
        desk.call()
    assert desk.here.report.restart == ("sandboxes",)
    assert [event for event, _ in desk.events] == ["config.reloaded"] * 3
    assert desk.here.config.sandboxes == 4, "the rest is what runs"


@pytest.mark.parametrize(
    "bad",
    [
        b"rules:\n- effect: allow\n  whom: [a]\n",
        b"",
        b"# nothing\n",
        b"rules: [",
        b"\xff",
        {"rules": [{"effect": "allow", "who": ["nosuch"]}]},
        {"callers": {"users": ["no-such-user-here"]}, "rules": []},
        None,
        FIRST,
        {**FIRST, "rules": None},
        {"operators": {"users": [0]}, "rules": [ALLOW]},
    ],
)
def test_what_is_refused_leaves_the_last_good_one(bad: object) -> None:
    desk = Desk()
    desk.take({**FIRST, "rules": [{"effect": "allow", "tools": ["word-count"]}]})
    desk.take(bad)
    desk.call()
    assert desk.here.report.problem.startswith(("config.yaml", "callers.users"))
    assert desk.events[-1][0] == "config.refused"
    desk.take({**FIRST, "rules": [ALLOW]})
    assert desk.here.report.problem == ""


def test_a_budget_of_something_else_is_told_to_begin_anew() -> None:
    desk = Desk()
    budgets = [
        {"window": "hour", "invocations": 9, "who": ["sl"]},
        {"window": "day", "invocations": 9, "tools": ["word-count", "other"]},
    ]
    first = {**FIRST, "rules": [ALLOW], "roles": {"sl": {"users": [1000]}}}
    desk.take({**first, "budgets": budgets})
    assert desk.here.report.anew == ("budgets[0]", "budgets[1]")
    same = {"window": "day", "invocations": 99, "tools": ["other", "word-count", "other"]}
    wider = {"window": "hour", "invocations": 9, "who": ["sl", "operators"]}
    desk.take({**first, "budgets": [same, {**budgets[0], "who": ["sl", "sl"]}]})
    assert desk.here.report.to_json()["anew"] == []
    desk.take({**first, "budgets": [same, wider]})
    assert desk.here.report.to_json()["anew"] == ["budgets[1]"]
    assert desk.events[-1][1]["anew"] == ("budgets[1]",)
    desk.take(b"")
    assert desk.here.report.anew == ("budgets[1]",), "of the last that was loaded"


def test_rules_and_callers_do_not_vanish_unless_it_is_written_that_nobody_calls() -> None:
    """Without rules callers would call everything, without callers the socket's group would."""
    desk = Desk()
    desk.take({**FIRST, "rules": [{"effect": "allow", "tools": ["other"]}]})
    for key in ("rules", "callers"):
        kept = {"rules": [ALLOW], **FIRST}
        desk.take({name: value for name, value in kept.items() if name != key})
        assert f"had `{key}`, and names none any more" in desk.here.report.problem
        assert f"`{key}: " in desk.here.report.remedy
        with pytest.raises(UnknownTool):
            desk.call()
    desk.take({**FIRST, "rules": []})
    assert desk.here.report.problem == ""
    with pytest.raises(UnknownTool):
        desk.call()
    desk.take(FIRST)
    assert desk.here.report.problem, "also what forbids everything"


def test_what_a_file_does_not_name_any_more_is_told() -> None:
    desk = Desk()
    desk.take({**FIRST, "rates": {"caller": "1/h"}, "require_signature": True})
    assert desk.here.report.dropped == ()
    desk.take({**FIRST, "require_signature": False})
    assert desk.here.report.to_json()["dropped"] == ["rates"]
    event, fields = desk.events[-1]
    assert (event, fields["restart"], fields["dropped"]) == ("config.reloaded", (), ("rates",))


def test_rules_that_forbade_and_are_gone_or_changed_are_told() -> None:
    desk = Desk()
    deny, ask = {"effect": "deny", "tools": ["shell-*"]}, {"effect": "ask", "tools": ["mail"]}
    desk.take({**FIRST, "rules": [ALLOW, deny, ask]})
    assert desk.here.report.loosened == ()
    desk.take({**FIRST, "rules": [deny, {"effect": "allow", "tools": ["a"]}, ask]})
    assert desk.here.report.loosened == (), "their order means nothing"
    desk.take({**FIRST, "rules": [ALLOW, {**deny, "tools": ["shell-a"]}]})
    told = ("rule 1 (deny)", "rule 3 (ask)")
    assert desk.here.report.to_json()["loosened"] == list(told)
    assert desk.events[-1][1]["loosened"] == told


def test_a_review_tells_what_a_file_would_lose() -> None:
    desk = Desk()
    desk.take({**FIRST, "rules": [ALLOW], "rates": {"caller": "1/h"}})

    class NoTools:
        def list(self) -> list[RegisteredTool]:
            return []

    governing = Governing(
        NoTools(),  # type: ignore[arg-type]  # of the catalog only this is asked
        desk.admission, lambda: desk.here.config, desk._operator_only,
    )  # fmt: skip

    def checks(named: list[str] | None) -> list[str]:
        found = asyncio.run(governing.review(OPERATOR, named)).to_json()["remarks"]
        return [one["check"] for one in found if one["check"].endswith("_key")]

    assert checks(["callers", "operators"]) == ["lost_key", "dropped_key"]
    assert checks(["callers", "operators", "rules", "rates"]) == []
    assert checks(None) == []


def test_a_file_that_the_keeper_refuses_is_not_used() -> None:
    desk = Desk()
    desk.take(None, ConfigError("/etc/x can be written by others", "chmod go-w /etc/x"))
    assert (desk.here.report.problem, desk.here.report.remedy) == (
        "/etc/x can be written by others",
        "chmod go-w /etc/x",
    )
    desk.call()


def test_a_change_is_on_record_by_names_and_digests_and_never_by_its_values() -> None:
    desk = Desk()
    first = {**FIRST, "rules": [ALLOW]}
    desk.take(first)
    desk.take(first)
    secret = "https://receiver.example/hook/MARKER"
    desk.take({**first, "per_caller": 99, "forward": {"to": secret}})
    (_, begun), (_, same), (_, other) = desk.events
    assert set(begun["changed"]) == {"rules"}
    assert same["changed"] == {}
    assert same["configuration"] == begun["configuration"]
    assert set(other["changed"]) == {"per_caller", "forward.to"}
    assert other["restart"] == ("forward",)
    assert other["configuration"]["digest"] != same["configuration"]["digest"]
    assert "per_caller" in other["configuration"]["keys"]
    assert "forward.to" not in other["configuration"]["keys"], "it waits for a restart"
    old, new = other["changed"]["per_caller"]
    assert old != new == other["configuration"]["keys"]["per_caller"]
    assert "MARKER" not in json.dumps(desk.events)
    assert {fields["by"] for _, fields in desk.events} == {"SIGHUP"}


def test_two_starts_under_different_configurations_are_told_apart() -> None:
    one, two = (
        configured.summary(Config.model_validate({**FIRST, "sandboxes": n}), keyed) for n in (4, 5)
    )
    assert one["digest"] != two["digest"]
    assert isinstance(one["keys"], dict)
    assert isinstance(two["keys"], dict)
    assert {k for k in one["keys"] if one["keys"][k] != two["keys"][k]} == {"sandboxes"}


def test_who_asks_is_told_and_must_be_an_operator() -> None:
    desk = Desk()

    async def asked(answer: object) -> Any:
        work: list[asyncio.Task[None]] = []
        data = json.dumps(answer).encode()

        def ask() -> None:
            work.append(asyncio.create_task(desk.here.take("config.yaml", data, None)))

        desk.here.ask = ask
        return await desk.here.reload(OPERATOR)

    report = asyncio.run(asked({**FIRST, "warm": 1}))
    assert report.to_json()["restart"] == ["warm"]
    assert desk.events[-1][1]["by"] == "uid 0"
    with pytest.raises(ConfigError, match="unknown key"), structlog.testing.capture_logs():
        asyncio.run(asked({"colour": 1}))
    with pytest.raises(Unauthorized):
        asyncio.run(desk.here.reload(ANN))
    desk.here.ask = None
    with pytest.raises(Unavailable):
        asyncio.run(desk.here.reload(OPERATOR))
