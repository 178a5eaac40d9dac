"""Files out of a tree that a hostile program wrote: bounded, following no link.

Standard library only. Contents are never read here; callers get descriptors.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from fumehood.kernel import libc

_RESOLVE = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_XDEV
MAX_DEPTH = 8
MAX_ENTRIES = 4096
MAX_NAME_BYTES = 255
SHOWN_NAME_BYTES = 64
"""Of a name that is refused: it is a hostile program's text, and the report of 64 such names must
stay one bounded message."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file below the directory. fd: open for reading, or -1 when `refused` says why not.

    size: bytes; 0 of what was refused for another reason than its size.
    """

    name: str
    fd: int
    size: int
    refused: str = ""


def collect(directory: int, *, max_files: int, max_bytes: int) -> list[Found]:
    """Open the regular files below `directory`, in name order.

    At most `max_files` files and `max_bytes` together; MAX_ENTRIES names are looked at, MAX_DEPTH
    directories deep. Whatever is not collected is returned with a reason: symlink, not_regular,
    hard_link, name, too_large, too_many, too_deep. Reasons are bounded by `max_files` too; one
    `too_many` stands for all the rest.
    """
    found: list[Found] = []
    seen = total = 0
    pending = [b""]
    while pending:
        prefix = pending.pop()
        names = _listing(directory, prefix, MAX_ENTRIES - seen)
        seen += len(names)
        for name in names:
            path = prefix + name
            if len(found) >= max_files or seen >= MAX_ENTRIES:
                found.append(Found("…", -1, 0, "too_many"))
                return found
            item = _open(directory, path, max_bytes - total)
            if item is None:
                if path.count(b"/") + 1 >= MAX_DEPTH:
                    found.append(Found(_printable(path), -1, 0, "too_deep"))
                else:
                    pending.append(path + b"/")
            else:
                total += item.size if item.fd >= 0 else 0
                found.append(item)
    return found


def _listing(directory: int, prefix: bytes, limit: int) -> list[bytes]:
    """At most `limit` names of one directory, sorted; the kernel is asked no further."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    fd = libc.openat2(directory, prefix or b".", flags, _RESOLVE)
    names: list[bytes] = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                if len(names) >= limit:
                    break
                names.append(os.fsencode(entry.name))
    finally:
        os.close(fd)
    return sorted(names)


def _open(directory: int, path: bytes, budget: int) -> Found | None:
    """One entry; None for a directory. O_PATH first: opening a FIFO or device would act on it."""
    try:
        probe = libc.openat2(directory, path, os.O_PATH | os.O_NOFOLLOW, _RESOLVE)
    except OSError:
        return Found(_printable(path), -1, 0, "symlink")
    try:
        info = os.fstat(probe)
        if stat.S_ISDIR(info.st_mode):
            return None
        if reason := _refusal(path, info, budget):
            size = info.st_size if reason == "too_large" else 0
            return Found(_printable(path), -1, size, reason)
    finally:
        os.close(probe)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    fd = libc.openat2(directory, path, flags, _RESOLVE)
    return Found(path.decode(), fd, info.st_size)


def _refusal(path: bytes, info: os.stat_result, budget: int) -> str:
    if stat.S_ISLNK(info.st_mode):
        return "symlink"
    if not stat.S_ISREG(info.st_mode):
        return "not_regular"
    if info.st_nlink != 1:
        return "hard_link"
    if len(path) > MAX_NAME_BYTES or not _is_text(path):
        return "name"
    if info.st_size > budget:
        return "too_large"
    return ""


def _is_text(path: bytes) -> bool:
    try:
        return path.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _printable(path: bytes) -> str:
    text = path[:SHOWN_NAME_BYTES].decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
