"""Whether a program needs nothing but the kernel (elf(5)). Standard library only; reads headers."""

from __future__ import annotations

import struct
from typing import Final

_PT_INTERP: Final = 3


def is_static(path: str) -> bool:
    """True for an ELF program without an interpreter; False for anything else, unreadable too."""
    try:
        with open(path, "rb") as file:
            head = file.read(64)
            if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2 or head[5] != 1:
                return False  # not 64 bits, or not little endian: none of our architectures
            offset, size, count = (
                struct.unpack_from("<Q", head, 32)[0],
                *struct.unpack_from("<HH", head, 54),
            )
            file.seek(offset)
            table = file.read(size * count)
    except OSError:
        return False
    kinds = [struct.unpack_from("<I", table, size * i)[0] for i in range(len(table) // size)]
    return bool(kinds) and _PT_INTERP not in kinds
