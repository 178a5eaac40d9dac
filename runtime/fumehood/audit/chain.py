"""The writer of the audit log: append, then wait for the record before anything is answered.

One thread writes groups of records with one fsync each. Must never report a record as written
that is not on disk. When the disk fails, whoever waits is told at once, so that nothing runs
unrecorded; the records are kept, and written first and in order as soon as the disk takes them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fumehood.audit import clock, opening
from fumehood.audit.custody import Custody
from fumehood.audit.head import PRUNED, first_key_path
from fumehood.audit.known import Known
from fumehood.audit.queue import Queue, Queued
from fumehood.audit.record import Field, Position, encode_fields
from fumehood.audit.replay import OPEN, Running
from fumehood.audit.report import Defect
from fumehood.audit.segments import SEGMENT_BYTES, Due, Tail, Tampered, Unkept, claim, due, prune
from fumehood.errors import AuditError

RETRY_SECONDS: Final = 1.0
"""After a failed write the disk is tried again this often."""

KEEP_BYTES: Final = 4 * 1024 * 1024 * 1024
"""Older segments are removed when all together are larger, see `segments.prune`."""

TORN: Final = "audit.torn_tail"
"""The event that tells of an unfinished last line, set aside when the log was opened."""

STEPPED: Final = "audit.clock_stepped"
"""The event that tells by how many seconds the wall clock jumped."""

PRUNE_SECONDS: Final = 30.0
"""What the record of a removal may take to the disk, before nothing is removed."""

FIRST_KEY_TAKEN: Final = "audit.first_key_taken"
"""The event that tells that the first key does not lie beside the log any more. After a power cut
it may be told twice."""

STEP_SECONDS: Final = 2.0
"""A smaller difference between wall and monotonic clock is slewing, or a slow thread."""


_FAILING: Final = (
    "the audit log cannot be written just now, and nothing runs unrecorded",
    "the operator must see to the disk of the state directory; no restart is needed",
)
_UNKEPT: Final = (
    "the audit log's keys cannot be used just now, and nothing runs unrecorded",
    "the operator must see to the key ring (`fumehood key list`); no restart is needed",
)
_BROKEN: Final = (
    "the audit log cannot be written, and nothing runs unrecorded",
    "the operator must see to the disk of the state directory, then restart the daemon",
)
_TAMPERED: Final = (
    "the audit log was changed or moved away by somebody else, and nothing runs unrecorded",
    "the operator must stop the daemon, find out who did it (`fumehood audit verify`), put back"
    " what was moved, or keep it elsewhere and begin another (`fumehood audit init`), then start",
)


_Persist = Callable[[list[Queued], Callable[[], bool | None]], bool | None]


class AuditLog:
    """An open chain. Thread safe; close it to give up the lock."""

    def __init__(
        self,
        directory: Path,
        lock: int,
        tail: Tail,
        custody: Custody,
        last: Position,
        keep: int,
        days: int,
    ) -> None:
        """Use `AuditLog.open`."""
        self._directory = directory
        self._keep = keep
        self._days = days
        self._lock = lock
        self._tail = tail
        self._custody = custody
        self._skew = clock.skew()
        self._steady = clock.Steady(opening.newest_time(directory))
        self._last = last
        self._queue = Queue()
        self._turn = threading.Lock()
        """Whoever writes has it: takes from the queue, and settles."""
        self._running = Running()
        self._removal: tuple[Due, Queued] | None = None
        """What retention is to remove, once the record of it is on disk."""
        self.torn = 0
        """Bytes of an unfinished last line that were set aside at the start."""
        self.replaced = ""
        """Id of another log that the state had before this one, which nobody began on purpose."""
        self.strays: tuple[Defect, ...] = ()
        """Files in the folder that are named like segments and are none: nothing reads them."""
        self._taken = False
        """Whether it was told, since the log was opened, that the first key was taken."""
        self.seconds = 0.0
        """How long the last write took."""
        self.segments = 0
        """How many segments were begun since the log was opened."""
        self._writer = threading.Thread(target=self._run, name="audit", daemon=True)
        self._writer.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        custody: Custody,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        keep_bytes: int = KEEP_BYTES,
        keep_days: int = 0,
        known: Known | None = None,
        deliberate: bool = False,
    ) -> Self:
        """Open the log for writing, or begin one, whose first key then lies beside it until
        somebody takes it (`first_key`).

        Verifies the last segment, and how those before it hang together; `verify` does all.
        An unfinished last line was never confirmed to anyone: it is moved to a file of its
        own beside the segment, and recorded.

        known: notes which log the state has. If it had another one, that is recorded, and told in
        `replaced` unless this one is `deliberate`.

        Raises:
            AuditError: the chain is broken, the keys were put back to before it was written last,
                another process writes it, or the directory cannot be used.
        """
        lock = claim(directory)
        try:
            if not opening.is_there(directory):
                opening.begin(directory, custody)
            head, ratchet = opening.resumed(directory, custody)
            report = opening.examined(directory, custody, ratchet)
            opening.must_follow(directory, custody, head, report)
            aside = opening.set_aside(directory, report) if report.torn_bytes else None
            tail = Tail(directory, ratchet, custody, segment_bytes=segment_bytes, last=report.last)
            tail.first_key = tail.first_key or head.first_key
            log = cls(directory, lock, tail, custody, report.last, keep_bytes, keep_days)
        except OSError as error:
            os.close(lock)
            raise opening.unusable("opened", directory, error) from error
        except BaseException:
            os.close(lock)
            raise
        log.strays = report.strays
        if aside is not None:
            log.append(TORN, {"bytes": report.torn_bytes, "file": aside})
            log.torn = report.torn_bytes
        if known is not None:
            earlier = known.note(log.append, ratchet.chain, deliberate=deliberate)
            log.replaced = "" if deliberate else earlier
        log._look_for_first_key("start")
        return log

    @property
    def chain(self) -> str:
        """Id of the log, from its first key."""
        return self._tail.chain

    @property
    def last(self) -> Position:
        """The last record that is on disk."""
        return self._last

    @property
    def broken(self) -> AuditError | None:
        """Why nothing can be written just now, or None."""
        return self._queue.broken

    @property
    def keeps_first_key(self) -> bool:
        """Whether the first key lies beside the log still: then whoever has the host can seal a
        whole history anew, and forward security begins only when it is taken away."""
        return os.path.exists(first_key_path(self._directory))

    @property
    def given_up(self) -> bool:
        """Whether nothing will be written any more until a restart."""
        return self._queue.given_up

    def listen(self, told: Callable[[], None]) -> None:
        """See `Queue.listen`."""
        self._queue.listen(told)

    def append(self, event: str, fields: Mapping[str, Field], *, wake: bool = True) -> Queued:
        """Queue a record; never blocks. What it returns is done when the record is on disk.

        wake: have it written by the writer's thread; without, `wake`, `write_now` or the next
        record does.

        Who drops what it returns gives up waiting; the record is written all the same. While the
        disk fails it fails with AuditError at once, and the record is kept for later.

        Raises:
            AuditError: the log is closed, overrun or cannot recover, or the fields are no record.
        """
        text = encode_fields(event, fields)
        return self._queue.put(event, text, str(fields.get("invocation", "")), wake=wake)

    def wake(self) -> None:
        """Have what is queued written by the writer's thread."""
        self._queue.wake()

    def write_now(self) -> None:
        """Write what is queued from this thread, which waits for the disk once. What the disk does
        not take, or the writer is at just now, is left to the writer."""
        if self._turn.acquire(blocking=False):
            try:
                # A full segment is ended, signed and followed by the writer: milliseconds.
                wait = self._queue.returned or self._tail.full
                group = [] if wait else self._queue.take()
                if group and not self._is_written(group):
                    self._queue.give_back(group)
            finally:
                self._turn.release()
        self._queue.wake()

    def look(self) -> None:
        """Notice now, and not with the next record, that the log was changed or moved away; and
        record that its first key was taken."""
        if not self._turn.acquire(blocking=False):
            return  # whoever writes looks
        try:
            if not self.given_up:
                self._tail.check_untouched()
                self._look_for_first_key("running")
        except Tampered as error:
            self._queue.give_up([], _failure(_TAMPERED, error))
        except OSError:  # of the disk: the next record tells
            pass
        finally:
            self._turn.release()

    def _look_for_first_key(self, noticed: str) -> None:
        """noticed: when; who took the key nobody can tell."""
        if self._tail.first_key and not self._taken and not self.keeps_first_key:
            with contextlib.suppress(AuditError):  # of a queue that is full: told with the next
                self.append(FIRST_KEY_TAKEN, {"noticed": noticed})
                self._taken = True

    def lose(self, why: str) -> None:
        """Write nothing any more: somebody has seen that the log is not where it should be."""
        self._queue.give_up([], _failure(_TAMPERED, Tampered(why)))

    def _is_written(self, group: list[Queued]) -> bool:
        try:
            self._commit(group, _once)
        except OSError:  # the writer meets it again, and tells
            return False
        except BaseException as error:
            self._queue.give_up(group, _failure(_BROKEN, error))
            raise
        return True

    def close(self) -> None:
        """Write what is queued, and give up the lock. May be called again.

        Raises:
            AuditError: the head could not be written; the records are on disk.
        """
        first = self._queue.close()
        self._writer.join()
        if not first:
            return
        try:
            if self.broken is None:
                self._tail.sync_head()
        except OSError as error:
            raise AuditError("the audit log's head cannot be written", detail=str(error)) from error
        finally:
            self._tail.close()
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        while self._queue.wait():
            with self._turn:
                group = self._queue.take()
                if not group:  # `write_now` was quicker
                    continue
                try:
                    self._commit(group, self._persist)
                except BaseException as error:
                    text = _TAMPERED if isinstance(error, Tampered) else _BROKEN
                    self._queue.give_up(group, _failure(text, error))
                    if not isinstance(error, OSError):
                        raise
                    return

    def _commit(self, group: list[Queued], persist: _Persist) -> None:
        """Seal a group, write it and tell who waits for it. Raises OSError when `persist` gives
        up; the same group may be committed again."""
        if self._tail.full:
            persist(group, partial(self._tail.finish, self._last, clock.now()))
        lines: list[bytes] = []
        positions: list[Position] = []
        last, sealer = self._last, self._tail.sealer()
        for record in group:
            line, last = sealer.seal(last, record.time, record.event, record.fields)
            lines.append(line)
            positions.append(last)
        if self._tail.first_key and any(record.event == FIRST_KEY_TAKEN for record in group):
            self._tail.first_key = False
        data, first = b"".join(lines), positions[0].seq
        before = time.monotonic()
        begun = persist(group, partial(self._tail.write, data, first, last))
        self.seconds = time.monotonic() - before
        self._last = last
        for record, position in zip(group, positions, strict=True):
            self._running.note(record.event, record.invocation, position.seq)
        self._queue.settle(group, positions)
        if begun:
            self.segments += 1
            self._tell_open()
        # What fails is tried again with the next segment; the rest is whole.
        with contextlib.suppress(OSError, AuditError):
            now = self._steady.now()
            if begun:
                edge = clock.days_before(now, self._days) if self._days else ""
                self._removal = self._planned(edge)
            self._remove()
        self._watch_clock()

    def _persist(self, group: list[Queued], act: Callable[[], bool | None]) -> bool | None:
        """However long the disk takes; raises OSError when that is for ever."""
        while True:
            try:
                return act()
            except OSError as error:
                if isinstance(error, Tampered):
                    raise
                text = _UNKEPT if isinstance(error, Unkept) else _FAILING
                self._queue.fail(group, _failure(text, error))
                if not self._queue.pause(RETRY_SECONDS):
                    raise

    def prune(self, *, before: str) -> int:
        """Remove segments that ended before a time; how many. For a log that nothing else is
        appended to meanwhile. Raises AuditError."""
        try:
            with self._turn:
                planned = self._planned(before)
            if planned is None:
                return 0
            removal, record = planned
            record.result(PRUNE_SECONDS)
            with self._turn:
                prune(self._directory, self._custody, removal, time=clock.now())
        except (OSError, TimeoutError) as error:
            raise AuditError(f"nothing could be removed: {error}") from error
        return removal.segments

    def _planned(self, before: str) -> tuple[Due, Queued] | None:
        """What is to be removed, and the record of it."""
        removal = due(self._directory, self._custody, keep_bytes=self._keep, before=before)
        return None if removal is None else (removal, self.append(PRUNED, removal.fields))

    def _remove(self) -> None:
        """Remove what is on record as to be removed."""
        if self._removal is None or not self._removal[1].done():
            return
        (removal, record), self._removal = self._removal, None
        record.result(0)
        prune(self._directory, self._custody, removal, time=clock.now())

    def _tell_open(self) -> None:
        """So that a start needs not read back to the last one: what is before it has ended."""
        if (oldest := self._running.since(self._last.seq)) is not None:
            with contextlib.suppress(AuditError):  # the segment before has one
                self.append(OPEN, {"oldest": oldest})

    def _watch_clock(self) -> None:
        """Somebody who sets the clock moves the times of records; nothing moves their order."""
        skew = clock.skew()
        if abs(step := skew - self._skew) >= STEP_SECONDS:
            with contextlib.suppress(AuditError):
                self.append(STEPPED, {"seconds": round(step, 3)})
        self._skew = skew


def _once(_group: list[Queued], act: Callable[[], bool | None]) -> bool | None:
    return act()


def _failure(text: tuple[str, str], error: BaseException) -> AuditError:
    broken = AuditError(*text, detail=f"{type(error).__name__}: {error}")
    broken.__cause__ = error
    return broken
