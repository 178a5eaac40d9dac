"""Turns pydantic's errors into a cause and a remedy for a person, and must never echo a value
at length. Shared by the manifest and the configuration."""

from __future__ import annotations

import difflib
import itertools
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from fumehood.model.document import Path, shown
from fumehood.model.units import FieldError

_COMPARED = 200
_LISTED = 40

LONGEST_LIST = 200
"""Characters of the allowed values that one error repeats."""

_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with a document: where, what, what to do."""

    path: Path
    cause: str
    remedy: str


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what is known when nothing is near."""
    names = sorted(itertools.islice(known, _COMPARED))
    near = difflib.get_close_matches(word[:64].lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    if near:
        return f"did you mean {next(n for n in names if n.lower() == near[0])!r}?"
    if not names:
        return "none is known here"
    return "known here: " + ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")


def explain(model: type[BaseModel], error: ValidationError) -> Fault:
    """The fault to show first: an unknown key before anything it may have caused."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    path: Path = tuple(part for part in first["loc"] if part != "[key]")
    return _explain(model, dict(first), path)


def _explain(model: type[BaseModel], error: dict[str, Any], path: Path) -> Fault:
    kind = error["type"]
    if kind == "extra_forbidden":
        cause = f"unknown key {shown(str(path[-1]))}"
        return Fault(path, cause, nearest(str(path[-1]), known_keys(model, path[:-1])))
    if kind == "missing":
        return Fault(path, f"the key {str(path[-1])!r} is missing", "add it")
    if kind == "value_error" and isinstance(refused := error["ctx"]["error"], FieldError):
        return Fault((*path, *refused.at), refused.cause, refused.remedy)
    if kind == "literal_error":
        expected = str(error["ctx"]["expected"])
        if len(expected) > LONGEST_LIST:
            expected = expected[:LONGEST_LIST].rsplit(",", 1)[0] + " … (see the reference)"
        cause = f"expected {expected}, got {shown(error['input'])}"
        return Fault(path, cause, "write one of these")
    if kind in _EXPECTED:
        got = error["input"]
        quoted = kind == "string_type" and isinstance(got, int | float)
        remedy = "quote it" if quoted else f"write {_EXPECTED[kind]}"
        return Fault(path, f"expected {_EXPECTED[kind]}, got {shown(got)}", remedy)
    if kind in ("too_short", "too_long"):
        ctx = error["ctx"]
        most = "at least" if kind == "too_short" else "at most"
        count = ctx["min_length"] if kind == "too_short" else ctx["max_length"]
        items = "item" if count == 1 else "items"
        remedy = "add some, or leave the key out" if kind == "too_short" else "leave some out"
        return Fault(path, f"needs {most} {count} {items}, has {ctx['actual_length']}", remedy)
    return Fault(path, f"{error['msg']}, got {shown(error['input'])}", "")


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the mapping at `path` inside `model` may have."""
    current: type[BaseModel] | None = model
    parts = iter(path)
    for part in parts:
        if current is None or not isinstance(part, str) or part not in current.model_fields:
            return []
        annotation = current.model_fields[part].annotation
        current = _inner(annotation)
        if current is not None and _holds_many(annotation):
            next(parts, None)  # which of them
    return [] if current is None else list(current.model_fields)


_WRAPPERS = (types.UnionType, typing.Union, typing.Annotated)


def _inner(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (*_WRAPPERS, tuple, dict):
        for argument in typing.get_args(annotation):
            if (found := _inner(argument)) is not None:
                return found
    return None


def _holds_many(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (tuple, dict):
        return True
    return origin in _WRAPPERS and any(map(_holds_many, typing.get_args(annotation)))
