"""Who writes an audit record: the event loop while that is quick, the writer's thread otherwise."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.queue import Queue, Queued
from fumehood.audit.record import Position
from fumehood.errors import AuditError
from fumehood.supervisor.recording import FEW_CALLS, QUICK_SECONDS, Recorder


class Log:
    """Tells who was asked to write; `write_now` does, the thread never comes."""

    def __init__(self, seconds: float = 0.0, error: AuditError | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.woken: list[int] = []
        """How many records there were, each time that the writer's thread was woken."""
        self.records: list[Queued] = []
        self._queue = Queue()
        self.listen = self._queue.listen

    def append(self, event: str, fields: dict[str, Any], *, wake: bool) -> Queued:
        self.records.append(self._queue.put(event, "", "", wake=wake))
        if wake:
            self.wake()
        return self.records[-1]

    def wake(self) -> None:
        self.woken.append(len(self.records))

    def write_now(self) -> None:
        group = self._queue.take()
        if self.error:
            self._queue.fail(group, self.error)
        else:
            self._queue.settle(group, [Position(1, "m")] * len(group))


def recorder(log: Log, running: int) -> Recorder:
    return Recorder(cast("AuditLog", log), lambda: running)


def test_the_loop_itself_while_little_runs_and_the_disk_is_quick() -> None:
    log = Log()
    asyncio.run(recorder(log, FEW_CALLS).record("test", {}))
    assert log.woken == []


def test_a_queued_record_is_written_when_somebody_waits_for_it() -> None:
    log = Log()
    written = recorder(log, 1).begin("test", {})
    assert not log.records[0].done()
    asyncio.run(cast("Any", written()))
    assert log.records[0].done()


@pytest.mark.parametrize(
    ("running", "seconds"), [(FEW_CALLS + 1, 0.0), (1, QUICK_SECONDS * 2)], ids=["many", "slow"]
)
def test_the_writers_thread_otherwise(running: int, seconds: float) -> None:
    log = Log(seconds)

    async def record() -> None:
        task = asyncio.ensure_future(recorder(log, running).record("test", {}))
        for _ in range(2):  # it begins, and its turn is over
            await asyncio.sleep(0)
        assert log.woken == [1]
        assert not task.done()
        log.write_now()
        await task

    asyncio.run(record())


def test_the_thread_is_woken_once_for_all_that_a_turn_of_the_loop_records() -> None:
    log = Log()

    async def record() -> None:
        book = recorder(log, FEW_CALLS + 1)
        for turn in (1, 2):
            waits = [asyncio.ensure_future(book.record("test", {})) for _ in range(16)]
            for _ in range(2):
                await asyncio.sleep(0)
            assert log.woken == [16, 32][:turn]
            log.write_now()
            await asyncio.gather(*waits)

    asyncio.run(record())


def test_a_record_that_is_not_on_disk_is_an_error() -> None:
    log = Log(error=AuditError("full"))
    with pytest.raises(AuditError):
        asyncio.run(recorder(log, 1).record("test", {}))


async def waiting(log: Log, count: int) -> list[asyncio.Task[Position]]:
    """Callers that wait for the writer's thread."""
    book = recorder(log, FEW_CALLS + 1)
    tasks = [asyncio.ensure_future(book.record("test", {})) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_the_thread_wakes_the_loop_once_for_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    log, wakes = Log(), list[Any]()

    async def record() -> None:
        loop = asyncio.get_running_loop()
        tasks = await waiting(log, 20)
        with monkeypatch.context() as patch:
            real = loop.call_soon_threadsafe

            def woken(call: Any, *arguments: Any) -> Any:
                if getattr(call, "__module__", "") == Recorder.__module__:
                    wakes.append(call)
                return real(call, *arguments)

            patch.setattr(loop, "call_soon_threadsafe", woken)
            await asyncio.to_thread(log.write_now)
            assert await asyncio.gather(*tasks) == [Position(1, "m")] * 20

    asyncio.run(record())
    assert len(wakes) == 1


def test_while_the_disk_fails_all_that_wait_are_told() -> None:
    log = Log(error=AuditError("full"))

    async def record() -> None:
        tasks = await waiting(log, 3)
        await asyncio.to_thread(log.write_now)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found == [log.error] * 3

    asyncio.run(record())


def test_a_caller_that_goes_away_takes_neither_its_record_nor_others_along() -> None:
    log = Log()

    async def record() -> None:
        gone, stays = await waiting(log, 2)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await asyncio.to_thread(log.write_now)
        await stays

    asyncio.run(record())
    assert [written.result(0).seq for written in log.records] == [1, 1]


def test_what_was_settled_before_anybody_waits_is_not_waited_for() -> None:
    log = Log()

    async def record() -> None:
        written = recorder(log, FEW_CALLS + 1).begin("test", {})
        await asyncio.to_thread(log.write_now)
        assert await written() == Position(1, "m")

    asyncio.run(record())


def test_a_writer_outlives_the_loop_that_waited() -> None:
    log, loop = Log(), asyncio.new_event_loop()
    (task,) = loop.run_until_complete(waiting(log, 1))
    loop.close()
    log.write_now()
    assert log.records[0].done()
    cast("Any", task)._log_destroy_pending = False
