"""Sends the audit log on to a SIEM: syslog over TLS, HTTP, OTLP; the log itself is the spool.

A cursor on disk says up to where the receiver has it, from before the first connection, and moves
only after that: a receiver that is down, slow, or this daemon's end loses nothing, and may get
records twice. Must never hold up a call, nor pass over a record in silence: what was removed
unsent, by retention or by anybody, what the receiver refused for good, or a log that is not the one
that was sent, is recorded.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import structlog

from fumehood.audit.folder import list_segments
from fumehood.audit.follow import Place, read_on
from fumehood.audit.head import read_head
from fumehood.audit.record import Field, Unsealed, digest, read
from fumehood.errors import AuditError, KeyringError
from fumehood.supervisor import cursor as at_rest
from fumehood.supervisor.cursor import Cursor, Vouch, astray, beginning, follows, write_cursor
from fumehood.supervisor.sinks import Refused, Sink

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
FIRST_RETRY_SECONDS: Final = 0.5
MOST_RETRY_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 2.0
SETTLE_SECONDS: Final = 30.0
SETTLE_BYTES: Final = 8 * 1024 * 1024
"""How old, or how large, what was sent on a connection without answers may become before it is
ended to make sure: what is sent again when it does not end well."""
TELL_SECONDS: Final = 600.0
"""Between records of what was refused: the receiver may refuse those, too."""
BATCH: Final = 500
BATCH_BYTES: Final = 512 * 1024

GAP: Final = "forward.gap"
REJECTED: Final = "forward.rejected"
FOREIGN: Final = "forward.foreign"


class Foreign(ValueError):
    """A line that stands in the log and is no record: nothing behind it is sent."""


@dataclass(frozen=True, slots=True)
class Status:
    """behind: bytes of the log of which nobody knows that the receiver has them. failing: why not,
    empty while it works. rejected: records that it refused for good."""

    sent: int
    behind: int
    failing: str
    rejected: int = 0


class Forwarder:
    """One thread that follows the log. Close it; what is not sent is sent after the next start."""

    def __init__(
        self,
        directory: Path,
        cursor: Path,
        connect: Callable[[], Sink],
        append: Callable[[str, Mapping[str, Field]], object],
        vouch: Vouch,
    ) -> None:
        """connect: makes a sink; append: puts a record into the log; vouch: for the cursor."""
        self._vouch = vouch
        self._directory = directory
        self._cursor = cursor
        self._connect = connect
        self._append = append
        self._stop = threading.Event()
        self._sink: Sink | None = None
        self._sent = 0
        self._rejected = 0
        self._told = -TELL_SECONDS
        self._failing = ""
        self._foreign = ""
        self._unreadable = ""
        self._kept = self._read()
        self._at = self._kept
        """Up to where it was sent; `_kept`, up to where the receiver has it."""
        self._open: list[float] = []
        self._open_bytes = 0
        """When what is not settled was begun to be sent, empty for none, and how much it is."""
        self._careful = False
        self._looked = False
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let a batch that is under way arrive, for a moment, and stop."""
        self._stop.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive() and (sink := self._sink) is not None:
            sink.abort()
            self._thread.join(CLOSE_SECONDS)

    def status(self) -> Status:
        behind, place = 0, self._kept.place
        try:
            segments = list_segments(self._directory)
        except AuditError as error:  # moved away: who asks for numbers is told of that, too
            return Status(self._sent, 0, self._failing or error.cause, self._rejected)
        for segment in segments:
            if segment.first < place.segment:
                continue
            with contextlib.suppress(FileNotFoundError):  # retention removed it just now
                sent = place.offset if segment.first == place.segment else 0
                behind += max(0, segment.path.lstat().st_size - sent)
        return Status(self._sent, behind, self._failing, self._rejected)

    def _run(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while not self._stop.is_set():
            try:
                moved = self._step()
            except Exception as error:  # noqa: BLE001  (a thread that ends is a silence for good)
                self._failed(error)
                self._stop.wait(wait)
                wait = min(wait * 2, MOST_RETRY_SECONDS)
                continue
            if self._failing:
                log.warning("records are forwarded again", after=self._failing)
                self._failing = ""
            wait = FIRST_RETRY_SECONDS
            if not moved:
                self._stop.wait(LOOK_SECONDS)
        try:
            self._settle()
        except Exception as error:  # noqa: BLE001  (sent again after the next start)
            log.warning(
                "the receiver may lack the last records; they are sent again", error=str(error)
            )
        self._drop()

    def _step(self) -> bool:
        """Send what is next; whether there was anything."""
        head = read_head(self._directory)
        chain = head.chain if head else ""
        self._begin(chain)
        self._look_for_another(chain)
        self._look_for_a_gap()
        self._tell_rejected()
        lines, place = read_on(self._directory, self._at.place)
        if not lines:
            if place != self._at.place:
                self._at = replace(self._at, place=place)
            self._settle_in_time()
            return False
        at = place.offset - _size(lines)
        records, linked = _records(lines, Place(place.segment, at))
        if records:
            self._look_for_missing(records[0], Place(place.segment, at))
        for batch in _batches(lines[: len(records)]):
            last = int(records[len(batch) - 1]["seq"])
            refused = self._send(records[: len(batch)])
            del records[: len(batch)]
            at += _size(batch)
            # The head's chain, not what a record claims: a forged one would look like another log.
            self._at = replace(
                self._at, place=Place(place.segment, at), chain=chain or self._at.chain, seq=last,
                digest=digest(batch[-1]),
            )  # fmt: skip
            self._taken(_size(batch), refused)
        if linked and at < place.offset:
            self._settle()
            raise Foreign(f"no record at byte {at} of segment {place.segment}")
        return True

    def _send(self, records: list[dict[str, Any]]) -> Refused | None:
        if self._sink is None:
            self._sink = self._connect()
        refused = self._sink.send(records)
        self._sent += len(records)
        return refused

    def _taken(self, size: int, refused: Refused | None) -> None:
        """The receiver has what `_at` says, or will once the connection is settled."""
        if refused is not None:
            log.error(
                "the receiver refused records", records=refused.records, reason=refused.reason
            )
            self._rejected += refused.records
            total = self._at.rejected + refused.records
            self._at = replace(self._at, rejected=total, reason=refused.reason)
        if self._sink is None or self._sink.answers:
            self._keep()
            return
        self._open = self._open or [time.monotonic()]
        self._open_bytes += size
        self._settle_in_time()

    def _settle_in_time(self) -> None:
        if self._open and (
            self._careful
            or self._open_bytes >= SETTLE_BYTES
            or time.monotonic() - self._open[0] >= SETTLE_SECONDS
        ):
            self._settle()

    def _settle(self) -> None:
        """Know that the receiver has all that was sent. Raises OSError when nobody does."""
        if not self._open or self._sink is None:
            return
        self._sink.settle()
        self._sink.close()
        self._sink = None
        self._open, self._open_bytes, self._careful = [], 0, False
        self._keep()

    def _read(self) -> Cursor:
        try:
            return at_rest.read_cursor(self._cursor, self._vouch) or Cursor(Place(0, 0))
        except (OSError, KeyringError, ValueError) as error:
            self._unreadable = f"{at_rest.UNKNOWN}: {error}"[:200]
            return Cursor(Place(0, 0))

    def _begin(self, chain: str) -> None:
        """On disk before the first connection: what is removed until then is a gap."""
        if self._at.place.segment:
            return
        if self._unreadable:
            log.error("forwarding begins anew", reason=self._unreadable)
            self._append(GAP, {"from_segment": 0, "after": 0, "reason": self._unreadable})
            self._unreadable = ""
        self._move(beginning(self._directory, chain))

    def _look_for_another(self, chain: str) -> None:
        """Whether the log is still the one that the cursor is of; if not, begin with it anew."""
        why = astray(self._directory, self._at, chain, closely=not self._looked)
        if why:
            firsts = [s.first for s in list_segments(self._directory)]
            place = self._at.place
            known = bool(chain) and chain == self._at.chain and place.segment in firsts
            gap: dict[str, Field] = {
                "from_segment": place.segment,
                "after": self._at.seq,
                "earlier": self._at.chain,
                "reason": why,
            }
            if known:
                first = place.segment
            elif why == at_rest.OTHER:  # nothing of it was sent
                first = 1
            else:
                first = beginning(self._directory, chain).place.segment
            self._tell_gap(gap, Cursor(Place(first, 0), chain, first - 1))
        self._looked = True

    def _look_for_a_gap(self) -> None:
        firsts = [s.first for s in list_segments(self._directory) if s.first]
        segment = self._at.place.segment
        if not firsts or segment >= firsts[0]:
            return
        to = Cursor(Place(firsts[0], 0), self._at.chain, firsts[0] - 1)
        if self._at.seq + 1 < firsts[0]:  # or all of it was sent
            self._tell_gap({"from_segment": segment, "to": firsts[0] - 1}, to)
        else:
            self._move(to)

    def _look_for_missing(self, record: Mapping[str, Any], place: Place) -> None:
        """Whether what is sent next is what stood behind what was sent last."""
        gap = self._at.lacking(record)
        if gap:
            self._tell_gap(gap, Cursor(place, self._at.chain, int(record["seq"]) - 1))

    def _tell_gap(self, gap: Mapping[str, Field], to: Cursor) -> None:
        """Once: what was sent before is settled first, so that nothing goes back behind it."""
        self._settle()
        log.error("not all that was written was forwarded", **gap)
        self._append(GAP, gap)
        self._move(to)

    def _tell_rejected(self) -> None:
        now = time.monotonic()
        if self._at.rejected and not self._open and now - self._told >= TELL_SECONDS:
            self._append(
                REJECTED,
                {"records": self._at.rejected, "up_to": self._at.seq, "reason": self._at.reason},
            )
            self._told = now
            self._at = replace(self._at, rejected=0, reason="")
            self._keep()

    def _move(self, to: Cursor) -> None:
        self._at = replace(to, rejected=self._at.rejected, reason=self._at.reason)
        if not self._open:
            self._keep()

    def _keep(self) -> None:
        write_cursor(self._cursor, self._at, self._vouch)
        self._kept = self._at

    def _failed(self, error: Exception) -> None:
        self._drop()
        why = f"{type(error).__name__}: {error}"[:200]
        if not self._failing and not self._stop.is_set():
            log.error("records cannot be forwarded; they are kept and tried again", error=why)
        if isinstance(error, Foreign) and why != self._foreign:
            self._foreign = why
            with contextlib.suppress(AuditError):  # the log's own failure is told elsewhere
                self._append(FOREIGN, {"reason": why})
        self._failing = why

    def _drop(self) -> None:
        """What is not settled is sent again, in small parts until one is."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._careful = self._careful or bool(self._open)
        self._open, self._open_bytes = [], 0
        self._at = self._kept


def _records(lines: list[bytes], place: Place) -> tuple[list[dict[str, Any]], bool]:
    """What may be sent of lines, up to the first that is no record, or is not the next one; the
    flag tells that it was not that.

    The first of a segment has the number that the segment's name says.
    """
    found: list[dict[str, Any]] = []
    last = ""
    for line in lines:
        try:
            entry = read(line)
            if not found and not place.offset and entry.position.seq != place.segment:
                break
            record = json.loads(line)
        except (Unsealed, ValueError, RecursionError):
            break
        if found and not follows(record, int(found[-1]["seq"]), last):
            return found, False
        found.append(record)
        last = entry.position.digest
    return found, True


def _batches(lines: list[bytes]) -> Iterator[list[bytes]]:
    """What is sent in one exchange: by size, too, so that a slow line gets it done in time."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= BATCH or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _size(lines: list[bytes]) -> int:
    return sum(len(line) + 1 for line in lines)
