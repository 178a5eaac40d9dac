"""Reads tar archives from strangers: one header at a time, every field checked, all bounded.

ustar, pax and GNU long names. Not Python's tarfile: that reads headers of any size into memory,
follows sizes backwards (CVE-2019-20907, CVE-2025-8194) and takes quadratic time for some pax
headers (CVE-2024-6232), and the Python of the host may be old. What is not understood is
refused. Nothing here touches a file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from fumehood.errors import ImageError
from fumehood.images.bounds import Bounds, exceeded
from fumehood.images.streams import CHUNK, Reader

Kind = Literal["file", "directory", "symlink", "hardlink", "device", "fifo"]

BLOCK: Final = 512
MAX_PADDING: Final = 4 << 20
"""Bytes of zeros behind the end mark; GNU tar's records are 10 KiB, and few use more."""
_KINDS: Final[dict[bytes, Kind]] = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "fifo",
}
_LONG: Final[dict[bytes, bytes]] = {b"L": b"path", b"K": b"linkpath"}
"""GNU's headers for long names, and what pax calls them."""
_EXTENDED: Final = (b"x", b"g", *_LONG)
_USED: Final = (b"path", b"linkpath", b"size", b"mtime")
"""All that is kept of pax headers; a header may name any number of other keys."""
_OCTAL = re.compile(rb"[ \0]*([0-7]{0,20})[ \0]*\Z")
_DECIMAL = re.compile(rb"(-?)([0-9]{1,20})(\.[0-9]{0,40})?\Z")
_LATEST = 2**33 - 1
"""Seconds; later times do not fit into a ustar header."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry as the archive tells it; name and link are not checked yet.

    headers: bytes of the extended headers before it.
    """

    name: str
    kind: Kind
    executable: bool
    size: int
    mtime: int
    link: str
    headers: int = 0


class TarReader:
    """Iterate over the members; `content` gives the bytes of the one that came last."""

    def __init__(self, stream: Reader, bounds: Bounds) -> None:
        self._stream = stream
        self._bounds = bounds
        self._left = 0
        self._padding = 0
        self._pending = b""
        self._members = 0
        self._headers = 0

    def __iter__(self) -> Iterator[Member]:
        while (member := self._next()) is not None:
            yield member

    def content(self) -> Iterator[bytes]:
        """The current member's bytes, in pieces; what is not taken is skipped."""
        while self._left:
            data = self._some(min(self._left, CHUNK))
            self._left -= len(data)
            yield data

    def _next(self) -> Member | None:
        for _ in self.content():
            pass
        self._exactly(self._padding)
        self._padding = 0
        pax: dict[bytes, bytes] = {}
        seen: set[bytes] = set()
        before = self._headers
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind not in _EXTENDED:
                return self._member(header, pax, self._headers - before)
            if kind in seen:
                raise ImageError(
                    f"an entry has two extended headers of the type {kind.decode()!r}",
                    "write the archive again",
                )
            seen.add(kind)
            self._extend(pax, kind, _number(header[124:136], "size"))
        if seen - {b"g"}:
            raise ImageError("the archive ends after an extended header")
        self._nothing_follows()
        return None

    def _extend(self, pax: dict[bytes, bytes], kind: bytes, size: int) -> None:
        """Read one extended header; those for the whole archive say nothing that is used."""
        data = self._extended(size)
        if kind in _LONG:
            pax[_LONG[kind]] = data.split(b"\0", 1)[0]
            return
        records = _pax(data)
        if kind == b"x":
            pax |= records

    def _member(self, header: bytes, pax: dict[bytes, bytes], headers: int) -> Member:
        self._members += 1
        if self._members > self._bounds.entries:
            raise exceeded("more", self._bounds.entries, "files")
        name = _text(pax.get(b"path") or _ustar_name(header), "a name")
        kind = _KINDS.get(header[156:157])
        if kind is None:
            raise ImageError(
                f"{name!r} has the unknown or sparse tar type {header[156:157]!r}",
                "make the archive without --sparse, in the ustar, pax or gnu format",
                entry=name,
            )
        if kind == "file" and name.endswith("/"):  # tar before POSIX had no directories
            kind = "directory"
        size = _decimal(pax[b"size"]) if b"size" in pax else _number(header[124:136], "size")
        if kind != "file" and size:
            raise ImageError(f"{name!r} is a {kind} with content", entry=name)
        if size > self._bounds.file_bytes:
            raise exceeded("a file of more", self._bounds.file_bytes, "bytes", entry=name)
        mtime = _time(pax[b"mtime"]) if b"mtime" in pax else _mtime(header[136:148])
        self._left, self._padding = size, -size % BLOCK
        return Member(
            name=name,
            kind=kind,
            executable=bool(_number(header[100:108], "mode") & 0o111),
            size=size,
            mtime=max(0, min(mtime, _LATEST)),
            link=_text(pax.get(b"linkpath") or _string(header[157:257]), "a link"),
            headers=headers,
        )

    def _header(self) -> bytes | None:
        """The next header block; None at the end mark, which must be there."""
        block = self._exactly(BLOCK)
        if block.count(0) == BLOCK:
            return None
        claimed = _number(block[148:156], "checksum")
        if sum(block) - sum(block[148:156]) + 8 * 0x20 != claimed:
            raise ImageError(
                "this is no tar archive, or it is damaged: a header's checksum is wrong",
                "give a root file system as tar, an OCI layout, or what `docker save` wrote",
            )
        return block

    def _nothing_follows(self) -> None:
        """Zeros up to the record size may; anything else would be read by others, or hashed
        with the archive and seen by nobody."""
        rest, padding = self._pending, 0
        self._pending = b""
        while rest or (rest := self._stream.read(CHUNK)):
            padding += len(rest)
            if padding > MAX_PADDING or rest.count(0) != len(rest):
                raise ImageError("the archive goes on after its end mark", "write it again")
            rest = b""

    def _extended(self, size: int) -> bytes:
        if not 0 < size <= self._bounds.header_bytes:
            raise exceeded("an extended header of more", self._bounds.header_bytes, "bytes")
        self._headers += BLOCK + size
        if self._headers > self._bounds.headers_bytes:
            raise exceeded("extended headers of more", self._bounds.headers_bytes, "bytes")
        data = self._exactly(size)
        self._exactly(-size % BLOCK)
        return data

    def _some(self, size: int) -> bytes:
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        # Small reads cost more than copying: headers come out of large reads.
        data = self._stream.read(max(size, CHUNK))
        if not data:
            raise ImageError("the archive ends in the middle", "fetch or write it again")
        self._pending = data[size:]
        return data[:size]

    def _exactly(self, size: int) -> bytes:
        data = self._some(size) if size else b""
        while len(data) < size:
            data += self._some(size - len(data))
        return data


def _ustar_name(header: bytes) -> bytes:
    name = _string(header[:100])
    prefix = _string(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _string(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _text(data: bytes, what: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ImageError(f"the archive has {what} that is not UTF-8: {data[:64]!r}") from None
    if "\0" in text:
        raise ImageError(f"the archive has {what} with a NUL: {text[:64]!r}")
    return text


def _number(field: bytes, what: str) -> int:
    """Octal, or GNU's base 256 for what does not fit; never negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    found = _OCTAL.match(field)
    if found is None:
        raise ImageError(f"a header's {what} is no number", "the archive is damaged")
    return int(found[1] or b"0", 8)


def _mtime(field: bytes) -> int:
    return 0 if field[0] == 0xFF else _number(field, "time")  # 0xff: before 1970


def _decimal(value: bytes) -> int:
    found = _DECIMAL.match(value)
    if found is None or found[1] or found[3]:
        raise ImageError("an extended header's size is no number", "the archive is damaged")
    return int(found[2])


def _time(value: bytes) -> int:
    found = _DECIMAL.match(value)
    if found is None:
        raise ImageError("an extended header's time is no number", "the archive is damaged")
    return -1 if found[1] else int(found[2])


def _pax(data: bytes) -> dict[bytes, bytes]:
    """The records that are used of `LENGTH KEY=VALUE\\n` (POSIX.1-2017, pax), in one pass."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else -1
        key, found, value = data[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(data) or data[end - 1 : end] != b"\n" or not found or not key:
            raise ImageError("an extended header is malformed", "the archive is damaged")
        if key.startswith(b"GNU.sparse."):
            raise ImageError("the archive has a sparse file", "make the archive without --sparse")
        if key in _USED:
            records[key] = value
        position = end
    return records
