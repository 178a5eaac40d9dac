"""Watches for holes in the evidence: a log that can no longer be trusted, and what was cut off it.

Must never open a second incident for the same hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from fumehood.audit.chain import AuditLog
from fumehood.audit.record import Field

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
GAP: Final = "forward.gap"
REJECTED: Final = "forward.rejected"


async def watch(
    audit: AuditLog, gap: Callable[[str], None], look: Callable[[], None] = lambda: None
) -> None:
    """Tell `gap` of what is missing; ends when the log is broken, after which nothing is written.

    look: has somebody look who sees what the log itself cannot, and says so by `audit.lose`.

    A disk that is full is no gap: what waits is written first once it works again.
    """
    if audit.torn:
        gap(f"a torn last record of {audit.torn} bytes was set aside at the start")
    if audit.replaced:
        gap(f"the audit log is not the one that this state had, which was {audit.replaced}")
    while not audit.given_up:
        await asyncio.sleep(LOOK_SECONDS)
        audit.look()
        look()
    if (broken := audit.broken) is not None:
        log.error(broken.cause, reason=broken.detail, remedy=broken.remedy)
    gap("the audit log cannot be continued; `fumehood audit verify` says where and why")


def telling(
    append: Callable[[str, Mapping[str, Field]], object], gap: Callable[[str], None]
) -> Callable[[str, Mapping[str, Field]], object]:
    """`append` for the forwarder's thread, whose gaps are told on this loop."""
    loop = asyncio.get_running_loop()

    def told(event: str, fields: Mapping[str, Field]) -> object:
        if event == GAP:
            what = f"records up to {fields.get('to')} were removed before they were forwarded"
            if "after" in fields and "to" in fields:
                what = (
                    f"records behind {fields['after']}, up to {fields['to']}, were gone"
                    " before they were forwarded"
                )
            if "reason" in fields:
                what = f"forwarding began anew behind record {fields['after']}: {fields['reason']}"
            loop.call_soon_threadsafe(gap, what)
        if event == REJECTED:
            what = f"the receiver refused {fields['records']} records for good: {fields['reason']}"
            loop.call_soon_threadsafe(gap, what)
        return append(event, fields)

    return told
