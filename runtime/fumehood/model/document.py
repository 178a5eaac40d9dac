"""Reads one YAML or JSON document strictly into plain values, and must never guess.

Nothing here knows what the document means. Anchors, aliases, tags, merge keys, duplicate keys,
several documents, non-string keys, NaN and integers beyond 64 bits are refused; YAML's plain
scalars mean what they mean in JSON and are strings otherwise (so `no` is a string, and 1:30
is not 90). Values are built from parser events, so depth is refused before it costs a stack.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import yaml

from fumehood.errors import FumehoodError, NotStrictJSON
from fumehood.model import strict_json

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

Path = tuple[str | int, ...]

_INT = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONSTANTS: Mapping[str, bool | None] = MappingProxyType(
    {"": None, "~": None, "null": None, "true": True, "false": False}
)
_SHOWN = 40
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(FumehoodError):
    """A text that is no strict document; rooms translate it into their own error.

    `line` counts from 1, None where it is not known.
    """

    code = "document"

    def __init__(self, cause: str, remedy: str = "", *, line: int | None = None) -> None:
        super().__init__(cause, remedy)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """`value` holds only dict, list, str, int, float, bool and None; `lines` where each is."""

    value: object
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it."""
        for end in range(len(path), -1, -1):
            if (line := self.lines.get(path[:end])) is not None:
                return line
        return None


def dotted(path: Path) -> str:
    """`limits.memory`, `run.command[0]`; a hostile key is shown short and quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.isprintable() and len(part) <= _SHOWN else shown(part)
            text += f".{name}" if text else name
    return text


def shown(value: object) -> str:
    """A short, single-line, printable form of a hostile value, for an error message."""
    text = value[: _SHOWN + 1] if isinstance(value, str) else _brief(value)
    text = json.dumps(text) if isinstance(value, str) else text
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _brief(value: object) -> str:
    if isinstance(value, dict | list | tuple | set):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**64:
        return "an integer beyond 64 bits"
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return type(value).__name__


def parse(text: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Document:
    """Parse one document, or raise DocumentError. An empty text is null.

    Args:
        text: JSON when it begins with `{`, YAML otherwise.
        max_bytes: bound of its UTF-8 form. max_depth: mappings and lists within each other.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise DocumentError("the text holds a lone surrogate", "save it as UTF-8") from None
    if size > max_bytes:
        raise DocumentError(f"the text has {size} bytes; at most {max_bytes} are read")
    if text.lstrip().startswith("{"):
        return _parse_json(text, max_depth)
    return _YamlBuilder(max_depth).build(text)


def _parse_json(text: str, max_depth: int) -> Document:
    try:
        value = strict_json.loads(text.encode(), depth=max_depth)
    except NotStrictJSON as error:
        raise DocumentError(error.cause, "a text that begins with { is read as JSON") from None
    return Document(value, MappingProxyType({}))


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise DocumentError(f"the integer {shown(text)} does not fit into 64 bits")
    return int(text)


def _float(text: str) -> float:
    if len(text) > 64 or not math.isfinite(float(text)):
        raise DocumentError(f"the number {shown(text)} is too large to be read exactly")
    return float(text)


def _too_deep(max_depth: int, line: int) -> DocumentError:
    return DocumentError(f"nested more than {max_depth} levels deep", line=line)


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is still open; `key` is the mapping's key waiting for a value."""

    path: Path
    value: dict[str, object] | list[object]
    key: str | None = None


@dataclass(slots=True)
class _YamlBuilder:
    max_depth: int
    frames: list[_Frame] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    root: object = None
    documents: int = 0

    def build(self, text: str) -> Document:
        try:
            for event in _events(text):
                self._take(event)
        except yaml.YAMLError as error:
            raise _translated(error) from None
        return Document(self.root, MappingProxyType(self.lines))

    def _take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise DocumentError("a second document begins here", "keep one", line=line)
            if event.tags:
                raise DocumentError("a %TAG directive is not allowed", line=line)
        elif isinstance(event, yaml.AliasEvent):
            raise _no_anchor(event.anchor, line)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._put_value(self.frames.pop().value)

    def _node(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise _no_anchor(event.anchor, line)
        if event.tag is not None:
            raise DocumentError(f"the tag {shown(event.tag)} is not allowed", line=line)
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, line)
            if self._wants_key():
                self._put_key(value, line)
            else:
                self.lines.setdefault(self._path(), line)
                self._put_value(value)
            return
        if self._wants_key():
            raise DocumentError("a key must be a plain string", line=line)
        if len(self.frames) == self.max_depth:
            raise _too_deep(self.max_depth, line)
        path = self._path()
        self.lines.setdefault(path, line)
        self.frames.append(_Frame(path, {} if isinstance(event, yaml.MappingStartEvent) else []))

    def _wants_key(self) -> bool:
        return bool(self.frames) and (
            isinstance(self.frames[-1].value, dict) and self.frames[-1].key is None
        )

    def _path(self) -> Path:
        if not self.frames:
            return ()
        frame = self.frames[-1]
        if isinstance(frame.value, list):
            return (*frame.path, len(frame.value))
        return (*frame.path, frame.key or "")

    def _put_key(self, key: object, line: int) -> None:
        frame = self.frames[-1]
        if not isinstance(key, str):
            raise DocumentError(f"the key {shown(key)} is not a string", "quote it", line=line)
        if key in frame.value:
            raise DocumentError(f"the key {shown(key)} stands twice", "keep one", line=line)
        frame.key = key
        self.lines[(*frame.path, key)] = line

    def _put_value(self, value: object) -> None:
        if not self.frames:
            self.root = value
            return
        frame = self.frames[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is not None:
            frame.value[frame.key] = value
            frame.key = None


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_LOADER)  # events only: constructs nothing


def _scalar(event: Any, line: int) -> object:
    text: str = event.value
    if event.style:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        if _INT.fullmatch(text):
            return _integer(text)
        if _FLOAT.fullmatch(text):
            return _float(text)
    except DocumentError as error:
        raise DocumentError(error.cause, error.remedy, line=line) from None
    return text


def _no_anchor(name: str | None, line: int) -> DocumentError:
    return DocumentError(
        f"the anchor or alias {shown(name)} is not allowed", "write the value out", line=line
    )


def _translated(error: yaml.YAMLError) -> DocumentError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not readable"
    line = None if mark is None else mark.line + 1
    return DocumentError(f"not well-formed YAML: {problem}", line=line)
