"""Session handles: how a caller tells its own agents or conversations apart.

A handle is 256 random bits, bound to the principal that opened it, and ends. It is never
authentication: it gives no right that its principal does not have, and to anybody else it is the
same as one that does not exist.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fumehood.errors import OverQuota, UnknownSession

HANDLE_BYTES: Final = 32
LONGEST_HANDLE: Final = 64
MAX_SESSIONS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Session:
    """id: what records and `caller show` call it; tells nothing of the handle."""

    id: str
    principal: str
    expires: float


class Sessions:
    """lifetime: seconds. clock: seconds, monotonic. Only digests of handles are kept."""

    def __init__(self, lifetime: float, per_caller: int, clock: Callable[[], float]) -> None:
        self.adopt(lifetime, per_caller)
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}

    def adopt(self, lifetime: float, per_caller: int) -> None:
        """Open sessions by these from now on."""
        self.lifetime = lifetime
        self._per_caller = per_caller

    def open(self, principal: str) -> tuple[str, Session]:
        """A new handle and its session; raises OverQuota."""
        self._expire()
        if len(self.of(principal)) >= self._per_caller or len(self._sessions) >= MAX_SESSIONS:
            raise OverQuota(
                f"{self._per_caller} of your sessions are open, which is the most",
                "close one, or wait until one ends",
                retry_after=min(self.lifetime, 60.0),
                limit="sessions.per_caller",
            )
        handle = secrets.token_urlsafe(HANDLE_BYTES)
        key = _key(principal, handle)
        session = Session(key.hex()[:16], principal, self._clock() + self.lifetime)
        self._sessions[key] = session
        return handle, session

    def find(self, principal: str, handle: str) -> Session:
        """The session of a handle that this principal opened; raises UnknownSession."""
        session = self._sessions.get(_key(principal, handle[: LONGEST_HANDLE + 1]))
        if session is None or session.expires <= self._clock():
            raise UnknownSession("there is no such session", "open one: it may have ended")
        return session

    def close(self, principal: str, handle: str) -> Session:
        """End a session; raises UnknownSession."""
        session = self.find(principal, handle)
        del self._sessions[_key(principal, handle)]
        return session

    def of(self, principal: str) -> list[Session]:
        now = self._clock()
        return [s for s in self._sessions.values() if s.principal == principal and s.expires > now]

    def to_json(self, principal: str) -> list[dict[str, Any]]:
        now = self._clock()
        found = self.of(principal)
        return [{"session": s.id, "expires_seconds": round(s.expires - now, 1)} for s in found]

    def _expire(self) -> None:
        now = self._clock()
        ended = [key for key, session in self._sessions.items() if session.expires <= now]
        for key in ended:
            del self._sessions[key]


def _key(principal: str, handle: str) -> bytes:
    """A digest of `<principal>:<handle>`: looking it up takes no longer for one nearly right."""
    return hashlib.sha384(f"{principal}:{handle}".encode(errors="replace")).digest()
