"""What a competitor is: it starts, runs one call in a fresh sandbox of its own, and stops."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self


class PeerUnavailable(Exception):
    """The competitor cannot be run here; the text goes into the table."""


class PeerFailed(Exception):
    """One of its calls failed, or gave another answer than the others."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every competitor does in a call: run `argv`, give it `arguments` as JSON, take stdout.

    folder: shown read-only at /tool inside; empty when the program needs no files.
    wanted: what stdout must be; empty: the arguments themselves, echoed.
    """

    name: str
    argv: tuple[str, ...]
    arguments: dict[str, Any]
    folder: str = ""
    wanted: str = ""

    @property
    def stdin(self) -> bytes:
        return json.dumps(self.arguments, separators=(",", ":")).encode()

    def check(self, output: bytes) -> None:
        """Raise PeerFailed when a competitor did something else."""
        wanted = json.loads(self.wanted) if self.wanted else self.arguments
        try:
            got = json.loads(output)
        except ValueError:
            got = None
        if got != wanted:
            raise PeerFailed(f"answered {output[:200]!r}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(**{**value, "argv": tuple(value["argv"])})


@dataclass(frozen=True, slots=True)
class Place:
    """Where competitors find what one run set up.

    folder: a scratch folder of this run. docker: the socket of its Docker Engine, empty: none.
    """

    folder: str
    docker: str = ""

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def rootfs(self) -> Path:
        """A root file system with nothing but empty mount points and the links into /usr."""
        return self.path / "rootfs"


class Peer(Protocol):
    """One competitor for one piece of work, in a process of its own.

    `options` come from the section; a competitor takes those it knows.
    """

    def __init__(self, work: Work, place: Place, options: dict[str, Any]) -> None:
        """Raises PeerUnavailable."""

    def call(self) -> bytes:
        """One call in a fresh sandbox; returns stdout."""

    def close(self) -> None:
        """Release what was held."""
