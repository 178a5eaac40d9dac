"""The directories of archives and what their members hold, in bounded memory and time.

Nothing is written anywhere; what an archive says of itself is believed only within bounds.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_ENTRIES: Final = 10_000
"""Entries of an archive; more of them are a bomb of inodes."""

_BLOCK: Final = 512
_MAX_HEADER: Final = 64 * 1024
"""Bytes of a name or an extended header of tar that are read."""
_LOCAL: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of a tar archive: its content is `start:end` of the archive.

    kind: POSIX's typeflag, `0` for a file. size: as the header claims it.
    """

    name: str
    kind: str
    link: str
    mode: int
    start: int
    end: int
    size: int


def tar_entries(data: bytes) -> Iterator[Entry]:
    """Of a tar archive (POSIX ustar and pax, GNU, V7); ends where nothing is a header any more."""
    at = count = 0
    said: dict[str, str] = {}
    while at + _BLOCK <= len(data) and count < MAX_ENTRIES:
        header = data[at : at + _BLOCK]
        size = _number(header[124:136])
        if header[0] == 0 or size is None or not _fits(header):
            if header.strip(b"\0"):
                return
            at += _BLOCK
            continue
        kind = header[156:157].decode("latin-1").replace("\0", "0")
        at += _BLOCK
        size = int(said.get("size", size)) if said.get("size", "0").isdigit() else size
        holds = 0 if kind in "123456" else size
        content = data[at : min(at + holds, at + _MAX_HEADER)]
        start, at = at, at + -(-holds // _BLOCK) * _BLOCK
        if kind in "LK":
            said["path" if kind == "L" else "linkpath"] = _text(content)
        elif kind == "x":
            said |= _pax(content)
        elif kind != "g":
            count += 1
            prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
            name = said.get("path") or "/".join(filter(None, (prefix, _text(header[:100]))))
            link = said.get("linkpath") or _text(header[157:257])
            mode, end = _number(header[100:108]) or 0, min(start + holds, len(data))
            yield Entry(name, kind, link, mode, min(start, end), end, size)
            said = {}


def _fits(header: bytes) -> bool:
    """Whether its sum is the one it says, as bytes or, in old ones, as signed characters."""
    said = _number(header[148:156])
    plain = sum(header) - sum(header[148:156]) + 8 * 32
    return said is not None and said in (plain, plain - 256 * sum(b > 127 for b in header))


def _number(field: bytes) -> int | None:
    """Octal digits, or, with the first bit set, a number of many bytes (GNU)."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _pax(content: bytes) -> dict[str, str]:
    """`LENGTH KEY=VALUE\\n` over and over (POSIX.1-2001)."""
    found: dict[str, str] = {}
    at = 0
    while at < len(content):
        length, _, _ = content[at : at + 12].partition(b" ")
        if not length.isdigit() or int(length) <= len(length) + 1:
            break
        record = content[at + len(length) + 1 : at + int(length)]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            found[key.decode()] = _text(value)
        at += int(length)
    return found


def zip_members(data: bytes) -> list[zipfile.ZipInfo]:
    """Raises one of `BROKEN` when its directory cannot be read."""
    return zipfile.ZipFile(io.BytesIO(data)).infolist()


BROKEN: Final = (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError)


def remains(data: bytes, most: int) -> Iterator[bytes]:
    """What the members of a zip archive hold whose directory is gone, by their own headers; of
    each up to `most` bytes."""
    at = count = 0
    while (at := data.find(_LOCAL, at)) >= 0 and count < MAX_ENTRIES:
        count += 1
        flags, method = data[at + 6 : at + 7], data[at + 8 : at + 10]
        packed = int.from_bytes(data[at + 18 : at + 22], "little")
        begin = at + 30 + sum(int.from_bytes(data[at + n : at + n + 2], "little") for n in (26, 28))
        at += 4
        if flags and flags[0] & 1:
            continue
        if method == b"\0\0":
            end = begin + packed if packed else data.find(b"PK", begin)
            yield data[begin : min(end if end >= 0 else len(data), begin + most)]
        elif method == b"\x08\0":
            try:
                yield zlib.decompressobj(-15).decompress(data[begin:], most)
            except zlib.error:
                continue
