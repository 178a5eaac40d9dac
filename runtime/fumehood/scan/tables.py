"""Secrets in the columns of tables: CSV, TSV, Markdown and what databases print.

The name stands in the heading, and nothing beside the value says what it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Confidence, Match
from fumehood.scan.grid import HeadedDetector, end_of_line, grid
from fumehood.scan.judging import CODE, MIN_TOKEN_BITS, SNAKE, entropy, is_dotted
from fumehood.scan.patterns import Rule
from fumehood.scan.tokens import is_placeholder, kinds

MAX_ROWS: Final = 4096
_NAMES: Final = (
    r"(?:[\w ]{0,20}(?:passwords?|passwd|pwd|passphrase|secret(?:[ _-]?key)?|api[ _-]?key|access[ _-]?key"
    r"|auth[ _-]?token|access[ _-]?token|private[ _-]?key)|[\w -]{0,20}(?:[_ -]pass|(?-i:[a-z0-9]Pass|[A-Z]{2}PASS))|pass|pw|token)"
)
MIN_LONE_TOKEN: Final = 16
"""Characters of what stands below `token` alone, which linguists call a word."""
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


def detector(cache: Path | None = None) -> HeadedDetector:
    return HeadedDetector("tables", _HEADING, _read, cache)


def _read(data: bytes, start: int) -> tuple[list[Match], int]:
    table = grid(data, start)
    if table is None or not table.separated:
        return [], start
    heading, separator, cells = data[table.start : table.end], table.separator, table.cells
    columns = [n for n, cell in enumerate(cells) if _NAMED.fullmatch(cell.strip())]
    if not columns or _CODE.search(heading.replace(b";", b"") if separator == b";" else heading):
        return [], start
    # Parameters and lists of code stand on lines of their own, indented and with a comma behind.
    if separator == b"," and (heading[:1].isspace() or not cells[-1].strip()):
        return [], start
    found: list[Match] = []
    rows = 0
    for row in table.rows(data, MAX_ROWS):
        rows += 1
        for column in columns:
            value, place = row.value(column)
            lone = _TOKEN.fullmatch(cells[column].strip()) is not None
            if sure := _judge(value, lone=lone):
                end = place + len(value)
                found.append(Match("table-secret", "secret", "high", place, end, confidence=sure))
    # One line below another may be anything amid others; where a text begins or ends, a table.
    behind = data[table.over : end_of_line(data, table.over)].strip()
    if rows < 2 and behind and not _stands_alone(data, start):
        found = []
    return found, min(table.over, len(data)) - 1


def _stands_alone(data: bytes, start: int) -> bool:
    """Whether nothing, or a blank line, stands before the heading."""
    return not data[data.rfind(b"\n", 0, max(0, start - 1)) + 1 : start].strip()


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
