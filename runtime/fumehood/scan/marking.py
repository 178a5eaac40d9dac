"""Marks text for a model as untrusted, after it was redacted. Structured values stay as they are.

A mitigation, not a control: nothing here keeps anything from leaving.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from typing import Any, Final

from fumehood.model.marking import Marking, Mode
from fumehood.model.result import Result

_LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 of them, none that is taken for another: 5 bits each."""
MARKER_CHARACTERS: Final = {"delimit": 16, "datamark": 6, "base64": 16}
"""80 bits where a marker stands twice. In a datamark it stands at every word, so it is short;
nothing can be gained by guessing it, because it is taken out of the text first."""


def marked(result: Result, mode: Mode, token: Callable[[int], str] | None = None) -> Result:
    """`result` with its text blocks, and its files of text, marked.

    token: gives so many random characters; for tests.
    """
    marking = Marking(mode, "^" * (mode == "datamark") + (token or _token)(MARKER_CHARACTERS[mode]))
    first = 0 if result.structured is None else 1  # the text of a structured value is JSON
    content = (*result.content[:first], *(_block(b, marking) for b in result.content[first:]))
    if content == result.content:
        return result
    return dataclasses.replace(result, content=content, marking=marking)


def _token(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def _block(block: dict[str, Any], marking: Marking) -> dict[str, Any]:
    if block["type"] == "text":
        return {**block, "text": marking.mark(block["text"])}
    resource = block.get("resource", {})
    if "text" in resource:
        return {**block, "resource": {**resource, "text": marking.mark(resource["text"])}}
    return block
