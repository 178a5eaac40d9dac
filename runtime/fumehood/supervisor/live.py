"""The invocations that have not ended, and for a while those that have: what is known of each.

In memory only, bounded in number, size and time. It must never hold output that was not scanned
longer than the invocation itself does, and decides for nobody what to see: `control` does.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from fumehood.audit.record import Field
from fumehood.kernel import cgroup
from fumehood.kernel.gauge import Gauge, Reading, refused
from fumehood.launcher.client import Sandbox
from fumehood.model.codec import encode
from fumehood.model.incident_rules import Signal
from fumehood.model.live import Progress, Sign, State
from fumehood.model.outcome import Proof
from fumehood.model.plan import Plan
from fumehood.model.request import RegisteredTool, Request
from fumehood.model.result import Result
from fumehood.scan.partial import Partial
from fumehood.supervisor.conduct import Conduct
from fumehood.supervisor.harvest import Drain
from fumehood.supervisor.progress import MAX_MESSAGE, ProgressLines, Said

STDERR_BYTES: Final = 64 * 1024
"""Of the stderr of a running tool, its end."""
RECENT: Final = 256
"""Ended invocations that are remembered."""
RECENT_SECONDS: Final = 600.0
RECENT_CHARACTERS: Final = 4 * 1024 * 1024
"""Characters of stderr of all of them together."""


BY_A_RULE: Final = "a rule for incidents"
BY_ITS_CALLER: Final = "its caller"
SHUTDOWN: Final = "shutdown"
"""Who cancelled a call, besides operators (`uid N`)."""


class Live:
    """One invocation that has not ended. Every wait on it is somebody else's."""

    __slots__ = (
        "_ears", "_gauge", "_hearing", "_messages", "_progress", "_proofs", "_refused_before",
        "_said", "_words", "alarm", "cancelled_by", "changed", "conduct", "end", "incidents",
        "kept", "plan", "proofs", "queued", "request", "result", "sandbox", "signalled", "started",
        "state", "stderr", "stdout", "task", "tool",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        messages: Callable[[RegisteredTool], Partial],
        ears: Executor | None = None,
    ) -> None:
        """messages: makes the scanner of a tool's progress messages, which runs in `ears`."""
        self._ears = ears
        self._hearing = False
        self.request = request
        self.tool: RegisteredTool | None = None
        self.plan: Plan | None = None
        self.kept: dict[str, Field] = {}
        """What its record keeps of its arguments and output, encrypted."""
        self.proofs: tuple[Proof, ...] = ()
        """All that was read back of its sandbox, once that has ended."""
        self.task: asyncio.Task[Result] | None = None
        self.result: Result | None = None
        self.queued: float | None = None
        """When it began to wait for a sandbox; None while, or because, it was not admitted."""
        self.started: float | None = None
        self.stdout: Drain | None = None
        self.stderr: Drain | None = None
        self.sandbox: Sandbox | None = None
        self.conduct: Conduct | None = None
        """What was seen of it while it ran; None while nobody has looked."""
        self.end: Callable[[Sign], None] | None = None
        """Kills it for its behaviour; None when there is nothing to kill."""
        self.incidents: dict[Signal, str] = {}
        """By signal, those that this call opened."""
        self.signalled: set[Signal] = set()
        """What was seen of it already: once, whatever it does more of it."""
        self.alarm: Callable[[Live], None] | None = None
        """Is told when a process of it was killed for a system call."""
        self.cancelled_by = ""
        """Who cancelled it; empty while nobody did."""
        self.changed = asyncio.Event()
        """Set when there may be something new to tell."""
        self.state: State = "admitting"
        self._gauge: Gauge | None = None
        self._proofs: tuple[Proof, ...] = ()
        self._refused_before = 0
        """Processes that the pids limit refused a tool that was started ahead of its call."""
        self._words = ProgressLines()
        self._messages = messages
        self._said: Partial | None = None
        self._progress: tuple[Said, Progress] | None = None

    # --- what happens to it, told by the corridor

    def enter(self, state: State) -> None:
        self.state = state

    def streams(self, sandbox: Sandbox, stdout: Drain, stderr: Drain) -> None:
        """It has a sandbox, whose output is read by these."""
        self.sandbox, self.stdout, self.stderr = sandbox, stdout, stderr
        stdout.on_data = self._wrote
        stderr.on_data = self._wrote_progress
        sandbox.on_killed = self._was_killed
        self.state = "opening"

    def opened(self, proofs: tuple[Proof, ...]) -> None:
        """Its sandbox is proven. The gauge is made when somebody looks (0.1 ms)."""
        self._proofs = proofs

    def begin(self, *, ahead: bool) -> None:
        """Its tool runs. ahead: it ran before, and what it was refused then is not the call's."""
        self.started = time.monotonic()
        self.state = "running"
        if ahead:
            self._refused_before = refused(self._proofs, layout(), nested=self._nested) or 0

    @property
    def runs(self) -> bool:
        """Whether its sandbox may still be looked at."""
        return self.sandbox is not None and not self.sandbox.ended.done() and self.result is None

    def of(self, tool: str, version: str | None) -> bool:
        """Whether it is a call of this version, for None of any, of a tool."""
        found = self.tool.manifest if self.tool is not None else None
        return found is not None and found.name == tool and version in (None, found.version)

    def _was_killed(self) -> None:
        if self.alarm is not None:
            self.alarm(self)

    def _wrote(self, _data: bytes) -> None:
        self.changed.set()

    def _wrote_progress(self, data: bytes) -> None:
        if self._words.feed(data):
            self._hear()

    # --- what is known of it

    def cancel(self, by: str) -> None:
        """Cancel it; the first who does is kept, and doing it again changes nothing."""
        if not self.cancelled_by and self.task is not None:
            self.cancelled_by = by
            self.task.cancel()

    def progress(self) -> Progress | None:
        """What the tool said last of how far it is, its message scanned."""
        return self._progress[1] if self._progress else None

    def _hear(self) -> None:
        """Have what it said last scanned, away from the event loop; one message at a time."""
        said = self._words.latest
        if said is None or self._hearing or (self._progress and self._progress[0] is said):
            return
        self._hearing = True
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._ears, self._scanned, said.message)
        job.add_done_callback(partial(self._heard, said))

    def _heard(self, said: Said, job: asyncio.Future[str]) -> None:
        self._hearing = False
        if job.cancelled() or job.exception() is not None:
            return  # `Partial` records what fails in it; what was not scanned is not shown
        self._progress = said, Progress(said.value, said.total, job.result())
        self.changed.set()
        self._hear()

    def _scanned(self, message: bytes) -> str:
        # One scanner for all messages of an invocation: it sees each together with those before.
        if not message:
            return ""
        if self._said is None:
            if self.tool is None:
                return ""
            self._said = self._messages(self.tool)
        lines = self._said.feed(message + b"\n").splitlines()
        return lines[-1][:MAX_MESSAGE] if lines else ""

    def stderr_end(self) -> bytes:
        """The end of its diagnostics so far, not scanned, and more than is shown."""
        return self.stderr.last(2 * STDERR_BYTES) if self.stderr else b""

    def reading(self) -> Reading:
        """What its sandbox uses now."""
        if self.state not in ("running", "ending"):
            return Reading()
        if self._gauge is None:
            self._gauge = Gauge(self._proofs, layout(), nested=self._nested)
        found = self._gauge.read()
        if not self._refused_before or found.pids_refused is None:
            return found
        return replace(found, pids_refused=max(found.pids_refused - self._refused_before, 0))

    @property
    def _nested(self) -> bool:
        return self.plan is not None and self.plan.engine == "docker"

    def to_json(self) -> dict[str, Any]:
        now, reading, progress = time.monotonic(), self.reading(), self.progress()
        limits = self.plan.limits if self.plan else None
        return {
            "invocation": self.request.invocation,
            "tool": self.request.tool[:64],
            "version": self.tool.manifest.version if self.tool else "",
            "caller": {
                "uid": self.request.caller.uid,
                "pid": self.request.caller.pid,
                "name": self.request.caller.name,
            },
            "state": self.state,
            "signs": sorted(self.conduct.signs) if self.conduct else [],
            "age_seconds": round(now - self.request.received, 3),
            "running_seconds": None if self.started is None else round(now - self.started, 3),
            "timeout_seconds": limits.timeout_ms / 1000 if limits else None,
            "cpu_seconds": reading.cpu_seconds,
            "memory_bytes": reading.memory_bytes,
            "memory_limit_bytes": limits.memory_bytes if limits else None,
            "pids": reading.pids,
            "stdout_bytes": self.stdout.count if self.stdout else 0,
            "stderr_bytes": self.stderr.count if self.stderr else 0,
            "progress": encode(progress) if progress else None,
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """What is still known of an invocation that has ended: nothing that was not scanned."""

    invocation: str
    tool: str
    version: str
    uid: int
    status: str
    when: float
    stderr: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {
            "invocation": self.invocation,
            "tool": self.tool,
            "version": self.version,
            "state": self.status,
            "ended_seconds_ago": round(time.monotonic() - self.when, 3),
            "message": self.message,
        }


class Registry:
    """All of them, by name."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._characters = 0

    def __iter__(self) -> Iterator[Live]:
        """Those that live, the oldest first."""
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        """How many live."""
        return len(self._live)

    def add(self, live: Live) -> None:
        self._live[live.request.invocation] = live

    def tasks(self) -> list[asyncio.Task[Result]]:
        return [live.task for live in self._live.values() if live.task is not None]

    def remove(self, live: Live) -> None:
        """It has ended. One that was refused is not remembered."""
        request, result = live.request, live.result
        self._live.pop(request.invocation, None)
        live.alarm = None
        if live.sandbox is not None:
            live.sandbox.on_killed = None  # no circle that would keep the output
        if live.tool is None:
            return
        self._remember(
            Ended(
                invocation=request.invocation,
                tool=request.tool[:64],
                version=live.tool.manifest.version if live.tool else "",
                uid=request.caller.uid,
                status=result.status if result else "cancelled" if live.cancelled_by else "",
                when=time.monotonic(),
                stderr=result.stderr if result else "",
                message=result.message if result else "",
            )
        )

    def live(self, invocation: str) -> Live | None:
        return self._live.get(invocation)

    def ended(self, invocation: str) -> Ended | None:
        self._forget()
        return self._ended.get(invocation)

    def _remember(self, ended: Ended) -> None:
        self._ended[ended.invocation] = ended
        self._characters += len(ended.stderr)
        self._forget()

    def _forget(self) -> None:
        oldest = time.monotonic() - RECENT_SECONDS
        while self._ended:
            first = next(iter(self._ended.values()))
            too_many = len(self._ended) > RECENT or self._characters > RECENT_CHARACTERS
            if not too_many and first.when >= oldest:
                return
            self._characters -= len(first.stderr)
            del self._ended[first.invocation]


_layout: list[cgroup.Layout] = []


def layout() -> cgroup.Layout:
    """The host's cgroups, as this process sees them; read once."""
    if not _layout:
        try:
            _layout.append(cgroup.discover())
        except OSError:
            _layout.append(cgroup.Layout(None, frozenset(), {}))
    return _layout[0]
