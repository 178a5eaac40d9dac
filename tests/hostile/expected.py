"""Which hostile cases run on which engine, and where what must be seen depends on the engine.

What is not named here is the same everywhere. A runtime with a kernel of its own runs the cases
whose answer the plan still promises there; what it lacks stands in engines.promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from hostile.cases import (
    CASES,
    MEMORY,
    MEMORY_EXCEEDED,
    MIB,
    OK,
    TIMEOUT,
    TOOL_ERROR,
    Case,
    Result,
    answers,
    anything,
    both,
    breached,
    plain_arrived,
    shown_own_root,
)
from support.engines import RUNSC, TARGETS, Target

RUNSC_LEFT_OUT: Final = frozenset({"socket-families", "namespaces", "execution"})
"""With the system calls: what the plan's filter, or the scratch space's noexec, would answer. Both
must be accepted as missing there; what gVisor's own kernel lets a tool do reaches nobody else."""


def nothing_outside(result: Result) -> None:
    """gVisor has a network stack of its own, in which a datagram can be sent to nobody; that
    nobody outside got one is what the listeners say."""
    tried = answers(result)
    assert tried.pop("interfaces") == ["lo"]
    own = {"loopback udp", "dns datagram", "listen"}
    assert {name for name, answer in tried.items() if answer == "ok"} <= own


def no_privilege_outside(result: Result) -> None:
    """Whoever is root in a user namespace of gVisor's is nobody on the host."""
    found = answers(result)
    assert (found.pop("groups"), found.pop("euid")) == ([], True)
    assert not any(found.pop("programs").values())
    assert not found.pop("own").startswith("0 ")
    found.pop("unshare program")
    assert "ok" not in found.values()


def no_mount_outside(result: Result) -> None:
    assert set(answers(result).values()) <= {"EPERM", "ENOSYS"}


def no_file_of_the_hosts_kernel(result: Result) -> None:
    """The score is one of gVisor's processes, of which the host's kernel knows none."""
    found = answers(result)
    written = {path for path, answer in found["writes"].items() if answer == "ok"}
    assert written <= {"/proc/1/oom_score_adj"}
    assert {path for path, answer in found["reads"].items() if answer == "ok"} <= {
        "/proc/1/environ"
    }


def sees_no_others(result: Result) -> None:
    """What is shared in System V's ways is gVisor's own; the host has counted its own."""
    found = answers(result)
    assert found["seen"] == [1, found["self"]]
    assert "ok" not in (found["trace"], found["read memory"], found["hostname"])


def own_root_and_own_sys(result: Result) -> None:
    """gVisor shows a /sys that it made up, without a device of the host's."""
    shown_own_root(answers(result), made_up=frozenset({"sys"}))


def within_a_wider_limit(result: Result) -> None:
    assert result["usage"]["memory_peak_bytes"] <= MEMORY + 64 * MIB + MIB


def limits_were_not_raised(result: Result) -> None:
    """Priorities are gVisor's own, and mean nothing on the host."""
    found = answers(result)
    own = {"nice", "realtime", "oom_score_adj"}
    assert {found[name] for name in set(found) - own} == {"refused"}


# Its kernel ends when the host gives it no more threads, or no more memory for them: the bomb
# takes itself away.
ENDS_ITSELF: Final = {"statuses": OK | TOOL_ERROR | MEMORY_EXCEEDED, "check": anything}
CHANGES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    (RUNSC.name, "fork-bomb"): {**ENDS_ITSELF, "statuses": TIMEOUT | TOOL_ERROR | MEMORY_EXCEEDED},
    (RUNSC.name, "thread-bomb"): ENDS_ITSELF,
    (RUNSC.name, "zombies"): ENDS_ITSELF,
    (RUNSC.name, "heap"): {"check": both(breached("memory"), within_a_wider_limit)},
    # Its processes are one process of the host's: a child is not killed alone.
    (RUNSC.name, "child-heap"): {"check": both(breached("memory"), within_a_wider_limit)},
    (RUNSC.name, "shared-memory"): {"check": within_a_wider_limit},
    (RUNSC.name, "page-cache"): {"check": within_a_wider_limit},
    (RUNSC.name, "pipes"): {"check": within_a_wider_limit},
    (RUNSC.name, "scratch-memory"): {"check": within_a_wider_limit},
    (RUNSC.name, "raise-limits"): {"check": limits_were_not_raised},
    # A walk through the host's /usr takes it half a minute.
    (RUNSC.name, "writable"): {"arguments": {"skip": ["/usr"]}},
    # Its FIFOs are no files of the host's: nothing stands in /out to be collected or told.
    (RUNSC.name, "fifo"): {"check": plain_arrived},
    (RUNSC.name, "reach"): {"check": nothing_outside},
    (RUNSC.name, "privilege"): {"check": no_privilege_outside},
    (RUNSC.name, "mounts"): {"check": no_mount_outside},
    (RUNSC.name, "kernel-files"): {"check": no_file_of_the_hosts_kernel},
    (RUNSC.name, "roots"): {"check": own_root_and_own_sys},
    (RUNSC.name, "others"): {"check": sees_no_others},
}


def _promised_by_runsc(case: Case) -> bool:
    return case.payload != "prober" and case.name not in RUNSC_LEFT_OUT


def cases(target: Target) -> list[Case]:
    """The cases of an engine, with what is expected on it."""
    chosen = [case for case in CASES if target is not RUNSC or _promised_by_runsc(case)]
    return [replace(case, **CHANGES.get((target.name, case.name), {})) for case in chosen]


ALL: Final = [(target, case) for target in TARGETS for case in cases(target)]
