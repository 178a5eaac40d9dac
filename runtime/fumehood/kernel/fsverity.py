"""fs-verity: the kernel keeps a file read-only for ever and checks each page that is read of it.

Standard library only. ext4 and btrfs have it where the file system was made for it; most do not.
Source of numbers and layouts: linux/fsverity.h, Documentation/filesystems/fsverity.rst.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable
from typing import Final

from fumehood.errors import EngineError

FS_IOC_ENABLE_VERITY: Final = 0x40806685
"""_IOW('f', 133, struct fsverity_enable_arg)"""
FS_IOC_MEASURE_VERITY: Final = 0xC0046686
"""_IOWR('f', 134, struct fsverity_digest)"""
SHA256: Final = 1
BLOCK: Final = 4096
_ENABLE: Final = struct.Struct("<IIIIQIIQ88x")
_DIGEST: Final = struct.Struct("<HH64s")
_DESCRIPTOR: Final = struct.Struct("<BBBBIQ64s32s144s")
_LACKING: Final = frozenset(
    # No ioctl of that name; not on this file system; not compiled in, or not made for it.
    {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOPKG}
)


def enable(fd: int, content: Iterable[bytes]) -> bool:
    """Freeze a file that nobody has open for writing, and read back that the kernel holds what was
    written. False: this file system has no fs-verity.

    Args:
        fd: of the file, open for reading.
        content: the file's bytes, as they were meant.

    Raises:
        EngineError: the kernel holds something else.
        OSError
    """
    argument = _ENABLE.pack(1, SHA256, BLOCK, 0, 0, 0, 0, 0)
    try:
        fcntl.ioctl(fd, FS_IOC_ENABLE_VERITY, argument)
    except OSError as error:
        if error.errno in _LACKING:
            return False
        raise
    if measured(fd) != digest(content):
        raise EngineError(
            "the file system holds other content than was written",
            "check the disk",
            control="fs-verity",
        )
    return True


def measured(fd: int) -> bytes | None:
    """The digest of a file's Merkle tree as the kernel enforces it; None for a file that is not
    under fs-verity. Raises OSError."""
    buffer = bytearray(_DIGEST.pack(0, 64, b""))
    try:
        fcntl.ioctl(fd, FS_IOC_MEASURE_VERITY, buffer)
    except OSError as error:
        if error.errno in {*_LACKING, errno.ENODATA}:
            return None
        raise
    _, size, value = _DIGEST.unpack(buffer)
    return bytes(value[:size])


def digest(content: Iterable[bytes]) -> bytes:
    """What `measured` answers for a file with these bytes, with SHA-256, blocks of 4,096 bytes and
    no salt: the hash of a descriptor that holds size and root of the Merkle tree."""
    size, level = 0, b""
    rest = b""
    for piece in content:
        rest += piece
        size += len(piece)
        whole = len(rest) - len(rest) % BLOCK
        level += _hashes(rest[:whole])
        rest = rest[whole:]
    level += _hashes(rest)
    while len(level) > hashlib.sha256().digest_size:
        level = _hashes(level)
    log_block = BLOCK.bit_length() - 1
    root = level.ljust(64, b"\0")
    packed = _DESCRIPTOR.pack(1, SHA256, log_block, 0, 0, size, root, b"", b"")
    return hashlib.sha256(packed).digest()


def _hashes(data: bytes) -> bytes:
    """The hash of each block, the last one filled with zeros."""
    return b"".join(
        hashlib.sha256(data[at : at + BLOCK].ljust(BLOCK, b"\0")).digest()
        for at in range(0, len(data), BLOCK)
    )


def available(directory: str) -> bool:
    """Whether files of a directory's file system can be frozen so, found by trying it on one that
    is never given a name. Raises OSError."""
    with open(os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(b"fumehood")
        file.flush()
        fd = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return enable(fd, [b"fumehood"])
    finally:
        os.close(fd)
