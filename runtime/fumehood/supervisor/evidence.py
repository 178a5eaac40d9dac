"""What is captured of a call: what the supervisor knows, and what the launcher saw of its sandbox.

Bounded; it is encrypted before it is written anywhere. Must never be told to anybody but through
the key ring.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fumehood.audit.record import Field
from fumehood.launcher.client import Captured
from fumehood.model.codec import encode
from fumehood.model.outcome import Syscalls
from fumehood.model.result import Result
from fumehood.supervisor.live import Live

MAX_NAMED: Final = 16
"""System calls that a record names: a tool can try hundreds, and a record has 64 KiB."""

CAPTURED_BYTES: Final = 64 * 1024
"""Of the arguments, from their beginning, and of each stream, its end."""
MAX_LINES: Final = 8192


def known(live: Live) -> dict[str, Any]:
    """Of a call, at this moment: what it was given, what it wrote, how its sandbox was made."""
    return {
        "arguments": live.request.arguments_json[:CAPTURED_BYTES].decode(errors="replace"),
        "stdout": _end(live.stdout),
        "stderr": _end(live.stderr),
        "plan": encode(live.plan) if live.plan else None,
        "proofs": [encode(proof) for proof in live.proofs],
    }


def denied(told: Syscalls | None) -> dict[str, Field]:
    """What of a call's record says which system calls its filter did not allow: at most
    `MAX_NAMED` by name, ABI and action, the most frequent first, and how many `others`. Nothing
    where none was seen; `complete` is false where the kernel's records were lost."""
    if told is None or not (told.seen or told.others):
        return {}
    seen = {f"{i.syscall}:{i.architecture}:{i.action}": i.count for i in told.seen[:MAX_NAMED]}
    others = told.others + sum(item.count for item in told.seen[MAX_NAMED:])
    return {"syscalls": {"seen": seen, "others": others, "complete": told.complete}}


def ended(live: Live, result: Result) -> dict[str, Any]:
    """Of a call that has ended; its streams are whole now."""
    return {
        **known(live),
        "usage": encode(result.usage),
        "breach": encode(result.breach) if result.breach else None,
        "syscalls": encode(result.syscalls) if result.syscalls else None,
        "findings": [encode(finding) for finding in result.findings],
    }


def seen(captured: Captured) -> dict[str, Any]:
    """What the launcher found, under `sandbox`: reason, cut, frozen, cgroup, processes, files,
    syscalls. `cut` names the bounds that were reached: `time` where the look was ended."""
    told: dict[str, Any] = {
        "reason": captured.reason, "cut": ["time"], "frozen": False, "cgroup": [],
        "processes": [], "files": [], "syscalls": encode(captured.syscalls),
    }  # fmt: skip
    if captured.reason:
        told["cut"] = []
    lists = {"cgroup": "cgroup", "process": "processes", "file": "files"}
    for line in captured.data.splitlines()[:MAX_LINES]:
        try:
            ((kind, value),) = json.loads(line).items()
        except (ValueError, AttributeError):  # whoever wrote it was stopped in the middle
            break
        if kind == "end":
            told["cut"] = value["cut"]
        elif kind in lists:
            told[lists[kind]].append(value)
        elif kind == "frozen":
            told["frozen"] = value
    return {"sandbox": told}


def summary(found: Mapping[str, Any]) -> str:
    """`seen` in a line of the timeline."""
    sandbox = found["sandbox"]
    if sandbox["reason"]:
        return f"nothing could be captured of its sandbox: {sandbox['reason']}"
    cut = f"; reached: {', '.join(sandbox['cut'])}" if sandbox["cut"] else ""
    still = "frozen" if sandbox["frozen"] else "not frozen"
    return (
        f"captured ({still}): {len(sandbox['processes'])} processes,"
        f" {len(sandbox['files'])} files of its scratch space{cut}"
    )


def story(live: Live) -> tuple[tuple[str, str], ...]:
    """The call until now, for a timeline."""
    told = [(_wall(live.request.received), f"called by uid {live.request.caller.uid}")]
    if live.started is not None:
        told.append((_wall(live.started), f"{live.request.tool[:64]} began to run"))
    return tuple(told)


def _wall(monotonic: float) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=time.monotonic() - monotonic)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _end(stream: Any) -> str:
    return "" if stream is None else base64.b64encode(stream.last(CAPTURED_BYTES)).decode()
