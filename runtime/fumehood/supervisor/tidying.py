"""Deletes the files of versions that are gone, once nothing runs from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from fumehood.catalog.store import Catalog

log = structlog.get_logger(__name__)

TIDY_SECONDS: Final = 90.0
"""By then no sandbox is kept ready for a version that is gone (`pool.IDLE_SECONDS`)."""


@dataclass(slots=True)
class Tidying:
    """in_use: digests of the trees that sandboxes still have mounted."""

    catalog: Catalog
    in_use: Callable[[], set[str]]
    _timer: asyncio.TimerHandle | None = field(default=None)

    def later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TIDY_SECONDS, self._tidy)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tidy(self) -> None:
        self._timer = None
        in_use = self.in_use()
        current = {tool.files for tool in self.catalog.all()}
        loop = asyncio.get_running_loop()
        # Not one of the threads that calls wait for: a disk may be stuck.
        work = loop.run_in_executor(None, self.catalog.collect, in_use)
        work.add_done_callback(_tidied)
        if in_use - current:
            self.later()


def _tidied(work: asyncio.Future[int]) -> None:
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("old files of tools cannot be deleted", error=str(error))
