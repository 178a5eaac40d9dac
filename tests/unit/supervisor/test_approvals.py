"""Calls that wait for approval: who may answer, once, and what is on record of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fumehood.admission.admit import Admission
from fumehood.admission.authorize import Authorizer
from fumehood.admission.quota import Quota
from fumehood.config import Config
from fumehood.errors import (
    AuditError,
    NotApproved,
    OverQuota,
    Unauthorized,
    UnknownApproval,
    UnknownTool,
    UsageError,
)
from fumehood.model import strict_json
from fumehood.model.request import Admitted, Asking, RegisteredTool, Request
from fumehood.supervisor.approvals import PIECE_BYTES, SHOWN_BYTES, Approvals
from fumehood.supervisor.attempts import Attempts
from support.manifests import caller, request, tool

OPERATOR, CALLER, STRANGER = caller(0, 0), caller(1000), caller(1001)
CONFIG: dict[str, Any] = {
    "callers": {"users": [1000, 1001]},
    "operators": {"users": [0, 1000]},
    "rules": [{"effect": "ask", "reason": "look first"}],
}
APPROVALS = {"wait": "1h", "per_caller": 2, "pending": 3}


class Desk:
    """Approvals over one tool, with what was recorded of them."""

    def __init__(self, **approvals: object) -> None:
        config = Config.model_validate({**CONFIG, "approvals": {**APPROVALS, **approvals}})
        self.tools: dict[str, RegisteredTool] = {"word-count": tool()}
        self.admission = Admission(
            self.tools.get,
            authorizer=Authorizer(config, own_uid=None),
            quota=Quota(per_caller=9),
            lint=lambda _: None,
        )
        self.records: list[tuple[str, Mapping[str, Any]]] = []
        self.desk = Approvals(
            self.admission, config.approvals, self._record, lambda _: "digest",
            Attempts(
                self.admission.authorizer.principal, self._record, lambda *_: None,
                time.monotonic,
            ),
        )  # fmt: skip

    async def _record(self, event: str, fields: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)  # a disk takes its time
        self.records.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [event.removeprefix("approval.") for event, _ in self.records]

    def asking(self, uid: int = 1000, text: str = "x") -> Asking:
        asking = self.admission.admit(asked({"text": text}, uid=uid))
        assert isinstance(asking, Asking)
        return asking

    async def begin(self, uid: int = 1000, text: str = "x") -> tuple[asyncio.Task[Admitted], str]:
        """A call that waits, and its id."""
        known = {one["approval"] for one in self.desk.pending(OPERATOR).listed}
        task = asyncio.create_task(self.desk.wait(self.asking(uid, text)))
        while True:
            await asyncio.sleep(0)
            listed = {one["approval"] for one in self.desk.pending(OPERATOR).listed}
            if new := listed - known:
                return task, new.pop()
            if task.done():
                task.result()


def asked(arguments: dict[str, object], uid: int = 1000) -> Request:
    """A call whose arguments are written as the gateway writes them."""
    made = request(arguments, uid=uid)
    return replace(made, arguments_json=strict_json.dumps(arguments))


def run(test: Callable[[Desk], Awaitable[None]], **approvals: object) -> Desk:
    desk = Desk(**approvals)
    asyncio.run(asyncio.wait_for(_as_task(test(desk)), 30))
    return desk


async def _as_task(work: Awaitable[None]) -> None:
    await work


def test_an_approval_that_cannot_be_recorded_approves_nothing_and_nobody_waits_for_ever() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()

        async def full(event: str, fields: Mapping[str, Any]) -> None:
            raise AuditError("the disk is full")

        desk.desk.record = full
        with pytest.raises(AuditError):
            await desk.desk.answer(OPERATOR, approval, grant=True)
        with pytest.raises(NotApproved, match="could not be recorded"):
            await task

    run(test, wait="24h")


def test_a_call_passes_once_another_operator_approved_it() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()
        shown = desk.desk.pending(OPERATOR).listed[0]
        assert (shown["command"], shown["arguments"]) == (
            ["python3", "/tool/main.py"],
            '{"text":"x"}',
        )
        assert shown["digest"] == desk.tools["word-count"].digest
        answered = await desk.desk.answer(OPERATOR, approval, grant=True)
        assert answered.to_json()["granted"] is True
        admitted = await task
        assert admitted.rule == "ask:1 approved by uid:0"

    desk = run(test)
    assert desk.events == ["asked", "granted"]
    assert desk.records[1][1]["by"] == "uid:0"
    assert json.dumps(desk.records)  # fields that a record can hold


def test_a_denied_call_does_not_run() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()
        await desk.desk.answer(OPERATOR, approval, grant=False)
        with pytest.raises(NotApproved, match="denied"):
            await task

    assert run(test).events == ["asked", "denied"]


def test_nobody_approves_a_call_of_their_own_or_as_no_operator() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()
        for who in (CALLER, STRANGER):
            with pytest.raises(Unauthorized):
                await desk.desk.answer(who, approval, grant=True)
        assert not task.done()
        await desk.desk.answer(OPERATOR, approval, grant=True)
        await task

    assert run(test).events == ["asked", "refused", "refused", "granted"]


def test_an_approval_can_be_neither_guessed_nor_used_again() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()
        await desk.desk.answer(OPERATOR, approval, grant=True)
        await task
        again, _ = await desk.begin()
        for forged in (approval, approval[:-1], "", "x" * 64):
            with pytest.raises(UnknownApproval):
                await desk.desk.answer(OPERATOR, forged, grant=True)
        assert not again.done()
        again.cancel()
        await asyncio.wait([again])

    assert run(test).events == ["asked", "granted", "asked", *["refused"] * 4, "withdrawn"]


def test_two_answers_at_once_count_once() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin()
        answers = [desk.desk.answer(OPERATOR, approval, grant=grant) for grant in (False, True)]
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(one).__name__ for one in done] == ["Answered", "UnknownApproval"]
        with pytest.raises(NotApproved):
            await task

    run(test)


def test_an_unanswered_call_expires() -> None:
    async def test(desk: Desk) -> None:
        with pytest.raises(NotApproved, match="in time"):
            await desk.desk.wait(desk.asking())
        assert desk.desk.count == 0

    assert run(test, wait="100ms").events == ["asked", "expired"]


def test_what_changed_meanwhile_is_not_what_was_approved() -> None:
    async def test(desk: Desk) -> None:
        for change in ("other content", "quarantined"):
            desk.tools["word-count"] = tool()
            task, approval = await desk.begin()
            new = tool(version="1.0.1") if change == "other content" else tool(state="quarantined")
            desk.tools["word-count"] = new
            await desk.desk.answer(OPERATOR, approval, grant=True)
            with pytest.raises(UnknownTool):
                await task

    run(test)


def test_waiting_calls_are_bounded_for_each_caller_and_in_all() -> None:
    async def test(desk: Desk) -> None:
        tasks = [(await desk.begin())[0] for _ in range(2)]
        with pytest.raises(OverQuota, match="2 of your calls") as caught:
            await desk.desk.wait(desk.asking())
        assert caught.value.retry_after > 0
        tasks.append((await desk.begin(1001))[0])
        with pytest.raises(OverQuota, match="too many calls wait"):
            await desk.desk.wait(desk.asking(1001))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert desk.desk.count == 0

    run(test)


def test_arguments_of_any_size_are_shown_whole_and_approved_by_their_digest() -> None:
    text = "é" * (PIECE_BYTES // 2) + "the end"

    async def test(desk: Desk) -> None:
        task, approval = await desk.begin(text=text)
        (listed,) = desk.desk.pending(OPERATOR).listed
        fed = asked({"text": text}).arguments_json
        assert listed["arguments_bytes"] == len(fed)
        assert fed.startswith(listed["arguments"].encode())
        assert SHOWN_BYTES - 1 <= len(listed["arguments"].encode()) <= SHOWN_BYTES
        pieces = b""
        while len(pieces) < len(fed):
            piece = (await desk.desk.arguments(OPERATOR, approval, len(pieces))).to_json()
            assert piece["arguments_bytes"] == len(fed)
            pieces += base64.b64decode(piece["data"])
        assert pieces == fed
        digest = "sha384:" + hashlib.sha384(pieces).hexdigest()
        assert listed["arguments_digest"] == piece["arguments_digest"] == digest
        for wrong, why in ((None, "more than the 65536 bytes"), (digest[:-1] + "x", "another")):
            with pytest.raises(UsageError, match=why):
                await desk.desk.answer(OPERATOR, approval, grant=True, digest=wrong)
            assert not task.done()
        await desk.desk.answer(OPERATOR, approval, grant=True, digest=digest)
        assert (await task).request.arguments_json == pieces

    desk = run(test)
    assert desk.events == ["asked", "refused", "refused", "granted"]
    assert desk.records[-1][1]["bound"] is True


def test_what_cannot_be_seen_whole_may_still_be_denied() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin(text="x" * SHOWN_BYTES)
        await desk.desk.answer(OPERATOR, approval, grant=False)
        with pytest.raises(NotApproved, match="denied"):
            await task

    run(test)


def test_a_digest_binds_small_arguments_too() -> None:
    async def test(desk: Desk) -> None:
        _, approval = await desk.begin()
        with pytest.raises(UsageError, match="another digest"):
            await desk.desk.answer(OPERATOR, approval, grant=True, digest="sha384:00")
        await desk.desk.answer(OPERATOR, approval, grant=True)

    run(test)


def test_arguments_of_others_are_those_of_no_call() -> None:
    async def test(desk: Desk) -> None:
        task, approval = await desk.begin(uid=1000)
        assert (await desk.desk.arguments(CALLER, approval, 0)).data == b'{"text":"x"}'
        said = set()
        for name in (approval, "0" * 24):
            with pytest.raises(UnknownApproval) as unknown:
                await desk.desk.arguments(STRANGER, name, 0)
            said.add(str(unknown.value))
        assert len(said) == 1
        assert [event for event, _ in desk.records][-2:] == ["approval.show_refused"] * 2
        assert (await desk.desk.arguments(OPERATOR, approval, 1 << 39)).data == b""
        task.cancel()

    run(test)


def test_callers_see_their_own_operators_all() -> None:
    async def test(desk: Desk) -> None:
        tasks = [(await desk.begin(uid))[0] for uid in (1000, 1001)]
        seen = [len(desk.desk.pending(who).listed) for who in (OPERATOR, STRANGER, caller(7))]
        assert seen == [2, 1, 0]
        whole, own = (desk.desk.pending(who).listed[0] for who in (OPERATOR, STRANGER))
        assert set(whole) - set(own) == {"rule", "reason"}, "what asks is for operators"
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(test)


def test_only_an_operator_can_make_an_admitted_call_of_an_asking_one() -> None:
    desk = Desk()
    asking = desk.asking(1001)
    principal = desk.admission.authorizer.principal
    assert desk.admission.approved(asking, principal(CALLER)).request is asking.request
    for who in (STRANGER, replace(STRANGER, uid=7)):
        with pytest.raises(Unauthorized):
            desk.admission.approved(asking, principal(who))
