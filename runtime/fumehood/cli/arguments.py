"""Turns what stands on a command line into one JSON object of arguments.

Values are never guessed at where the tool's schema tells their type; nothing of them is ever
interpreted by a shell, used as an option, or used as a path (except where `@` asks for it).
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.errors import NotStrictJSON, UsageError
from fumehood.model.strict_json import ARGUMENT_DEPTH, loads

MAX_BYTES: Final = 64 * 1024 * 1024
"""The most that is read from stdin or a file; the daemon's frame limit is usually smaller."""

Schema = Mapping[str, Any]
_JSON_TYPES: Final = {"integer", "number", "boolean", "array", "object", "null"}


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line says, as far as no schema is needed to understand it.

    pairs, files: (name, value) and (name, path) each, in the order given.
    """

    document: dict[str, object]
    pairs: tuple[tuple[str, str], ...]
    files: tuple[tuple[str, Path], ...]

    def typed(self, schema: Callable[[], Schema]) -> dict[str, object]:
        """The arguments object. `schema` gives the tool's inputSchema; asked only when needed.

        Raises UsageError: a value has another type, or a name is given twice.
        """
        arguments = dict(self.document)
        if not self.pairs and not self.files:
            return arguments
        properties = _properties(schema())
        for name, value in self.pairs:
            _put(arguments, name, _typed(name, value, properties.get(name, {})), properties)
        for name, path in self.files:
            _put(arguments, name, _content(path, properties.get(name, {})), properties)
        return arguments


def parse(document: str | None, pairs: Sequence[str], files: Sequence[str]) -> Given:
    """What is wrong whatever the tool is told before one is asked for.

    Args:
        document: JSON text, `-` for stdin, `@FILE`, or None for no document.
        pairs: `NAME=VALUE` each; files: `NAME=FILE` each. They add to the document.

    Raises UsageError: something cannot be understood.
    """
    return Given(
        {} if document is None else _document(document),
        tuple(_split(pair, "--arg", "VALUE") for pair in pairs),
        tuple(
            (name, Path(path))
            for name, path in (_split(pair, "--arg-file", "FILE") for pair in files)
        ),
    )


def _document(document: str) -> dict[str, object]:
    if document == "-":
        source, data = "stdin", _stdin()
    elif document.startswith("@"):
        source, data = document[1:], _read(Path(document[1:]))
    else:
        source, data = "the arguments", document.encode(errors="surrogateescape")
    if len(data) > MAX_BYTES:
        raise _too_long(source)
    try:
        value = loads(data, depth=ARGUMENT_DEPTH)
    except NotStrictJSON as error:
        raise UsageError(f"{source}: {error.cause}", error.remedy or _DOCUMENT_REMEDY) from None
    if not isinstance(value, dict):
        raise UsageError(f"{source}: expected a JSON object", _DOCUMENT_REMEDY)
    return value


_DOCUMENT_REMEDY = """give a JSON object such as '{"text": "to be"}', or use --arg text='to be'"""


def _stdin() -> bytes:
    if sys.stdin is None:
        raise UsageError("stdin is closed", "give the arguments on it, as JSON or as @FILE")
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"stdin: {error.strerror}", "redirect it from a file or a pipe") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a file that you may read") from None


def _too_long(source: object) -> UsageError:
    return UsageError(f"{source}: more than {MAX_BYTES} bytes", "give the tool less at a time")


def _properties(schema: Schema) -> dict[str, Schema]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: value for name, value in properties.items() if isinstance(value, dict)}


def _split(pair: str, option: str, value: str) -> tuple[str, str]:
    name, separator, given = pair.partition("=")
    if not name or not separator:
        raise UsageError(
            f"{option} {pair[:40]!r}: expected NAME={value}", f"write {option} NAME={value}"
        )
    try:
        pair.encode()
    except UnicodeEncodeError:
        shown = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        raise UsageError(
            f"{option} {shown}: not UTF-8", "write it as UTF-8, or give base64 of its bytes"
        ) from None
    return name, given


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
    raise UsageError(f"the argument {name!r} is given twice", "give it once")


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
    except NotStrictJSON:
        if "array" in types:
            return [_typed(name, text, _items(schema))]
        if not types or "string" in types:
            return text
        expected = " or ".join(sorted(types & _JSON_TYPES))
        raise UsageError(
            f"--arg {name}: expected {expected}, got {text[:40]!r}",
            f"write it as JSON has it, such as {_example(name, types)}",
        ) from None
    if "array" in types and not isinstance(value, list):
        return [_typed(name, text, _items(schema))]
    if "string" in types and not types & _kinds(value):
        return text
    return value


_EXAMPLES: Final = {
    "integer": "3", "number": "0.5", "boolean": "true", "object": """'{"a": 1}'""", "null": "null",
}  # fmt: skip


def _example(name: str, types: set[str]) -> str:
    shown = next((text for kind, text in _EXAMPLES.items() if kind in types), "3")
    return f"--arg {name}={shown}"


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
        raise _too_long(path)
    if schema.get("contentEncoding") == "base64":
        return base64.b64encode(data).decode()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: not UTF-8 at byte {error.start}", "give text, or base64 through --arg"
        ) from None
