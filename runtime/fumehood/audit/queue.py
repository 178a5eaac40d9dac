"""Records on their way to the disk, and who waits for them; must never settle one not on disk.

Whoever writes takes a group and settles it as a whole: who waits is woken once for a group. A
`concurrent.futures.Future` for each record cost more than sealing it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from fumehood.audit import clock
from fumehood.audit.record import Position
from fumehood.errors import AuditError

MAX_PENDING: Final = 8192
"""Records that may wait for the writer."""

MAX_GROUP: Final = 512
"""Records written with one fsync."""


class Queued:
    """A record that was accepted. Who drops it gives up waiting; it is written all the same."""

    __slots__ = ("_outcome", "_settled", "event", "fields", "invocation", "time")

    def __init__(
        self,
        settled: threading.Condition,
        time: str,
        event: str,
        fields: str,
        invocation: str,
        failed: AuditError | None,
    ) -> None:
        """Use `Queue.put`."""
        self._settled = settled
        self.time = time
        self.event = event
        self.fields = fields
        self.invocation = invocation
        self._outcome: Position | AuditError | None = failed

    def done(self) -> bool:
        """Whether it is on disk, or nobody knows when it will be. Stays as it was first."""
        return self._outcome is not None

    def result(self, timeout: float | None = None) -> Position:
        """Where it stands on disk; waits for that, `timeout` seconds at most.

        Raises:
            AuditError: the disk does not take it; the record is kept for later.
            TimeoutError: it is not known yet.
        """
        if self._outcome is None:
            with self._settled:
                self._settled.wait_for(self.done, timeout)
        outcome = self._outcome
        if isinstance(outcome, Position):
            return outcome
        if outcome is None:
            raise TimeoutError
        raise fresh(outcome)

    def settle(self, outcome: Position | AuditError) -> None:
        """For the queue alone, which then tells who waits."""
        if self._outcome is None:
            self._outcome = outcome


class Queue:
    """Bounded, and in the order in which it is written. Thread safe, but one thread at a time may
    take and settle."""

    def __init__(self) -> None:
        self._work = threading.Condition()
        self._settled = threading.Condition()
        self._records: deque[Queued] = deque()
        self._returned: list[Queued] = []
        """A group that could not be written: the writer's next, unchanged."""
        self._closing = False
        self._listener: Callable[[], None] | None = None
        self.broken: AuditError | None = None
        """Why nothing can be written just now, or None."""
        self._ended: AuditError | None = None
        """Why nothing will be written any more."""

    def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called after each group that was settled, by whoever wrote it. It must
        neither wait nor raise. There is one listener."""
        self._listener = told

    @property
    def given_up(self) -> bool:
        return self._ended is not None

    def put(self, event: str, fields: str, invocation: str, *, wake: bool) -> Queued:
        """See `AuditLog.append`; never blocks."""
        with self._work:
            if self._ended is not None:
                raise fresh(self._ended)
            if self._closing:
                raise AuditError("the audit log is closed")
            if len(self._records) >= MAX_PENDING:
                raise AuditError(
                    f"{MAX_PENDING} audit records wait to be written", "try again in a moment"
                )
            broken = self.broken
            record = Queued(self._settled, clock.now(), event, fields, invocation, broken)
            self._records.append(record)
            if wake or broken is not None:
                self._work.notify()
        return record

    def take(self) -> list[Queued]:
        """The next group; empty when there is none."""
        with self._work:
            if self._returned:
                group, self._returned = self._returned, []
                return group
            records = self._records
            return [records.popleft() for _ in range(min(len(records), MAX_GROUP))]

    @property
    def returned(self) -> bool:
        """Whether a group waits that could not be written."""
        return bool(self._returned)

    def give_back(self, group: list[Queued]) -> None:
        """What could not be written is taken next, and by itself."""
        self._returned = group

    def wake(self) -> None:
        """Have the writer take what there is."""
        with self._work:
            if self._returned or self._records:
                self._work.notify()

    def wait(self) -> bool:
        """Until there is work; False when the log is closed and everything taken."""
        with self._work:
            while not (self._records or self._returned or self._closing):
                self._work.wait()
            return bool(self._records or self._returned)

    def pause(self, seconds: float) -> bool:
        """Wait a moment; False when the log is being closed, which ends the moment at once."""
        with self._work:
            if self._closing:
                return False
            deadline = monotonic() + seconds
            while not self._closing and (left := deadline - monotonic()) > 0:
                self._work.wait(left)
            return True

    def close(self) -> bool:
        """Accept nothing more. False when it was closed before."""
        with self._work:
            first, self._closing = not self._closing, True
            self._work.notify()
        return first

    def settle(self, group: Sequence[Queued], positions: Sequence[Position]) -> None:
        """A group is on disk. Whoever was told before that it is not, is not told again."""
        self.broken = self._ended
        for record, position in zip(group, positions, strict=True):
            record.settle(position)
        self._tell()

    def fail(self, group: Sequence[Queued], broken: AuditError) -> None:
        """Let nobody wait for what is not on disk. The records stay."""
        with self._work:
            self.broken = broken
            waiting = [*group, *self._records]
        for record in waiting:
            record.settle(broken)
        self._tell()

    def give_up(self, group: Sequence[Queued], broken: AuditError) -> None:
        """As `fail`, for ever."""
        self.fail(group, broken)
        with self._work:
            self._ended = broken
            self._records.clear()

    def _tell(self) -> None:
        with self._settled:
            self._settled.notify_all()
        if self._listener is not None:
            self._listener()


def fresh(error: AuditError) -> AuditError:
    """An error that many are given, without the frames of those before, which it would keep."""
    return error.with_traceback(None)
