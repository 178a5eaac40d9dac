"""Whether somebody holds a directory: a launcher locks its own for as long as it lives.

Standard library only. The kernel gives the lock back when its holder dies, however that happens.
"""

from __future__ import annotations

import fcntl
import os


def is_held(directory: str | os.PathLike[str]) -> bool:
    """Whether a process has locked it (flock(2)); not, where there is no such directory."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
