"""Scratch spaces of containers: bounded file systems in the host's own mount namespace.

There, because dockerd binds them into containers and files must be collected after a container
is gone. A launcher killed by SIGKILL leaves its mounts behind; a lock on its directory tells the
next one that they are nobody's, and it removes them before it does anything else. Standard
library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from typing import Final

from fumehood.kernel import libc, proc, rootfs
from fumehood.kernel.held import is_held
from fumehood.model.plan import Plan

BASE: Final = "/run/fumehood-docker"
"""One place for all instances on a host, so that each can tell which of the others live."""
TOOL: Final = ".tool"
"""Added to a sandbox's name: where its tool's files are bound."""


class ScratchSpaces:
    """One launcher's directory below BASE, held by a lock for as long as the launcher lives."""

    def __init__(self, instance: str, store: int) -> None:
        """store: a descriptor of the tools' files, one directory for each digest; it is closed
        with this. Raises OSError."""
        self._store = store
        self.directory = f"{BASE}/{instance}"
        with _no_sweep():
            os.mkdir(self.directory, 0o700)
            self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.empty = f"{self.directory}/empty"
        """An empty file, to be bound where Docker would show the host's name servers."""
        os.close(os.open(self.empty, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444))

    def make(self, name: str, plan: Plan) -> str:
        """Mount the scratch space of one sandbox; returns its directory. Raises OSError."""
        path = f"{self.directory}/{name}"
        try:
            os.mkdir(path, 0o711)
            rootfs.scratch(
                path,
                size=plan.limits.scratch_bytes,
                inodes=plan.limits.scratch_inodes,
                uid=plan.uid,
                gid=plan.gid,
            )
            for mount in plan.mounts:
                if mount.kind == "tool":
                    self._show_tool(f"{path}{TOOL}", mount.source.removeprefix("sha384:"))
        except OSError:
            self.remove(name)
            raise
        return path

    def _show_tool(self, path: str, digest: str) -> None:
        """Bind the files at a path of ours. dockerd would follow a link that whoever has taken
        the supervisor over put in the store, and show the sandbox any directory of the host."""
        resolve = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_XDEV
        fd = libc.openat2(self._store, digest.encode(), os.O_PATH | os.O_DIRECTORY, resolve)
        try:
            os.mkdir(path, 0o700)
            libc.mount(f"/proc/self/fd/{fd}", path, "", libc.MS_BIND)
        finally:
            os.close(fd)
        rootfs.remount_read_only(path)

    def remove(self, name: str) -> None:
        """Unmount and remove what `make` made; harmless when there is nothing."""
        for path in (f"{self.directory}/{name}{TOOL}", f"{self.directory}/{name}"):
            with contextlib.suppress(OSError):
                libc.umount2(path, libc.MNT_DETACH)
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def close(self) -> None:
        _remove(self.directory)
        os.close(self._lock)
        os.close(self._store)


def is_alive(instance: str) -> bool:
    """Whether the launcher behind an instance's name still lives."""
    return is_held(f"{BASE}/{instance}")


def sweep() -> int:
    """Remove what dead launchers left; returns how many there were."""
    with _no_sweep():
        dead = [name for name in sorted(os.listdir(BASE)) if not is_alive(name)]
        for name in dead:
            _remove(f"{BASE}/{name}")
    return len(dead)


@contextlib.contextmanager
def _no_sweep() -> Iterator[None]:
    """A directory that is made but not yet locked looks dead to a sweep."""
    os.makedirs(BASE, mode=0o700, exist_ok=True)
    fd = os.open(BASE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    for mount in reversed(proc.mounts("self")):
        if mount.target == path or mount.target.startswith(f"{path}/"):
            with contextlib.suppress(OSError):
                libc.umount2(mount.target, libc.MNT_DETACH)
    # Only our own empty directories and one empty file are left: no tool ever wrote here.
    shutil.rmtree(path, ignore_errors=True)
