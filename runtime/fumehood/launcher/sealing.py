"""The words between supervisor and sealer, and how the files of a tool go from one to the other.

Standard library only. One message is one packet of JSON on a seqpacket socket, decoded strictly.
The files are beside it in a memfd that nobody can change any more; the sealer believes nothing
that is in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fumehood.errors import CatalogError
from fumehood.model.codec import encode
from fumehood.model.tree import MAX_FILES, MAX_PATH_BYTES, MAX_TREE_BYTES, ToolFile

_HEAD: Final = struct.Struct("<HBQ")
"""Of each file: bytes of its path, whether it is executable, bytes of its content. Path and
content follow."""
MAX_PACKED: Final = MAX_TREE_BYTES + MAX_FILES * (_HEAD.size + MAX_PATH_BYTES)
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """What a sealer is started with. store: the directory of all trees. device, inode: which one
    that is; whoever owns the folder it stands in can put another in its place. most_bytes: what
    they may take on disk together. private: whether it shuts itself in, as only root can."""

    store: str
    device: int
    inode: int
    most_bytes: int
    private: bool


@dataclass(frozen=True, slots=True)
class Seal:
    """Supervisor: store the files that are in the memfd beside this. replace: see `Vault.keep`."""

    replace: bool


@dataclass(frozen=True, slots=True)
class Discard:
    """Supervisor: delete one entry of the store."""

    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """Sealer: it is on disk, under the digest of what was written; empty for `Discard`."""

    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Sealer: nothing of it was kept."""

    cause: str
    remedy: str
    detail: str


TO_SEALER: Final[Mapping[str, type[Seal | Discard]]] = {"Seal": Seal, "Discard": Discard}
FROM_SEALER: Final[Mapping[str, type[Done | Refused]]] = {"Done": Done, "Refused": Refused}
"""What `messages.unpack` takes on either side."""


def send(channel: socket.socket, word: Seal | Discard | Done | Refused, *fds: int) -> None:
    body = {"type": type(word).__name__, **encode(word)}
    socket.send_fds(channel, [json.dumps(body).encode()], fds)


# --- the files on their way


def packed(files: Mapping[str, ToolFile]) -> int:
    """A memfd with the files in it, sealed by the kernel (memfd_create(2)); whoever takes it
    closes it. Raises OSError."""
    fd = os.memfd_create("fumehood-files", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as out:
            for path, file in files.items():
                name = path.encode()
                out.write(_HEAD.pack(len(name), file.executable, len(file.data)))
                out.write(name)
                out.write(file.data)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


@dataclass(frozen=True, slots=True)
class Packed:
    """A file in the memfd: where its content begins, and how many bytes it has."""

    start: int
    size: int
    executable: bool


def index(fd: int) -> dict[str, Packed]:
    """What is in a memfd, which cannot change any more. Paths are not judged here.

    Raises:
        CatalogError: it is no sealed memfd, too large, or not packed as `packed` does.
    """
    try:
        sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:  # a file, a pipe, a device
        sealed = False
    if not sealed:
        raise CatalogError("the files did not come in a sealed memory file")
    end = os.fstat(fd).st_size
    if end > MAX_PACKED:
        raise CatalogError(f"the files have {end} bytes; at most {MAX_PACKED} are read")
    found: dict[str, Packed] = {}
    at = 0
    while at < end:
        head = os.pread(fd, _HEAD.size, at)
        if len(head) < _HEAD.size or len(found) == MAX_FILES:
            raise CatalogError("the files are cut short, or too many")
        length, executable, size = _HEAD.unpack(head)
        start = at + _HEAD.size + length
        if not 0 < length <= MAX_PATH_BYTES or executable > 1 or start + size > end:
            raise CatalogError("the files are not packed as they should be")
        try:
            path = os.pread(fd, length, at + _HEAD.size).decode()
        except UnicodeDecodeError:
            raise CatalogError("the name of a file is no UTF-8", "rename it") from None
        if path in found:
            raise CatalogError(f"the file {path[:80]!r} comes twice")
        found[path] = Packed(start, size, bool(executable))
        at = start + size
    return found


def content(fd: int, file: Packed) -> Iterator[bytes]:
    """The bytes of one file, in pieces."""
    at, end = file.start, file.start + file.size
    while at < end:
        piece = os.pread(fd, min(_CHUNK, end - at), at)
        if not piece:
            raise CatalogError("the files are cut short")
        yield piece
        at += len(piece)
