"""What the parts of a manifest and of the operator's file share: a strict model, and lists.

A key that is not known, or a value of another type, is an error: nothing is guessed.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from fumehood.model.document import shown
from fumehood.model.units import FieldError


class Strict(BaseModel):
    """Frozen, of exactly these fields, of exactly their types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def listed(value: object) -> object:
    """A list of the document as the tuple that a frozen model holds; raises FieldError."""
    if not isinstance(value, list | tuple):
        raise FieldError(f"expected a list, got {shown(value)}", "write it in brackets: [a, b]")
    return tuple(value)


def distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    """The same list; raises FieldError when it names one twice."""
    if len(set(items)) != len(items):
        raise FieldError("names one twice", "write each once")
    return items
