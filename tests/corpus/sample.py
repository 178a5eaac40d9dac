"""One labelled piece of output."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """group: what it is like; kind: what must be found in it, None for nothing; needle: what must
    be gone from it, where its maker knows that."""

    group: str
    name: str
    kind: str | None
    data: bytes
    needle: str = ""
