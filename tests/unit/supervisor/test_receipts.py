"""A receipt is had however much was written since its call, with the plan that it ran under; and
where the log was searched only in part, nobody says that there was no such call."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.find import find, find_plan
from fumehood.crypto.keyring import Digester, open_ring
from fumehood.crypto.ring import Periods
from fumehood.errors import UnknownInvocation
from fumehood.model.codec import encode
from fumehood.model.ids import uuid7
from fumehood.model.plan import Limits, Plan
from fumehood.model.request import Caller
from fumehood.scan.partial import Partial
from fumehood.supervisor.control import Control
from fumehood.supervisor.live import Registry
from fumehood.supervisor.receipts import Receipts

SEGMENT = 4096
SEARCHED = 4 * SEGMENT
"""So much is looked through here, in place of 256 MiB."""
OWNER = Caller(uid=7, gid=7, pid=1, name="owner")
PLAN = Plan(
    engine="bubblewrap", image="host", argv=("/bin/true",), environment=(), mounts=(), uid=1, gid=1,
    seccomp="compute", seccomp_digest="sha384:1", network="none",
    limits=Limits(1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip


class Place:
    """A log that writes one record a minute, and who signs receipts of it."""

    def __init__(self, folder: Path, log: AuditLog, clock: pytest.MonkeyPatch) -> None:
        ring = open_ring(folder, Periods())
        audit = folder / "audit"
        self.folder, self.log, self._clock = folder, log, clock
        self._now = time.time_ns()
        self.records = partial(find, audit, most_bytes=SEARCHED)
        self.receipts = Receipts(
            ring, Digester(ring), log, self.records, partial(find_plan, audit, most_bytes=SEARCHED),
            lambda _caller: False, "1",
        )  # fmt: skip

    def write(self, event: str, **fields: Any) -> None:
        self._now += 60_000_000_000
        now = self._now
        self._clock.setattr(time, "time_ns", lambda: now)
        self.log.append(event, fields).result(10)

    def call(self) -> str:
        name = uuid7()
        self.receipts.uses(PLAN)
        self.ended(name)
        return name

    def ended(self, name: str) -> None:
        self.write(
            "invocation.ended", invocation=name, status="ok", plan=PLAN.digest(),
            caller={"uid": OWNER.uid},
        )  # fmt: skip

    def grow(self, segments: int) -> None:
        """Until so many more were begun."""
        until = self._count() + segments
        while self._count() < until:
            self.write("noise", text="x" * 500)

    def _count(self) -> int:
        return len(list(self.folder.glob("audit/segment-*.jsonl")))

    def receipt(self, name: str, caller: Caller = OWNER) -> dict[str, Any]:
        signed = asyncio.run(self.receipts.receipt(caller, name))
        payload = base64.b64decode(signed.to_json()["payload"])
        predicate: dict[str, Any] = json.loads(payload)["predicate"]
        return predicate


@contextmanager
def opened(folder: Path, clock: pytest.MonkeyPatch) -> Iterator[Place]:
    custody = RingCustody(open_ring(folder, Periods()))
    with AuditLog.open(folder / "audit", custody, segment_bytes=SEGMENT) as log:
        place = Place(folder, log, clock)
        yield place
        place.receipts.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with opened(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize("before", [0, 10])
def test_of_a_call_that_ended_long_ago(place: Place, before: int) -> None:
    place.grow(before)
    name = place.call()
    place.grow(20)
    assert name in place.receipt(name)["line"]


def test_of_a_call_that_took_long(place: Place) -> None:
    name = uuid7()
    place.write("invocation.launched", invocation=name)
    place.grow(20)
    place.ended(name)
    assert name in place.receipt(name)["line"]


def test_of_a_call_from_before_the_clock_was_set_back(place: Place) -> None:
    place.grow(10)
    name = place.call()
    place.grow(3)
    place._now -= 24 * 3600 * 1_000_000_000
    place.grow(20)
    assert name in place.receipt(name)["line"]


def test_of_a_call_whose_last_record_is_damaged(place: Place) -> None:
    """Its owner hears of it where a record that is whole says whose it is; nobody else does."""
    name, other = uuid7(), Caller(uid=8, gid=8, pid=1, name="other")
    place.write("invocation.launched", invocation=name, caller={"uid": OWNER.uid})
    place.ended(name)
    (segment,) = place.folder.glob("audit/segment-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"status":"ok"', b'"status":"no"'))
    with pytest.raises(UnknownInvocation, match="are damaged") as told:
        place.receipt(name)
    assert "audit verify" in str(told.value.remedy)
    with pytest.raises(UnknownInvocation, match=r"has ended \("):
        place.receipt(name, other)


def test_what_was_not_searched_is_not_denied(place: Place) -> None:
    place.grow(20)
    with pytest.raises(UnknownInvocation, match="that were searched"):
        place.receipt(uuid7())


def test_what_a_whole_log_does_not_have_has_not_ended(place: Place) -> None:
    with pytest.raises(UnknownInvocation, match=r"has ended \("):
        place.receipt(uuid7())


@pytest.mark.parametrize("segments", [1, 20])
def test_the_plan_is_in_it_however_long_the_daemon_runs(place: Place, segments: int) -> None:
    place.call()
    place.grow(segments)
    name = place.call()
    assert place.receipt(name)["plan"] == json.loads(json.dumps(encode(PLAN)))


def test_the_plan_of_a_call_that_ended_in_the_next_segment(place: Place) -> None:
    name = uuid7()
    place.receipts.uses(PLAN)
    place.grow(1)
    place.ended(name)
    place.grow(20)
    assert place.receipt(name)["plan"] is not None


def test_a_plan_is_on_record_once_in_a_segment(place: Place) -> None:
    place.write("supervisor.started")
    for _ in range(3):
        place.call()
    used = [path.read_text().count("plan.used") for path in place.folder.glob("audit/segment-*")]
    assert used == [1]


def test_logs_of_an_operator_do_not_deny_what_was_not_searched(place: Place) -> None:
    def no_scanner(_tool: object) -> Partial:
        raise AssertionError("nothing is scanned here")

    control = Control(Registry(), lambda _caller: True, no_scanner, place.records)
    name = place.call()
    place.grow(20)
    assert asyncio.run(control.logs(OWNER, name)).invocation["state"] == "ok"
    with pytest.raises(UnknownInvocation, match="that were searched"):
        asyncio.run(control.logs(OWNER, uuid7()))
    control.close()
