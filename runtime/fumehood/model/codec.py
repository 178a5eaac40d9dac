"""A strict decoder between JSON and frozen dataclasses, for messages that cross a privilege line.

It knows exactly the types the messages use and refuses everything else: unknown or missing
keys, a bool where an int is declared, an int out of 64 bits, a wrong tuple length. Standard
library only, small enough to be read by whoever audits the launcher.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from fumehood.errors import ProtocolError

T = TypeVar("T")
INT64 = 2**63
_SHAPES: dict[type[Any], tuple[dict[str, Any], frozenset[str]]] = {}


def encode(value: object) -> Any:
    """A JSON-ready form of a frozen dataclass: tuples become lists, dataclasses become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"cannot encode {type(value).__name__}")


def decode(cls: type[T], raw: object, path: str = "") -> T:
    """Build `cls` from parsed JSON, or raise ProtocolError naming the field.

    Fields with defaults may be left out; no other leniency exists.
    """
    if not isinstance(raw, dict):
        raise ProtocolError(f"{path or cls.__name__}: expected an object")
    hints, required = _shape(cls)
    if unknown := set(raw) - set(hints):
        raise ProtocolError(f"{path or cls.__name__}: unknown key {sorted(unknown)[0]!r}")
    if missing := required - set(raw):
        raise ProtocolError(f"{path or cls.__name__}: missing key {sorted(missing)[0]!r}")
    prefix = f"{path}." if path else ""
    return cls(**{key: _value(hints[key], item, prefix + key) for key, item in raw.items()})


def _shape(cls: type[Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Types by field name, and the names that must be there."""
    if (known := _SHAPES.get(cls)) is not None:
        return known
    fields = dataclasses.fields(cls)
    hints = typing.get_type_hints(cls)
    required = frozenset(
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    shape = {f.name: hints[f.name] for f in fields}, required
    _SHAPES[cls] = shape
    return shape


def _value(hint: Any, raw: object, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast("type[Any]", hint), raw, path)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _tuple(typing.get_args(hint), raw, path)
    if origin is typing.Literal:
        if raw in typing.get_args(hint) and not isinstance(raw, bool):
            return raw
        raise ProtocolError(f"{path}: not one of the values allowed here")
    if origin in (types.UnionType, typing.Union):
        if raw is None and type(None) in typing.get_args(hint):
            return None
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _value(inner, raw, path)
    return _scalar(hint, raw, path)


def _scalar(hint: Any, raw: object, path: str) -> Any:
    if hint is float and type(raw) in (int, float):
        return float(typing.cast("float", raw))
    if type(raw) is not hint:
        raise ProtocolError(f"{path}: expected {getattr(hint, '__name__', hint)}")
    if hint is int and not -INT64 <= typing.cast("int", raw) < INT64:
        raise ProtocolError(f"{path}: integer out of range")
    return raw


def _tuple(args: tuple[Any, ...], raw: object, path: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise ProtocolError(f"{path}: expected a list")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], item, f"{path}[{i}]") for i, item in enumerate(raw))
    if len(raw) != len(args):
        raise ProtocolError(f"{path}: expected {len(args)} items")
    return tuple(
        _value(hint, item, f"{path}[{i}]")
        for i, (hint, item) in enumerate(zip(args, raw, strict=True))
    )
