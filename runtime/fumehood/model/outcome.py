"""How a sandbox ended: status, usage, breach, streams, artifacts. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "ok",
    "tool_error",
    "timeout",
    "memory_exceeded",
    "output_exceeded",
    "syscall_killed",
    "cancelled",
    "withheld",
    "rejected",
    "engine_error",
]


@dataclass(frozen=True, slots=True)
class Breach:
    """The limit that fired: which control, its limit, what was observed (same unit, in the name).

    Controls: `timeout` (seconds), `memory` (bytes), `output` (bytes), `seccomp` (limit is the
    profile's name, observed the signal).
    """

    control: str
    limit: int | float | str
    observed: int | float | str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the sandbox used, from the kernel's counters; None where this host cannot tell."""

    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    pids_peak: int | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """One promise read back from the kernel: `control`, the value found, where it was read."""

    control: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file the tool left in /out. `name` is relative, UTF-8, `/`-separated; `data` its bytes.

    `refused` is empty, or says why the file was not collected (then `data` is empty):
    symlink, not_regular, hard_link, name, too_large, too_many, too_deep.
    """

    name: str
    data: bytes
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one invocation's sandbox ended, before anything of it was scanned.

    stdout, stderr: at most `limits.output_bytes` each; `usage` counts what was written.
    exit_code: as the program gave it, None when a signal ended it.
    error: for `engine_error`, what failed, for the local log and (control only) the caller.
    """

    status: Status
    exit_code: int | None
    signal: int | None
    breach: Breach | None
    usage: Usage
    stdout: bytes
    stderr: bytes
    truncated: bool
    artifacts: tuple[Artifact, ...] = ()
    proofs: tuple[Proof, ...] = ()
    error: str = ""
