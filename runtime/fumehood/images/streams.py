"""Byte streams of archives: decompressed, hashed and counted as they are read.

Nothing here trusts a length or a checksum that the archive itself claims; a stream that ends
early, or goes on where it must end, is an error. Every read is bounded.
"""

from __future__ import annotations

import bz2
import hashlib
import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

from fumehood.errors import ImageError

CHUNK: Final = 256 * 1024
XZ_MEMORY_BYTES: Final = 256 << 20
"""`xz -9` needs 65 MiB to decompress; a header may claim 4 GiB."""

_GZIP, _XZ, _BZIP2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"


class Reader(Protocol):
    """What every layer of reading offers."""

    def read(self, size: int, /) -> bytes:
        """At least one byte and at most `size`; nothing at the end."""


class Hashed:
    """Passes bytes on, and knows their number and SHA-256."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._sha256.update(data)
        self.size += len(data)
        return data

    @property
    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()


class Decompressed:
    """gzip, xz, bzip2, zstd (where Python has it) or plain, decided by the first bytes."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._input = _at_least(source, 6)
        self._new = _decompressor(self._input)
        self._current = self._new() if self._new else None
        self._ended = False

    def read(self, size: int, /) -> bytes:
        if self._current is None:
            return self._plain(size)
        try:
            while not self._ended:
                if data := self._decompress(size):
                    return data
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise ImageError(
                "the compressed data is damaged", "fetch the archive again", detail=str(error)
            ) from None
        return b""

    def _plain(self, size: int) -> bytes:
        if self._input:
            data, self._input = self._input[:size], self._input[size:]
            return data
        return self._source.read(size)

    def _decompress(self, size: int) -> bytes:
        current = self._current
        assert current is not None  # noqa: S101  (read() asked)
        if current.eof:
            self._input = current.unused
            self._next_member()
            return b""
        if current.needs_input and not self._input:
            self._input = self._source.read(CHUNK)
            if not self._input:
                raise ImageError(
                    "the compressed data ends in the middle", "fetch the archive again"
                )
        data, self._input = self._input, b""
        return current.decompress(data, size)

    def _next_member(self) -> None:
        """Several may follow one another, with zeros behind (RFC 1952; xz format 2.2)."""
        rest = (self._input or self._source.read(CHUNK)).lstrip(b"\0")
        while not rest and (more := self._source.read(CHUNK)):
            rest = more.lstrip(b"\0")
        if not rest:
            self._ended = True
            return
        assert self._new is not None  # noqa: S101  (a member has ended)
        self._input, self._current = rest, self._new()


class _Codec:
    """One face for zlib, lzma, bz2 and zstd objects."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec

    @property
    def eof(self) -> bool:
        return bool(self._codec.eof)

    @property
    def unused(self) -> bytes:
        return bytes(self._codec.unused_data)

    @property
    def needs_input(self) -> bool:
        return bool(self._codec.needs_input)

    def decompress(self, data: bytes, size: int) -> bytes:
        return bytes(self._codec.decompress(data, max_length=size))


class _Gzip(_Codec):
    """zlib hands back what it did not look at instead of keeping it."""

    def __init__(self) -> None:
        super().__init__(zlib.decompressobj(16 + zlib.MAX_WBITS))

    @property
    def needs_input(self) -> bool:
        return not self._codec.unconsumed_tail

    def decompress(self, data: bytes, size: int) -> bytes:
        return bytes(self._codec.decompress(self._codec.unconsumed_tail + data, size))


def _decompressor(start: bytes) -> Callable[[], _Codec] | None:
    if start.startswith(_GZIP):
        return _Gzip
    if start.startswith(_XZ):
        return lambda: _Codec(lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_BYTES))
    if start.startswith(_BZIP2):
        return lambda: _Codec(bz2.BZ2Decompressor())
    if start.startswith(_ZSTD):
        return _zstd()
    return None


def _zstd() -> Callable[[], _Codec]:
    try:
        zstd = importlib.import_module("compression.zstd")  # Python 3.14
    except ModuleNotFoundError:
        raise ImageError(
            "the archive is compressed with zstd, which this Python cannot read",
            "recompress it with gzip: `zstd -d FILE`, or `skopeo copy --dest-compress-format gzip`",
        ) from None
    return lambda: _Codec(zstd.ZstdDecompressor())


def _at_least(source: Reader, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := source.read(CHUNK)):
        data += more
    return data
