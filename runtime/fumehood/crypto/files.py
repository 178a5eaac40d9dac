"""Private files: read only when nobody else can reach them, replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from fumehood.errors import KeyringError


class NotPlain(OSError):
    """Something else than a plain file stands at a path: a link, pipe, socket, device, folder."""


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a plain file that is reached through no link; mode 0600 when made.

    Raises:
        NotPlain: something else is there. It is not opened: opening may wait (a FIFO, open(2)), or
            be an act of its own (a device).
        OSError: it cannot be opened.
    """
    try:
        _must_be_plain(path, os.lstat(path))
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    # Exchanged meanwhile: O_NONBLOCK waits for nobody, and what was opened is looked at.
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        _must_be_plain(path, os.fstat(fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def _must_be_plain(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotPlain(errno.EINVAL, "this is not a plain file", str(path))


def read_private(path: Path, most: int, what: str = "key file") -> bytes | None:
    """The bytes of a file of mode 0600 or less; None when there is none.

    Raises:
        KeyringError: others can reach or exchange it, it is somebody else's, or too large.
        OSError: it cannot be read.
    """
    try:
        # O_NONBLOCK: a FIFO in its place must not hang the start.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyringError(
                f"the {what} is a symbolic link", f"put a plain file at {path}"
            ) from None
        raise
    try:
        _check_access(path, os.fstat(fd), what)
        with open(fd, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise KeyringError(f"the {what} has more than {most} bytes", f"see {path}")
    return data


def _check_access(path: Path, found: os.stat_result, what: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyringError(f"the {what} is not a regular file", f"see {path}")
    own = os.geteuid()
    if found.st_uid != own and own != 0:
        raise KeyringError(
            f"the {what} belongs to UID {found.st_uid}, not to UID {own}", f"chown {own} {path}"
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise KeyringError(
            f"the {what} has mode {mode:04o}: others can reach it",
            f"chmod 600 {path}; if someone may have read it, rotate the keys",
        )
    if path.parent.stat().st_mode & 0o022:
        raise KeyringError(
            f"the folder of the {what} can be written by others", f"chmod 700 {path.parent}"
        )


def write_private(path: Path, data: bytes, *, replace: bool) -> bool:
    """Write a file of mode 0600 and have it on disk: whole, or not at all.

    Returns:
        Whether it was written; False only when not `replace` and there was one.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    left: Path | None = aside
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(aside, path)
            left = None
        else:
            # Linked: a second creator loses to EEXIST and reads the first one's file.
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
        sync_directory(path.parent)
    finally:
        if left is not None:
            left.unlink()
    return True


def sync_directory(path: Path) -> None:
    """Make names in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
