"""The files of an audit log: numbered segments and the lock; must never decide what is true.

`segment-<first seq>.jsonl` holds records, `lock` is held by the one writer, the small files beside
them are those of `head`. The head is written after the records it names are on disk, in place and
within one sector: a power cut leaves it as it was or as it is to be, and at most behind, never
ahead. A finished segment has its signed end on disk before the next one is begun, and the base is
on disk before what it stands for is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.audit.custody import BASE_TYPE, SEGMENT_TYPE, Custody
from fumehood.audit.folder import (
    Segment,
    last_line,
    last_line_of,
    list_segments,
    look_over,
    read_lines,
    segment_name,
)
from fumehood.audit.head import (
    START,
    Signed,
    first_key_path,
    no_head,
    read_base,
    render_head,
    signature_path,
    write_signed,
)
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import Entry, Position, Sealer, Unsealed, read
from fumehood.crypto.files import NotPlain, open_plain, sync_directory
from fumehood.errors import AuditError, KeyringError

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A segment that has reached this size is followed by a new one."""


class Busy(AuditError):
    """Another process writes this log: a daemon runs."""


class Unkept(OSError):
    """The keys that the log needs cannot be used just now: tried again, as with a full disk."""


class Tampered(OSError):
    """The log is not as, or not where, the writer left it: nobody may write to it again."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a private file and have it on disk."""
    with os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def claim(directory: Path) -> int:
    """Make the directory when missing, and take the writer's lock; the descriptor holds it.

    Raises:
        Busy: another process writes this log.
        AuditError: others can write there, or something else than a plain file has the name of one
            of the log's own.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if (special := look_over(directory).special) is not None:
            raise AuditError(
                f"the audit log is not whole: {special}",
                f"find out who put it there, and move it out of {directory}",
            )
        fd = open_plain(directory / "lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise AuditError(
            f"the audit directory cannot be used: {error.strerror}", f"see {directory}"
        ) from error
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(fd)
        raise AuditError("the audit directory can be written by others", f"chmod 700 {directory}")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise Busy(
            f"another process writes the audit log in {directory}",
            "stop the other daemon, or give this one its own state directory",
        ) from error
    return fd


MAX_READ_BACK: Final = 20
"""How often a segment is read because somebody touched it, by one writer: a file system whose times
change by themselves shall cost no more."""


class Tail:
    """The writing end: appends whole groups of lines, moves the head after them and the sealing
    key with it.

    Not thread safe: only the writer thread uses it. Every method raises OSError.
    """

    def __init__(
        self,
        directory: Path,
        ratchet: Ratchet,
        custody: Custody,
        *,
        segment_bytes: int,
        last: Position = START,
    ) -> None:
        """last: the last record of a log that is there."""
        self._directory = directory
        self._ratchet = ratchet
        self._sealer = ratchet.sealer()
        self._custody = custody
        self._segment_bytes = segment_bytes
        self._segment: Segment | None = None
        self._fd = -1
        self._opened: os.stat_result | None = None
        """The segment, as it was when it was opened."""
        self._size = 0
        self._last = last
        self._changed = 0
        """Time of the segment's last change (st_ctime, ns) that is accounted for."""
        self._read_back = 0
        self._doubtful = b""
        self.first_key = os.path.exists(first_key_path(directory))
        """What the head is to say of it: it stands until the record that tells of its taking."""
        fresh = no_head(directory)
        self._head_path = directory / "head"
        self._head = open_plain(self._head_path, os.O_RDWR | os.O_CREAT)
        self._opened_head = os.fstat(self._head)
        if fresh:
            self._write_head(ratchet, self._sealer, START)
            self.sync_head()
        if segments := list_segments(directory):
            self._segment = segments[-1]
            self._fd, self._opened = _open(self._segment.path)
            self._size, self._changed = self._opened.st_size, self._opened.st_ctime_ns
            if signature_path(self._segment.path).exists():  # a crash before the next one
                self._segment_bytes = min(segment_bytes, self._size)

    def sealer(self) -> Sealer:
        """For the next group of lines."""
        return self._sealer

    @property
    def full(self) -> bool:
        """Whether `finish` must come before the next lines."""
        return self._fd >= 0 and self._size >= self._segment_bytes

    def finish(self, last: Position, time: str) -> None:
        """Sign the end of the segment, the record `last`, and be done with it."""
        if self._segment is None:
            return
        self.check_untouched()
        self.sync_head()
        signature = signature_path(self._segment.path)
        with os.fdopen(self._fd, "rb", closefd=False) as file:
            end = read(last_line_of(file)[:-1])
        signed = Signed(self._ratchet.chain, self._segment.first, last, end.epoch, time)
        with _kept():
            write_signed(signature, signed, self._custody, SEGMENT_TYPE)
        os.close(self._fd)
        self._fd = -1
        self._ratchet.next_segment()
        self._sealer = self._ratchet.sealer()

    def write(self, lines: bytes, first: int, last: Position) -> bool:
        """Append lines numbered from `first`; they are on disk when this returns, and what sealed
        them is forgotten.

        After an OSError other than Tampered the same lines may be given again, and nothing else:
        they go to the same place. A failed fsync leaves unknown what is on disk, and pages that
        the kernel counts as clean (fsync(2), errors): written anew, they are dirty again.

        Returns:
            Whether a new segment was begun.
        """
        if self._fd < 0:
            self._check_head()  # or the segment would be made in another log's folder
            path = self._directory / segment_name(first)
            self._fd, self._opened = _open(path)
            self._segment, self._size = Segment(path, first), 0
            self._changed = self._opened.st_ctime_ns
        self.check_untouched()
        self._doubtful = lines
        try:
            self._append(lines)
            os.fdatasync(self._fd)
        finally:  # also what we tried in vain is our own change
            self._changed = os.fstat(self._fd).st_ctime_ns
        begun = not self._size
        if begun:
            sync_directory(self._directory)
        following = self._ratchet.copy()
        following.advance()
        sealer = following.sealer()
        self._write_head(following, sealer, last)
        self._ratchet, self._sealer = following, sealer
        self._size += len(lines)
        self._last = last
        self._doubtful = b""
        return begun

    @property
    def chain(self) -> str:
        return self._ratchet.chain

    def sync_head(self) -> None:
        os.fsync(self._head)

    def close(self) -> None:
        for fd in (self._fd, self._head):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head = -1

    def check_untouched(self) -> None:
        """Segment and head are where a verifier looks for them, and nothing stands in the segment
        but what was confirmed, and a part of what just failed. Two lookups by name, 4 µs; where
        somebody touched the segment, all of it is read (0.3 to 0.7 s)."""
        self._check_head()
        if self._segment is None or self._opened is None:
            return
        found = _still_there(self._segment.path, self._opened)
        more = found.st_size - self._size
        if (
            found.st_nlink != 1
            or not 0 <= more <= len(self._doubtful)
            or (more and os.pread(self._fd, more, self._size) != self._doubtful[:more])
        ):
            raise Tampered(f"{self._segment.path.name} was changed by someone else")
        if found.st_ctime_ns != self._changed and self._read_back < MAX_READ_BACK:
            self._read_back += 1
            if self._size and not _leads_to(self._segment.path, self._last):
                raise Tampered(f"{self._segment.path.name} was changed by someone else")
            self._changed = found.st_ctime_ns

    def _check_head(self) -> None:
        _still_there(self._head_path, self._opened_head)

    def _append(self, lines: bytes) -> None:
        done = 0
        try:
            while done < len(lines):
                done += os.pwrite(self._fd, memoryview(lines)[done:], self._size + done)
        except OSError:
            if done:
                os.ftruncate(self._fd, self._size)
            raise

    def _write_head(self, ratchet: Ratchet, sealer: Sealer, position: Position) -> None:
        with _kept():
            head = render_head(ratchet, sealer, position, self._custody, first_key=self.first_key)
        if os.pwrite(self._head, head, 0) != len(head):
            raise OSError("the head was written only in part")


def _leads_to(path: Path, last: Position) -> bool:
    """Whether the chain of a segment leads from its first record to this one."""
    at: Position | None = None
    for line in read_lines(path):
        try:
            entry = read(line[:-1])
        except Unsealed:
            return False
        if at is not None and (entry.prev, entry.position.seq) != (at.digest, at.seq + 1):
            return False
        at = entry.position
        if at.seq >= last.seq:
            break
    return at == last


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except KeyringError as error:
        raise Unkept(str(error)) from error


def _open(path: Path) -> tuple[int, os.stat_result]:
    try:
        fd = open_plain(path, os.O_RDWR | os.O_CREAT)
    except NotPlain as error:
        raise Tampered(error.errno, error.strerror, str(path)) from error
    return fd, os.fstat(fd)


def _still_there(path: Path, opened: os.stat_result) -> os.stat_result:
    """What a name leads to now. Raises Tampered unless it is the file that was opened: a
    descriptor goes on taking records when its file, or the folder around it, was moved away."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise Tampered(f"{path.name} is not where it was: {error.strerror}") from None
    if not os.path.samestat(found, opened):
        raise Tampered(f"{path.name} is another file than the one that is written")
    return found


@dataclass(frozen=True, slots=True)
class Due:
    """What retention is to remove: up to which record, and how many segments that are."""

    end: Entry
    segments: int

    @property
    def fields(self) -> dict[str, str | int]:
        """What a record tells of it, as `verify` looks for it."""
        at = self.end.position
        return {"last": at.seq, "last_digest": at.digest, "segments": self.segments}


def due(directory: Path, custody: Custody, *, keep_bytes: int, before: str = "") -> Due | None:
    """The oldest segments until the rest is at most `keep_bytes`, and those whose last record is
    older than `before` (RFC 3339, or its beginning); never the last segment.

    It is to be on record before `prune` removes it: who has the host's keys could else remove
    whatever he likes, and nothing that he must write would tell of it.
    """
    _remove_leftovers(directory, custody)
    segments = list_segments(directory)
    sizes = [segment.path.stat().st_size for segment in segments]
    count = 0
    while count < len(segments) - 1 and sum(sizes[count:]) > keep_bytes:
        count += 1
    while before and count < len(segments) - 1 and _ended(segments[count]) < before:
        count += 1
    # Nothing is removed that is not understood: that is for `verify`, and for people.
    while count:
        with contextlib.suppress(Unsealed):
            return Due(read(last_line(segments[count - 1].path)[:-1]), count)
        count -= 1
    return None


def prune(directory: Path, custody: Custody, removal: Due, *, time: str) -> None:
    """Remove what is due. The signed base names it first, so that the rest still verifies."""
    end = removal.end
    with _kept():
        signed = Signed(end.key, 0, end.position, end.epoch, time)
        write_signed(directory / "base", signed, custody, BASE_TYPE)
    _remove_leftovers(directory, custody)


def _ended(segment: Segment) -> str:
    try:
        return read(last_line(segment.path)[:-1]).time
    except Unsealed:
        return "9999"  # nothing is removed that is not understood


def _remove_leftovers(directory: Path, custody: Custody) -> None:
    """Segments that the base stands for: a crash may have left some of them."""
    with _kept():
        base = read_base(directory, custody.public())
    for segment in list_segments(directory):
        if base is not None and segment.first <= base.position.seq:
            for torn in directory.glob(f"{segment.path.stem}.*.torn"):
                torn.unlink()
            signature_path(segment.path).unlink(missing_ok=True)
            segment.path.unlink()
