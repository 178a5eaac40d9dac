"""Text as another program will read it: escapes, percent codes and character references undone,
and the way back to the bytes that stand for each character.

A token written `\\u0067hp_…`, `ghp%5F…` or inside a JSON string inside a JSON string is whole here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

# JSON (RFC 8259, 7), JavaScript and Python literals; RFC 3986, 2.1; HTML's numeric references and
# the five names that every escaping function uses.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
    rb"|\\x[0-9a-fA-F]{2}|\\[\"'/\\nrt]|%[0-9a-fA-F]{2}"
    rb"|&(?:#[0-9]{2,7}|#[xX][0-9a-fA-F]{2,6}|amp|lt|gt|quot|apos);"
)
_NAMED: Final = {
    b'\\"': b'"', b"\\'": b"'", b"\\/": b"/", b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r",
    b"\\t": b"\t", b"&amp;": b"&", b"&lt;": b"<", b"&gt;": b">", b"&quot;": b'"', b"&apos;": b"'",
}  # fmt: skip


class View:
    """`data` is `original` with everything that `pattern` fits replaced by what it means."""

    def __init__(
        self, original: bytes, pattern: re.Pattern[bytes], meaning: Callable[[bytes], bytes]
    ) -> None:
        self.data = original
        self._begins: list[int] = []
        self._ends: list[int] = []
        self._origins: list[tuple[int, int]] = []
        self._replace(original, pattern, meaning)

    @property
    def is_different(self) -> bool:
        return bool(self._begins)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The bytes of the original that stand for `start:end` of `data`, whole escapes only."""
        return self._before(start)[0], self._before(end - 1)[1]

    def _replace(
        self, original: bytes, pattern: re.Pattern[bytes], meaning: Callable[[bytes], bytes]
    ) -> None:
        parts: list[bytes] = []
        at = size = 0
        for found in pattern.finditer(original):
            new = meaning(found[0])
            parts += (original[at : found.start()], new)
            size += found.start() - at
            self._begins.append(size)
            size += len(new)
            self._ends.append(size)
            self._origins.append(found.span())
            at = found.end()
        if parts:
            parts.append(original[at:])
            self.data = b"".join(parts)

    def _before(self, offset: int) -> tuple[int, int]:
        at = bisect_right(self._begins, offset) - 1
        if at < 0:
            return offset, offset + 1
        if offset < self._ends[at]:
            return self._origins[at]
        place = self._origins[at][1] + offset - self._ends[at]
        return place, place + 1


def unescaped(original: bytes) -> View | None:
    """With its escapes undone; None when nothing in it is escaped."""
    if b"\\" in original or b"%" in original or b"&" in original:
        view = View(original, _ESCAPE, _meant)
        return view if view.is_different else None
    return None


def _meant(escape: bytes) -> bytes:
    if (named := _NAMED.get(escape)) is not None:
        return named
    if escape[:1] == b"%":
        return bytes((int(escape[1:], 16),))
    if escape[:1] == b"&":
        digits = escape[2:-1]
        return _character(int(digits[1:], 16) if digits[:1] in b"xX" else int(digits))
    if escape[:2] == b"\\x":
        return bytes((int(escape[2:], 16),))
    if len(escape) > 6:
        high, low = int(escape[2:6], 16), int(escape[8:], 16)
        return _character(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    return _character(int(escape[2:], 16))


def _character(point: int) -> bytes:
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        return b"?"
    return chr(point).encode()
