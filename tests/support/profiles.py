"""Profiles made from the shipped ones."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection
from pathlib import Path

from fumehood.resources import profile_directory

HARMLESS = frozenset(
    {
        "brk", "epoll_ctl", "fcntl", "getpgrp", "getpid", "getrandom", "gettid", "madvise",
        "nanosleep", "prlimit64", "readlink", "rseq", "sched_yield", "set_robust_list",
        "set_tid_address", "tgkill",
    }
)  # fmt: skip
"""What runc and a container's init do before the tool, and can be denied, all at once."""


def without(calls: Collection[str], name: str = "compute") -> str:
    """A shipped profile that denies some calls besides, whatever their arguments."""
    document = json.loads((Path(profile_directory()) / f"{name}.json").read_text())
    for rule in document["syscalls"]:
        rule["names"] = [call for call in rule["names"] if call not in calls]
    document["syscalls"] = [
        *(rule for rule in document["syscalls"] if rule["names"]),
        {"names": sorted(calls), "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "comment": "Denied for a test."},
    ]  # fmt: skip
    return json.dumps(document, indent=2)


ALLOWING = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
        "comment": "For a test.",
        "syscalls": [
            {
                "names": ["chroot", "open_tree_attr"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "comment": "open_tree_attr (467) is younger than runc's libseccomp.",
            }
        ],
    }
)
"""Denies two calls, and nothing else."""


_KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]
CONFINED = f"""
def hold_against():
    import ctypes, os
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    confined = (
        status["Seccomp"].strip() == "2"
        and status["NoNewPrivs"].strip() == "1"
        and all(int(status["Cap" + name], 16) == 0 for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        and [line.split(":")[0].strip() for line in open("/proc/net/dev")][2:] in ([], ["lo"])
        and not os.access("/etc/shadow", os.R_OK)
        and os.getuid() == os.getgid() >= 1_000_000_000
        and os.statvfs("/").f_flag & os.ST_RDONLY
    )
    if not confined:
        ctypes.CDLL(None).syscall({_KEYCTL}, 0, 0, 0)  # a tripwire: it would be told
"""
"""Python of a tool that is killed, and named, when a confinement beside its profile is missing."""
