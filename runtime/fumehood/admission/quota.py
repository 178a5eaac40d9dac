"""How many invocations one caller may have at once. Counters only: nothing here waits.

Must never tell a caller about anybody else: a refusal names the caller's own number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fumehood.errors import OverQuota


class Quota:
    """Invocations of each caller, running and waiting together.

    Args:
        per_caller: the most of one caller. Callers are told apart by UID.
    """

    def __init__(self, *, per_caller: int) -> None:
        self._per_caller = per_caller
        self._held: dict[int, int] = {}

    def check(self, uid: int) -> None:
        """Raise OverQuota if one more would be too many."""
        if self.held(uid) >= self._per_caller:
            raise OverQuota(
                f"{self._per_caller} of your calls are running or waiting, which is the most",
                "wait for one of them to end",
                retry_after=1.0,
            )

    @contextlib.contextmanager
    def hold(self, uid: int) -> Iterator[None]:
        """Count one more until the block ends, however it ends; raises OverQuota."""
        self.check(uid)
        self._held[uid] = self.held(uid) + 1
        try:
            yield
        finally:
            left = self._held[uid] - 1
            if left:
                self._held[uid] = left
            else:
                del self._held[uid]

    def held(self, uid: int) -> int:
        return self._held.get(uid, 0)

    @property
    def callers(self) -> int:
        """How many callers have something running or waiting."""
        return len(self._held)
