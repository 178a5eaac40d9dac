"""How the command line speaks: errors, JSON, tables, sizes; must never send control characters
of foreign text to a terminal, nor colour to anything else.

rich is imported only when a table is drawn on a terminal: `call` starts without it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import IO

from fumehood.errors import FumehoodError, UsageError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person sees this stream; TERM=dumb terminals cannot move the cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, code: str, stream: IO[str]) -> str:
    """`text` in the SGR style `code` on a terminal (no-color.org: NO_COLOR turns it off)."""
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def printable(text: str) -> str:
    """Control and bidirectional characters as visible escapes; newline and tab stay."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """One line of diagnostics on stderr."""
    sys.stderr.write(printable(text) + "\n")


def note(label: str, text: str, code: str = "1") -> None:
    """`label: text` on stderr, the label styled."""
    sys.stderr.write(f"{styled(label + ':', code, sys.stderr)} {printable(text)}\n")


def fact(label: str, text: str) -> None:
    """`label: text` on stdout, the label styled: part of what was asked for."""
    _write(f"{styled(label + ':', '1', sys.stdout)} {printable(text)}\n")


class Unwritable(UsageError):
    """stdout takes nothing more, so this is told on stderr whatever was asked for."""


def unwritable(error: OSError) -> Unwritable:
    return Unwritable(
        f"stdout cannot be written: {error.strerror}", "make room there, or redirect it elsewhere"
    )


def _write(text: str) -> None:
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:  # half a surrogate pair, as JSON can say: shown as JSON does
            sys.stdout.write(text.encode(errors="backslashreplace").decode())
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from None


def out(text: str) -> None:
    """Text of a tool or of ours on stdout, without adding anything a pipe would notice."""
    if not is_terminal(sys.stdout):
        _write(text)
        return
    text = printable(text)
    _write(text if text.endswith("\n") or not text else text + "\n")


def out_part(text: str) -> None:
    """Part of a tool's text on stdout, with more of it to come."""
    _write(printable(text) if is_terminal(sys.stdout) else text)


def out_json(value: object) -> None:
    """Indented JSON on stdout, the same for people and machines."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _write((printable(text) if is_terminal(sys.stdout) else text) + "\n")


def error_object(error: FumehoodError) -> dict[str, object]:
    """An error as `--json` has it."""
    return {"error": {"code": error.code, "cause": error.cause, "remedy": error.remedy}}


def show_error(error: FumehoodError, *, as_json: bool = False) -> None:
    """An error as `error: cause` and `remedy: …` on stderr, or as one JSON object on stdout."""
    if as_json:
        out_json(error_object(error))
        return
    note("error", error.cause, "1;31")
    if error.remedy:
        note("remedy", error.remedy, "1;32")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows on stdout: wrapped to the terminal's width, or aligned and never cut in a pipe."""
    if is_terminal(sys.stdout):
        _rich_table(headers, rows)
        return
    lines = [list(headers), *[[cell.replace("\n", " ") for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        _write("  ".join(cells).rstrip() + "\n")


_STATE_STYLES = {"ok": "green", "active": "green", "degraded": "yellow", "missing": "bold red"}


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*headers, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        drawn.add_row(*(Text(printable(c), style=_STATE_STYLES.get(c, "")) for c in row))
    Console(file=sys.stdout).print(drawn)


def size(count: int | float | None) -> str:
    """`128 MiB`, `1.5 KiB`, `17 B`; `unknown` for None."""
    if count is None:
        return "unknown"
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count} B"


def percent(value: float, total: float | None) -> str:
    """`42 %`; `37` of nobody knows how many."""
    return f"{value:g}" if total is None else f"{value / (total or 1):.0%}".replace("%", " %")


def age(value: float | None) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h07m`; `-` for None."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f}s"
    minutes, rest = divmod(int(value), 60)
    if minutes < 1:
        return f"{rest}s"
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def seconds(value: float | None) -> str:
    """`1.25 s`, `12 ms`; `unknown` for None."""
    if value is None:
        return "unknown"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
