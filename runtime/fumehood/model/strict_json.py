"""Reads and writes JSON from hostile peers: one document in, plain values out, never a guess.

What `json` lets through and is refused here: duplicate keys, NaN and infinities (also by
overflow, 1e999), lone surrogates, integers beyond 64 bits, deep nesting, and documents of
so many values that parsing them costs far more memory than their bytes. Standard library only.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, Final, NoReturn

from fumehood.errors import NotStrictJSON

DEPTH: Final = 64
ARGUMENT_DEPTH: Final = DEPTH - 2
"""What a message and its `params` leave of DEPTH for a tool's arguments."""
VALUES: Final = 500_000
"""A value costs up to 72 bytes beside its text (an empty object and the pointer to it)."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_LONGEST_INT = len(str(_INT_MIN))

# Possessive, and the closing quote optional: one pass, whatever the text (a search that
# restarts at each quote of an unterminated string is quadratic).
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


def loads(data: bytes | bytearray, *, depth: int = DEPTH, values: int = VALUES) -> Any:
    """Parse one UTF-8 JSON document.

    Integers from -2^63 to 2^64-1 survive exactly; other numbers become the nearest double.

    Args:
        depth: arrays and objects within each other. values: all values together, keys not
            counted (an upper bound is compared: empty arrays and objects count twice).

    Raises:
        NotStrictJSON: with a cause that names the rule and never quotes the document, and a
            remedy unless it is no JSON at all: then the reader knows what it wanted instead.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NotStrictJSON(f"not UTF-8 at byte {error.start}", "send UTF-8") from None
    _bound_shape(data, depth, values)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotStrictJSON(f"not JSON at character {error.pos}: {error.msg}") from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def dumps(value: object) -> bytes:
    """The one compact UTF-8 form: key order kept, floats by `repr`, no newline inside.

    Raises:
        ValueError: a NaN, an infinity or a lone surrogate.
    """
    return _ENCODER.encode(value).encode()


def _bound_shape(data: bytes | bytearray, depth: int, values: int) -> None:
    """Refuse by depth and count before anything is built. Counts inside strings cost a
    second look, they never refuse a document."""
    opens = data.count(b"{") + data.count(b"[")
    if opens <= depth and opens + data.count(b",") < values:
        return
    skeleton = _STRING.sub(b"", data)
    if skeleton.count(b"{") + skeleton.count(b"[") + skeleton.count(b",") >= values:
        raise NotStrictJSON(f"more than {values} values", "send less at a time")
    steps = skeleton.translate(_STEPS, _NOT_BRACKETS)
    if steps and max(accumulate(memoryview(steps).cast("b"))) > depth:
        raise NotStrictJSON(f"nested more than {depth} levels deep", "make it flatter")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotStrictJSON("an object has the same key twice", "give each key once")
    return result


def _constant(name: str) -> NoReturn:
    raise NotStrictJSON(f"{name} is not a JSON number", "send null, or text, instead")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INT or not _INT_MIN <= (value := int(text)) <= _INT_MAX:
        raise NotStrictJSON("an integer does not fit into 64 bits", "send it as text")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotStrictJSON("a number is too large for a double", "send it as text")
    return value


def _refuse_lone_surrogates(value: object) -> None:
    try:
        _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise NotStrictJSON("a string holds a lone surrogate", "send whole characters") from None


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False
)
