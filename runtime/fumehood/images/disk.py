"""Directories and files of the store, below its one descriptor: made, swapped, deleted, synced.

Names here are our own; nothing of an archive reaches this module.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WORK, _OLD = "new-", "old-"


def create(path: Path, inner: Sequence[str]) -> None:
    """The store and the directories in it, all 0755, whatever the umask."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = False
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        made = True
    fd = os.open(path, DIRECTORY)  # never through a link: the state around it is the supervisor's
    try:
        if made and os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o755)
        for name in inner:
            with suppress(FileExistsError):
                os.close(_make(fd, name))
    finally:
        os.close(fd)


def _make(directory: int, name: str) -> int:
    os.mkdir(name, dir_fd=directory)
    fd = os.open(name, DIRECTORY, dir_fd=directory)
    os.fchmod(fd, 0o755)
    return fd


class Staging:
    """Work in progress: directories by descriptor, all closed at the end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._made: list[int] = []

    def make(self, name: str) -> int:
        """A new directory, 0755."""
        fd = _make(self.fd, name)
        self._made.append(fd)
        return fd

    def path(self, name: str) -> Path:
        """A new directory, for other programs of the same user."""
        os.mkdir(name, 0o700, dir_fd=self.fd)
        return Path(f"/proc/{os.getpid()}/fd/{self.fd}/{name}")

    def close(self) -> None:
        for fd in self._made:
            os.close(fd)
        os.close(self.fd)


_DEPTH: Final = 64
"""Of what is deleted where it stands: an image has no more folders within each other."""


@contextmanager
def staging(root: int) -> Iterator[Staging]:
    """A place for work in progress, deleted at the end. It is locked meanwhile, so that a sweep
    takes only what a crash left."""
    name = _WORK + secrets.token_hex(8)
    with locked(root):
        sweep(root)
        os.mkdir(name, 0o700, dir_fd=root)
        work = Staging(os.open(name, DIRECTORY, dir_fd=root))
        fcntl.flock(work.fd, fcntl.LOCK_EX)
    try:
        yield work
    finally:
        delete(root, name)
        work.close()


@contextmanager
def locked(root: int) -> Iterator[None]:
    """One change at a time; reading needs no lock, since every change is one rename."""
    fd = os.open(".", DIRECTORY, dir_fd=root)  # a lock belongs to an open file, not to root's
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def sweep(root: int) -> None:
    """Delete what earlier processes left; work in progress holds a lock and stays. Only while
    the store is locked."""
    for name in os.listdir(root):
        if name.startswith(_OLD):
            delete(root, name)
        elif name.startswith(_WORK):
            with suppress(OSError):
                fd = os.open(name, DIRECTORY, dir_fd=root)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    delete(root, name)
                finally:
                    os.close(fd)


def set_aside(directory: int, name: str, root: int) -> None:
    """Take something away from its name; the next sweep deletes it. Missing is fine."""
    with suppress(FileNotFoundError):
        os.rename(name, _OLD + secrets.token_hex(8), src_dir_fd=directory, dst_dir_fd=root)


def write(root: int, path: str, data: bytes) -> None:
    """Write a whole file, 0644, and only then give it its name. Only while the store is locked."""
    new = f"{_OLD}{secrets.token_hex(8)}"
    fd = os.open(new, _NEW, 0o600, dir_fd=root)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fchmod(fd, 0o644)
        os.fsync(fd)
    except OSError:
        os.unlink(new, dir_fd=root)
        raise
    finally:
        os.close(fd)
    os.rename(new, path, src_dir_fd=root, dst_dir_fd=root)
    os.fsync(root)


def delete(directory: int, name: str) -> None:
    """Delete a file or a whole tree of ours, read-only directories included, however deep: what
    lies deeper than an image can is moved up first, so that neither descriptors nor frames grow
    with it."""
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=directory)
        return
    top = os.open(name, DIRECTORY, dir_fd=directory)
    try:
        os.fchmod(top, 0o700)
        while os.listdir(top):
            _empty(top, top, 0)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=directory)


def _empty(fd: int, top: int, depth: int) -> None:
    for name in os.listdir(fd):
        if not _is_directory(name, fd):
            os.unlink(name, dir_fd=fd)
            continue
        os.chmod(name, 0o700, dir_fd=fd)
        if depth >= _DEPTH:
            os.rename(name, secrets.token_hex(8), src_dir_fd=fd, dst_dir_fd=top)
            continue
        inner = os.open(name, DIRECTORY, dir_fd=fd)
        try:
            _empty(inner, top, depth + 1)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=fd)


def _is_directory(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def sync(fd: int) -> None:
    """syncfs(2): one call instead of an fsync for each of ten thousand files."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
