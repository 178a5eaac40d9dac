"""The audit log of a daemon under test as a ledger: what was launched, and how each ended."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TERMINAL = ("invocation.ended", "invocation.cancelled", "invocation.rejected")
STATUSES = frozenset(
    {
        "ok", "tool_error", "timeout", "memory_exceeded", "output_exceeded", "syscall_killed",
        "cancelled", "withheld", "rejected", "engine_error",
    }
)  # fmt: skip


def records(state: Path) -> list[dict[str, Any]]:
    """All records, in order; an unfinished last line, as a kill leaves it, is left out."""
    lines: list[dict[str, Any]] = []
    for segment in sorted((state / "audit").glob("segment-*.jsonl")):
        lines += [
            json.loads(line) for line in segment.read_bytes().splitlines(True) if line[-1:] == b"\n"
        ]
    return lines


@dataclass(frozen=True)
class Ledger:
    """launched, ended: how many records of each kind an invocation has. statuses: of its end."""

    launched: Counter[str]
    ended: Counter[str]
    statuses: dict[str, str]
    reasons: dict[str, str]

    @classmethod
    def of(cls, state: Path) -> Ledger:
        ledger = cls(Counter(), Counter(), {}, {})
        for record in records(state):
            name = record.get("invocation", "")
            if record["event"] == "invocation.launched":
                ledger.launched[name] += 1
            elif record["event"] in TERMINAL:
                ledger.ended[name] += 1
                ledger.statuses[name] = record["status"]
                ledger.reasons[name] = record.get("reason", "")
        return ledger

    @property
    def open(self) -> list[str]:
        """Launched, and no end yet."""
        return [name for name in self.launched if not self.ended[name]]

    def check(self, *, open: int = 0) -> None:  # noqa: A002  (the word for it)
        """Every invocation launched once and ended once, with a known status."""
        assert [n for n, count in self.launched.items() if count != 1] == []
        assert [n for n, count in self.ended.items() if count != 1] == []
        assert set(self.statuses.values()) <= STATUSES
        assert len(self.open) == open, self.open
