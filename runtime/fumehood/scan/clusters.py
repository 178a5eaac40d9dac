"""Secrets of Kubernetes, as YAML and as JSON: each value of `data` and `stringData` of an object
whose kind is Secret is one, whatever its name is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Match
from fumehood.scan.patterns import PatternDetector, Rule

MAX_LINES: Final = 200_000
"""Of one text that are read, whoever begins how many objects in it."""
_BLANK: Final = 1 << 30
MAX_GAP: Final = 64 * 1024
"""Bytes between an object's kind and its data."""
MAX_BETWEEN: Final = 4 * 1024 * 1024
"""The same of all objects in one text."""

_KIND: Final = re.compile(rb"^([ \t]*(?:- )?)kind:[ \t]*[\"']?Secret[\"']?[ \t\r]*$", re.MULTILINE)
_KEY: Final = re.compile(rb"([ \t]*(?:- )?)[\"']?([\w.-]+)[\"']?:[ \t]*(.*?)[ \t\r]*\Z")
_JSON: Final = re.compile(rb"\"kind\"\s{0,8}:\s{0,8}\"Secret\"")
_FIELDS: Final = re.compile(rb"\"(?:data|stringData)\"\s{0,8}:\s{0,8}\{([^{}]{1,65536})\}")
_VALUE: Final = re.compile(rb":\s{0,8}\"([^\"\\]{1,65536})\"")
_BLOCK: Final = re.compile(rb"[|>][0-9+-]{0,2}")


_OBJECT: Final = Rule(
    "object", "low", r"kind[\"']?:\s{0,8}[\"']?Secret|\"kind\"\s{0,8}:\s{0,8}\"Secret\""
)


class ClustersDetector:
    """Reads objects around `kind: Secret`. Thread safe."""

    name = "clusters"

    def __init__(self, cache: Path | None = None) -> None:
        self._kinds = PatternDetector("clusters", [_OBJECT], cache)

    def load(self) -> None:
        """Compile the pattern now."""
        self._kinds.load()

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        if not self._kinds.occurring(data):
            return []
        return [*_yaml(data), *_json(data)]


def _match(start: int, end: int) -> Match:
    return Match("cluster-secret", "secret", "high", start, end)


def _yaml(data: bytes) -> list[Match]:
    if _KIND.search(data) is None:
        return []
    lines: list[tuple[int, bytes]] = []
    at = 0
    for line in data.split(b"\n"):
        lines.append((at, line))
        at += len(line) + 1
    columns = [_column(line) for _, line in lines]
    found: list[Match] = []
    left, reach = MAX_LINES, -1
    for number in [n for n, (_, line) in enumerate(lines) if _KIND.match(line)]:
        if number <= reach:
            continue
        first, last = _object(lines, columns, number, left)
        left -= last - first
        reach = last
        found += _fields(lines[first : last + 1], columns[number])
        if left <= 0:
            break
    return found


def _column(line: bytes) -> int:
    """Where a key begins, behind a list's dash. Blank lines are everywhere."""
    if line.startswith(b"---"):
        return -1
    if not line.strip():
        return len(line) + _BLANK
    found = _KEY.match(line)
    return len(found[1]) if found else len(line) - len(line.lstrip(b" \t-"))


def _object(
    lines: list[tuple[int, bytes]], columns: list[int], number: int, left: int
) -> tuple[int, int]:
    """First and last line of the object in which a line stands."""
    column = columns[number]
    first = number
    while first > max(0, number - left) and not _begins(lines[first][1], column):
        if columns[first - 1] < column:
            break
        first -= 1
    last = number
    while last + 1 < min(len(lines), number + left):
        if columns[last + 1] < column or _begins(lines[last + 1][1], column):
            break
        last += 1
    return first, last


def _begins(line: bytes, column: int) -> bool:
    """Whether it is the first one of a list's item whose keys stand there."""
    return column >= 2 and line[column - 2 : column] == b"- " and not line[: column - 2].strip()


def _fields(lines: list[tuple[int, bytes]], column: int) -> list[Match]:
    found: list[Match] = []
    inside = False
    block: int | None = None
    for at, line in lines:
        key = _KEY.match(line)
        if block is not None and (not line.strip() or len(line) - len(line.lstrip()) > block):
            if (text := line.strip()) and inside:
                start = at + line.index(text)
                found.append(_match(start, start + len(text)))
            continue
        block = None
        if key is None:
            continue
        if len(key[1]) == column:
            inside = key[2] in (b"data", b"stringData") and not key[3]
        elif inside and len(key[1]) > column:
            if _BLOCK.fullmatch(key[3]):
                block = len(key[1])
                continue
            value = key[3].strip(b"\"'")
            if len(value) >= 4 and not value.startswith((b"{", b"#", b"<", b"${")):
                start = at + key.start(3) + key[3].index(value)
                found.append(_match(start, start + len(value)))
    return found


def _json(data: bytes) -> list[Match]:
    kinds = [found.span() for found in _JSON.finditer(data)]
    found: list[Match] = []
    place, left = 0, MAX_BETWEEN
    for fields in _FIELDS.finditer(data) if kinds else ():
        while place < len(kinds) and kinds[place][0] < fields.start():
            place += 1
        gaps = [(kinds[place - 1][1], fields.start())] if place else []
        gaps += [(fields.end(), kinds[place][0])] if place < len(kinds) else []
        gaps = [(start, end) for start, end in gaps if end - start <= MAX_GAP]
        left -= sum(end - start for start, end in gaps)
        if left < 0:
            break
        if any(_is_one(data[start:end]) for start, end in gaps):
            at = fields.start(1)
            values = [value for value in _VALUE.finditer(fields[1]) if len(value[1]) >= 4]
            found += (_match(at + value.start(1), at + value.end(1)) for value in values)
    return found


def _is_one(between: bytes) -> bool:
    """Whether what stands between two members belongs to one object."""
    if between.count(b"{") != between.count(b"}"):
        return False
    depth = 0
    for brace in re.findall(rb"[{}]", between):
        depth += 1 if brace == b"{" else -1
        if depth < 0:
            return False
    return True
