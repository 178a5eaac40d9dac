"""Tables in a text: a heading, and the rows below it with where they begin. What stands in a column
is for whoever reads it to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from fumehood.scan.detector import Match
from fumehood.scan.patterns import PatternDetector, Rule

MAX_LINE: Final = 4096
MAX_CELL: Final = 60
"""Bytes of one name in a heading."""
_SEPARATORS: Final = (b"|", b"\t", b",", b";")
_NONE: Final = b"\0"
"""What separates nothing: a table of one column."""
_AROUND: Final = b" \t\r\"'`"

Read: TypeAlias = "Callable[[bytes, int], tuple[list[Match], int]]"
"""What is in the table whose heading begins at a place, and where the table ends."""


class HeadedDetector:
    """Finds headings, and has the tables below them read. Thread safe."""

    def __init__(self, name: str, heading: Rule, read: Read, cache: Path | None) -> None:
        self.name = name
        self._read = read
        self._headings = PatternDetector(name, [heading], cache)

    def load(self) -> None:
        """Compile the pattern now."""
        self._headings.load()

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        if not self._headings.occurring(data):
            return []
        found: list[Match] = []
        seen = -1
        for heading in self._headings.find(data, seconds=seconds):
            start = data.rfind(b"\n", 0, heading.start + 1) + 1
            if start > seen:
                # The rows of one table are no headings of others: a text of headings alone
                # would be read once for each of them.
                matches, seen = self._read(data, start)
                found += matches
        return found


@dataclass(slots=True)
class Grid:
    """A table whose heading stands at `start:end`. over: where its last row ended, once read."""

    start: int
    end: int
    separator: bytes
    cells: list[bytes]
    over: int

    @property
    def separated(self) -> bool:
        """Whether it has several columns."""
        return self.separator != _NONE

    def rows(self, data: bytes, most: int) -> Iterator[Row]:
        """Those below, at most so many lines; lines between heading and rows are passed over."""
        end = self.end
        for _ in range(most):
            at, end = end + 1, end_of_line(data, end + 1)
            self.over = at
            row = data[at:end]
            parts = row.split(self.separator)
            if at >= len(data) or len(parts) != len(self.cells) or len(row) > MAX_LINE:
                if row and _is_rule(row):
                    continue
                return
            yield Row(at, parts)


@dataclass(frozen=True, slots=True)
class Row:
    """A line that begins at `at`, in its parts."""

    at: int
    parts: Sequence[bytes]

    def value(self, column: int) -> tuple[bytes, int]:
        """What stands in a column, without quotes and blanks around it, and where."""
        value = self.parts[column].strip(_AROUND)
        before = sum(len(part) + 1 for part in self.parts[:column])
        return value, self.at + before + self.parts[column].index(value)


def grid(data: bytes, start: int) -> Grid | None:
    """The table whose heading begins at `start`; None when that line cannot be one."""
    end = end_of_line(data, start)
    heading = data[start:end]
    if len(heading) > MAX_LINE:
        return None
    separator = next((s for s in _SEPARATORS if s in heading), _NONE)
    cells = heading.split(separator)
    if any(len(cell) > MAX_CELL for cell in cells):
        return None
    return Grid(start, end, separator, cells, end)


def end_of_line(data: bytes, at: int) -> int:
    """Where the line ends that `at` stands in."""
    end = data.find(b"\n", at)
    return len(data) if end < 0 else end


def _is_rule(row: bytes) -> bool:
    """The line below the heading of a Markdown or a database's table."""
    return not row.strip(b"|+-: \t\r=")
