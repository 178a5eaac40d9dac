"""Reads a file that only root, and one account that is believed, can have written.

Standard library only: the keeper reads the operator's configuration again with this.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from fumehood.errors import ConfigError


def read_trusted(path: Path, trusted_uid: int, *, most_bytes: int) -> bytes | None:
    """The bytes of the file, cut after `most_bytes` + 1; None if it is missing.

    Raises:
        ConfigError: it is a link or no plain file, somebody else's, or others can write it or
            replace it.
    """
    try:
        # O_NONBLOCK: a FIFO in its place must not stop the start.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"{path}: {reason}", "put a plain, readable file there") from None
    try:
        _check(path, os.fstat(fd), trusted_uid, directory=False)
        _check(path.parent, path.parent.stat(), trusted_uid, directory=True)
        with open(fd, "rb", closefd=False) as file:
            return file.read(most_bytes + 1)
    finally:
        os.close(fd)


def _check(path: Path, found: os.stat_result, trusted_uid: int, *, directory: bool) -> None:
    if not (stat.S_ISDIR if directory else stat.S_ISREG)(found.st_mode):
        raise ConfigError(f"{path} is no regular file", "put a plain file there")
    if found.st_uid not in (0, trusted_uid):
        raise ConfigError(
            f"{path} belongs to UID {found.st_uid}", f"chown it to root or UID {trusted_uid}"
        )
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In a sticky folder others cannot replace a file that is not theirs (inode(7)).
    if others and not (directory and found.st_mode & stat.S_ISVTX):
        raise ConfigError(f"{path} can be written by others", f"chmod go-w {path}")
