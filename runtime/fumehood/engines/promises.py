"""What every engine promises of a sandbox, and which runtime cannot keep which promise.

The doctor, the suites and docs/engines.md all read these rows, so that none of them can claim
what another does not prove. Pure and standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PLAIN_RUNTIMES: Final = frozenset({"", "runc"})
"""Runtimes whose sandboxes the host's kernel runs, and can be asked about; any other has a kernel
of its own."""

UNSEEN: Final = {
    "seccomp": "its own kernel answers the tool's system calls; the plan's profile is not loaded",
    "readback": "identity, capabilities, filter and mounts of the tool cannot be read from here",
    "gate": "the program starts with the container, before anything was read back, and outlives "
    "a launcher that is killed until the next one sweeps",
    "scratch": "programs can be executed from scratch space: noexec is not passed on",
    "pids": "the limit counts the runtime's own threads, not the tool's processes",
    "memory": "the limit is 64 MiB wider, for the runtime's own kernel",
}
"""What holds for no runtime that hides the tool's processes from the host, by control. In plans
and in the configuration the names carry the runtime's: `runsc.seccomp`."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One row. control: what a runtime with a kernel of its own lacks of it, in `UNSEEN`."""

    name: str
    sentence: str
    control: str = ""


PROMISES: Final = (
    Promise("account", "the tool runs as a host account of its own, in no further group"),
    Promise("privilege", "no capability in any set; setuid files and setuid(2) give nothing"),
    Promise("seccomp", "no_new_privs, and the plan's profile as the kernel's filter", "seccomp"),
    Promise("tripwire", "a tripwire call ends the tool, and is named", "seccomp"),
    Promise("sockets", "no socket of any family but AF_UNIX pairs", "seccomp"),
    Promise("nesting", "no namespace can be made inside", "seccomp"),
    Promise("network", "nothing but an unused loopback; no abstract socket of the host"),
    Promise("namespaces", "pid, mount, network, ipc, uts and cgroup namespaces of its own"),
    Promise("processes", "only its own processes are seen; none of others can be traced"),
    Promise("root", "a read-only root with nothing of the host but /usr"),
    Promise("tool", "the tool's own files are read-only"),
    Promise("kernel", "no kernel setting, mount, device or kernel program"),
    Promise("descriptors", "stdin, stdout and stderr, and no other descriptor"),
    Promise("environment", "only the variables of the plan"),
    Promise("scratch", "scratch space bounded in bytes and in files"),
    Promise("noexec", "nothing can be executed from scratch space", "scratch"),
    Promise("fresh", "nothing survives into the next call"),
    Promise("memory", "memory is limited to the byte, and an OOM kill is seen", "memory"),
    Promise("child-oom", "an OOM kill of a child counts although the tool exits 0"),
    Promise("pids", "processes are limited to the plan's number", "pids"),
    Promise("cpu", "processor time is counted, children included"),
    Promise("timeout", "the deadline ends what ignores every signal"),
    Promise("output", "output ends at its limit"),
    Promise("streams", "stdin, stdout and stderr are carried whole, and apart"),
    Promise("end", "exit code and signal are the program's own"),
    Promise("dead", "whatever a tool leaves running is dead when it is answered"),
    Promise("artifacts", "files of /out are collected, links are not followed"),
    Promise("limits", "limits, identity and mounts are read back from the kernel", "readback"),
    Promise("held", "nothing of the tool runs before all that was read back", "gate"),
)
NAMES: Final = frozenset(promise.name for promise in PROMISES)


def lacking(runtime: str) -> dict[str, str]:
    """The controls that this runtime cannot enforce, by their full names, each with the reason."""
    if runtime in PLAIN_RUNTIMES:
        return {}
    return {f"{runtime}.{control}": why for control, why in UNSEEN.items()}


def gap(promise: Promise, runtime: str) -> str:
    """The control to accept before this runtime may leave the promise unkept; empty: it is kept."""
    full = f"{runtime}.{promise.control}"
    return full if promise.control and full in lacking(runtime) else ""
