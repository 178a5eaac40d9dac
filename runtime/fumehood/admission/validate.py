"""Checks arguments (and results) against a tool's schema, and must never run longer than bounded.

A Validator is compiled once for a tool, holds no state between calls and may be used by several
threads. It says where a value breaks its schema and what is expected there; it never repeats the
value, which may be a secret, nor in what is recorded a property's name that the schema does not
name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fumehood.admission.checks import Chosen, Meter, TooCostlyError
from fumehood.admission.compiler import Compiler
from fumehood.errors import InvalidArguments
from fumehood.model.schema import check_schema
from fumehood.model.text import hidden_character

MAX_DEPTH: Final = 64
MAX_STEPS: Final = 2_000_000
"""Elements of arrays and objects (1) and branches (5) of one validation: 0.5 to 1.5 s, measured."""
MAX_PATTERN_WORK: Final = 1 << 27
"""Characters times RE2 instructions; 1.6 s where RE2 is slowest, milliseconds elsewhere."""
MAX_POINTER_CHARS: Final = 256


class Validator:
    """A compiled JSON Schema.

    Args:
        schema: as in the manifest. key: its key there, for errors of the schema itself.
        subject: what is validated, for errors of values.

    Raises:
        ManifestError: a schema that `model.schema.check_schema` refuses.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        *,
        key: str = "inputSchema",
        subject: str = "the arguments",
        max_depth: int = MAX_DEPTH,
        max_steps: int = MAX_STEPS,
    ) -> None:
        patterns = check_schema(schema, key)
        self._node = Compiler(schema, patterns).compile()
        self._subject = subject
        self._max_depth = max_depth
        self._max_steps = max_steps

    def fits(self, value: object) -> bool | None:
        """Whether `value` fits; None when that is too costly to tell."""
        if _deeper_than(value, self._max_depth):
            return None
        try:
            return self._node.check(value, Meter(self._max_steps, MAX_PATTERN_WORK)) is None
        except (TooCostlyError, RecursionError):
            return None

    def fault(self, value: object) -> str:
        """Why `value` does not fit, in words; empty when it does."""
        try:
            self.validate(value)
        except InvalidArguments as error:
            return str(error)
        return ""

    def validate(self, value: object) -> None:
        """Return if `value` (parsed strict JSON) fits, or raise InvalidArguments with a pointer."""
        if _deeper_than(value, self._max_depth):
            raise InvalidArguments(
                f"{self._subject}: nested more than {self._max_depth} levels deep"
            )
        try:
            fault = self._node.check(value, Meter(self._max_steps, MAX_PATTERN_WORK))
        except (TooCostlyError, RecursionError):
            raise InvalidArguments(
                f"{self._subject}: too large to be checked against the schema",
                "send less at once",
            ) from None
        if fault is not None:
            path = fault.path[::-1]
            pointer = _pointer(path)
            covered = _pointer(["*" if isinstance(part, Chosen) else part for part in path])
            raise InvalidArguments(
                f"{pointer or self._subject}: {fault.cause}",
                fault.remedy,
                pointer=pointer,
                recorded=f"{covered or self._subject}: {fault.for_records}",
            )


def _deeper_than(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            item
            for outer in level
            if isinstance(outer, dict | list)
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def _pointer(path: list[str | int]) -> str:
    """An RFC 6901 pointer, cut where too long; characters people cannot see are escaped."""
    pointer = ""
    for part in path:
        text = str(part).replace("~", "~0").replace("/", "~1")
        if hidden_character(text, allow="") is not None:
            text = json.dumps(text)[1:-1]
        pointer += "/" + text
        if len(pointer) > MAX_POINTER_CHARS:
            return pointer[:MAX_POINTER_CHARS] + "…"
    return pointer
