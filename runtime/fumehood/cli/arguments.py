"""Turns what stands on a command line into one JSON object of arguments.

Values are never guessed at where the tool's schema tells their type; nothing of them is ever
interpreted by a shell, used as an option, or used as a path (except where `@` asks for it).
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fumehood.errors import NotStrictJSON, UsageError
from fumehood.model.strict_json import loads

MAX_BYTES: Final = 64 * 1024 * 1024
"""The most that is read from stdin or a file; the daemon's frame limit is usually smaller."""

Schema = Mapping[str, Any]
_JSON_TYPES: Final = {"integer", "number", "boolean", "array", "object", "null"}


def collect(
    document: str | None,
    pairs: Sequence[str],
    files: Sequence[str],
    schema: Callable[[], Schema],
) -> dict[str, object]:
    """The arguments object.

    Args:
        document: JSON text, `-` for stdin, `@FILE`, or None for no document.
        pairs: `NAME=VALUE` each; files: `NAME=FILE` each. They add to the document.
        schema: gives the tool's inputSchema; asked only when there are pairs or files.

    Raises:
        UsageError: something cannot be understood, or a name is given twice.
    """
    arguments = {} if document is None else _document(document)
    if not pairs and not files:
        return arguments
    properties = _properties(schema())
    for pair in pairs:
        name, value = _split(pair, "--arg")
        _put(arguments, name, _typed(name, value, properties.get(name, {})), properties)
    for pair in files:
        name, path = _split(pair, "--arg-file")
        _put(arguments, name, _content(Path(path), properties.get(name, {})), properties)
    return arguments


def _document(document: str) -> dict[str, object]:
    if document == "-":
        source, data = "stdin", sys.stdin.buffer.read(MAX_BYTES + 1)
    elif document.startswith("@"):
        source, data = document[1:], _read(Path(document[1:]))
    else:
        source, data = "the arguments", document.encode(errors="surrogateescape")
    if len(data) > MAX_BYTES:
        raise UsageError(f"{source}: more than {MAX_BYTES} bytes")
    try:
        value = loads(data)
    except NotStrictJSON as error:
        raise UsageError(f"{source}: {error.cause}", _DOCUMENT_REMEDY) from None
    if not isinstance(value, dict):
        raise UsageError(f"{source}: expected a JSON object", _DOCUMENT_REMEDY)
    return value


_DOCUMENT_REMEDY = """give a JSON object such as '{"text": "to be"}', or use --arg text='to be'"""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _properties(schema: Schema) -> dict[str, Schema]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: value for name, value in properties.items() if isinstance(value, dict)}


def _split(pair: str, option: str) -> tuple[str, str]:
    name, separator, value = pair.partition("=")
    if not name or not separator:
        raise UsageError(f"{option} {pair!r}: expected NAME=VALUE")
    return name, value


def _put(
    arguments: dict[str, object], name: str, value: object, properties: Mapping[str, Schema]
) -> None:
    """Repeating the name of an array adds items to it; anything else may be given once."""
    if name not in arguments:
        arguments[name] = value
        return
    present = arguments[name]
    if "array" in _types(properties.get(name, {})) and isinstance(present, list):
        present.extend(value if isinstance(value, list) else [value])
        return
    raise UsageError(f"the argument {name!r} is given twice")


def _types(schema: Schema) -> set[str]:
    declared = schema.get("type")
    names = declared if isinstance(declared, list) else [declared]
    return {name for name in names if isinstance(name, str)}


def _typed(name: str, text: str, schema: Schema) -> object:
    """By the schema's type where it has one, otherwise JSON, otherwise a string."""
    types = _types(schema)
    if types == {"string"}:
        return text
    try:
        value: object = loads(text.encode(errors="surrogateescape"))
    except NotStrictJSON as error:
        if "array" in types:
            return [_typed(name, text, _items(schema))]
        if not types or "string" in types:
            return text
        expected = " or ".join(sorted(types & _JSON_TYPES))
        raise UsageError(
            f"--arg {name}: expected {expected}, got {text[:40]!r}", error.cause
        ) from None
    if "array" in types and not isinstance(value, list):
        return [_typed(name, text, _items(schema))]
    if "string" in types and not types & _kinds(value):
        return text
    return value


def _items(schema: Schema) -> Schema:
    items = schema.get("items")
    return items if isinstance(items, dict) else {}


def _kinds(value: object) -> set[str]:
    kinds: dict[type, set[str]] = {
        bool: {"boolean"},
        int: {"integer", "number"},
        float: {"number"},
        str: {"string"},
        list: {"array"},
        dict: {"object"},
    }
    return kinds.get(type(value), {"null"})


def _content(path: Path, schema: Schema) -> str:
    """A file's text, or its bytes in base64 where the schema says `contentEncoding: base64`."""
    data = _read(path)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: more than {MAX_BYTES} bytes")
    if schema.get("contentEncoding") == "base64":
        return base64.b64encode(data).decode()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not UTF-8 at byte {error.start}", "give text, or base64 through --arg"
        ) from None
