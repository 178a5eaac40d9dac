"""The files of an audit log: numbered segments, the head, the lock; must never decide what is true.

`segment-<first seq>.jsonl` holds records, `head` the last one's number and MAC (itself sealed,
so that a cut tail shows), `base` likewise the last record that retention removed, `lock` is held
by the one writer. The head is written after the records it names are on disk, in place and
within one sector: a power cut leaves it as it was or as it is to be, and at most behind, never
ahead. The base is on disk before what it stands for is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.audit.record import GENESIS, MAX_RECORD, Position, Sealer
from fumehood.crypto.derive import ALGORITHM
from fumehood.crypto.files import sync_directory
from fumehood.errors import AuditError

MAX_LINE: Final = MAX_RECORD + 1024
"""Bytes of one line, newline included."""

_HEAD_BYTES: Final = 512
_LOOKS: Final = 3
_NAME = re.compile(r"segment-([0-9]{16})\.jsonl")

START: Final = Position(0, GENESIS)


class Tampered(OSError):
    """The segment is not as the writer left it: nobody may write to this log again."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the chain; `first` is the number of its first record, as its name says."""

    path: Path
    first: int


def segment_name(first: int) -> str:
    return f"segment-{first:016d}.jsonl"


def list_segments(directory: Path) -> list[Segment]:
    """The segments in order. Raises AuditError when there is no such directory."""
    try:
        names = sorted(entry.name for entry in os.scandir(directory))
    except OSError as error:
        raise AuditError(
            f"no audit log can be read in {directory}: {error.strerror}",
            "name the state directory of the daemon",
        ) from error
    found = ((name, _NAME.fullmatch(name)) for name in names)
    return [Segment(directory / name, int(match[1])) for name, match in found if match]


def read_lines(path: Path) -> Iterator[bytes]:
    """Lines with their newline. A last line without one is torn, or too long to be a record."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            yield line


def last_line(path: Path) -> bytes:
    """The last line of a segment, empty when it has none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_LINE))
        end = file.read()
    return end[end.rfind(b"\n", 0, -1) + 1 :]


def render_head(sealer: Sealer, position: Position, kind: str = "head") -> bytes:
    """The bytes of the head, or of the base, always of one length."""
    body = json.dumps(
        {kind: position.seq, "last": position.mac, "alg": ALGORITHM, "key": sealer.key_id}
    )
    text = json.dumps({"body": body, "mac": sealer.mac(body.encode())})
    return text.encode().ljust(_HEAD_BYTES - 1) + b"\n"


def read_head(directory: Path, sealer: Sealer) -> Position | None:
    """The position the head names, None when the head is missing or not what was sealed.

    Looks again when the MAC is wrong: a read beside a write may see half of each.
    """
    looks = (_look_at_head(directory, sealer) for _ in range(_LOOKS))
    return next((position for position in looks if position is not None), None)


def no_head(directory: Path) -> bool:
    """Whether there is no head, or none was written yet (a power cut at the very first start)."""
    try:
        return (directory / "head").stat().st_size == 0
    except FileNotFoundError:
        return True


def read_base(directory: Path, sealer: Sealer) -> Position | None:
    """The last record that retention removed; START when there is none, None when it was edited."""
    if not (directory / "base").exists():
        return START
    return _look_at(directory / "base", sealer, "base")


def _look_at_head(directory: Path, sealer: Sealer) -> Position | None:
    return _look_at(directory / "head", sealer, "head")


def _look_at(path: Path, sealer: Sealer, kind: str) -> Position | None:
    try:
        raw = json.loads(path.read_bytes()[:_HEAD_BYTES])
        if sealer.mac(raw["body"].encode()) != raw["mac"]:
            return None
        body = json.loads(raw["body"])
        return Position(body[kind], body["last"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a private file and have it on disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def claim(directory: Path) -> int:
    """Make the directory when missing, and take the writer's lock; the descriptor holds it.

    Raises:
        AuditError: others can write there, or another process writes this log.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        fd = os.open(
            directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
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
        raise AuditError(
            f"another process writes the audit log in {directory}",
            "stop the other daemon, or give this one its own state directory",
        ) from error
    return fd


class Tail:
    """The writing end: appends whole groups of lines and moves the head after them.

    Not thread safe: only the writer thread uses it. Every method raises OSError.
    """

    def __init__(self, directory: Path, sealer: Sealer, *, segment_bytes: int) -> None:
        self._directory = directory
        self._sealer = sealer
        self._segment_bytes = segment_bytes
        self._fd = -1
        self._size = 0
        self._doubtful = b""
        fresh = no_head(directory)
        self._head = os.open(
            directory / "head", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        if fresh:
            self._write_head(START)
            self.sync_head()
        if segments := list_segments(directory):
            self._fd, self._size = _open(segments[-1].path)

    def write(self, lines: bytes, first: int, last: Position) -> bool:
        """Append lines numbered from `first`; they are on disk when this returns.

        After an OSError other than Tampered the same lines may be given again, and nothing else:
        they go to the same place. A failed fsync leaves unknown what is on disk, and pages that
        the kernel counts as clean (fsync(2), errors): written anew, they are dirty again.

        Returns:
            Whether a new segment was begun.
        """
        if self._fd >= 0 and self._size >= self._segment_bytes:
            self.sync_head()
            os.close(self._fd)
            self._fd = -1
        if self._fd < 0:
            self._fd, _ = _open(self._directory / segment_name(first))
            self._size = 0
        self._check_untouched()
        self._doubtful = lines
        self._append(lines)
        os.fdatasync(self._fd)
        begun = not self._size
        if begun:
            sync_directory(self._directory)
        self._write_head(last)
        self._size += len(lines)
        self._doubtful = b""
        return begun

    def sync_head(self) -> None:
        os.fsync(self._head)

    def close(self) -> None:
        for fd in (self._fd, self._head):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head = -1

    def _check_untouched(self) -> None:
        """Nothing stands there but what was confirmed, and a part of what just failed."""
        found = os.fstat(self._fd)
        more = found.st_size - self._size
        if (
            found.st_nlink != 1
            or not 0 <= more <= len(self._doubtful)
            or os.pread(self._fd, more, self._size) != self._doubtful[:more]
        ):
            raise Tampered("the segment was changed or removed by someone else")

    def _append(self, lines: bytes) -> None:
        done = 0
        try:
            while done < len(lines):
                done += os.pwrite(self._fd, memoryview(lines)[done:], self._size + done)
        except OSError:
            if done:
                os.ftruncate(self._fd, self._size)
            raise

    def _write_head(self, position: Position) -> None:
        head = render_head(self._sealer, position)
        if os.pwrite(self._head, head, 0) != len(head):
            raise OSError("the head was written only in part")


def _open(path: Path) -> tuple[int, int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return fd, os.fstat(fd).st_size


def prune(directory: Path, sealer: Sealer, *, keep_bytes: int) -> Position | None:
    """Remove the oldest segments until the rest is at most `keep_bytes`, never the last one.

    What is gone is named by the sealed base first, so that the rest still verifies.

    Returns:
        The last record removed now; None when nothing was.
    """
    _remove_leftovers(directory, sealer)
    segments = list_segments(directory)
    sizes = [segment.path.stat().st_size for segment in segments]
    count = 0
    while count < len(segments) - 1 and sum(sizes[count:]) > keep_bytes:
        count += 1
    if not count:
        return None
    position = sealer.open(last_line(segments[count - 1].path)[:-1]).position
    write_whole(directory / "base.new", render_head(sealer, position, "base"))
    os.replace(directory / "base.new", directory / "base")
    sync_directory(directory)
    _remove_leftovers(directory, sealer)
    return position


def _remove_leftovers(directory: Path, sealer: Sealer) -> None:
    """Segments that the base stands for: a crash may have left some of them."""
    base = read_base(directory, sealer)
    for segment in list_segments(directory):
        if base is not None and segment.first <= base.seq:
            for torn in directory.glob(f"{segment.path.stem}.*.torn"):
                torn.unlink()
            segment.path.unlink()
