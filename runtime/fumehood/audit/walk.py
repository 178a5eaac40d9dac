"""One walk along the chain of an audit log, record by record; must never change a byte.

Stops at the first thing that is wrong, and says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fumehood.audit.custody import SEGMENT_TYPE
from fumehood.audit.folder import (
    MAX_LINE,
    Segment,
    Special,
    last_line,
    list_segments,
    read_lines,
)
from fumehood.audit.head import Head, Signed, read_signed, signature_path
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import Entry, Epoch, Position, Sealer, Unsealed, read
from fumehood.audit.report import Defect, Kind, Trust
from fumehood.errors import AuditError, KeyringError

MAX_STEPS: Final = 16
"""Clock steps that are named."""
MAX_SEGMENTS: Final = 1 << 20
"""That a log may have had; a key is moved past each, whatever the base says."""
MAX_LOST_STEPS: Final = 1 << 18
"""A key is moved at most so far within a segment to tell a line at the wrong place from a forged
one: a segment of 64 MiB has no more lines of 256 bytes, and no line is shorter."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a walk stands between two segments, and what it counted in the last one."""

    last: Position
    epoch: Epoch | None
    time: str
    records: int
    signed: int
    clock_steps: int
    steps: tuple[str, ...]
    signers: frozenset[str]
    sound: bool

    def continues(self, last: Position, epoch: Epoch | None, time: str) -> bool:
        """Whether it is the stage that a walk took for granted which began so."""
        return self.sound and (self.last, self.epoch, self.time) == (last, epoch, time)


@dataclass(slots=True)
class Walk:
    """Goes along the chain; `last` is the record reached, `defect` what stopped it."""

    trust: Trust
    head: Head
    base: Signed | None
    last: Position
    most: int
    """Segments that are there."""
    records: int = 0
    torn: int = 0
    file: str = "head"
    line: int = 0
    signed: int = 0
    clock_steps: int = 0
    steps: list[str] = field(default_factory=list)
    signers: set[str] = field(default_factory=set)
    epoch: Epoch | None = None
    time: str = ""
    defect: Defect | None = None
    _ratchet: Ratchet | None = None
    _here: Ratchet | None = None
    """At the first epoch of the segment: what was moved out of its place may be older."""
    _beyond: Ratchet | None = None
    """From the head: seals what a crash left behind it."""
    _sealer: Sealer | None = None
    _line_seen: bytes = b""
    _finished: tuple[Segment, Position] | None = None
    """Its signed end is looked at once the next one's first record says what is missing, if any."""

    @property
    def sealed(self) -> bool:
        return self._ratchet is not None

    def begin(self) -> None:
        """Look at the head and the keys."""
        if self.base is not None:
            self.epoch = self.base.epoch
            if not 0 <= self.epoch.segment < MAX_SEGMENTS:
                self.file = "base"
                self.stop("base", f"no log had {self.epoch.segment} segments")
                return
            if (wrong := self._wrong_base(self.base)) is not None:
                self.file = "base"
                self.stop("base", wrong)
                return
        if self.trust.first_key is not None:
            self._ratchet = Ratchet.first(self.trust.first_key)
            if self._ratchet.chain != self.head.chain:
                given = f"sealed from key {self.head.chain}, checked with {self._ratchet.chain}"
                self.stop("wrong_key", given)
                return
        if self.trust.custody is not None:
            try:
                self._beyond = self.head.opened(self.trust.custody)
            except KeyringError:
                self.stop("head", "the head was edited, or sealed by another host")
                return
        if self.head.position.seq == 0:
            self._head_here(None)

    def _wrong_base(self, base: Signed) -> str | None:
        """Why a base that is rightly signed is not this log's. Retention never takes the last
        segment, and the head is on disk up to its beginning before."""
        if base.chain != self.head.chain:
            return f"it belongs to another log, of key {base.chain[:16]}"
        at = self.head.position
        if base.position.seq > at.seq or (base.position.seq == at.seq and base.position != at):
            return f"it names record {base.position.seq}, and the log ends with record {at.seq}"
        if not self.most:
            return f"nothing is there behind record {base.position.seq}, which it names"
        return None

    def copy(self) -> Walk:
        """Another one that stands here; only at the beginning of a log."""
        other = Walk(self.trust, self.head, self.base, self.last, self.most)
        other.begin()
        return other

    def after(self, segment: Segment, entry: Entry) -> None:
        """Stand behind a segment whose last record is `entry`, which nobody looked at yet."""
        self.last, self.epoch, self.time = entry.position, entry.epoch, entry.time
        self._finished = segment, entry.position

    def stage(self, *, sound: bool) -> Stage:
        return Stage(
            self.last, self.epoch, self.time, self.records, self.signed, self.clock_steps,
            tuple(self.steps), frozenset(self.signers), sound,
        )  # fmt: skip

    def stands(self, stage: Stage) -> bool:
        """Whether this walk stands where that one began."""
        return stage.continues(self.last, self.epoch, self.time)

    def take(self, segment: Segment, stage: Stage) -> None:
        """Stand where another walk, which began here, ended: behind `segment`."""
        self.last, self.epoch, self.time = stage.last, stage.epoch, stage.time
        self.records += stage.records
        self.signed += stage.signed
        self.clock_steps += stage.clock_steps
        self.signers |= stage.signers
        self.steps += stage.steps[: MAX_STEPS - len(self.steps)]
        self._finished = segment, stage.last

    def segment(self, segment: Segment, *, whole: bool, newest: bool) -> None:
        self.file, self.line = segment.path.name, 0
        if self.defect:
            return
        if self.torn:
            self.stop("edited", "the segment before this one ends within a line")
            return
        try:
            for line in read_lines(segment.path) if whole else _ends(segment.path):
                self.line += 1
                self._line(segment, line, linked=whole or self.line == 1, whole=whole)
                if self.defect or self.torn:
                    return
        except Special as error:
            self.line = 0
            self.stop("special", error.cause)
            return
        if not self.line:
            # Made, then written: a power cut between leaves it empty, behind a signed end.
            if segment.first != self.last.seq + 1:
                self.stop("truncated", "the segment is empty")
            elif newest:
                self._signature()
            return
        self._finished = segment, self.last
        if newest and signature_path(segment.path).exists():
            self._signature()

    def _line(self, segment: Segment, line: bytes, *, linked: bool, whole: bool) -> None:
        if not line.endswith(b"\n"):
            if len(line) < MAX_LINE:
                self.torn = len(line)
            else:
                self.stop("edited", "the line is too long to be a record")
            return
        self._line_seen = line[:-1]
        try:
            entry = read(self._line_seen)
        except Unsealed:
            self.stop("edited", "the record is not what was sealed")
            return
        if entry.key != self.head.chain:
            self.stop("forked", f"the record belongs to another log, of key {entry.key}")
        elif linked and not self._follows(segment, entry):
            return
        elif whole and not self._sealed(entry):
            self.stop("edited", "the record is not what was sealed")
        elif self.line == 1 and entry.position.seq != segment.first:
            self.stop("renamed", f"its first record is number {entry.position.seq}")
        else:
            if self.line == 1:
                self._signature()
            self._reached(entry)

    def _reached(self, entry: Entry) -> None:
        if self.defect:
            return
        head = self.head.position
        if entry.position.seq == head.seq:
            if entry.position.digest != head.digest:
                self.stop("forked", "the head names another record of this number")
                return
            self._head_here(entry.epoch)
        if entry.time < self.time:
            self.clock_steps += 1
            if len(self.steps) < MAX_STEPS:
                self.steps.append(f"{entry.position.seq}: {self.time} > {entry.time}")
        self.time, self.epoch, self.last = entry.time, entry.epoch, entry.position
        self.records += 1

    # --- seals

    def _sealed(self, entry: Entry) -> bool:
        """Whether the line that was read was sealed in the epoch that is its turn."""
        if not self._in_turn(entry):
            return False
        if self._ratchet is not None:
            if entry.epoch.segment > self._ratchet.epoch.segment or self._here is None:
                self._ratchet.to(Epoch(entry.epoch.segment, 0), most=self._last_segment + 1)
                self._here = self._ratchet.copy()
            return self._ratchet.to(entry.epoch, most=self._last_step) and self._opens(
                self._ratchet
            )
        if self._beyond is not None and entry.position.seq > self.head.position.seq:
            most = self._last_segment + self._last_step
            return self._beyond.to(entry.epoch, most=most) and self._opens(self._beyond)
        return True

    def _in_turn(self, entry: Entry) -> bool:
        """An epoch is the last record's, the one after it, or a segment's first. The last record's
        may be anybody's word (`after`): no segment has two numbers, and each step has a line."""
        now, then = entry.epoch, self.epoch
        if now.segment > self._last_segment or now.step > self._last_step:
            return False
        if then is None:
            return now == Epoch(0, 0)
        if now.segment == then.segment:
            return then.step <= now.step <= then.step + 1
        return self.line == 1 and now == Epoch(then.segment + 1, 0)

    def _opens(self, ratchet: Ratchet) -> bool:
        if self._sealer is None or self._sealer.epoch != ratchet.epoch:
            self._sealer = ratchet.sealer()
        return self._sealer.sealed(self._line_seen)

    def _was_sealed(self, entry: Entry) -> bool:
        """Whether a line that stands at the wrong place is genuine; True when nobody can say."""
        if self._ratchet is None:
            return True
        # The line's own numbers may be anything: what bounds the work is what a log can hold.
        steps, limit = (
            abs(entry.position.seq - self.last.seq) + 2,
            self._last_segment + MAX_LOST_STEPS,
        )
        for start in (self._ratchet, self._here or Ratchet.first(self.trust.first_key or b"")):
            at = start.copy()
            most = max(steps, at.epoch.step + self.line + 2)
            if at.to(entry.epoch, most=min(most, limit)):
                return self._opens(at)
        # From a segment before: its key is behind, and so is its number.
        return entry.position.seq <= self.last.seq

    @property
    def _last_segment(self) -> int:
        """The highest number that a segment's key can have."""
        return (self.base.epoch.segment + 1 if self.base else 0) + self.most

    @property
    def _last_step(self) -> int:
        """A step that no key has passed at this line. Not just the line's number: a first line
        that was torn leaves its segment to the key of the one before."""
        return MAX_LOST_STEPS + self.line

    def _head_here(self, epoch: Epoch | None) -> None:
        """The walk stands where the head says: the head's own seal can be checked."""
        if self._ratchet is None:
            return
        at = self._ratchet.copy()
        if epoch is not None:
            at.advance()
        if at.epoch != self.head.epoch or not self.head.sealed_by(at):
            self.stop("head", "the head is not what was sealed with its last record")

    # --- the chain

    def _follows(self, segment: Segment, entry: Entry) -> bool:
        expected, found = self.last.seq + 1, entry.position.seq
        if found == expected and entry.prev == self.last.digest:
            return True
        if not self._was_sealed(entry):
            self.stop("edited", "the record is not what was sealed")
        elif found == expected:
            kind: Kind = "forked" if self.sealed else "edited"
            self.stop(kind, f"record {found} continues another record {self.last.seq}")
        elif found < expected:
            self.stop("reordered", f"record {found} stands after record {self.last.seq}")
        elif self._comes_later(segment, expected):
            self.stop("reordered", f"record {found} stands before record {expected}")
        else:
            untold = ", and no tombstone (`base`) says that retention removed it"
            unsaid = untold if self.base is None and not self.last.seq else ""
            self.stop("deleted", f"record {expected} is missing, record {found} follows{unsaid}")
        return False

    def _comes_later(self, segment: Segment, seq: int) -> bool:
        wanted = b'{"seq":%d,' % seq
        for later in list_segments(segment.path.parent):
            if later.first < segment.first:
                continue
            if any(line.startswith(wanted) for line in read_lines(later.path)):
                return True
        return False

    def _signature(self) -> None:
        """The end of a finished segment is as was signed."""
        if self._finished is None:
            return
        (segment, last), self._finished = self._finished, None
        path = signature_path(segment.path)
        try:
            signed = read_signed(path, SEGMENT_TYPE, self.trust.public)
        except FileNotFoundError:
            if not segment.path.exists():  # retention takes both
                raise
            self._unsigned(path, "the signed end of a finished segment is missing")
            return
        except (KeyringError, AuditError) as error:
            self._unsigned(path, error.cause)
            return
        if (signed.chain, signed.first, signed.position) != (self.head.chain, segment.first, last):
            self._unsigned(path, "the segment does not end where it was signed")
            return
        if signed.signer:
            self.signed += 1
            self.signers.add(signed.signer)

    def _unsigned(self, path: Path, message: str) -> None:
        self.file, self.line = path.name, 0
        self.stop("signature", message)

    def stop(self, kind: Kind, message: str, *, line: int | None = None) -> None:
        if self.defect is None:
            self.defect = Defect(kind, self.file, self.line if line is None else line, message)


def _ends(path: Path) -> Iterator[bytes]:
    first = next(read_lines(path), b"")
    last = last_line(path)
    yield first
    if last != first:
        yield last
