"""What every engine offers the launcher: sandboxes that report by events and never block long.

Standard library only. Foreign errors are translated where they enter: an engine raises
EngineError or PlanRefused and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Protocol

from fumehood.kernel.forensics import Evidence
from fumehood.kernel.openat2 import Found
from fumehood.model.outcome import Counters, Proof
from fumehood.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Opened:
    """The sandbox is complete and proven, and has executed nothing of the tool."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The tool's program runs under its filter; it may be fed now."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """Everything in the sandbox is dead. Counters are the kernel's; None where it cannot tell.

    exit_code and signal: of the tool's own program; both None when it never ran.
    executed: whether the program was executed and its end reported; False for a missing
        interpreter and the like, and after a kill.
    artifacts: open descriptors that now belong to whoever handles this event.
    """

    exit_code: int | None
    signal: int | None
    executed: bool
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    pids_peak: int | None
    oom_kills: int
    artifacts: tuple[Found, ...]
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True, slots=True)
class Failed:
    """The sandbox could not be made or not be proven; it is dead. `control` names the promise."""

    control: str
    cause: str
    detail: str


Event = Opened | Started | Ended | Failed

NOW: Final = 0.0
"""The loop calls every millisecond then."""
NEVER: Final = math.inf


class Sandbox(Protocol):
    """One sandbox. `Ended` or `Failed` is its last event, and comes exactly once."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to watch for readability; `step` is called when one is ready."""

    @property
    def writable(self) -> tuple[int, ...]:
        """What to watch for writability, in the same way."""

    @property
    def due(self) -> float:
        """When (time.monotonic()) `step` must be called although no descriptor tells: NOW, again
        and again, or NEVER."""

    def step(self) -> list[Event]:
        """Go on as far as possible without blocking."""

    def start(self) -> None:
        """Let the opened sandbox execute the tool's program."""

    def begin(self, *, ahead: bool) -> None:
        """What was used until now is not the caller's: called when it is opened, and of a tool
        that was started ahead once more, when its call comes, before it is fed."""

    def cpu_seconds(self) -> float | None:
        """User and system time since the call began; None where nothing counts it."""

    @property
    def logs(self) -> bool:
        """Whether system calls that are answered with an error are recorded."""

    @property
    def hidden(self) -> str:
        """Why the host's kernel does not see the tool's system calls; empty: it does."""

    def freeze(self, *, frozen: bool) -> bool:
        """Stop everything in it, or let it go on; while it stands still it can be killed. False
        where this host cannot do it."""

    def terminate(self) -> bool:
        """Ask the tool's own program to end; False when it does not run, or cannot be asked."""

    def evidence(self) -> Evidence:
        """Where to look at it, for as long as it is not over."""

    def kill(self) -> None:
        """Kill everything in it; the end is reported as always. Harmless when already dead."""

    def release(self) -> None:
        """Clean up what the dead left, once, after the last event: nobody waits for that."""


class Engine(Protocol):
    """Turns plans into sandboxes. runtimes: what `plan.runtime` may name besides nothing."""

    name: str
    runtimes: frozenset[str]

    def unenforceable(self) -> dict[str, str]:
        """Controls that this engine cannot enforce on this host, each with the reason."""

    def open(self, name: str, plan: Plan, stdio: tuple[int, int, int]) -> Sandbox:
        """Begin to open a sandbox. The descriptors stay the caller's to close.

        Raises:
            PlanRefused: the plan asks for what this engine cannot do.
            EngineError: a facility of the host failed; nothing is left behind.
        """

    def close(self) -> None:
        """Release what the engine holds; all its sandboxes have ended."""
