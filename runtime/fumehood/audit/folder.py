"""What lies in an audit log's folder, and how it is read; must never open what is no plain file.

Whoever can write there may put a FIFO, a link or a device under the name of a segment: nothing
waits for its other end, follows it or reads it. And whatever is named like a segment and is none
is told by name, since nothing else would ever look at it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fumehood.audit.record import MAX_RECORD
from fumehood.audit.report import MAX_STRAYS, Defect
from fumehood.crypto.files import NotPlain, open_plain
from fumehood.errors import AuditError

MAX_LINE: Final = MAX_RECORD + 1024
"""Bytes of one line, newline included."""

_NAME: Final = re.compile(r"segment-([0-9]{16})\.jsonl")
_BESIDE: Final = re.compile(r"(segment-[0-9]{16})\.(?:sig|after-[0-9]{1,19}\.torn)")
_SINGLE: Final = frozenset({"lock", "head", "base", "first.key"})


class Special(AuditError):
    """A pipe, socket, device, link or folder under the name of a file of the log."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the chain; `first` is the number of its first record, as its name says."""

    path: Path
    first: int


@dataclass(frozen=True, slots=True)
class Lying:
    """What is in the folder and should not be. special: where the log's own files belong.
    strays: files named like a segment that are no part of the log, the first `MAX_STRAYS` of
    them; count: of all."""

    special: Defect | None = None
    strays: tuple[Defect, ...] = ()
    count: int = 0


def segment_name(first: int) -> str:
    return f"segment-{first:016d}.jsonl"


def list_segments(directory: Path) -> list[Segment]:
    """The segments in order. Raises AuditError when there is no such directory."""
    found = ((name, _NAME.fullmatch(name)) for name in _names(directory))
    listed = ((name, int(match[1])) for name, match in found if match)
    return [Segment(directory / name, first) for name, first in listed if first]


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries)
    except OSError as error:
        raise AuditError(
            f"no audit log can be read in {directory}: {error.strerror}",
            "name the state directory of the daemon",
        ) from error


def look_over(directory: Path) -> Lying:
    """What should not be in the folder, without opening any of it. Raises AuditError."""
    names = _names(directory)
    strays: list[Defect] = []
    count = 0
    for name in names:
        beside = _BESIDE.fullmatch(name)
        known = name in _SINGLE or beside is not None or _is_segment(name)
        if not known and not name.startswith("segment-"):
            continue
        try:
            mode = os.lstat(directory / name).st_mode
        except FileNotFoundError:  # retention removed it just now
            continue
        if known and not stat.S_ISREG(mode):
            return Lying(Defect("special", name, 0, f"it is {kind_of(mode)}, not a plain file"))
        if known and (beside is None or _has_segment(directory, names, beside[1])):
            continue
        count += 1
        if len(strays) < MAX_STRAYS:
            what = "it belongs to no segment that is there" if known else "it is no file of the log"
            strays.append(Defect("stray", printable(name), 0, what))
    return Lying(None, tuple(strays), count)


def _is_segment(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and int(match[1]) > 0


def _has_segment(directory: Path, names: list[str], stem: str) -> bool:
    """Looked for again where the names do not have it: they are no snapshot, and a writer makes a
    segment before what stands beside it."""
    name = f"{stem}.jsonl"
    return name in names or os.path.lexists(directory / name)


def kind_of(mode: int) -> str:
    """In words, what a file is that is not a plain one."""
    kinds = {
        stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "something else")


def printable(name: str) -> str:
    """A name that may hold any bytes, for a line of text."""
    return name.encode("utf-8", "backslashreplace").decode()[:255]


def reading(path: Path) -> BinaryIO:
    """Open a file of the log. Its bytes only: never a link, nor what a read could wait for.

    Raises:
        Special: something else than a plain file is there.
        FileNotFoundError: nothing is; retention may have removed it.
        AuditError: it cannot be opened.
    """
    try:
        return os.fdopen(open_plain(path), "rb")
    except FileNotFoundError:
        raise
    except NotPlain as error:
        raise Special(
            f"{path}: {error.strerror}", "see `fumehood audit verify`; find out who put it there"
        ) from None
    except OSError as error:
        raise AuditError(f"{path} cannot be read: {error.strerror}", "see its mode") from error


def read_lines(path: Path, offset: int = 0) -> Iterator[bytes]:
    """Lines with their newline, from an offset on. A last line without one is torn, or too long to
    be a record.

    Raises as `reading` does."""
    with reading(path) as file:
        file.seek(offset)
        while line := file.readline(MAX_LINE):
            yield line


def last_line(path: Path) -> bytes:
    """The last line of a segment, empty when it has none. Raises as `reading` does."""
    with reading(path) as file:
        return last_line_of(file)


def last_line_of(file: BinaryIO) -> bytes:
    """`last_line` of a file that is open."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_LINE))
    end = file.read(MAX_LINE)
    return end[end.rfind(b"\n", 0, -1) + 1 :]
