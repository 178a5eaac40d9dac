"""For properties that hold of whatever is refused, where not everything is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

E = TypeVar("E", bound=Exception)


def refused(kind: type[E], call: Callable[[], object]) -> E | None:
    """What `call` raises of `kind`, None when it returns; anything else is a failure."""
    try:
        call()
    except kind as error:
        return error
    return None
