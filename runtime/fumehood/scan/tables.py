"""Secrets in the columns of tables: CSV, TSV, Markdown and what databases print.

The name stands in the heading, and nothing beside the value says what it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence, Match
from fumehood.scan.judging import CODE, MIN_TOKEN_BITS, SNAKE, entropy, is_dotted
from fumehood.scan.patterns import PatternDetector, Rule
from fumehood.scan.tokens import is_placeholder, kinds

MAX_ROWS: Final = 4096
MAX_LINE: Final = 4096
_NAMES: Final = (
    r"(?:[\w ]{0,20}(?:passwords?|passwd|pwd|passphrase|secret(?:[ _-]?key)?|api[ _-]?key|access[ _-]?key"
    r"|auth[ _-]?token|access[ _-]?token|private[ _-]?key)|[\w -]{0,20}(?:[_ -]pass|(?-i:[a-z0-9]Pass|[A-Z]{2}PASS))|pass|pw|token)"
)
MIN_LONE_TOKEN: Final = 16
"""Characters of what stands below `token` alone, which linguists call a word."""
_SEPARATORS: Final = (b"|", b"\t", b",", b";")
_NAMED: Final = re.compile(rb"(?i)[\"'` ]*" + _NAMES.encode() + rb"[\"'` ]*")
_TOKEN: Final = re.compile(rb"(?i)[\"'` ]*tokens?[\"'` ]*")
# Lists of imports, arguments, alternations of a pattern: none of this stands in a heading.
_CODE: Final = re.compile(
    rb"[()=\[\]{}<>\\^$*?!;]|\A\s*(?:import|from|def|use|let|const|var|return)\s"
)
_HEADING: Final = Rule(
    "table-heading", "low",
    rf"(?i)(?:^|[|,;\t])[ \t]?[\"'`]?{_NAMES}[\"'`]?[ \t]{{0,24}}(?:$|[\r|,;\t])",
)  # fmt: skip


class TablesDetector:
    """Finds headings, and reads the column below. Thread safe."""

    name = "tables"

    def __init__(self, cache: Path | None = None) -> None:
        self._headings = PatternDetector("tables", [_HEADING], cache)

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
                matches, seen = _column(data, start)
                found += matches
        return found


def _column(data: bytes, start: int) -> tuple[list[Match], int]:
    """The secrets below the heading that begins at `start`, and where its table ends."""
    end = _end_of_line(data, start)
    heading = data[start:end]
    separator = next((s for s in _SEPARATORS if s in heading), None)
    if separator is None or len(heading) > MAX_LINE:
        return [], start
    cells = heading.split(separator)
    columns = [n for n, cell in enumerate(cells) if _NAMED.fullmatch(cell.strip())]
    if not columns or any(len(cell) > 60 for cell in cells):
        return [], start
    if _CODE.search(heading.replace(b";", b"") if separator == b";" else heading):
        return [], start
    # Parameters and lists of code stand on lines of their own, indented and with a comma behind.
    if separator == b"," and (heading[:1].isspace() or not cells[-1].strip()):
        return [], start
    alone = _stands_alone(data, start)
    found: list[Match] = []
    rows = 0
    for _ in range(MAX_ROWS):
        at, end = end + 1, _end_of_line(data, end + 1)
        row = data[at:end]
        parts = row.split(separator)
        if at >= len(data) or len(parts) != len(cells) or len(row) > MAX_LINE:
            if _is_rule(row) and row:
                continue
            break
        rows += 1
        for column in columns:
            before = sum(len(part) + 1 for part in parts[:column])
            value = parts[column].strip(b" \t\r\"'`")
            lone = _TOKEN.fullmatch(cells[column].strip()) is not None
            if sure := _judge(value, lone=lone):
                place = at + before + parts[column].index(value)
                found.append(
                    Match("table-secret", "secret", "high", place, place + len(value),
                          confidence=sure)
                )  # fmt: skip
    # One line below another may be anything amid others; where a text begins or ends, a table.
    if rows < 2 and not (alone or not data[at:end].strip()):
        found = []
    return found, min(at, len(data)) - 1


def _stands_alone(data: bytes, start: int) -> bool:
    """Whether nothing, or a blank line, stands before the heading."""
    return not data[data.rfind(b"\n", 0, max(0, start - 1)) + 1 : start].strip()


def _is_rule(row: bytes) -> bool:
    """The line below the heading of a Markdown or a database's table."""
    return not row.strip(b"|+-: \t\r=")


def _end_of_line(data: bytes, at: int) -> int:
    end = data.find(b"\n", at)
    return len(data) if end < 0 else end


def _judge(value: bytes, *, lone: bool) -> Confidence | None:
    """lone: below `token` and no more."""
    if not 6 <= len(value) <= 512 or b" " in value or is_placeholder(value):
        return None
    if value.isdigit() or value.isalpha() or SNAKE.fullmatch(value):
        return None
    if CODE.match(value) and not is_dotted(value):
        return None
    if re.fullmatch(rb"[\d.,:/-]+|(?:https?|ftp)://\S+|/\S+", value):
        return None
    if lone and (len(value) < MIN_LONE_TOKEN or entropy(value) < MIN_TOKEN_BITS):
        return None
    return "medium" if kinds(value) >= 2 and entropy(value) >= 2.5 else None
