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


@dataclass(frozen=True, slots=True)
class Pieces:
    """Output of several pieces, each with a file's name or none. needle: what must be gone from
    all of them; nothing must be found where it is empty."""

    group: str
    name: str
    pieces: tuple[tuple[str, bytes], ...]
    needle: str = ""
