"""The ends of pieces put together: a secret of which each piece holds a part is whole here.

Whoever reads two files one after the other, or stdout and then stderr, reads the end of one and
the beginning of the next as one text. Pure; must never change what a piece is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from fumehood.scan import file_names, orders
from fumehood.scan.file_names import Component
from fumehood.scan.private_keys import MAX_KEY_BYTES, unfinished

WINDOW: Final = 4096
"""Bytes of each piece's end that are joined; a private key goes on for MAX_KEY_BYTES."""
MIN_WINDOW: Final = 128
NARROW: Final = 256
"""The same where the seam does not look like the inside of a token."""
MAX_LINK: Final = 4096
"""Bytes of a piece that may be a middle part: nothing but one token, or lines of a key."""
MIN_TOKEN: Final = 8
"""Bytes of a token over a seam; shorter ones are no secret."""
MAX_JOINED: Final = 512 * 1024
"""Bytes of everything joined of one output; what is beyond is not looked at."""
MAX_NAMED: Final = 128 * 1024
"""Bytes more for the names of files."""

How: TypeAlias = Literal["as it is", "lines", "stripped", "unwrapped", "counted"]
"""What is left out at a seam: nothing; line ends; white space; quotes, brackets, a name, too. Of a
file's name: its ending (`lines`), and a number before it (`unwrapped`) or behind (`counted`)."""

Wary: TypeAlias = Literal["never", "one side", "both sides"]
"""Which sides of a seam have to look like a token, and not like a word or a number."""

_OTHER: Final[tuple[How, ...]] = ("lines", "unwrapped")
_NAMED: Final[tuple[How, ...]] = (*_OTHER, "counted")
_LINE_ENDS: Final = b"\r\n\f\v\0"
_SPACE: Final = b" \t" + _LINE_ENDS
_CLOSING: Final = _SPACE + b"\"'`)]}>,;"
_OPENING: Final = re.compile(
    rb"[\s\[{(<]*(?:::progress [0-9./?]{1,34}[ \t]+)?"
    rb"(?:[\"'`]?[\w .#-]{1,64}[\"'`]?\s{0,8}(?:[:=]|=>)\s{0,8}[\[{(]?\s{0,8})?"
    rb"(?:[\"'`][\w .#-]{1,64}[\"'`]\s{0,8}(?:[:=]|=>)\s{0,8}[\[{(]?\s{0,8}){0,2}[\"'`\[{(]{0,3}"
)
_QUOTED: Final = re.compile(rb"[ \t]+(?=[\"'`])")
_STRING: Final = re.compile(rb"\"([^\"\\]*(?:\\.[^\"\\]*)*)\"(\s*:)?")
_LINK: Final = re.compile(rb"[!-~]+(?:\r?\n[!-~]+)*")
_LAST: Final = re.compile(rb"(?:[A-Za-z0-9+/=_.~:@%$!#&*^?-]{1,64}| )\Z")
_NEXT: Final = re.compile(rb"[A-Za-z0-9+/=_.~:@%$!#&*^?-]{1,64}| ")
_PLAIN: Final = re.compile(
    rb"(?:[A-Z]?[a-z]{0,15}|[A-Z]{1,10}(?=[.,:;!?])|[A-Z]{1,2}|DONE|ERROR|FAIL|FAILED|INFO|NAME|NOTE"
    rb"|PASS|PASSED|TOTAL|USER|WARN|WARNING|CPU|PID|GET|POST|DEBUG)[.,:;!?]*|[0-9][0-9.,:/TZ+-]{0,30}%?"
)
_EDGE: Final = 256
"""Bytes in which white space, quotes and labels are looked for."""
BETWEEN: Final = b"\n \n"
"""What stands between two runs."""


class Segment(NamedTuple):
    """`start:end` of a piece, at `at` of the joined text.

    run: which of the runs it belongs to. bare: nothing was left out before it. whole: it is all
    that the piece holds.
    """

    at: int
    piece: int
    start: int
    end: int
    run: int
    bare: bool
    whole: bool


class Part(NamedTuple):
    """What of a piece belongs to something found."""

    piece: int
    start: int
    end: int
    segment: Segment


@dataclass(slots=True)
class Joined:
    """Runs of pieces' ends, one below the other."""

    data: bytes = b""
    segments: list[Segment] = field(default_factory=list)

    def parts(self, start: int, end: int) -> list[Part]:
        """What `start:end` is made of; empty when it is of more than one run."""
        first = max(0, bisect_right(self.segments, start, key=attrgetter("at")) - 1)
        found: list[Part] = []
        for segment in self.segments[first:]:
            if segment.at >= end:
                break
            begin = segment.start + max(0, start - segment.at)
            stop = min(segment.end, segment.start + end - segment.at)
            if begin < stop:
                found.append(Part(segment.piece, begin, stop, segment))
        return found if len({part.segment.run for part in found}) == 1 else []


def is_plain(text: bytes) -> bool:
    """Whether it is a word or a number, as they stand at the ends of any output."""
    return _PLAIN.fullmatch(text) is not None


def joined(
    pieces: Sequence[bytes], names: Sequence[str], called: Sequence[Component] = ()
) -> Joined | None:
    """The ends of all pieces as somebody may put them together; None when there is nothing to.

    pieces: in the order in which a caller sees them. names: of each, empty for a stream. called:
    what the files' names are made of; each is a piece of its own, behind those of `pieces`.
    """
    numbers = [number for number, data in enumerate(pieces) if data]
    if len(numbers) + len(called) < 2:
        return None
    window = max(MIN_WINDOW, min(WINDOW, MAX_JOINED // (4 * max(1, len(numbers)))))
    joiner = _Joiner([*pieces, *(part.text for part in called)], len(pieces), window)
    if len(numbers) > 1:
        _join(joiner, numbers, names)
    if not all(is_plain(file_names.core(part.text)) for part in called):
        _join_named(joiner, numbers, names, called)
    return joiner.joined()


def _join(joiner: _Joiner, numbers: Sequence[int], names: Sequence[str]) -> None:
    ways = [*orders.natural(numbers, names), *orders.others(numbers)]
    joiner.add(ways[0], "stripped", "never")
    for how in joiner.ways(numbers):
        for order in ways if joiner.any_token(numbers, how) else ():
            joiner.add(order, how, "one side" if order == ways[0] else "both sides")


def _join_named(
    joiner: _Joiner, numbers: Sequence[int], names: Sequence[str], called: Sequence[Component]
) -> None:
    """Most output begins and ends with words, and most names are none."""
    joiner.allow(MAX_NAMED)
    streams = [number for number in numbers if not names[number]]
    files = [number for number, name in enumerate(names) if name]
    held = {file: number for file, number in enumerate(files) if number in numbers}
    first = len(names)
    ways = list(joiner.ways([*numbers, *range(first, first + len(called))], _NAMED))
    for order in file_names.readings(streams, first, called, held):
        names_only = min(order) >= first
        for how in ways:
            joiner.add(order, how, "one side" if names_only else "both sides")


class _Joiner:
    def __init__(self, pieces: Sequence[bytes], named: int, window: int) -> None:
        """named: from which on pieces are names."""
        self._pieces = pieces
        self._named = named
        self._most = MAX_JOINED
        self._window = window
        self._ends: dict[tuple[int, How], _Ends] = {}
        self._keys: dict[int, int | None] = {}
        self._seen: set[tuple[How, tuple[int, ...]]] = set()
        self._parts: list[bytes] = []
        self._segments: list[Segment] = []
        self._size = 0
        self._runs = 0

    def allow(self, more: int) -> None:
        """Bytes beyond what is joined already."""
        self._most = self._size + more

    def ways(self, numbers: Sequence[int], others: Sequence[How] = _OTHER) -> Iterator[How]:
        """Those that make a difference to any of them."""
        yield "stripped"
        plain = [self._of(number, "stripped") for number in numbers]
        if any(ends.has_key for ends in plain):
            yield "as it is"
        for how in others:
            if any(
                self._of(number, how)[:2] != ends[:2]
                for number, ends in zip(numbers, plain, strict=True)
            ):
                yield how

    def any_token(self, numbers: Sequence[int], how: How) -> bool:
        """Whether any seam may fit: most output begins and ends with words."""
        ends = [self._of(number, how) for number in numbers]
        return any(
            e.has_key or e.link or not (is_plain(e.first) and is_plain(e.last)) for e in ends
        )

    def add(self, order: Sequence[int], how: How, wary: Wary) -> None:
        """wary: only where the seam looks like the inside of one token, by its sides."""
        for run in self._split(order, how, wary):
            self._add(run, how)

    def joined(self) -> Joined | None:
        return Joined(b"".join(self._parts), self._segments) if self._segments else None

    def _split(self, order: Sequence[int], how: How, wary: Wary) -> Iterator[tuple[int, ...]]:
        """Runs: whoever is no link ends one and begins the next."""
        run = [order[0]]
        for before, number in pairwise(order):
            if wary != "never" and not self._fits(before, number, how, wary):
                yield tuple(run)
                run = [number]
                continue
            run.append(number)
            if not self._of(number, how).link:
                yield tuple(run)
                run = [number]
        yield tuple(run)

    def _add(self, run: tuple[int, ...], how: How) -> None:
        """The run, and each part of it: what follows a secret may not be a part of it."""
        if (how, run) in self._seen:
            return
        for size in range(len(run), 1, -1) if len(run) <= orders.MAX_PAIRED else (len(run), 2):
            for at in range(len(run) - size + 1):
                self._add_one(run[at : at + size], how)

    def _add_one(self, run: tuple[int, ...], how: How) -> None:
        if (how, run) in self._seen or self._size > self._most:
            return
        self._seen.add((how, run))
        if how != "stripped" and self._is_same(run, how):
            return
        fits = all(self._fits(*two, how, "one side") for two in pairwise(run))
        window = self._window if fits else min(self._window, NARROW)
        has_key = any(self._of(number, how).has_key for number in run[:-1])
        self._runs += 1
        for place, number in enumerate(run):
            ends = self._of(number, how)
            start, end = ends.start, ends.end
            if place == 0 and number < self._named:
                start = max(0, min(ends.tail, end - window) if has_key else end - window)
            elif place == len(run) - 1:
                end = min(end, start + (MAX_KEY_BYTES if has_key else window))
            bare = place > 0 and ends.start == 0 and self._of(run[place - 1], how).bare_end
            whole = (start, end) == (ends.start, ends.end)
            self._segments.append(Segment(self._size, number, start, end, self._runs, bare, whole))
            self._parts.append(self._pieces[number][start:end])
            self._size += end - start
            if self._size > self._most:
                break
        self._parts.append(BETWEEN)
        self._size += len(BETWEEN)

    def _is_same(self, run: tuple[int, ...], how: How) -> bool:
        """Whether the seams are those of the run that is only stripped, and the names, too."""
        for number in run:
            if (
                number >= self._named
                and self._of(number, how)[:2] != self._of(number, "stripped")[:2]
            ):
                return False
        for before, after in pairwise(run):
            if (
                self._of(before, how).end != self._of(before, "stripped").end
                or self._of(after, how).start != self._of(after, "stripped").start
            ):
                return False
        return True

    def _fits(self, before: int, after: int, how: How, wary: Wary) -> bool:
        """Whether the seam looks like the inside of one token, or of a key."""
        one, two = self._of(before, how), self._of(after, how)
        if one.has_key or (one.link and two.link) or b" " in (one.last[-1:], two.first[:1]):
            return True
        if not one.last or not two.first or len(one.last) + len(two.first) < MIN_TOKEN:
            return False
        plain, other = is_plain(one.last), is_plain(two.first)
        if wary == "one side":
            return not (plain and other)
        return not plain and (not other or two.link)

    def _of(self, number: int, how: How) -> _Ends:
        found = self._ends.get((number, how))
        if found is None:
            data = self._pieces[number]
            if number not in self._keys:
                self._keys[number] = _key(data)
            place = _named(data, how) if number >= self._named else _place(data, how)
            found = _ends(data, place, self._window, self._keys[number])
            self._ends[number, how] = found
        return found


class _Ends(NamedTuple):
    """`start:end` is what a piece holds; tail: where its last window begins; link: it may be a
    middle part; bare_end: nothing was left out behind it; has_key: a private key goes on; first,
    last: the tokens, or the spaces, at its ends."""

    start: int
    end: int
    tail: int
    link: bool
    bare_end: bool
    has_key: bool
    first: bytes
    last: bytes


def _key(data: bytes) -> int | None:
    """Where a private key begins that goes on behind the end of a piece."""
    at = max(0, len(data) - MAX_KEY_BYTES)
    if (begin := unfinished(data[at:])) is not None:
        return at + begin
    dashes = data.rfind(b"-----BEGIN", -_EDGE)
    return dashes if dashes >= 0 and data.find(b"-----END", dashes) < 0 else None


def _ends(data: bytes, place: tuple[int, int], window: int, key: int | None) -> _Ends:
    start, end = place
    tail = max(0, end - window) if key is None else min(key, max(0, end - window))
    link = end - start <= MAX_LINK and _LINK.fullmatch(data, start, end) is not None
    last_token = _LAST.search(data, max(start, end - 64), end)
    first_token = _NEXT.match(data, start, end)
    return _Ends(
        start, end, tail, link, end == len(data), key is not None,
        first_token[0] if first_token else b"", last_token[0] if last_token else b"",
    )  # fmt: skip


def _named(name: bytes, how: How) -> tuple[int, int]:
    return file_names.READINGS[how](name) if how in file_names.READINGS else (0, len(name))


def _place(data: bytes, how: How) -> tuple[int, int]:
    """What a piece holds."""
    start, end = 0, len(data)
    if how == "as it is":
        return start, end
    last, first = data[-_EDGE:], data[:_EDGE]
    left_out = {
        "lines": _LINE_ENDS,
        "stripped": _SPACE,
        "unwrapped": _CLOSING,
        "counted": _CLOSING,
    }[how]
    end -= len(last) - len(last.rstrip(left_out))
    start = len(first) - len(first.lstrip(_LINE_ENDS if how == "lines" else _SPACE))
    if how in ("unwrapped", "counted"):
        start, end = _unwrapped(data, start, end)
    return (start, end) if start < end else (0, len(data))


def _unwrapped(data: bytes, start: int, end: int) -> tuple[int, int]:
    if len(data) <= MAX_LINK and data[:1] in (b"{", b"["):
        return _longest(data) or (start, end)
    if (quoted := _QUOTED.match(data, end)) is not None:
        end = quoted.end()
    opening = _OPENING.match(data, 0, _EDGE)
    return max(start, opening.end() if opening else 0), end


def _longest(data: bytes) -> tuple[int, int] | None:
    """Where the longest string of a small JSON document stands, keys left out: `{"part": 2,
    "of": "key", "data": "…"}`."""
    values = [found.span(1) for found in _STRING.finditer(data) if found[2] is None]
    return max(values, key=lambda place: place[1] - place[0], default=None)
