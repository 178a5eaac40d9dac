"""Where a value begins and ends, told by the quotes, brackets and frames that it stands in. Pure.

A rule knows a name and where its value begins. What is cut off too early leaves a part of a secret,
and what is cut off too late takes a neighbour, or a quote without which the text is no JSON.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_VALUE: Final = 1024
"""Bytes of a value; a quote that is not closed within them opens nothing."""
MAX_BARE: Final = 512
"""Bytes of one in no quotes: `password=` a hundred times is read once for each."""
MAX_LISTED: Final = 256
"""Values of one list."""
MAX_BEFORE: Final = 512
"""Bytes before a name in which the frame it stands in is looked for."""


class Value(NamedTuple):
    """`start:end` of some bytes.

    framed: quotes, or marks of what it stands in, say where it ends. alone: it is all of a line but
    its name. tight: by `=` without blanks, as in files of settings and environments. line: where
    the line ends, if the name begins it and more stands behind the value.
    """

    start: int
    end: int
    framed: bool = False
    alone: bool = False
    tight: bool = False
    line: int = 0


# What stands before a name that begins a line: marks of lists, comments and differences, and words
# of shells, Dockerfiles and PowerShell.
_MARGIN: Final = re.compile(
    rb"[ \t]*(?:(?:#|//|;)[ \t]?|[-+*~>][ \t]{0,8}"
    rb"|(?:export|set|setx|local|declare|readonly|ENV|ARG)[ \t]+(?:-\w+[ \t]+){0,2}"
    rb"|\$(?:[Ee]nv:)?|[\"'](?!\s)){0,3}"
)
_STOP: Final = re.compile(
    rb"[\s;&,#<>()\[\]{}\"'`\\]|\xc2\xa0|\xe2\x80[\x98-\x9f]|\xe3\x80[\x80-\x82\x8c-\x91]"
    rb"|\xef\xbc[\x89\x8c\x9b]"
)
_QUOTES: Final = {mark: re.compile(rb"[\n\\" + mark + rb"]") for mark in (b'"', b"'", b"`")}
_BACKSLASHES: Final = re.compile(rb"\\+")
_PAIR: Final = re.compile(rb"[ \t]*[\"']?[A-Za-z_$@][\w.$ -]{0,40}[\"']?[ \t]*(?:=|:(?!//))")
_SETTING: Final = re.compile(rb"[ \t]*[A-Za-z_][\w. -]{0,40}=")
_PARAMETER: Final = re.compile(
    rb"[\w.%\[\]-]{1,60}=|(?:amp|lt|gt|quot|apos|nbsp|#\w{1,6});|[\s&]|$"
)
_OVER: Final = re.compile(rb"[\s,;:)\]}>|\"'`&]|$")
_TAG: Final = re.compile(rb"[/!?]?[A-Za-z][^<>\n]{0,60}>")
_REST: Final = re.compile(rb"[ \t]*(?:[ \t](?:#|;|//)[^\n]*)?\r?(?=\n|\Z)")
_MARKS: Final = re.compile(rb"\\.|[\"`]|(?<![A-Za-z0-9])'|'(?![A-Za-z0-9])")
_PLAIN: Final = re.compile(rb"[A-Za-z_$][A-Za-z_$.]*")
_NEXT: Final = re.compile(rb"[A-Za-z_$][\w$]*(?:[=.(;:)}\]?&|]|,\S)")
_OPENERS: Final = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}


def value(data: bytes, name: int, at: int, quote: bytes, between: bytes = b"") -> Value | None:
    """The value of the name that begins at `name`, or None where there is none.

    at: the value's first byte. quote: what stands before that, backslashes included, or nothing.
    between: all that stands between the name and the value.
    """
    if quote:
        if (end := quoted_end(data, at, quote)) is not None:
            return Value(at, end, framed=True) if end > at else None
        if len(quote.lstrip(b"\\")) == 2:
            return None  # `""`, and something else behind it
    tight = between.strip(b"\"'") == b"="
    head = _head(data, name)
    direct = _directly(data, name) if not quote and b'"' not in between else b""
    if direct and (end := quoted_end(data, at, direct)) is not None:
        return _enclosed(data, name, at, end, tight=tight)
    if data[max(0, name - 2) : name] == b"${":
        return None  # what stands in for a variable has a rule of its own
    begins = not quote and head is not None and _MARGIN.fullmatch(head) is not None
    end = _Bare(data, name, at, head or b"", begins=begins).end()
    rest = _REST.match(data, end)
    alone = begins and rest is not None and (tight or between[-1:].isspace())
    if data[at : at + 2] == b"<<":
        return None  # what stands on the next lines
    if data[at : at + 1] in b"[{(<" and (not alone or re.search(rb"[\"'`]", data[at:end])):
        return None  # a list, an object, an expression
    if not (alone and tight and data[name : name + 2].isupper()):
        while end > at and data[end - 1] in b",;":
            end -= 1
            alone = False
    line = rest_of_line(data, at) if begins and not alone else 0
    return Value(at, end, alone=alone, tight=tight, line=line) if end > at else None


def rest_of_line(data: bytes, at: int) -> int:
    """Where the line ends that `at` stands in, without blanks and without a comment behind it."""
    stop = data.find(b"\n", at, at + MAX_VALUE)
    line = data[at : stop if stop >= 0 else at + MAX_VALUE]
    return at + len(re.split(rb"[ \t]#", line, maxsplit=1)[0].rstrip())


def until(data: bytes, at: int, stop: re.Pattern[bytes]) -> Value | None:
    """What stands before the next `stop` on its line, without blanks at its end."""
    found = stop.search(data, at, at + MAX_VALUE)
    if found is None or data.find(b"\n", at, found.start()) >= 0:
        return None
    end = at + len(data[at : found.start()].rstrip())
    return Value(at, end, framed=True) if end > at else None


_SPLICED: Final = re.compile(rb"'(?:\\'|\"'\")'")
"""How a shell's text in quotes holds a quote: it ends, a quote stands alone, and it goes on."""


def quoted_end(data: bytes, at: int, quote: bytes) -> int | None:
    """Where the text in quotes ends that begins at `at`; None where no quote ends it on its line.

    Quotes within strings within strings have 1, 3, 7 backslashes before them, those of the text
    itself more. YAML, SQL and CSV write a quote twice, shells between two texts.
    """
    mark = quote.lstrip(b"\\")
    if len(mark) > 1:
        return _doubled_end(data, at, mark)
    slashes = len(quote) - 1
    place, stop = at, at + MAX_VALUE
    while (found := _QUOTES[mark].search(data, place, stop)) is not None:
        here = found.start()
        if found[0] == b"\n":
            return None
        run = _BACKSLASHES.match(data, here)
        count = len(run[0]) if run else 0
        behind = here + count
        if count and data[behind : behind + 1] != mark:
            place = behind if slashes or count % 2 == 0 else behind + 1
        elif (level := _level(count, slashes)) == 0:
            if not slashes and data[behind + 1 : behind + 2] == mark and behind > at:
                place = behind + 2
                continue
            if mark == b"'" and not slashes and (more := _SPLICED.match(data, behind)):
                place = more.end()
                continue
            return behind - slashes
        elif level < 0:
            return here  # the string around it ends
        elif (
            count == 1 and mark == b"'" and _OVER.match(data, behind + 1) and _is_last(data, behind)
        ):
            return behind  # a shell's, in which a backslash is one
        else:
            place = behind + 1
    return None


def _level(count: int, slashes: int) -> int:
    """Of a quote behind `count` backslashes: 0 ends the text, 1 is in it, -1 ends what it is in."""
    while slashes > 0:
        if count % 2 == 0:
            return -1
        count, slashes = (count - 1) // 2, (slashes - 1) // 2
    return count % 2


def _is_last(data: bytes, at: int) -> bool:
    """Whether no such quote follows on the line."""
    stop = data.find(b"\n", at, at + MAX_VALUE)
    end = stop if stop >= 0 else at + MAX_VALUE
    return data.find(data[at : at + 1], at + 1, end) < 0


def _doubled_end(data: bytes, at: int, mark: bytes) -> int | None:
    """Of `\"\"text\"\"` in CSV, and of texts in three quotes."""
    if len(mark) == 2 and _OVER.match(data, at):
        return None
    end = data.find(mark, at, at + MAX_VALUE)
    if end < 0 or (len(mark) == 2 and b"\n" in data[at:end]):
        return None
    return end


def _head(data: bytes, name: int) -> bytes | None:
    """What of the line stands before the name; None when that is much."""
    first = max(0, name - MAX_BEFORE)
    start = data.rfind(b"\n", first, name) + 1
    if start == 0 and first:
        return None
    return data[start or first : name]


def _directly(data: bytes, name: int) -> bytes:
    """The quote right before the name, with its backslashes."""
    mark = data[name - 1 : name] if name else b""
    if mark not in (b'"', b"'", b"`"):
        return b""
    start = name - 1
    while start > 0 and data[start - 1] == ord("\\") and name - start < 8:
        start -= 1
    return data[start:name]


def _enclosed(data: bytes, name: int, at: int, end: int, *, tight: bool) -> Value | None:
    """Name and value are in the same quotes: `"NAME=value"`."""
    if tight and data[name : name + 2].isupper() and not _has_more(data, at, end):
        return Value(at, end, framed=True, tight=True)
    stop = min(end, _Bare(data, name, at, b"", begins=True, inside=True).end())
    while stop > at and stop < end and data[stop - 1] in b",;":
        stop -= 1
    return Value(at, stop, alone=tight and stop == end, tight=tight) if stop > at else None


def _has_more(data: bytes, at: int, end: int) -> bool:
    """Whether the text goes on with other names, or with another command."""
    return (
        re.search(rb"[;&, ][ \t]*[\w.-]{1,40}=|[ ](?:-|&&|[|])|\\[nrt]", data[at:end]) is not None
    )


class _Bare:
    """The walk over a value that stands in no quotes of its own."""

    def __init__(
        self, data: bytes, name: int, at: int, head: bytes, *, begins: bool, inside: bool = False
    ) -> None:
        """begins: the name begins a line, or a text in quotes (`inside`), so that brackets and the
        like belong to the value."""
        self._inside = inside
        self._data, self._at, self._head, self._begins = data, at, head, begins
        before = data[name - 1 : name] if name else b""
        self._query = before in (b"?", b"&") or data[max(0, name - 4) : name] == b"amp;"
        self._around: bytes | None = None if not begins else b""
        self._opened: list[int] = []

    def end(self) -> int:
        limit = min(len(self._data), self._at + MAX_BARE)
        place = self._at
        while (found := _STOP.search(self._data, place, limit)) is not None:
            place, mark = found.end(), found[0]
            if len(mark) > 1 or mark.isspace():
                return found.start()
            skip = self._over(found.start(), mark[0])
            if skip < 0:
                return found.start()
            place += skip
        return limit

    def _over(self, here: int, mark: int) -> int:
        """-1 when the value ends before the mark, else how many bytes behind it belong to it."""
        data, behind = self._data, here + 1
        over = False
        if mark in b"([{":
            self._opened.append(mark)
        elif mark in _OPENERS:
            if self._opened and self._opened[-1] == _OPENERS[mark]:
                self._opened.pop()
            else:
                over = not self._begins and self._closes(behind, mark)
        elif mark == ord("&"):
            parameter = _PARAMETER.match(data, behind)
            bare = parameter is not None and not parameter[0].strip(b"& \t\r\n")
            over = self._query or (parameter is not None and not (bare and self._begins))
        elif mark == ord("#"):
            over = self._query
        elif mark in b",;":
            over = self._parts(behind, mark)
        elif mark == ord("<"):
            tag = _TAG.match(data, behind)
            over = tag is not None and (tag[0][:1] == b"/" or not self._begins)
        elif mark == ord(">"):
            over = not self._begins and _OVER.match(data, behind) is not None
        elif mark == ord("\\"):
            return self._backslash(behind)
        else:
            over = self._quotes(behind, mark)
        return -1 if over else 0

    def _closes(self, behind: int, mark: int) -> bool:
        return _OVER.match(self._data, behind) is not None or _OPENERS[mark] in self._head

    def _parts(self, behind: int, mark: int) -> bool:
        data = self._data
        if self._begins:
            return _SETTING.match(data, behind) is not None
        if self._query:
            return False
        if mark == ord(";") or _PAIR.match(data, behind) or _OVER.match(data, behind):
            return True
        plain = _PLAIN.fullmatch(data, self._at, behind - 1) is not None
        return plain and _NEXT.match(data, behind) is not None

    def _quotes(self, behind: int, mark: int) -> bool:
        if self._begins:
            return False
        return mark == self._surrounding() or _OVER.match(self._data, behind) is not None

    def _surrounding(self) -> int:
        """The quote that is open where the name stands, or 0."""
        if self._around is None:
            open_: bytes = b""
            for found in _MARKS.finditer(self._head):
                if not open_:
                    open_ = found[0] if len(found[0]) == 1 else b""
                elif found[0] == open_:
                    open_ = b""
            self._around = open_
        return self._around[0] if self._around else 0

    def _backslash(self, behind: int) -> int:
        """Escapes of the string that the name stands in, too."""
        following = self._data[behind : behind + 1]
        if self._begins and not self._inside:
            return 0
        if following and following in b"nrt":
            return -1
        if following and following in b"\"'`":
            return -1 if _OVER.match(self._data, behind + 1) else 1
        return 1 if following == b"\\" else 0
