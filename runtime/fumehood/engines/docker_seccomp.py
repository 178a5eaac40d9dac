"""Seccomp profiles as Docker has to be given them to mean what they say. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from fumehood.kernel import libseccomp
from fumehood.kernel.seccomp_profile import Profile, matches

_HIGHEST: Final = 1024
"""Above every call number of any kernel to come for some time; 6.18 ends at 470."""

_SIGCHLD_FORK: Final = 0x1200011
"""SIGCHLD, CLONE_CHILD_SETTID and CLONE_CHILD_CLEARTID: how every libc forks."""
_TIOCSPGRP: Final = 0x5410
INIT_CALLS: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    ("clone", (_SIGCHLD_FORK,)),
    ("execve", ()),
    ("wait4", ()),
    ("setpgid", ()),
    ("ioctl", (0, _TIOCSPGRP)),
    ("rt_sigaction", ()),
    ("rt_sigprocmask", ()),
    ("rt_sigtimedwait", ()),
    ("exit_group", ()),
)
"""What a container's init does (tini.c): Docker gives it the tool's own filter, so a profile that
denies one of these starts no tool at all."""
_INIT_START: Final = frozenset(
    {
        "arch_prctl", "brk", "getpgrp", "getpid", "getrandom", "mprotect", "prlimit64", "readlink",
        "rseq", "set_robust_list", "set_tid_address",
    }
)  # fmt: skip
"""How the init, a static program, starts its C library and forks."""
_CLONE_THREAD: Final = 0x50F00
"""CLONE_VM, _FS, _FILES, _SIGHAND, _SYSVSEM and _THREAD: how Go makes a thread."""
RUNC_NEEDS: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    # Denied, no container starts (runc 1.1.5, each tried alone).
    ("close", ()),
    ("fstatfs", ()),
    ("futex", ()),
    ("getdents64", ()),
    ("openat", ()),
    ("write", ()),
    # What the init's C library begins with.
    ("arch_prctl", ()),
    ("mprotect", ()),
    # Denied, most containers start: Go needs them whenever it has to grow, or a signal comes.
    ("clone", (_CLONE_THREAD,)),
    ("epoll_pwait", ()),
    ("mmap", ()),
    ("munmap", ()),
    ("read", ()),
    ("rt_sigreturn", ()),
    ("sigaltstack", ()),
)
"""What runc cannot do without between loading the filter and executing the init, besides
INIT_CALLS. The others of CONTAINER_CALLS may be denied, all of them at once."""
_RUNC: Final = frozenset(
    {
        # seen in the kernel's records: it closes what it holds and reports that it is ready
        "close", "epoll_ctl", "execve", "fstatfs", "getdents64", "getpid", "openat", "write",
        # Go's scheduler, memory and preemption, whenever they happen to come then
        "clone", "epoll_pwait", "fcntl", "futex", "gettid", "madvise", "mmap", "munmap",
        "nanosleep", "read", "rt_sigprocmask", "rt_sigreturn", "sched_yield", "sigaltstack",
        "tgkill",
    }
)  # fmt: skip
"""What runc does between loading the filter and executing the init."""
CONTAINER_CALLS: Final = frozenset(name for name, _ in INIT_CALLS) | _INIT_START | _RUNC
"""What runs under the tool's filter before the tool, so that learning does not see it: without
these a profile starts no container, or not every time."""


def denied_before_tool(profile: Profile) -> str:
    """The first call that the container's init or runc cannot do without, and the profile denies;
    empty: none. Calls that this machine's architecture does not have are passed over."""
    native = libseccomp.seccomp_arch_native()
    for name, args in (*INIT_CALLS, *RUNC_NEEDS):
        number = libseccomp.seccomp_syscall_resolve_name_arch(native, name)
        if number is None or number < 0:
            continue
        padded = (*args, 0, 0, 0, 0, 0, 0)
        action = next(
            (
                rule.action
                for rule in profile.rules
                if name in rule.names and all(matches(c, padded[c.index]) for c in rule.conditions)
            ),
            profile.default,
        )
        if action.denies:
            return name
    return ""


def known_calls() -> frozenset[str]:
    """Every call of this machine's architecture that libseccomp knows by name."""
    native = libseccomp.seccomp_arch_native()
    names = (libseccomp.seccomp_syscall_resolve_num_arch(native, n) for n in range(_HIGHEST))
    return frozenset(name for name in names if name is not None)


def seccomp_document(profile: bytes, names: Iterable[str]) -> str:
    """The profile as Docker is given it.

    Docker before 23 drops `defaultErrnoRet` in silence and answers EPERM where the profile says
    ENOSYS, so every call that the profile does not name gets a rule of its own with the same
    meaning. names: every call that the runtime's libseccomp may know.
    """
    document = json.loads(profile)
    errno = document.get("defaultErrnoRet")
    if document["defaultAction"] == "SCMP_ACT_ERRNO" and errno is not None:
        named = {name for rule in document["syscalls"] for name in rule["names"]}
        rest = sorted(set(names) - named)
        if rest:
            rule = {"names": rest, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": []}
            document["syscalls"].append(rule)
    return json.dumps(document, separators=(",", ":"))
