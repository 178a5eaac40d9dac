"""A strict decoder between JSON and frozen dataclasses, for messages that cross a privilege line.

It knows exactly the types the messages use and refuses everything else: unknown or missing
keys, a bool where an int is declared, an int out of 64 bits, a wrong tuple length. Standard
library only, small enough to be read by whoever audits the launcher.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
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
        parts: tuple[object, ...] = value  # type: ignore[assignment]  # narrowed by type()
        return [item if type(item) in _PLAIN else encode(item) for item in parts]
    if dataclasses.is_dataclass(kind):
        names, take = _fields(kind)
        items = take(value)
        if not _PLAIN.issuperset(map(type, items)):
            items = tuple(item if type(item) in _PLAIN else encode(item) for item in items)
        return dict(zip(names, items, strict=True))
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"cannot encode {kind.__name__}")


@functools.cache
def _fields(cls: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of the fields, and what takes their values."""
    names = tuple(item.name for item in dataclasses.fields(cls))
    if len(names) > 1:
        return names, operator.attrgetter(*names)
    return names, lambda value: tuple(getattr(value, name) for name in names)


def decode(cls: type[T], raw: object, path: str = "") -> T:
    """Build `cls` from parsed JSON, or raise ProtocolError naming the field.

    Fields with defaults may be left out; no other leniency exists. What is exactly as it was
    encoded is built without a word for where it stands; all else by `_decode`, which alone decides
    what is refused.
    """
    try:
        return typing.cast("T", _exact(typing.cast("Any", cls))(raw))
    except (_Otherwise, KeyError):
        return _decode(cls, raw, path)


def _decode(cls: type[T], raw: object, path: str = "") -> T:
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
        return functools.partial(_decode, typing.cast("type[Any]", hint))
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


# --- what is exactly as `encode` made it: the same values, and no words about any other


class _Otherwise(Exception):
    """Not exactly as it would have been encoded, which need not be wrong."""


_STRINGS = frozenset({str})


@functools.cache
def _exact(hint: Any) -> Callable[[Any], Any]:
    """Takes the parsed JSON; raises _Otherwise or KeyError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _exact_object(typing.cast("type[Any]", hint))
    if origin is tuple:
        return _exact_list(args)
    if origin is typing.Literal:
        return _exact_literal(args)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (_exact(arg) for arg in args if arg is not type(None))
        nullable = type(None) in args
        return lambda raw: None if raw is None and nullable else inner(raw)
    return _exact_scalar(hint)


def _exact_object(cls: type[Any]) -> Callable[[Any], Any]:
    hints: dict[str, Any] = typing.get_type_hints(cls)
    names = tuple(hints)
    readers = [(name, _exact(hints[name])) for name in names]

    def read(raw: Any) -> Any:
        if type(raw) is not dict or len(raw) != len(readers):
            raise _Otherwise
        return cls(*[one(raw[name]) for name, one in readers])

    if len(names) < 2 or any(hints[name] is not str for name in names):
        return read
    take = operator.itemgetter(*names)

    def read_strings(raw: Any) -> Any:
        if type(raw) is not dict or len(raw) != len(names):
            raise _Otherwise
        if not _STRINGS.issuperset(map(type, raw.values())):
            raise _Otherwise
        return cls(*take(raw))

    return read_strings


def _exact_list(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    readers = [_exact(arg) for arg in args if arg is not Ellipsis]

    def read_any(raw: Any) -> Any:
        if type(raw) is not list:
            raise _Otherwise
        return tuple(map(readers[0], raw))

    def read(raw: Any) -> Any:
        if type(raw) is not list or len(raw) != len(readers):
            raise _Otherwise
        return tuple([one(item) for one, item in zip(readers, raw, strict=True)])

    return read_any if len(args) == 2 and args[1] is Ellipsis else read


def _exact_literal(allowed: tuple[Any, ...]) -> Callable[[Any], Any]:
    strings = frozenset(item for item in allowed if type(item) is str)

    def read(raw: Any) -> Any:
        if type(raw) is not str or raw not in strings:
            raise _Otherwise
        return raw

    return read


def _exact_scalar(hint: Any) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        if type(raw) is not hint or (hint is int and not -INT64 <= raw < INT64):
            raise _Otherwise
        return raw

    return read
