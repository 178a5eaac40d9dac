"""Whether a tool's stdout is what its outputSchema promises; must never quote the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fumehood.errors import InvalidArguments, NotStrictJSON
from fumehood.model import strict_json

MAX_DEPTH: Final = 128
"""Arrays and objects within each other."""

Check = Callable[[object], None]
"""Raises InvalidArguments, whose `pointer` leads to the fault."""


class Unfit(Exception):
    """stdout is no strict JSON (`rule` is `not-json`), or breaks the schema (`output-schema`).

    message: the rule that was broken, never the output. pointer: where, in the output's own keys.
    """

    def __init__(self, rule: str, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.pointer = pointer


def parse(stdout: bytes) -> Any:
    """The one JSON document that stdout is. Raises Unfit."""
    try:
        return strict_json.loads(stdout, depth=MAX_DEPTH)
    except NotStrictJSON as error:
        raise Unfit("not-json", error.cause) from None


def check(value: object, checker: Check) -> None:
    """Raises Unfit when the value breaks the schema behind `checker`."""
    try:
        checker(value)
    except InvalidArguments as error:
        raise Unfit("output-schema", "it breaks the outputSchema", error.pointer) from None
