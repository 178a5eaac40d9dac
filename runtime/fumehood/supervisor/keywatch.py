"""Watches the key ring while the daemon runs: what changes is recorded, what expires is told.

The ring is changed by `fumehood key`, also while no daemon runs; each start records how it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from fumehood.audit.chain import AuditLog
from fumehood.audit.keys import changes, fields_of
from fumehood.audit.opening import STANDING
from fumehood.audit.record import Field
from fumehood.crypto.ring import Entry, Ring, now
from fumehood.errors import AuditError, KeyringError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
WARN_SECONDS: Final = 24 * 3600.0


def summary(ring: Ring) -> dict[str, Field]:
    """The ring in a record: its generation and standing, and each key's state by id."""
    moment = now()
    return {
        "generation": ring.generation,
        STANDING: ring.standing,
        "master": ring.master.id,
        "states": {e.id: f"{e.purpose}:{e.state(moment)}" for e in ring.entries()[:64]},
    }


class _Faults:
    """Tells why keys cannot be used, once for each reason until they can."""

    def __init__(self, broken: Callable[[str], None]) -> None:
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._why = ""

    def refused(self, error: KeyringError) -> None:
        """On any thread: by the next look the ring may be as it was, and a use was refused."""
        with contextlib.suppress(RuntimeError):  # the loop is gone: the daemon ends
            self._loop.call_soon_threadsafe(self.tell, error)

    def tell(self, error: KeyringError) -> None:
        if error.cause != self._why:
            self._why = error.cause
            log.error("the key ring cannot be used", error=error.cause, remedy=error.remedy)
            self._broken(f"keys cannot be used, and no call is taken: {error.cause}")

    def over(self) -> None:
        self._why = ""


async def watch(ring: Ring, audit: AuditLog, broken: Callable[[str], None]) -> None:
    """Look every second, for ever. broken: is told why keys cannot be used, also where only a use
    between two looks was refused; once for each reason until they can."""
    known = {entry.id: entry for entry in ring.entries()}
    generation, warned = ring.generation, -WARN_SECONDS
    loop = asyncio.get_running_loop()
    faults = _Faults(broken)
    ring.told = faults.refused
    while True:
        ring.look_at_master()
        try:
            if ring.generation != generation:
                found = {entry.id: entry for entry in ring.entries()}
                standing = ring.standing
                for event, entry in changes(known, found):
                    _record(audit, event, entry, standing)
                known, generation = found, ring.generation
            if loop.time() - warned >= WARN_SECONDS:
                warned = loop.time()
                for entry in ring.expiring():
                    _record(audit, "key.expiring", entry, ring.standing)
            faults.over()
        except KeyringError as error:  # the gate refuses calls for the same reason
            faults.tell(error)
        await asyncio.sleep(LOOK_SECONDS)


def _record(audit: AuditLog, event: str, entry: Entry, standing: str) -> None:
    fields = fields_of(entry, standing)
    log.warning(event, **fields)
    try:
        audit.append(event, fields)
    except AuditError as error:
        log.error("a change of the key ring is not recorded", event_name=event, error=str(error))  # noqa: TRY400
