"""The queue: a group is settled at once, what was told once stays so, and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fumehood.audit.queue import Queue, Queued
from fumehood.audit.record import Position
from fumehood.errors import AuditError

FULL = AuditError("the disk is full")


def put(queue: Queue, count: int = 1) -> list[Queued]:
    return [queue.put("test", f",{n}", "", wake=True) for n in range(count)]


def settle(queue: Queue) -> list[Queued]:
    group = queue.take()
    queue.settle(group, [Position(n, "") for n in range(1, len(group) + 1)])
    return group


def test_a_record_is_not_done_before_its_group_is_settled() -> None:
    queue = Queue()
    first, second = put(queue, 2)
    group = queue.take()
    assert not first.done()
    with pytest.raises(TimeoutError):
        first.result(0)
    queue.settle(group, [Position(1, "a"), Position(2, "b")])
    assert (first.result(0), second.result(0)) == (Position(1, "a"), Position(2, "b"))


def test_a_listener_is_told_once_for_a_group_and_then_all_of_it_is_done() -> None:
    queue, told = Queue(), list[list[bool]]()
    records = put(queue, 100)
    queue.listen(lambda: told.append([record.done() for record in records]))
    settle(queue)
    assert told == [[True] * 100]
    later = put(queue, 2)
    queue.fail(queue.take(), FULL)
    assert len(told) == 2
    assert all(record.done() for record in later)


def test_threads_that_wait_are_woken_by_their_group() -> None:
    asleep = threading.Semaphore(0)

    class Told(threading.Condition):
        """Says that somebody waits; the lock is given up only once he does."""

        def wait(self, timeout: float | None = None) -> bool:
            asleep.release()
            return super().wait(timeout)

    queue = Queue()
    queue._settled = Told()
    first, second = put(queue, 2)
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(record.result, 10) for record in (first, second)]
        assert asleep.acquire(timeout=10)
        assert asleep.acquire(timeout=10)
        settle(queue)
        assert [result.result(5).seq for result in results] == [1, 2]


def test_while_the_disk_fails_whoever_waits_is_told_and_the_records_stay_in_order() -> None:
    queue = Queue()
    early = put(queue)[0]
    group = queue.take()
    waiting = put(queue)[0]
    queue.fail(group, FULL)
    late = put(queue)[0]
    for record in (early, waiting, late):
        with pytest.raises(AuditError, match="full"):
            record.result(0)
    queue.settle(group, [Position(1, "")])
    assert queue.broken is None
    assert settle(queue) == [waiting, late]
    with pytest.raises(AuditError, match="full"):
        early.result(0)


def test_a_group_that_could_not_be_written_is_the_next_unchanged() -> None:
    queue = Queue()
    put(queue, 2)
    group = queue.take()
    later = put(queue)
    queue.give_back(group)
    assert queue.take() == group
    assert queue.take() == later


def test_the_writer_sleeps_until_there_is_work_and_ends_with_the_last_of_it() -> None:
    queue = Queue()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(queue.wait)
        put(queue)
        assert waits.result(10)
        assert queue.close()
        assert queue.wait()
        settle(queue)
        assert not queue.wait()
    assert not queue.close()
    with pytest.raises(AuditError, match="closed"):
        put(queue)


def test_closing_ends_the_moment_between_two_attempts() -> None:
    queue, entered = Queue(), threading.Event()

    def pause() -> bool:
        entered.set()
        return queue.pause(600)

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(pause)
        assert entered.wait(10)
        queue.close()
        waits.result(10)
    assert not queue.pause(600), "that was the last attempt"


def depth(error: BaseException) -> int:
    frames, trace = 0, error.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    return frames


@pytest.mark.parametrize(
    "ask", [put, lambda queue: queue.failed.result(0)], ids=["refused", "waited"]
)
def test_an_error_that_many_are_given_keeps_nobodys_frames(ask: Callable[[Queue], object]) -> None:
    class Failed(Queue):
        failed: Queued

    queue = Failed()
    queue.failed = put(queue)[0]
    error = AuditError("for ever")
    queue.give_up(queue.take(), error)
    assert queue.given_up
    found = []
    for _ in range(3):
        with contextlib.suppress(AuditError):
            ask(queue)
        found.append(depth(error))
    assert found[0] == found[-1] > 0
