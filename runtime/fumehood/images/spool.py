"""Contents of files on their way into a tree: written once under a number, never under a name
that an archive chose, then moved into place.

Works below one descriptor of a directory that belongs to us alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds

FILE_MODE, EXECUTABLE_MODE, DIRECTORY_MODE = 0o444, 0o555, 0o555
"""What is in an image is no secret, and no bit beyond these survives: no setuid, no writing."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Spool:
    """Files `0`, `1`, … in a directory. Together at most `bounds.bytes` and `bounds.room_bytes`."""

    def __init__(self, directory: int, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._count = 0
        self._bytes = 0

    def add(self, pieces: Iterable[bytes], *, executable: bool, mtime: int) -> int:
        """Write one file with its final mode and time; returns its number."""
        number = self._count
        self._count += 1
        with disk_errors():
            fd = os.open(str(number), _NEW, 0o600, dir_fd=self._directory)
            try:
                for piece in pieces:
                    self._count_bytes(len(piece))
                    rest = memoryview(piece)
                    while rest:
                        rest = rest[os.write(fd, rest) :]
                os.fchmod(fd, EXECUTABLE_MODE if executable else FILE_MODE)
                os.utime(fd, (mtime, mtime))
            finally:
                os.close(fd)
        return number

    def adopt(self, name: bytes, directory: int, size: int) -> int:
        """Take a file of a finished tree as it is, by a hard link: both are read-only for ever."""
        number = self._count
        self._count += 1
        self._count_bytes(size)
        with disk_errors():
            os.link(
                name,
                str(number).encode(),
                src_dir_fd=directory,
                dst_dir_fd=self._directory,
                follow_symlinks=False,
            )
        return number

    def open(self, number: int) -> BinaryIO:
        """The file for reading, wherever `place` has left it: ask before placing."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(str(number), flags, dir_fd=self._directory), "rb")

    def place(self, number: int, name: bytes, directory: int) -> None:
        """Give the file its name in a new tree; a second name becomes a hard link."""
        os.link(
            str(number).encode(),
            name,
            src_dir_fd=self._directory,
            dst_dir_fd=directory,
            follow_symlinks=False,
        )

    def _count_bytes(self, size: int) -> None:
        self._bytes += size
        self._bounds.require_bytes(self._bytes)


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk, a quota and a read-only store, as ImageError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ImageError(
                "the disk with the image store is full; nothing of the image was kept",
                "free space, or remove images with `fumehood image remove`",
                detail=str(error),
            ) from None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise ImageError(
                f"the image store cannot be written: {error.strerror}",
                "run as root, or as the owner of the state directory",
                detail=str(error),
            ) from None
        if error.errno == errno.EMLINK:
            raise ImageError("a file of the image has too many hard links") from None
        raise
