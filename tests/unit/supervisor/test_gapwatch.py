"""What is missing from the evidence opens an incident, said in words."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fumehood.audit.chain import AuditLog
from fumehood.audit.known import Known, known_path
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.supervisor import cursor, gapwatch
from support.audit import KEYS


def test_a_log_that_is_not_the_one_the_state_had_is_told(tmp_path: Path) -> None:
    audit, ring = tmp_path / "audit", open_ring(tmp_path, Periods())
    known = Known(known_path(tmp_path), ring)
    AuditLog.open(audit, KEYS, known=known).close()
    shutil.rmtree(audit)
    told: list[str] = []

    async def watched(log: AuditLog) -> None:
        watching = asyncio.create_task(gapwatch.watch(log, told.append))
        await asyncio.sleep(0)  # up to where it waits for the end
        watching.cancel()

    for _ in range(2):
        with AuditLog.open(audit, KEYS, known=known) as log:
            asyncio.run(watched(log))
    (what,) = told
    assert what.startswith("the audit log is not the one that this state had, which was ")


def test_forwarding_that_began_anew_is_told_with_its_reason() -> None:
    told: list[str] = []
    appended: list[str] = []

    def append(event: str, _fields: Mapping[str, Any]) -> None:
        appended.append(event)

    async def telling() -> None:
        tell = gapwatch.telling(append, told.append)
        tell(gapwatch.GAP, {"from_segment": 1, "after": 7, "reason": cursor.OTHER})
        tell(gapwatch.GAP, {"from_segment": 1, "to": 9})
        tell(gapwatch.GAP, {"from_segment": 3, "after": 3, "to": 5})
        tell("forward.foreign", {"reason": "x"})
        await asyncio.sleep(0)

    asyncio.run(telling())
    assert told == [
        "forwarding began anew behind record 7: another log is in its place",
        "records up to 9 were removed before they were forwarded",
        "records behind 3, up to 5, were gone before they were forwarded",
    ]
    assert appended == [*[gapwatch.GAP] * 3, "forward.foreign"]
