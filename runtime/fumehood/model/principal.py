"""Who asks, apart from how that was proven: what admission decides about.

A local account gives one principal, and so will the subject of a token. Nothing here knows of
sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

from fumehood.model.rules import CALLERS, EVERYBODY, OPERATORS


@dataclass(frozen=True, slots=True)
class Principal:
    """One who may have rights. No role at all: nobody.

    name: stable and unique, such as `uid:1000`; quotas, sessions and records go by it.
    roles: those it has now, the built-in ones and `*` included.
    """

    name: str
    roles: frozenset[str]

    @property
    def may_connect(self) -> bool:
        return EVERYBODY in self.roles

    @property
    def operates(self) -> bool:
        return OPERATORS in self.roles

    @property
    def calls(self) -> bool:
        return CALLERS in self.roles
