"""An unpacked tree as the one tar archive it stands for, and so as one digest.

The digest of that archive is the image's: it covers every name, kind, permission, time, link
target and content, and Docker computes the same. The archive is never stored: a tree can always
be written as it again, and `verify` does so.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, Protocol

from fumehood.errors import ImageError
from fumehood.images.bounds import DEFAULT, Bounds, exceeded
from fumehood.images.spool import DIRECTORY_MODE, EXECUTABLE_MODE, FILE_MODE
from fumehood.images.streams import CHUNK
from fumehood.images.tar import BLOCK

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a tree. target: of a symlink, or the first name of a hard link.

    mode: as stored; only the execute bit of files means anything. owner: UID.
    """

    path: str
    kind: Literal["file", "directory", "symlink", "hardlink", "other"]
    mode: int
    owner: int
    size: int
    mtime: int
    target: str = ""


class Sink(Protocol):
    """Where an archive goes."""

    def write(self, data: bytes, /) -> object: ...


Opener = Callable[[], int]


def walk(
    directory: int, bounds: Bounds = DEFAULT, skip: frozenset[str] = frozenset()
) -> Iterator[tuple[Entry, Opener]]:
    """Everything below, parents first, names in byte order; the opener gives a file's descriptor.

    skip: names at the top that are not looked at.

    Follows no link and stays on one file system. Raises ImageError for a foreign mount, for too
    much, and for a name that is not UTF-8.
    """
    device = os.fstat(directory).st_dev
    yield from _Walk(device, bounds, skip).below(directory, "")


@dataclass(slots=True)
class _Walk:
    device: int
    bounds: Bounds
    skip: frozenset[str]
    count: int = 0
    seen: dict[int, str] = field(default_factory=dict)
    """First path of each inode that has several."""

    def below(self, fd: int, prefix: str) -> Iterator[tuple[Entry, Opener]]:
        if prefix.count("/") > self.bounds.depth:
            raise exceeded("directories deeper", self.bounds.depth, "levels", entry=prefix)
        for name in sorted(os.fsencode(item) for item in os.listdir(fd)):
            path = prefix + _decoded(name, prefix)
            if path in self.skip:
                continue
            self.count += 1
            if self.count > self.bounds.entries:
                raise exceeded("more", self.bounds.entries, "files", entry=path)
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if info.st_dev != self.device:
                raise ImageError(f"{path!r} is a mounted file system", "unmount it", entry=path)
            entry = _entry(path, name, fd, info, self.seen)
            yield entry, partial(os.open, name, _FILE, dir_fd=fd)
            if entry.kind == "directory":
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    yield from self.below(inner, path + "/")
                finally:
                    os.close(inner)


def _entry(path: str, name: bytes, fd: int, info: os.stat_result, seen: dict[int, str]) -> Entry:
    mode, owner, mtime = stat.S_IMODE(info.st_mode), info.st_uid, max(0, int(info.st_mtime))
    if stat.S_ISDIR(info.st_mode):
        return Entry(path, "directory", mode, owner, 0, mtime)
    if stat.S_ISLNK(info.st_mode):
        target = _decoded(os.readlink(name, dir_fd=fd), path)
        return Entry(path, "symlink", mode, owner, 0, mtime, target)
    if not stat.S_ISREG(info.st_mode):
        return Entry(path, "other", mode, owner, 0, mtime)
    if info.st_nlink > 1:  # names outside this tree count too and have no first name in it
        first = seen.setdefault(info.st_ino, path)
        if first != path:
            return Entry(path, "hardlink", mode, owner, 0, mtime, first)
    return Entry(path, "file", mode, owner, info.st_size, mtime)


def _decoded(name: bytes, where: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ImageError(f"a name in {where or '/'!r} is not UTF-8: {name[:64]!r}") from None


@dataclass(frozen=True, slots=True)
class Layer:
    """The archive that a tree stands for."""

    digest: str
    size: int


def write_layer(
    directory: int,
    sink: Sink | None = None,
    record: Callable[[Entry, str], None] | None = None,
    bounds: Bounds = DEFAULT,
) -> Layer:
    """Write the tree's archive, if there is a sink, and tell its digest and size in bytes.

    record: gets every entry with its one line of the listing (see `listed`).
    """
    total = hashlib.sha256()
    size = 0

    def emit(data: bytes) -> None:
        nonlocal size
        total.update(data)
        size += len(data)
        if sink is not None:
            sink.write(data)

    for entry, opener in walk(directory, bounds):
        content = hashlib.sha256()
        for data in _archived(entry):
            emit(data)
        if entry.kind == "file":
            _copy(entry, opener(), emit, content.update)
        if record is not None:
            record(entry, listed(entry, content.hexdigest()))
    emit(bytes(2 * BLOCK))
    return Layer("sha256:" + total.hexdigest(), size)


def _archived(entry: Entry) -> Iterator[bytes]:
    if entry.kind == "other":
        raise ImageError(f"{entry.path!r} is neither file, directory nor link", entry=entry.path)
    name = entry.path + ("/" if entry.kind == "directory" else "")
    target = entry.target if entry.kind in ("symlink", "hardlink") else ""
    kind = {"file": b"0", "hardlink": b"1", "symlink": b"2", "directory": b"5"}[entry.kind]
    records = b""
    if len(name.encode()) > 100:
        records += _record("path", name)
    if len(target.encode()) > 100:
        records += _record("linkpath", target)
    if records:
        yield header("PaxHeader", b"x", len(records), 0, 0, "")
        yield records + bytes(-len(records) % BLOCK)
    yield header(name, kind, entry.size, shown_mode(entry), entry.mtime, target)


def shown_mode(entry: Entry) -> int:
    """The permissions that an entry has in every image: nothing but the execute bit is kept."""
    if entry.kind == "symlink":
        return 0o777
    if entry.kind == "directory":
        return DIRECTORY_MODE
    return EXECUTABLE_MODE if entry.mode & 0o111 else FILE_MODE


def header(name: str, kind: bytes, size: int, mode: int, mtime: int, target: str) -> bytes:
    """POSIX.1-1988 ustar; owner 0:0 without a name."""
    fields = (
        name.encode()[:100].ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"%07o\0" % 0,
        b"%07o\0" % 0,
        b"%011o\0" % size,
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        target.encode()[:100].ljust(100, b"\0"),
        b"ustar\x0000",
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _copy(
    entry: Entry, fd: int, emit: Callable[[bytes], None], also: Callable[[bytes], None]
) -> None:
    left = entry.size
    try:
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                raise ImageError(f"{entry.path!r} shrank while it was read", entry=entry.path)
            emit(data)
            also(data)
            left -= len(data)
    finally:
        os.close(fd)
    emit(bytes(-entry.size % BLOCK))


def listed(entry: Entry, digest: str) -> str:
    """One line of an image's listing: kind, mode, time, then size and SHA-256, or the target."""
    what = entry.target if entry.kind in ("symlink", "hardlink") else ""
    if entry.kind == "file":
        what = f"{entry.size} {digest}"
    mode = shown_mode(entry)
    return "\t".join((entry.path, entry.kind, f"{mode:04o}", str(entry.mtime), what))
