"""A call holds its quota and its slot until no thread has its output, also when it is cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from fumehood.admission.authorize import name_of
from fumehood.admission.budgets import Budgets
from fumehood.admission.quota import Quota
from fumehood.audit.queue import Queue, Queued
from fumehood.audit.record import Position
from fumehood.config import Config
from fumehood.errors import OverQuota
from fumehood.model.outcome import Artifact, Outcome
from fumehood.model.principal import Principal
from fumehood.model.request import Admitted, Request
from fumehood.model.result import Result
from fumehood.supervisor import invocation, scanning, service
from fumehood.supervisor.slots import Slots
from support.scan import admitted, outcome, plan

BIG = outcome(b"x" * (scanning.INLINE_BYTES + 1))


class Rooms:
    """Fakes of all but slots and quota; a scan lasts until `go` is set or it is abandoned."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.scanned: list[Outcome] = []
        self.ended: Counter[str] = Counter()
        self.slots = Slots(8, 8, 10)
        self.quota = Quota(per_caller=3)
        self.gate = SimpleNamespace(check=lambda: None, stop=lambda: None)
        self.pool = SimpleNamespace(
            close=lambda: None, drop_all=lambda: None, tend_soon=lambda: None
        )
        self.records = None
        self.catalog = SimpleNamespace(
            holds=lambda _tool: True, looks_sound=lambda _tool: True, entries=lambda _tool: 1
        )
        self.config = Config()
        self.habits = SimpleNamespace(notices=lambda *_, **__: (), close=lambda: None)
        self.plan = lambda _admitted: plan()
        self.digest = lambda _data: ""
        self.stops = SimpleNamespace(check=lambda *_: None)
        self.finishing = SimpleNamespace(
            showing=lambda partial: partial,
            withheld=None,
            asks=lambda *_: False,
            settle=lambda _admitted, _outcome, result: (result, {}),
            close=lambda: None,
        )
        self.incidents = SimpleNamespace(see=lambda *_: ())
        self.find = None
        self.catalog.quarantine = lambda *_: []
        self.receipts = SimpleNamespace(
            receipt=None, uses=lambda _: None, digests=lambda *_: ("",), close=lambda: None
        )
        self.log = Queue()
        self.audit = SimpleNamespace(
            append=self._append, write_now=lambda: None, wake=lambda: None, seconds=0.0,
            listen=self.log.listen,
        )  # fmt: skip
        self.pipeline = SimpleNamespace(partial=lambda: None, release=self._release, refuse=None)
        self.admission = SimpleNamespace(
            authorizer=SimpleNamespace(
                is_operator=lambda _caller: False,
                principal=lambda caller: Principal(name_of(caller), frozenset({"*"})),
            ),
            budgets=Budgets((), None, time.time),
            admit=self._admit,
            quota=self.quota,
            output_check=lambda _tool: None,
        )

    def _admit(self, request: Request) -> Admitted:
        self.quota.check(name_of(request.caller))
        return replace(admitted(), request=request)

    def _append(self, event: str, fields: dict[str, Any], *, wake: bool) -> Queued:
        if event != "invocation.launched":
            self.ended[fields["invocation"]] += 1
        done = self.log.put(event, "", "", wake=wake)
        self.log.settle(self.log.take(), [Position(1, "")])
        return done

    def _release(
        self, given: Admitted, _plan: Any, result: Outcome, abandoned: Callable[[], bool], **_: Any
    ) -> Any:
        self.scanned.append(result)
        while result.stdout and not self.go.wait(0.01) and not abandoned():
            pass
        digest = given.tool.digest
        return Result(given.request.invocation, "t", "1", digest, result.status, usage=result.usage)


def corridor(monkeypatch: pytest.MonkeyPatch, given: Outcome) -> tuple[Rooms, service.Supervisor]:
    async def run(*_: Any) -> invocation.Run:
        return invocation.Run(given, invocation.Steps(0, 0, 0), plan())

    monkeypatch.setattr(invocation, "run", run)
    rooms: Any = Rooms()
    return rooms, service.Supervisor(rooms, "1")


def call(supervisor: service.Supervisor, number: int) -> asyncio.Task[Any]:
    request = replace(admitted().request, invocation=f"call-{number}")
    return asyncio.create_task(supervisor.invoke(request))


async def scans(rooms: Rooms, count: int) -> None:
    async with asyncio.timeout(5):
        while len(rooms.scanned) < count:  # noqa: ASYNC110  (told by a thread)
            await asyncio.sleep(0.01)


def test_what_waits_for_a_scan_holds_quota_and_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        rooms, supervisor = corridor(monkeypatch, BIG)
        calls = [call(supervisor, number) for number in range(3)]
        await scans(rooms, 2)
        assert (rooms.slots.taken, rooms.quota.held("uid:1000")) == (3, 3)
        calls[2].cancel()  # its scan waits for a thread, and it with it
        await asyncio.sleep(0.05)
        assert (rooms.slots.taken, rooms.quota.held("uid:1000")) == (3, 3)
        with pytest.raises(OverQuota):
            rooms.quota.check("uid:1000")
        rooms.go.set()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(ends[2], asyncio.CancelledError)
        assert len(rooms.scanned) == 2, "the output of a cancelled call was scanned"
        assert (rooms.slots.taken, rooms.quota.held("uid:1000")) == (0, 0)
        assert rooms.ended == {"call-0": 1, "call-1": 1, "call-2": 1}
        await supervisor.stop(0)

    asyncio.run(scenario())


def test_stopping_abandons_scans_and_records_each_call_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        rooms, supervisor = corridor(monkeypatch, BIG)
        calls = [call(supervisor, number) for number in range(3)]
        await scans(rooms, 2)
        async with asyncio.timeout(2):
            await supervisor.stop(0.05)
            await asyncio.gather(*calls, return_exceptions=True)
        assert rooms.ended == {"call-0": 1, "call-1": 1, "call-2": 1}
        assert (rooms.slots.taken, rooms.quota.held("uid:1000")) == (0, 0)

    asyncio.run(scenario())


def test_the_output_of_a_cancelled_call_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        given = replace(BIG, status="cancelled", stderr=b"e", artifacts=(Artifact("a", b"data"),))
        rooms, supervisor = corridor(monkeypatch, given)
        with pytest.raises(asyncio.CancelledError):
            await call(supervisor, 0)
        (seen,) = rooms.scanned
        assert (seen.stdout, seen.stderr, seen.artifacts) == (b"", b"", ())
        assert rooms.ended == {"call-0": 1}
        await supervisor.stop(0)

    asyncio.run(scenario())
