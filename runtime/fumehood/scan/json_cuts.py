"""Where to cut a text that is JSON, so that it is JSON afterwards: inside its strings, and around
its numbers and literals, which become strings. What stands between them is no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MAX_PARSED: Final = 4 * 1024 * 1024
"""Bytes of one document; of a longer text each line is looked at that is a document itself. Empty
lists, the worst there is, take 20 times their size while this is found out."""

Place = tuple[int, int]

# A line break stands in no string (RFC 8259, 7), so that what begins with a line begins outside.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"\[\]{}:,]+')
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")
_BEGIN: Final = re.compile(rb"\s*[\[{]")


class Cut(NamedTuple):
    """`start:end` goes, for the place that has this number. quoted: what comes must be a string."""

    start: int
    end: int
    number: int
    quoted: bool


def cuts(data: bytes, places: Sequence[Place]) -> Iterator[Cut]:
    """Where to cut, in order. Places in no JSON are cut out as they are.

    places: sorted, without overlaps.
    """
    whole = is_document(data, 0, len(data))
    at = 0
    while at < len(places):
        first = at
        start, end = _lines(data, places[at])
        while at < len(places) and places[at][0] < end:
            end = max(end, _lines(data, places[at])[1])
            at += 1
        inside = list(range(first, at))
        if whole or _is_lines(data, start, end):
            yield from _between_marks(data, (start, end), places, inside)
        else:
            yield from (Cut(*places[number], number, quoted=False) for number in inside)


class Part(NamedTuple):
    """What of the string that is the `number`th of a document lies in a place: `start:end` of the
    `meaning` of that string, in UTF-8."""

    number: int
    meaning: bytes
    start: int
    end: int


def strings(data: bytes, place: Place) -> list[Part] | None:
    """The parts of strings, names among them, that a place in a document covers; None when a number
    or a literal lies in it, too."""
    start, end = place
    found: list[Part] = []
    number = -1
    for token in _TOKEN.finditer(data):
        if token.start() >= end:
            break
        is_string = data[token.start()] == ord('"')
        number += is_string
        if token.end() <= start:
            continue
        if not is_string:
            return None
        cut = _in_token(data, token.span(), start, end)
        if cut is not None:
            first, last = token.start() + 1, token.end() - 1
            before, inside = _meant(data, first, cut[0]), _meant(data, *cut)
            meaning = _meant(data, first, last)
            if before + inside + _meant(data, cut[1], last) != meaning:
                before, inside = b"", meaning  # it begins or ends within a pair of surrogates
            found.append(Part(number, meaning, len(before), len(before) + len(inside)))
    return found


def _meant(data: bytes, start: int, end: int) -> bytes:
    text: str = json.loads(b'"%b"' % data[start:end].decode("utf-8", "replace").encode())
    return text.encode("utf-8", "surrogatepass")


def _between_marks(
    data: bytes, lines: Place, places: Sequence[Place], numbers: Sequence[int]
) -> Iterator[Cut]:
    tokens = _TOKEN.finditer(data, *lines)
    token = next(tokens, None)
    for number in numbers:
        start, end = places[number]
        is_cut = False
        while token is not None and token.start() < end:
            cut = _in_token(data, token.span(), start, end) if token.end() > start else None
            if cut is not None:
                is_cut = True
                yield Cut(*cut, number, quoted=data[token.start()] != ord('"'))
            if token.end() > end:
                break  # the next place may stand in it, too
            token = next(tokens, None)
        if not is_cut:
            yield Cut(start, end, number, quoted=False)


def _in_token(data: bytes, token: Place, start: int, end: int) -> Place | None:
    """What of the token goes, whole escapes at least."""
    if data[token[0]] != ord('"'):
        return token
    inside, outside = token[0] + 1, token[1] - 1
    start, end = max(start, inside), min(end, outside)
    if start >= end:
        return None
    if b"\\" in data[inside:outside]:
        for escape in _ESCAPE.finditer(data, inside, outside):
            if escape.start() < start < escape.end():
                start = escape.start()
            if escape.start() < end < escape.end():
                end = escape.end()
    return start, end


def _lines(data: bytes, place: Place) -> Place:
    end = data.find(b"\n", max(place[0], place[1] - 1))
    return data.rfind(b"\n", 0, place[0]) + 1, end if end >= 0 else len(data)


def _is_lines(data: bytes, start: int, end: int) -> bool:
    while start < end:
        stop = data.find(b"\n", start, end)
        stop = stop if stop >= 0 else end
        if not is_document(data, start, stop):
            return False
        start = stop + 1
    return True


def is_document(data: bytes, start: int, end: int) -> bool:
    """An object or a list: a number alone is as well a text."""
    if end - start > MAX_PARSED or _BEGIN.match(data, start, end) is None:
        return False
    try:
        # Numbers as they are written: Python refuses those of more than 4300 digits.
        json.loads(data[start:end].decode(), parse_int=len, parse_float=len, object_pairs_hook=len)
    except (ValueError, RecursionError):
        return False
    return True
