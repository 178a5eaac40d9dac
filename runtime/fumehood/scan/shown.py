"""What `visible` makes of a text, so that JSON stays JSON: in a document, and in each line of a
longer text that is one, a string decodes to its visible form. Must never leave anything hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from fumehood.scan.control import HIDDEN, RUN, decode, is_plain
from fumehood.scan.json_cuts import MAX_PARSED, is_document
from fumehood.scan.redraws import settled
from fumehood.scan.visible import MAX_REWRITTEN, EnoughError, Rewriter, is_clean, visible

_LINE: Final = re.compile(rb"(?m)^[ \t]*[\[{][^\n]*\n?")
_STRING_ALONE: Final = re.compile(rb'\s*"[^"\\]*(?:\\.[^"\\]*)*"\s*')
# Of what may be hidden, RFC 8259 has CR alone outside of strings, as white space (section 2).
_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\r(?!\n)')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def made_visible(
    data: bytes, *, escapes: bool = False, most: int = MAX_REWRITTEN
) -> tuple[str, bool]:
    """`data` as text, and whether it was cut, as `visible` tells it; one that is cut is no JSON.

    escapes: also where only escapes of JSON hide something.
    """
    if not escapes and (is_plain(data) or HIDDEN.search(settled(decode(data))) is None):
        return decode(data), False
    rewriter = Rewriter(most)
    try:
        return "".join(_parts(data, rewriter)), False
    except EnoughError:
        return visible(data, most=most)


def _parts(data: bytes, rewriter: Rewriter) -> Iterator[str]:
    at = 0
    for start, end in _documents(data):
        yield _text(data, at, start, rewriter)
        yield _document(data[start:end].decode(), rewriter)
        at = end
    yield _text(data, at, len(data), rewriter)


def _documents(data: bytes) -> Iterator[tuple[int, int]]:
    """Where JSON stands in which something is hidden."""
    if is_document(data, 0, len(data)) or _is_string(data):
        yield 0, len(data)
        return
    for line in _LINE.finditer(data):
        if not is_clean(line[0]) and is_document(data, *line.span()):
            yield line.span()


def _is_string(data: bytes) -> bool:
    if len(data) > MAX_PARSED or _STRING_ALONE.fullmatch(data) is None:
        return False
    try:
        json.loads(data.decode())
    except ValueError:
        return False
    return True


def _text(data: bytes, start: int, end: int, rewriter: Rewriter) -> str:
    # With the line's end before it: what begins a line need not begin the text.
    before = max(0, start - 1)
    return RUN.sub(rewriter, decode(data[before:end]))[start - before :]


def _document(text: str, rewriter: Rewriter) -> str:
    def rewritten(found: re.Match[str]) -> str:
        part = found[0]
        if part == "\r":
            return " "
        if "\\" not in part and HIDDEN.search(part) is None:
            return part
        # Between quotes, as it stands in the document: a byte order mark may begin a text only.
        quoted = f'"{json.loads(part)}"'
        seen = RUN.sub(rewriter, quoted)
        if seen == quoted:
            return part
        return _SURROGATE.sub(_escaped, json.dumps(seen[1:-1], ensure_ascii=False))

    return _TOKEN.sub(rewritten, text)


def _escaped(surrogate: re.Match[str]) -> str:
    return f"\\u{ord(surrogate[0]):04x}"
