"""Who may see and stop which invocation, and what of it: for `fumehood ps`, `cancel` and `logs`.

A caller knows of its own invocations, an operator of all. Another's is the same as one that does
not exist: the same error, after the same work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import psutil

from fumehood.audit.find import Found
from fumehood.errors import EngineError, UnknownInvocation
from fumehood.model.request import Caller, RegisteredTool
from fumehood.scan.partial import Partial, tail
from fumehood.supervisor.live import STDERR_BYTES, Ended, Live, Registry

P = ParamSpec("P")
T = TypeVar("T")

CANCEL_SECONDS: Final = 30.0
"""How long a cancelled invocation may take to be dead and recorded: its grace, and its death."""


@dataclass(frozen=True, slots=True)
class Host:
    """How the host is: CPU in use since the last look (percent of all cores), memory in bytes."""

    cpu_percent: float
    cpus: int
    load_1: float
    memory_available_bytes: int
    memory_total_bytes: int

    @classmethod
    def now(cls) -> Host:
        memory = psutil.virtual_memory()
        return cls(
            psutil.cpu_percent(), psutil.cpu_count() or 1, psutil.getloadavg()[0],
            memory.available, memory.total,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "cpu_percent": self.cpu_percent,
            "cpus": self.cpus,
            "load_1": round(self.load_1, 2),
            "memory_available_bytes": self.memory_available_bytes,
            "memory_total_bytes": self.memory_total_bytes,
        }


@dataclass(frozen=True, slots=True)
class Invocations:
    """Those a caller may see. host: for operators."""

    listed: Sequence[Mapping[str, Any]]
    host: Host | None

    def to_json(self) -> dict[str, Any]:
        return {
            "invocations": list(self.listed),
            "host": self.host.to_json() if self.host else None,
        }


@dataclass(frozen=True, slots=True)
class Stopped:
    """An invocation that somebody cancelled, and how it ended."""

    invocation: str
    status: str

    def to_json(self) -> dict[str, Any]:
        return {"invocation": self.invocation, "status": self.status}


@dataclass(frozen=True, slots=True)
class Logs:
    """What is known of an invocation. stderr: scanned; None when it is not kept any more.

    records: of the audit log, for operators; None for others.
    """

    invocation: Mapping[str, Any]
    stderr: str | None
    records: Found | None = None

    def to_json(self) -> dict[str, Any]:
        found = self.records
        return {
            "invocation": dict(self.invocation),
            "stderr": self.stderr,
            "records": None if found is None else list(found.records),
            "records_broken": found.broken if found else 0,
            "records_whole": found.whole if found else True,
        }


@dataclass(slots=True)
class Control:
    """partial: scans what a tool shows before it ends. records: everything the audit log has of an
    invocation; blocks."""

    registry: Registry
    is_operator: Callable[[Caller], bool]
    partial: Callable[[RegisteredTool], Partial]
    records: Callable[[str], Found]
    # One thread of its own: looking things up keeps no call's scan waiting.
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "look-up"))

    def invocations(self, caller: Caller) -> Invocations:
        """What runs and waits, the oldest first."""
        operator = self.is_operator(caller)
        seen = (live for live in self.registry if operator or _owns(caller, live))
        return Invocations([live.to_json() for live in seen], Host.now() if operator else None)

    async def cancel(self, caller: Caller, invocation: str) -> Stopped:
        """Cancel one and wait until it is dead and recorded.

        Raises:
            UnknownInvocation: none that the caller may know of is running or waiting.
        """
        live = self.registry.live(invocation)
        if live is None or not self._may(caller, live):
            raise unknown("is running or waiting", "`fumehood ps` shows those that are")
        task = live.task
        live.cancel(f"uid {caller.uid}")
        if task is not None:
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
            if not task.done():
                raise EngineError("the invocation does not end", "see the daemon's log")
        ended = self.registry.ended(invocation)
        return Stopped(invocation, ended.status if ended else "cancelled")

    async def logs(self, caller: Caller, invocation: str) -> Logs:
        """What is known of one that runs or has run.

        Raises:
            UnknownInvocation: none that the caller may know of is known.
        """
        operator = self.is_operator(caller)
        found = await self._off_loop(self.records, invocation) if operator else None
        live = self.registry.live(invocation)
        if live is not None and self._may(caller, live):
            known, end = live.to_json(), live.stderr_end()
            shown = ""
            if live.tool is not None and end:
                scanner = self.partial(live.tool)
                shown = await self._off_loop(tail, scanner, end, STDERR_BYTES)
            return Logs(known, shown, found)
        ended = self.registry.ended(invocation)
        if ended is not None and (operator or ended.uid == caller.uid):
            return Logs(ended.to_json(), ended.stderr, found)
        if found is not None and found.records:
            return Logs(_from_records(invocation, found), None, found)
        if found is not None and not found.whole:
            raise unknown(
                "is known in the parts of the audit log that were searched",
                "`fumehood audit show ID` looks through all of it",
            )
        raise unknown("is known", "what ended some time ago only an operator can look up")

    def owned(self, caller: Caller, invocation: str) -> bool:
        """Whether it is one of this caller's that ended a while ago."""
        ended = self.registry.ended(invocation)
        return ended is not None and _owns(caller, ended)

    async def _off_loop(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, partial(work, *args, **kwargs))

    def _may(self, caller: Caller, live: Live) -> bool:
        return _owns(caller, live) or self.is_operator(caller)

    def close(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)


def unknown(what: str, remedy: str) -> UnknownInvocation:
    return UnknownInvocation(f"no such invocation {what}", remedy)


def _owns(caller: Caller, live: Live | Ended) -> bool:
    return caller.uid == (live.uid if isinstance(live, Ended) else live.request.caller.uid)


def _from_records(invocation: str, found: Found) -> dict[str, Any]:
    last = found.records[-1]
    return {
        "invocation": invocation,
        "tool": last.get("tool", ""),
        "version": last.get("tool_version", ""),
        "state": last.get("status") or str(last.get("event", "")).rpartition(".")[2],
    }
