"""Bytes without what nobody sees, and the way back to where each byte stood.

A secret that is split by a colour, a NUL or a zero-width space is whole here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from fumehood.scan.control import (
    CONTEXTUAL,
    CONTROL_SEQUENCE,
    CONTROLS,
    HIDDEN,
    HIDDEN_RUN,
    decode,
)

_CONTROL_RUN: Final = re.compile(b"[" + re.escape(CONTROLS) + b"]+")


class Stripped:
    """`data` is what is left of `original`. The way back is worked out when it is asked for."""

    def __init__(self, original: bytes) -> None:
        self._original = original
        # Control bytes first and in one sweep: UTF-16 has one beside each letter.
        text = decode(original.translate(None, CONTROLS))
        self._passes: list[tuple[re.Pattern[str], str]] = []
        for pattern in (CONTROL_SEQUENCE, HIDDEN_RUN, HIDDEN):
            if pattern is HIDDEN and CONTEXTUAL.search(text) is None:
                continue
            shorter = pattern.sub("", text)
            if len(shorter) < len(text):
                self._passes.append((pattern, text))
                text = shorter
        self.data = text.encode()
        self._offsets: list[_Offsets] = []

    @property
    def is_shorter(self) -> bool:
        return len(self.data) < len(self._original)

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where the bytes `start:end` of `data` stood, with all that is left out among them."""
        if not self._offsets:
            self._offsets = [
                _Offsets((m.start(), m.end()) for m in _CONTROL_RUN.finditer(self._original)),
                *(_Offsets(_byte_places(pattern, text)) for pattern, text in self._passes),
            ]
        last = end - 1
        for offsets in reversed(self._offsets):
            start, last = offsets.before(start), offsets.before(last)
        return start, last + 1


class _Offsets:
    """One pass: `gone` are the places that were left out, in order."""

    def __init__(self, gone: Iterable[tuple[int, int]]) -> None:
        self._after: list[int] = []
        self._shift: list[int] = []
        shift = 0
        for start, end in gone:
            self._after.append(start - shift)
            shift += end - start
            self._shift.append(shift)

    def before(self, offset: int) -> int:
        """Where the byte at `offset` after the pass stood before it."""
        at = bisect_right(self._after, offset) - 1
        return offset + (self._shift[at] if at >= 0 else 0)


def _byte_places(pattern: re.Pattern[str], text: str) -> Iterable[tuple[int, int]]:
    at = place = 0
    for found in pattern.finditer(text):
        start = place + _length(text[at : found.start()])
        place = start + _length(found[0])
        at = found.end()
        yield start, place


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
