"""How durations, sizes and CPU shares are written in a manifest and in the configuration.

Pure text to integer and back; must never accept a number without its unit, and never round.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from fumehood.model.document import shown

MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

_DURATION = r"[1-9][0-9]{0,8}(ms|s|m|h)"
_SIZE = r"[1-9][0-9]{0,12}(B|KiB|MiB|GiB|TiB)"
_PARTS = re.compile(r"([0-9]+)([A-Za-z]+)")


class FieldError(ValueError):
    """A value that a field refuses, with what to write instead; becomes a FumehoodError.

    at: where inside the field, for one that holds others.
    """

    def __init__(self, cause: str, remedy: str = "", *, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.at = at


def parse_duration(text: object) -> int:
    """Milliseconds in `250ms`, `10s`, `5m`, `1h`; raises FieldError."""
    return _parse(text, _DURATION, MILLISECONDS, "a duration", "such as 500ms, 10s, 5m or 1h")


def parse_size(text: object) -> int:
    """Bytes in `512B`, `64KiB`, `128MiB`, `2GiB`, `1TiB`; raises FieldError."""
    return _parse(text, _SIZE, BYTES, "a size", "such as 64KiB, 128MiB or 2GiB (1 KiB = 1024 B)")


def parse_cpu(value: object) -> int:
    """Thousandths of one core in `0.5`, `1`, `2.0`; raises FieldError."""
    if type(value) not in (int, float) or not abs(value) <= 2**31:  # type: ignore[arg-type]  # narrowed by type()
        raise FieldError(f"expected a number of cores, got {shown(value)}", "write it such as 0.5")
    millis = Decimal(repr(value)) * 1000
    if millis != millis.to_integral_value():
        raise FieldError(f"{shown(value)} cores is finer than 0.001 core")
    return int(millis)


def format_duration(milliseconds: int) -> str:
    """The shortest exact form: 90000 is `90s`, 60000 is `1m`."""
    return _format(milliseconds, MILLISECONDS)


def format_seconds(seconds: float) -> str:
    """The same of what is held as seconds: 1.5 is `1500ms`."""
    return format_duration(round(seconds * 1000))


def format_size(size: int) -> str:
    """The shortest exact form: 1048576 is `1MiB`, 1000 is `1000B`."""
    return _format(size, BYTES)


def format_cpu(millis: int) -> float:
    """Cores: 1500 is 1.5."""
    return millis / 1000


def _parse(text: object, pattern: str, units: dict[str, int], what: str, example: str) -> int:
    if isinstance(text, str) and re.fullmatch(pattern, text, re.ASCII):
        parts = _PARTS.fullmatch(text)
        if parts is not None:
            return int(parts[1]) * units[parts[2]]
    raise FieldError(
        f"expected {what}, got {shown(text)}", f"write a whole number and a unit, {example}"
    )


def _format(value: int, units: dict[str, int]) -> str:
    unit = max((u for u in units if value % units[u] == 0), key=lambda u: units[u])
    return f"{value // units[unit]}{unit}"


def _schema(pattern: str, description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "description": description})


def _seconds(text: Any) -> float:
    return parse_duration(text) / 1000


Milliseconds = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    _schema(_DURATION, "a whole number and ms, s, m or h"),
]
"""Written `10s`, held as whole milliseconds."""

Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    PlainSerializer(format_seconds),
    _schema(_DURATION, "a whole number and ms, s, m or h"),
]
"""Written `10s`, held as seconds."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size),
    _schema(_SIZE, "a whole number and B, KiB, MiB, GiB or TiB"),
]
"""Written `128MiB`, held as bytes."""

Cpu = Annotated[
    int,
    BeforeValidator(parse_cpu),
    PlainSerializer(format_cpu),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}),
]
"""Written `0.5`, held as thousandths of a core."""
