"""Reads an audit log and says whether it is whole, and where not; must never change a byte.

What anybody can check: that each record continues the one before, that segments end as was
signed. What takes the first key: that every record was sealed when its time was. What takes the
host's own keys: that the head, and so the end of the log, is what was written last. What no file
beside the log can show: an earlier head put back, alone with a cut behind its record or with the
whole directory. Who knows a record's number from elsewhere finds that with `reaching`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from fumehood.audit.custody import SEGMENT_TYPE, Custody
from fumehood.audit.head import (
    START,
    Head,
    Signed,
    no_head,
    read_base,
    read_first_key,
    read_head,
    read_signed,
    signature_path,
)
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import Entry, Epoch, Position, Sealer, Unsealed, read
from fumehood.audit.segments import MAX_LINE, Segment, last_line, list_segments, read_lines
from fumehood.crypto.signing import PublicKey
from fumehood.errors import AuditError, KeyringError

_LOOKS: Final = 3
"""How often to look again when retention removes segments meanwhile."""
MAX_PROCESSES: Final = 8
"""That share a walk: each keeps about 10 MiB of its own."""
MAX_STEPS: Final = 16
"""Clock steps that are named."""
MAX_SEGMENTS: Final = 1 << 20
"""That a log may have had; a key is moved past each, whatever the base says."""
MAX_LOST_STEPS: Final = 1 << 18
"""A key is moved at most so far within a segment to tell a line at the wrong place from a forged
one: a segment of 64 MiB has no more lines of 256 bytes, and no line is shorter."""

Kind = Literal[
    "edited", "deleted", "reordered", "forked", "truncated", "renamed", "head", "base",
    "signature", "wrong_key",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier has. first_key: the log's first sealing key. public: the keys that may have
    signed; None: signatures are not checked. custody: the host's own keys."""

    first_key: bytes | None = field(default=None, repr=False)
    public: Sequence[PublicKey] | None = None
    custody: Custody | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Defect:
    """The first thing wrong: what, in which file, at which line (from 1; 0: the file itself)."""

    kind: Kind
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. `last` is the last record in place before `first_bad`.

    torn_bytes: an unfinished last line, as a power cut leaves it, or a write under way.
    removed: up to which record retention removed the log. sealed: whether MACs were checked;
    signed: how many segment ends were. steps: where the clock went backwards, as
    `record number: time before > time`; no defect, and `clock_steps` counts them all.
    """

    records: int
    segments: int
    last: Position
    first_bad: Defect | None
    torn_bytes: int = 0
    removed: int = 0
    sealed: bool = False
    signed: int = 0
    clock_steps: int = 0
    steps: tuple[str, ...] = ()
    epoch: Epoch | None = None

    @property
    def ok(self) -> bool:
        return self.first_bad is None

    def reaching(self, seq: int) -> Report:
        """The same, and that the log still holds record `seq`, known from a receipt or a SIEM."""
        if self.first_bad is not None or self.last.seq >= seq:
            return self
        message = f"the log ends with record {self.last.seq}; it had record {seq}"
        return replace(self, first_bad=Defect("truncated", "segments", 0, message))


def verify(directory: Path, trust: Trust, *, processes: int = 1) -> Report:
    """Check every record of the log, also while it is being written.

    The first key is taken from beside the log where `trust` has none and it still lies there.
    processes: how many may share the work, a segment each; more than one forks, which only a
    process of one thread may do. What is found and said does not depend on it.

    Raises:
        AuditError: there is no log to read.
    """
    if trust.first_key is None and (kept := read_first_key(directory)) is not None:
        trust = Trust(kept, trust.public, trust.custody)
    return survey(directory, trust, whole=True, processes=processes)


def survey(directory: Path, trust: Trust, *, whole: bool, processes: int = 1) -> Report:
    """`verify`, or, when not `whole`, every record of the last segment and only the first and
    last record of those before it: what a start can afford."""
    for _ in range(_LOOKS):
        before = _base_text(directory)
        try:
            report = _survey(directory, trust, whole=whole, processes=processes)
        except FileNotFoundError:
            continue
        if report.ok or _base_text(directory) == before:
            return report
    raise AuditError("the log's oldest segments are being removed just now", "verify again")


def _base_text(directory: Path) -> bytes:
    try:
        return (directory / "base").read_bytes()
    except OSError:
        return b""


def _survey(directory: Path, trust: Trust, *, whole: bool, processes: int) -> Report:
    try:
        base = read_base(directory, trust.public)
    except KeyringError as error:
        return Report(0, 0, START, Defect("base", "base", 0, error.cause))
    # The head is read before the records: a live writer only ever adds to what it names.
    head = read_head(directory)
    last = base.position if base else START
    segments = [s for s in list_segments(directory) if s.first > last.seq]
    if head is None:
        defect = None
        if segments or base or not no_head(directory):
            defect = Defect("head", "head", 0, "the head is missing or was edited")
        return Report(0, len(segments), last, defect)
    walk = _Walk(trust, head, base, last=last, most=len(segments))
    walk.begin()
    done = 0
    if whole and processes > 1 and len(segments) > 2 and walk.defect is None:
        done = _shared(walk, segments[:-1], processes)
    for segment in segments[done:]:
        newest = segment is segments[-1]
        walk.segment(segment, whole=whole or newest, newest=newest)
        if walk.defect:
            break
    if walk.defect is None and head.position.seq > walk.last.seq:
        missing = f"records {walk.last.seq + 1} to {head.position.seq} are missing at the end"
        walk.stop("truncated", missing, line=walk.line + 1)
    return Report(
        walk.records, len(segments), walk.last, walk.defect, walk.torn, last.seq if base else 0,
        walk.sealed, walk.signed, walk.clock_steps, tuple(walk.steps), walk.epoch,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where a walk stands between two segments, and what it counted in the last one."""

    last: Position
    epoch: Epoch | None
    time: str
    records: int
    signed: int
    clock_steps: int
    steps: tuple[str, ...]
    sound: bool

    def continues(self, last: Position, epoch: Epoch | None, time: str) -> bool:
        """Whether it is the stage that a walk took for granted which began so."""
        return self.sound and (self.last, self.epoch, self.time) == (last, epoch, time)


def _shared(walk: _Walk, segments: Sequence[Segment], processes: int) -> int:
    """Walk the first of `segments` in several processes; how many: all that are sound.

    Each process takes the last line of the segment before as it stands, and nothing of what it
    finds counts unless the walk through that segment ended on the very same line. From the first
    segment that is not sound the caller goes on alone, and says what is wrong with it.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    done = 0
    pool = ProcessPoolExecutor(
        min(processes, MAX_PROCESSES), get_context("fork"), _share, (walk, segments)
    )
    # A process that was killed, or cannot be made: the rest is walked alone.
    with pool, contextlib.suppress(BrokenProcessPool, OSError):
        for begin, end in pool.map(_walk_share, range(len(segments))):
            if not end.sound or not walk.stands(begin):
                pool.shutdown(wait=True, cancel_futures=True)
                break
            walk.take(segments[done], end)
            done += 1
    return done


_shares: tuple[_Walk, Sequence[Segment]] | None = None
"""Of a process that `_shared` forked: given before the fork, since a walk holds keys."""


def _share(walk: _Walk, segments: Sequence[Segment]) -> None:
    global _shares
    _shares = walk, segments


def _walk_share(number: int) -> tuple[_Stage, _Stage]:
    """One segment in a process of its own: what was taken for granted, and where it ended."""
    if _shares is None:
        raise RuntimeError("nothing was given before the fork")
    walk, segments = _shares[0].copy(), _shares[1]
    if number:
        before = segments[number - 1]
        try:
            entry = read(last_line(before.path)[:-1])
        except (Unsealed, OSError):
            return walk.stage(sound=False), walk.stage(sound=False)
        walk.after(before, entry)
    begin = walk.stage(sound=True)
    try:
        walk.segment(segments[number], whole=True, newest=False)
    except OSError:
        return begin, walk.stage(sound=False)
    return begin, walk.stage(sound=walk.defect is None and not walk.torn)


@dataclass(slots=True)
class _Walk:
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

    def copy(self) -> _Walk:
        """Another one that stands here; only at the beginning of a log."""
        other = _Walk(self.trust, self.head, self.base, self.last, self.most)
        other.begin()
        return other

    def after(self, segment: Segment, entry: Entry) -> None:
        """Stand behind a segment whose last record is `entry`, which nobody looked at yet."""
        self.last, self.epoch, self.time = entry.position, entry.epoch, entry.time
        self._finished = segment, entry.position

    def stage(self, *, sound: bool) -> _Stage:
        return _Stage(
            self.last, self.epoch, self.time, self.records, self.signed, self.clock_steps,
            tuple(self.steps), sound,
        )  # fmt: skip

    def stands(self, stage: _Stage) -> bool:
        """Whether this walk stands where that one began."""
        return stage.continues(self.last, self.epoch, self.time)

    def take(self, segment: Segment, stage: _Stage) -> None:
        """Stand where another walk, which began here, ended: behind `segment`."""
        self.last, self.epoch, self.time = stage.last, stage.epoch, stage.time
        self.records += stage.records
        self.signed += stage.signed
        self.clock_steps += stage.clock_steps
        self.steps += stage.steps[: MAX_STEPS - len(self.steps)]
        self._finished = segment, stage.last

    def segment(self, segment: Segment, *, whole: bool, newest: bool) -> None:
        self.file, self.line = segment.path.name, 0
        if self.defect:
            return
        if self.torn:
            self.stop("edited", "the segment before this one ends within a line")
            return
        for line in read_lines(segment.path) if whole else _ends(segment.path):
            self.line += 1
            self._line(segment, line, linked=whole or self.line == 1, whole=whole)
            if self.defect or self.torn:
                return
        # A segment is made, then written: a power cut between leaves it empty.
        if not self.line and segment.first != self.last.seq + 1:
            self.stop("truncated", "the segment is empty")
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
            self.stop("deleted", f"record {expected} is missing, record {found} follows")
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
        except (KeyringError, OSError) as error:
            self._unsigned(path, error.cause if isinstance(error, KeyringError) else str(error))
            return
        if (signed.chain, signed.first, signed.position) != (self.head.chain, segment.first, last):
            self._unsigned(path, "the segment does not end where it was signed")
            return
        self.signed += self.trust.public is not None

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
