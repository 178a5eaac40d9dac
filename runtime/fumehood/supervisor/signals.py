"""What is seen of calls and of ourselves that may be an incident. Pure; decides nothing of actions.

A signal comes from a result, from a call that still runs, or from what the daemon finds out about
its own files and its audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fumehood.model.incident_rules import Signal
from fumehood.model.outcome import Syscalls
from fumehood.model.result import Finding, Result

NETWORK_CALLS: Final = frozenset(
    {"socket", "connect", "bind", "listen", "sendto", "sendmsg", "sendmmsg", "socketcall"}
)
"""Killed for one of these, a tool was refused its way out. What is answered with an error is seen
only of tools under `behaviour.log_denials`."""
TRIPPED: Final = "syscall-killed"
"""The finding of a call whose processes were killed for system calls while it went on."""
UNUSUAL: Final = "unusual-"


@dataclass(frozen=True, slots=True)
class Case:
    """One signal, and what it is about.

    what: for the timeline; never a tool's or a caller's own words. before: what came earlier.
    tool, version, digest, uid, invocation: empty, and -1, for what is not about a call.
    capture: what is known of the call, made only when an incident is opened.
    """

    signal: Signal
    what: str
    tool: str = ""
    version: str = ""
    digest: str = ""
    uid: int = -1
    invocation: str = ""
    before: tuple[tuple[str, str], ...] = ()
    capture: Callable[[], Mapping[str, Any]] | None = field(default=None, repr=False)


def signals(result: Result) -> set[Signal]:
    """What a result says that may be an incident."""
    found: set[Signal] = set()
    if result.status == "syscall_killed":
        found.add("tripwire")
    if result.status == "withheld":
        found.add("withheld")
    for finding in result.findings:
        found |= _of_finding(finding)
    if result.syscalls is not None and was_refused_network(result.syscalls):
        found.add("egress")
    return found


def was_refused_network(syscalls: Syscalls) -> bool:
    """Whether a process was killed, or answered with an error, for reaching out."""
    return any(
        item.syscall in NETWORK_CALLS and (item.action == "errno" or item.action.startswith("kill"))
        for item in syscalls.seen
    )


def _of_finding(finding: Finding) -> set[Signal]:
    if finding.rule == "canary":
        return {"canary"}
    if finding.kind == "injection":
        return {"injection"}
    if finding.kind != "behaviour":
        return set()
    if finding.rule == TRIPPED:
        return {"tripwire"}
    return {"unusual"} if finding.rule.startswith(UNUSUAL) else {"behaviour"}
