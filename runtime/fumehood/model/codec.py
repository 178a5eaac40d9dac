"""A strict decoder between JSON and frozen dataclasses, for messages that cross a privilege line.

It knows exactly the types the messages use and refuses everything else: unknown or missing
keys, a bool where an int is declared, an int out of 64 bits, a wrong tuple length. Standard
library only, small enough to be read by whoever audits the launcher.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from fumehood.errors import ProtocolError

T = TypeVar("T")
INT64 = 2**63
_Reader = Callable[[Any, str], Any]
"""Takes the parsed JSON and its path; built once for each type, because some messages are decoded
for each call (a sandbox's end: 28 µs instead of 94)."""
_SHAPES: dict[type[Any], tuple[dict[str, _Reader], dict[str, type[Any]], frozenset[str]]] = {}
_PLAIN = frozenset({str, int, float, bool, type(None)})
"""What is its own JSON. Looked for before anything is called: most of what is encoded is."""


def encode(value: object) -> Any:
    """A JSON-ready form of a frozen dataclass: tuples become lists, dataclasses become objects."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        items: tuple[object, ...] = value  # type: ignore[assignment]  # narrowed by type()
        return [item if type(item) in _PLAIN else encode(item) for item in items]
    if dataclasses.is_dataclass(kind):
        encoded = {}
        for name in _names(kind):
            item = getattr(value, name)
            encoded[name] = item if type(item) in _PLAIN else encode(item)
        return encoded
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"cannot encode {kind.__name__}")


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(cls))


def decode(cls: type[T], raw: object, path: str = "") -> T:
    """Build `cls` from parsed JSON, or raise ProtocolError naming the field.

    Fields with defaults may be left out; no other leniency exists.
    """
    if not isinstance(raw, dict):
        raise ProtocolError(f"{path or cls.__name__}: expected an object")
    readers, exact, required = _shape(cls)
    if unknown := raw.keys() - readers.keys():
        raise ProtocolError(f"{path or cls.__name__}: unknown key {sorted(unknown)[0]!r}")
    if missing := required - raw.keys():
        raise ProtocolError(f"{path or cls.__name__}: missing key {sorted(missing)[0]!r}")
    prefix = f"{path}." if path else ""
    return cls(
        **{
            key: item if type(item) is exact.get(key) else readers[key](item, prefix + key)
            for key, item in raw.items()
        }
    )


def _shape(
    cls: type[Any],
) -> tuple[dict[str, _Reader], dict[str, type[Any]], frozenset[str]]:
    """Readers by field name, the types of which every value is allowed, and the names that must be
    there."""
    if (known := _SHAPES.get(cls)) is not None:
        return known
    fields = dataclasses.fields(cls)
    hints = typing.get_type_hints(cls)
    required = frozenset(
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    readers = {f.name: _reader(hints[f.name]) for f in fields}
    exact = {f.name: hints[f.name] for f in fields if hints[f.name] in (str, bool, float)}
    shape = readers, exact, required
    _SHAPES[cls] = shape
    return shape


def _reader(hint: Any) -> _Reader:
    if dataclasses.is_dataclass(hint):
        return functools.partial(decode, typing.cast("type[Any]", hint))
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _tuple(typing.get_args(hint))
    if origin is typing.Literal:
        return _literal(typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return _optional(typing.get_args(hint))
    return _scalar(hint)


def _literal(allowed: tuple[Any, ...]) -> _Reader:
    def read(raw: Any, path: str) -> Any:
        if isinstance(raw, str | int) and raw in allowed and not isinstance(raw, bool):
            return raw
        raise ProtocolError(f"{path}: not one of the values allowed here")

    return read


def _optional(args: tuple[Any, ...]) -> _Reader:
    (inner,) = (_reader(arg) for arg in args if arg is not type(None))
    nullable = type(None) in args
    return lambda raw, path: None if raw is None and nullable else inner(raw, path)


def _scalar(hint: Any) -> _Reader:
    name = getattr(hint, "__name__", str(hint))

    def read(raw: Any, path: str) -> Any:
        if type(raw) is not hint:
            if hint is float and type(raw) is int and -INT64 <= raw < INT64:
                return float(raw)
            raise ProtocolError(f"{path}: expected {name}")
        if hint is int and not -INT64 <= raw < INT64:
            raise ProtocolError(f"{path}: integer out of range")
        return raw

    return read


def _tuple(args: tuple[Any, ...]) -> _Reader:
    if len(args) == 2 and args[1] is Ellipsis:
        return _list(_reader(args[0]))
    readers = tuple(_reader(arg) for arg in args)

    def read(raw: Any, path: str) -> Any:
        if not isinstance(raw, list):
            raise ProtocolError(f"{path}: expected a list")
        if len(raw) != len(readers):
            raise ProtocolError(f"{path}: expected {len(readers)} items")
        items = zip(readers, raw, strict=True)
        return tuple(one(item, f"{path}[{i}]") for i, (one, item) in enumerate(items))

    return read


def _list(one: _Reader) -> _Reader:
    def read(raw: Any, path: str) -> Any:
        if not isinstance(raw, list):
            raise ProtocolError(f"{path}: expected a list")
        return tuple(one(item, f"{path}[{i}]") for i, item in enumerate(raw))

    return read
