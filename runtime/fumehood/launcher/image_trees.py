"""The launcher's view of the image store: the only trees that a sandbox may have as its root.

Standard library only. It reads no content of an image; that the trees are what their digests
promise is checked by whoever starts the daemon (`images.store`).
"""

from __future__ import annotations

import os
import stat

from fumehood.errors import EngineError

PLACE = "/fumehood/images"
"""In the launcher's own mount namespace, read-only."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_trees(store: str) -> int:
    """A descriptor of the store's trees, -1 when there is no store.

    The store stands in a directory of the supervisor's, who could exchange it at any time: it is
    opened once, following no link, and used only if nobody but us can have written in it.

    Raises:
        EngineError: somebody else can write in it.
    """
    if not store:
        return -1
    try:
        directory = os.open(store, _DIRECTORY)
    except FileNotFoundError:
        return -1
    try:
        trees = os.open("trees", _DIRECTORY, dir_fd=directory)
        for fd in (directory, trees):
            info = os.fstat(fd)
            if info.st_uid != os.geteuid() or info.st_mode & 0o022:
                os.close(trees)
                raise EngineError(
                    f"the image store {store} can be written by others",
                    "it must belong to root with mode 0755",
                    control="image",
                )
    except FileNotFoundError:
        return -1
    finally:
        os.close(directory)
    return trees


def has(tree: str) -> bool:
    """Whether the store has a tree now: images come and go while the launcher runs."""
    try:
        return stat.S_ISDIR(os.lstat(f"{PLACE}/{tree}").st_mode)
    except OSError:
        return False
