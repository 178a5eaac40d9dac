"""Which log a state had last, noted in and beside its key ring: none goes, or is exchanged, unseen.

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
from fumehood.crypto.ring import Ring
from fumehood.errors import AuditError, KeyringError

BEGUN: Final = "audit.begun"
"""The event that tells that the state had another log before this one."""

UNREADABLE: Final = "unreadable"
"""Stands for the earlier log where the note of it cannot be read: somebody changed it."""


def known_path(state: Path) -> Path:
    """Where a state notes the id of its log, besides its key ring."""
    return state / "keys" / "audit-chain.json"


class Known:
    """The note of a log, in a file that anybody can look at, and in the key ring, where nobody
    forges it who has not the master key."""

    def __init__(self, path: Path, ring: Ring) -> None:
        self._path = path
        self._ring = ring

    def note(
        self, append: Callable[[str, Mapping[str, Field]], Queued], chain: str, *,
        deliberate: bool,
    ) -> str:  # fmt: skip
        """Record that the state had another log than `chain`, if it had, and note `chain` from now
        on.

        deliberate: somebody began this one by `audit init`. Returns the id of the earlier log,
        empty where this is the one that is known, or the first.
        """
        notes = (self._ring.log, self._recall())
        earlier = next((one for one in notes if one not in ("", chain)), "")
        if notes == (chain, chain):
            return ""
        # While the disk does not take it, it is noted at the next start, and then recorded again.
        with contextlib.suppress(AuditError, KeyringError, OSError):
            if earlier:
                append(BEGUN, {"earlier": earlier, "deliberate": deliberate}).result()
            self._ring.note_log(chain)
            text = json.dumps({"chain": chain}).encode() + b"\n"
            write_private(self._path, text, replace=True)
        return earlier

    def _recall(self) -> str:
        """Empty when there is no note."""
        try:
            raw = read_private(self._path, 4096, "note of the audit log")
            return "" if raw is None else str(json.loads(raw)["chain"])
        except (OSError, KeyringError, ValueError, KeyError, TypeError, RecursionError):
            return UNREADABLE
