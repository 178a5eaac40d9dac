"""Which log a state had last, noted beside its key ring: none can go, or be exchanged, unnoticed.

Must never forget a log before the record of the next one, which names it, is on disk.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fumehood.audit.queue import Queued
from fumehood.audit.record import Field
from fumehood.crypto.files import read_private, write_private
from fumehood.errors import AuditError, KeyringError

BEGUN: Final = "audit.begun"
"""The event that tells that the state had another log before this one."""

UNREADABLE: Final = "unreadable"
"""Stands for the earlier log where the note of it cannot be read: somebody changed it."""


def known_path(state: Path) -> Path:
    """Where a state notes the id of its log."""
    return state / "keys" / "audit-chain.json"


def note_log(
    append: Callable[[str, Mapping[str, Field]], Queued],
    known: Path,
    chain: str,
    *,
    deliberate: bool,
) -> str:
    """Record that the state had another log than `chain`, if it had, and note `chain` from now on.

    deliberate: somebody began this one by `audit init`. Returns the id of the earlier log, empty
    where this is the one that is known, or the first.
    """
    earlier = _recall(known)
    if earlier == chain:
        return ""
    # While the disk does not take it, it is noted at the next start, and then recorded again.
    with contextlib.suppress(AuditError, OSError):
        if earlier:
            append(BEGUN, {"earlier": earlier, "deliberate": deliberate}).result()
        text = json.dumps({"chain": chain}).encode() + b"\n"
        write_private(known, text, replace=True)
    return earlier


def _recall(known: Path) -> str:
    """Empty when there is no note."""
    try:
        raw = read_private(known, 4096, "note of the audit log")
        return "" if raw is None else str(json.loads(raw)["chain"])
    except (OSError, KeyringError, ValueError, KeyError, TypeError, RecursionError):
        return UNREADABLE
