"""Reads a file that was named on the command line: a receipt, keys, a signature; must never wait
for the other end of a FIFO, nor read without an end.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fumehood.cli.present import note
from fumehood.errors import KeyringError, UsageError

if TYPE_CHECKING:
    from fumehood.crypto.signing import PublicKey

MAX_BYTES: Final = 16 * 1024 * 1024
_PASSED: Final = re.compile(r"/dev/stdin|(?:/dev|/proc/self)/fd/[0-9]+")
"""What a shell passes for `-`, `<(…)` and redirections: whoever writes there is its own child."""


def given(path: Path) -> bytes:
    """The bytes of a plain file, or of a pipe that the shell passed. Links are followed: the name
    is the caller's own word.

    Raises:
        UsageError: it is something else, larger than 16 MiB, or cannot be read.
    """
    try:
        data = _passed(path) if _PASSED.fullmatch(str(path)) else _plain(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name another file") from None
    except ValueError:  # a NUL in the name
        raise UsageError("no file has such a name", "name another file") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} has more than {MAX_BYTES} bytes", "name another file")
    return data


def public_keys(path: Path) -> list[PublicKey]:
    """The public keys of a PEM file, without those that it marks as revoked or expired.

    Raises:
        UsageError: it holds none. KeyringError: none that is trusted, or one that is no key.
    """
    from fumehood.crypto.signing import read_public_keys

    keys, marked = read_public_keys(given(path).decode(errors="replace"))
    if keys:
        if marked:
            note("note", f"{marked} keys of {path} are marked revoked or expired: not trusted")
        return keys
    if marked:
        raise KeyringError(
            f"every key of {path} is marked revoked or expired",
            "get the keys of now (`fumehood key export-public`) by a way you trust",
        )
    raise UsageError(f"{path} holds no public key", "see `fumehood key export-public`")


def _passed(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _plain(path: Path) -> bytes:
    _check(path, path.stat())
    # It may be exchanged meanwhile: O_NONBLOCK waits for nobody (open(2), FIFOs).
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        _check(path, os.fstat(file.fileno()))
        return file.read(MAX_BYTES + 1)


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(
            f"{path} is not a plain file", "name one, or pass a pipe with the shell's <(…)"
        )
