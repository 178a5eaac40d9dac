"""Opens files below a directory one name at a time, following no link on the way.

A tree holds what a stranger packed: a link in it must never lead us, who may be root, to a file
of the host.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_directory(directory: int, path: str) -> int:
    """A descriptor of the directory at a relative path; OSError when a step is no directory."""
    current = os.dup(directory)
    for name in path.split("/"):
        try:
            inner = os.open(_plain(name), _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


def _plain(name: str) -> str:
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not a plain path", name)
    return name


def open_beneath(directory: int, path: str) -> int:
    """A descriptor of the regular file at a relative path; OSError when it is none."""
    parent, _, name = path.rpartition("/")
    above = open_directory(directory, parent) if parent else os.dup(directory)
    try:
        fd = os.open(_plain(name), _FILE, dir_fd=above)
    finally:
        os.close(above)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def read_beneath(directory: int, path: str, most: int) -> bytes | None:
    """At most `most` bytes of a file; None when there is no such file, or it is longer."""
    try:
        fd = open_beneath(directory, path)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = file.read(most + 1)
    return data if len(data) <= most else None
