"""The store of tools' files, as the privileged processes open it: once, and only if nobody but us
can have written in it.

Standard library only. The store stands in a directory of the supervisor's, who could put anything
in its place at any time.
"""

from __future__ import annotations

import os

from fumehood.errors import EngineError

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_store(path: str) -> int:
    """A descriptor of the store; no link is followed.

    Raises:
        EngineError: it is no such folder, or others can write in it.
    """
    try:
        fd = os.open(path, DIRECTORY)
    except OSError as error:
        raise _unusable(
            f"the store {path} cannot be opened as a folder: {error.strerror}"
        ) from None
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(fd)
        raise _unusable(f"the store {path} can be written by others")
    return fd


def _unusable(cause: str) -> EngineError:
    return EngineError(
        cause,
        "see what is there with `ls -ld`, move it away, and start again",
        control="engine",
    )
