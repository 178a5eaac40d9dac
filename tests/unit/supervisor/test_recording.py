"""Who writes an audit record: the event loop while that is quick, the writer's thread otherwise."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, cast

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.record import Position
from fumehood.errors import AuditError
from fumehood.supervisor.recording import FEW_CALLS, QUICK_SECONDS, Recorder


class Log:
    """Tells who was asked to write; `write_now` does, the thread never comes."""

    def __init__(self, seconds: float = 0.0, error: AuditError | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.woken: list[bool] = []
        self.futures: list[Future[Position]] = []

    def append(self, event: str, fields: dict[str, Any], *, wake: bool) -> Future[Position]:
        self.woken.append(wake)
        self.futures.append(Future())
        return self.futures[-1]

    def write_now(self) -> None:
        for future in self.futures:
            if self.error:
                future.set_exception(self.error)
            else:
                future.set_result(Position(1, "m"))


def recorder(log: Log, running: int) -> Recorder:
    return Recorder(cast("AuditLog", log), lambda: running)


def test_the_loop_itself_while_little_runs_and_the_disk_is_quick() -> None:
    log = Log()
    asyncio.run(recorder(log, FEW_CALLS).record("test", {}))
    assert log.woken == [False]


def test_a_queued_record_is_written_when_somebody_waits_for_it() -> None:
    log = Log()
    written = recorder(log, 1).begin("test", {})
    assert not log.futures[0].done()
    asyncio.run(cast("Any", written()))
    assert log.futures[0].done()


@pytest.mark.parametrize(
    ("running", "seconds"), [(FEW_CALLS + 1, 0.0), (1, QUICK_SECONDS * 2)], ids=["many", "slow"]
)
def test_the_writers_thread_otherwise(running: int, seconds: float) -> None:
    log = Log(seconds)

    async def record() -> None:
        task = asyncio.ensure_future(recorder(log, running).record("test", {}))
        await asyncio.sleep(0)
        assert log.woken == [True]
        assert not task.done()
        log.write_now()
        await task

    asyncio.run(record())


def test_a_record_that_is_not_on_disk_is_an_error() -> None:
    log = Log(error=AuditError("full"))
    with pytest.raises(AuditError):
        asyncio.run(recorder(log, 1).record("test", {}))
