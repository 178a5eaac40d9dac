"""Which JSON Schemas a manifest may hold, and must never let through what cannot be bounded.

JSON Schema 2020-12, less what reaches the network, what is not understood, and what costs more
than the schema and the value together: dynamic references, `unevaluated*` (quadratic in
jsonschema), references that go round in a circle, patterns that RE2 refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

import re2

from fumehood.errors import ManifestError
from fumehood.model.document import Path, dotted, shown
from fumehood.model.faults import nearest
from fumehood.model.published import DIALECT
from fumehood.model.text import hidden_character

MAX_PATTERN_CHARS: Final = 1_000
MAX_PATTERN_PROGRAM: Final = 2_000
"""RE2 instructions. Where its DFA gives up, RE2 costs about 12 ns for each character and
instruction (24 s for 1 MiB and 1,895 instructions, measured)."""
PATTERN_MEMORY: Final = 8 << 20
"""Bytes. With 1 MiB the DFA gave up 500 times more often on ordinary bounded repeats."""
MAX_PATTERNS: Final = 64

_REFUSED: Final = MappingProxyType(
    {
        "$dynamicRef": "dynamic references are not supported; use $ref",
        "$dynamicAnchor": "dynamic references are not supported; use $defs and $ref",
        "$recursiveRef": "belongs to an older draft; use $ref",
        "$recursiveAnchor": "belongs to an older draft; use $defs and $ref",
        "$anchor": "anchors are not supported; use $ref with a path such as #/$defs/name",
        "$vocabulary": "vocabularies are not supported",
        "unevaluatedItems": "not supported, its cost is unbounded; use prefixItems and items",
        "unevaluatedProperties": "not supported, its cost is unbounded; use additionalProperties",
        "additionalItems": "belongs to an older draft; use prefixItems and items",
        "dependencies": "belongs to an older draft; use dependentRequired or dependentSchemas",
        "id": "belongs to an older draft; leave it out",
    }
)

_SCHEMA_IN_PLACE: Final = frozenset({"not", "if", "then", "else"})
_SCHEMAS_IN_PLACE: Final = frozenset({"allOf", "anyOf", "oneOf"})
_SCHEMA_INSIDE: Final = frozenset(
    {"additionalProperties", "propertyNames", "items", "contains", "contentSchema"}
)
_SCHEMA_MAP: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def _natural(value: Any) -> str | None:
    return None if type(value) is int and value >= 0 else "a whole number, 0 or more"


def _number(value: Any) -> str | None:
    fine = type(value) in (int, float) and math.isfinite(value)
    return None if fine else "a number"


def _positive(value: Any) -> str | None:
    return None if _number(value) is None and value > 0 else "a number above 0"


def _boolean(value: Any) -> str | None:
    return None if type(value) is bool else "true or false"


def _string(value: Any) -> str | None:
    return None if isinstance(value, str) else "a string"


def _names(value: Any) -> str | None:
    fine = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return None if fine and len(set(value)) == len(value) else "a list of different strings"


def _names_map(value: Any) -> str | None:
    fine = isinstance(value, dict) and all(_names(item) is None for item in value.values())
    return None if fine else "a mapping of lists of strings"


def _values(value: Any) -> str | None:
    return None if isinstance(value, list) and value else "a list with at least one value"


def _anything(_: Any) -> str | None:
    return None


_TYPES: Final = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})


def _type(value: Any) -> str | None:
    names = [value] if isinstance(value, str) else value
    fine = isinstance(names, list) and names and _names(names) is None and _TYPES.issuperset(names)
    return None if fine else "one or more of " + ", ".join(sorted(_TYPES))


def _dialect(value: Any) -> str | None:
    return None if value in (DIALECT, DIALECT + "#") else f"{DIALECT}, or no $schema"


_PLAIN: Final[Mapping[str, Callable[[Any], str | None]]] = MappingProxyType(
    {
        "$schema": _dialect,
        "$id": _string,
        "$comment": _string,
        "$ref": _string,
        "title": _string,
        "description": _string,
        "default": _anything,
        "examples": _values,
        "deprecated": _boolean,
        "readOnly": _boolean,
        "writeOnly": _boolean,
        "format": _string,
        "contentEncoding": _string,
        "contentMediaType": _string,
        "type": _type,
        "enum": _values,
        "const": _anything,
        "multipleOf": _positive,
        "maximum": _number,
        "exclusiveMaximum": _number,
        "minimum": _number,
        "exclusiveMinimum": _number,
        "maxLength": _natural,
        "minLength": _natural,
        "pattern": _string,
        "maxItems": _natural,
        "minItems": _natural,
        "uniqueItems": _boolean,
        "maxContains": _natural,
        "minContains": _natural,
        "maxProperties": _natural,
        "minProperties": _natural,
        "required": _names,
        "dependentRequired": _names_map,
    }
)
KEYWORDS: Final = (
    frozenset(_PLAIN)
    | _SCHEMA_IN_PLACE
    | _SCHEMAS_IN_PLACE
    | _SCHEMA_INSIDE
    | (_SCHEMA_MAP | {"dependentSchemas", "prefixItems"})
)


@dataclass(slots=True)
class _Walk:
    """What one pass over a schema found. Places are paths below the schema's root."""

    key: str
    places: dict[tuple[str, ...], Path] = field(default_factory=dict)
    in_place: dict[Path, list[Path]] = field(default_factory=dict)
    references: dict[Path, str] = field(default_factory=dict)
    patterns: dict[str, Any] = field(default_factory=dict)

    def wrong(self, path: Path, cause: str, remedy: str = "") -> ManifestError:
        where = dotted((self.key, *path))
        return ManifestError(f"{where}: {cause}", remedy, field=where)


def check_schema(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Refuse a schema that Fumehood does not enforce wholly, and return its compiled patterns.

    Args:
        schema: a parsed JSON object, at most `document.MAX_DEPTH` deep.
        key: its key in the manifest, for errors.

    Returns: RE2 expressions by their text, of `pattern` and `patternProperties`.

    Raises:
        ManifestError: naming the place inside the schema, and the pattern or reference.
    """
    walk = _Walk(key)
    _check_text(walk, schema)
    waiting: list[tuple[Path, object]] = [((), schema)]
    while waiting:
        path, node = waiting.pop()
        walk.places[tuple(map(str, path))] = path
        if isinstance(node, dict):
            waiting.extend(_check_node(walk, path, node))
        elif not isinstance(node, bool):
            raise walk.wrong(path, f"expected a schema, got {shown(node)}", "use a mapping")
    _check_references(walk)
    return MappingProxyType(walk.patterns)


def compile_pattern(pattern: str) -> Any:
    """`pattern` in RE2: linear in the text, whatever the pattern.

    Raises ValueError saying why RE2, or a bound, refuses it.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = PATTERN_MEMORY
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else "refused"
        raise ValueError(text.decode() if isinstance(text, bytes) else str(text)) from None
    if compiled.programsize > MAX_PATTERN_PROGRAM:
        raise ValueError(
            f"it needs {compiled.programsize} RE2 instructions, more than {MAX_PATTERN_PROGRAM}"
        )
    return compiled


def _check_text(walk: _Walk, schema: object) -> None:
    """No string of a schema hides anything: agents read all of them."""
    waiting: list[tuple[Path, object]] = [((), schema)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                _check_visible(walk, path, key)
                waiting.append(((*path, key), value))
        elif isinstance(node, list):
            waiting.extend(((*path, index), value) for index, value in enumerate(node))
        elif isinstance(node, str):
            _check_visible(walk, path, node)


def _check_visible(walk: _Walk, path: Path, text: str) -> None:
    if (character := hidden_character(text)) is not None:
        raise walk.wrong(
            path, f"holds the character {character}, which people cannot see", "remove it"
        )


def _check_node(walk: _Walk, path: Path, node: dict[str, Any]) -> Iterator[tuple[Path, object]]:
    for keyword, value in node.items():
        here = (*path, keyword)
        if (check := _PLAIN.get(keyword)) is not None:
            if (expected := check(value)) is not None:
                raise walk.wrong(here, f"expected {expected}, got {shown(value)}", "correct it")
            _check_plain(walk, path, keyword, value)
        elif keyword in KEYWORDS:
            yield from _subschemas(walk, path, keyword, value)
        elif keyword in _REFUSED:
            raise walk.wrong(here, f"the keyword {keyword} is refused", _REFUSED[keyword])
        elif not keyword.startswith("x-"):
            raise walk.wrong(here, f"unknown keyword {shown(keyword)}", nearest(keyword, KEYWORDS))


def _check_plain(walk: _Walk, path: Path, keyword: str, value: Any) -> None:
    if keyword == "pattern":
        _add_pattern(walk, (*path, keyword), value)
    elif keyword == "$ref":
        walk.references[path] = value
    elif keyword in ("$id", "$schema") and path:
        raise walk.wrong((*path, keyword), f"{keyword} is allowed at the top only", "remove it")


def _subschemas(
    walk: _Walk, path: Path, keyword: str, value: object
) -> Iterator[tuple[Path, object]]:
    here = (*path, keyword)
    found: list[tuple[Path, object]]
    if keyword in _SCHEMA_IN_PLACE or keyword in _SCHEMA_INSIDE:
        found = [(here, value)]
    elif keyword in _SCHEMAS_IN_PLACE or keyword == "prefixItems":
        if not isinstance(value, list) or not value:
            raise walk.wrong(here, f"expected a list of schemas, got {shown(value)}", "use a list")
        found = [((*here, index), item) for index, item in enumerate(value)]
    else:
        if not isinstance(value, dict):
            raise walk.wrong(
                here, f"expected a mapping of schemas, got {shown(value)}", "use a mapping"
            )
        found = [((*here, name), item) for name, item in value.items()]
    if keyword == "patternProperties":
        for place, _ in found:
            _add_pattern(walk, place, str(place[-1]))
    if keyword in _SCHEMA_IN_PLACE or keyword in _SCHEMAS_IN_PLACE or keyword == "dependentSchemas":
        walk.in_place.setdefault(path, []).extend(place for place, _ in found)
    yield from found


def _add_pattern(walk: _Walk, path: Path, pattern: str) -> None:
    if pattern in walk.patterns:
        return
    if len(walk.patterns) == MAX_PATTERNS:
        raise walk.wrong(path, f"more than {MAX_PATTERNS} different patterns", "use fewer")
    try:
        walk.patterns[pattern] = compile_pattern(pattern)
    except ValueError as error:
        raise walk.wrong(
            path,
            f"RE2 refuses the pattern {shown(pattern)}: {error}",
            "see github.com/google/re2/wiki/Syntax: no backreferences, no look-around",
        ) from None


def _check_references(walk: _Walk) -> None:
    for place, reference in walk.references.items():
        target = _target(walk, place, reference)
        walk.in_place.setdefault(place, []).append(target)
    finished: set[Path] = set()
    for place in walk.in_place:
        _refuse_circle(walk, place, finished)


def _target(walk: _Walk, place: Path, reference: str) -> Path:
    here = (*place, "$ref")
    if not reference.startswith("#"):
        raise walk.wrong(
            here, f"the reference {shown(reference)} leads out of the schema", "use #/$defs/name"
        )
    wanted = pointer_parts(reference)
    if wanted is None or wanted not in walk.places:
        raise walk.wrong(
            here, f"the reference {shown(reference)} leads to no schema", "use #/$defs/…"
        )
    return walk.places[wanted]


def pointer_parts(reference: str) -> tuple[str, ...] | None:
    """`#/$defs/a~1b` is ("$defs", "a/b") (RFC 6901, section 6); None when it is no pointer."""
    head, *parts = unquote(reference[1:]).split("/")
    if head:
        return None
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def resolve(schema: Any, reference: str) -> Any:
    """What a reference that `check_schema` let through leads to."""
    for part in pointer_parts(reference) or ():
        schema = schema[int(part)] if isinstance(schema, list) else schema[part]
    return schema


def _refuse_circle(walk: _Walk, start: Path, finished: set[Path]) -> None:
    """Depth first over what applies to the same value; a way back never ends (RFC: core 8.2)."""
    open_: dict[Path, Iterator[Path]] = {start: iter(walk.in_place.get(start, ()))}
    while open_:
        place = next(reversed(open_))
        following = next(open_[place], None)
        if following is None:
            finished.add(place)
            del open_[place]
        elif following in open_:
            raise walk.wrong(
                place, "references go round in a circle without going into the value", "break it"
            )
        elif following not in finished:
            open_[following] = iter(walk.in_place.get(following, ()))
