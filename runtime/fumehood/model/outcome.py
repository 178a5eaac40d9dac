"""How a sandbox ended: status, usage, breach, streams, artifacts. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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

    Controls: `timeout` and `cpu_time` (seconds), `memory`, `output` and `scratch` (bytes),
    `scratch_inodes`, `pids`, `seccomp` (limit is the profile's name, observed the signal), and
    the signs of abnormal behaviour that ended it (`model.live.Sign`).
    detail: what else is known, for a person; numbers and names of ours, no words of the tool.
    """

    control: str
    limit: int | float | str
    observed: int | float | str
    detail: str = ""


IN_FILES: Final = "files in /out"
"""`detail` of an `output` breach that is about the files, by the sizes that they claim: a sparse
one of a TiB was never written."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the sandbox used, from the kernel's counters; None where this host cannot tell.

    throttled_seconds: how long it was held back by its CPU limit, added up over the CPUs.
    stdin_bytes: what was put into its stdin; the last 64 KiB may not have been read.
    scratch_bytes, scratch_inodes: in use in /tmp and /out at its end, not their peak; without what
        a tool that was started ahead had put there before its call.
    context_switches: voluntary or not, of all processes that were waited for.
    held_seconds: how long it was stopped for making the kernel record too many system calls.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    pids_peak: int | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    user_seconds: float | None = None
    system_seconds: float | None = None
    throttled_seconds: float | None = None
    oom_kills: int = 0
    stdin_bytes: int = 0
    scratch_bytes: int | None = None
    scratch_inodes: int | None = None
    context_switches: int | None = None
    held_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counted for one sandbox beside CPU time, memory and pids; None: unknown.

    user_seconds, system_seconds: how the CPU time divides.
    throttled_seconds: how long it was held back by its CPU limit, added up over the CPUs.
    pids_refused: processes and threads that the pids limit refused.
    scratch_bytes, scratch_inodes: in use in /tmp and /out when everything was dead; …_before: what
        of it was there when the call of a tool that was started ahead came.
    kernel_memory_peak_bytes: of pipes, sockets and the like; only when memory ran out.
    context_switches: of all processes that were waited for, voluntary or not.
    """

    user_seconds: float | None = None
    system_seconds: float | None = None
    throttled_seconds: float | None = None
    pids_refused: int | None = None
    scratch_bytes: int | None = None
    scratch_inodes: int | None = None
    kernel_memory_peak_bytes: int | None = None
    context_switches: int | None = None
    scratch_bytes_before: int = 0
    scratch_inodes_before: int = 0


@dataclass(frozen=True, slots=True)
class SyscallCount:
    """How often one system call met one action of the filter: `kill` (the process), `log`, ….

    architecture: `x86_64`, `i386`, `x32`, …: of the ABI that the call was made through.
    """

    syscall: str
    architecture: str
    action: str
    count: int


@dataclass(frozen=True, slots=True)
class Syscalls:
    """What the kernel told of system calls that the seccomp filter did not simply allow.

    seen: the most frequent first. others: kills of further calls, counted without a name.
    kills_visible, denials_visible: whether calls that were killed, or answered with an error,
        would be in `seen`.
    complete: false when records were lost, so that there may have been more.
    reason: why something is not visible or not complete.
    """

    seen: tuple[SyscallCount, ...] = ()
    others: int = 0
    kills_visible: bool = False
    denials_visible: bool = False
    complete: bool = True
    reason: str = ""

    def killed(self) -> str:
        """The calls that were killed, for a person: `ptrace (x86_64), 3 times`; or empty."""
        killed = [item for item in self.seen if item.action.startswith("kill")]
        return "; ".join(
            f"{item.syscall} ({item.architecture})"
            + (f", {item.count} times" if item.count > 1 else "")
            for item in killed[:4]
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about a run that its status does not tell. `rule` names it, `message` has the
    numbers; nothing in it is the tool's own words."""

    rule: str
    severity: Literal["low", "medium", "high"]
    message: str


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
    notices: tuple[Notice, ...] = ()
    syscalls: Syscalls | None = None
