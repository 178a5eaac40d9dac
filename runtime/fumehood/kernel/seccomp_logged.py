"""A profile as two filters, so that the kernel tells what the first of them denies.

The kernel records an ERRNO answer when the filter that gave it was loaded with
SECCOMP_FILTER_FLAG_LOG, and of equal answers the newest filter's counts (kernel/seccomp.c,
seccomp_run_filters). bubblewrap loads its filter without that flag, and nothing of ours runs
between it and the tool. So the denials that bubblewrap itself can live with are moved into a
filter that is loaded before it, with the flag; the filter that it loads is the profile's own
without them. Together they answer every call as the profile does, which a test holds.

Pure; standard library only. It must never make a pair that allows more than the profile.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from fumehood.kernel import libseccomp, seccomp
from fumehood.kernel.seccomp_profile import ERRNO, Profile

_ENOSYS: Final = 38
MOVABLE: Final = frozenset(
    {
        "accept", "accept4", "acct", "adjtimex", "cachestat", "clock_adjtime", "clock_settime",
        "connect", "fanotify_init", "fanotify_mark", "file_setattr", "fremovexattr", "fsetxattr",
        "get_mempolicy", "get_thread_area", "io_cancel", "io_destroy", "io_getevents",
        "io_pgetevents", "io_setup", "io_submit", "io_uring_enter", "io_uring_register",
        "io_uring_setup", "ioperm", "iopl", "ioprio_set", "kcmp", "listen", "listns",
        "lookup_dcookie", "lremovexattr", "lsetxattr", "lsm_get_self_attr", "lsm_list_modules",
        "lsm_set_self_attr", "mbind", "memfd_secret", "migrate_pages", "modify_ldt", "move_pages",
        "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
        "msgctl", "msgget", "msgrcv", "msgsnd", "name_to_handle_at", "pidfd_getfd",
        "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace",
        "quotactl", "quotactl_fd", "reboot", "remap_file_pages", "removexattr", "removexattrat",
        "semctl", "semget", "semop", "semtimedop", "set_mempolicy", "set_mempolicy_home_node",
        "set_thread_area", "settimeofday", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt",
        "shmget", "swapoff", "swapon", "sync", "syncfs", "sysfs", "syslog", "uselib", "ustat",
        "vhangup", "vmsplice",
    }
)  # fmt: skip
"""What is moved: no bubblewrap, of any version, and nothing that it is linked with needs these. A
profile of the operator's may deny others, with which no sandbox could be set up: mkdir, umask."""
SET_UP_FAMILIES: Final = (1, 16)
"""AF_UNIX and AF_NETLINK: how it brings the loopback interface up."""
FILTERS: Final = 2
"""How many more of them `Seccomp_filters` in /proc/PID/status counts with both."""

_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD, _EQUAL, _JUMP, _RETURN = 0x20, 0x15, 0x05, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; the lower half of the argument, on little-endian machines."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Raw BPF. first: to be loaded before bubblewrap, with the flag. second: for bubblewrap."""

    first: bytes
    second: bytes


def pair(profile: Profile) -> Pair | None:
    """The two filters of a profile for this machine; None when it denies nothing that could be
    moved. Raises EngineError as `seccomp.compile_bpf` does."""
    numbers, socket = _moved(profile)
    if not numbers and socket is None:
        return None
    whole = seccomp.compile_bpf(profile)
    first = _program(numbers, socket, deny=True) + _code(_RETURN, _ALLOW)
    second = _program(numbers, socket, deny=False) + whole
    if len(second) > seccomp.MAX_INSTRUCTIONS * 8:
        return None
    return Pair(first, second)


def _moved(profile: Profile) -> tuple[dict[int, int], tuple[int, int] | None]:
    """Errno by number of the calls that are denied whatever their arguments are; `socket` apart,
    of which only some families are moved. ENOSYS is no denial: programs fall back from it."""
    numbers: dict[int, int] = {}
    socket = None
    for rule in profile.rules:
        if rule.action.name != ERRNO or rule.conditions or rule.action.errno == _ENOSYS:
            continue
        for name, number in seccomp.numbers(profile, rule).items():
            if name == "socket":
                socket = number, rule.action.errno
            elif name in MOVABLE:
                numbers[number] = rule.action.errno
    return numbers, socket


def _program(numbers: dict[int, int], socket: tuple[int, int] | None, *, deny: bool) -> bytes:
    """Answers for what is moved, with its errno or by allowing it; goes on behind its end for
    everything else, foreign ABIs included."""
    tests = b""
    for number, errno in sorted(numbers.items()):
        answer = _ERRNO | errno if deny else _ALLOW
        tests += _code(_EQUAL, number, 0, 1) + _code(_RETURN, answer)
    if socket is not None:
        number, errno = socket
        answer = _ERRNO | errno if deny else _ALLOW
        left = len(SET_UP_FAMILIES)
        families = _code(_LOAD, _FIRST_ARGUMENT)
        for place, family in enumerate(SET_UP_FAMILIES):
            families += _code(_EQUAL, family, left - place, 0)
        families += _code(_RETURN, answer)
        tests += _code(_EQUAL, number, 0, len(families) // 8) + families
    body = _code(_LOAD, _NUMBER) + tests
    native = libseccomp.seccomp_arch_native()
    return (
        _code(_LOAD, _ARCHITECTURE)
        + _code(_EQUAL, native, 1, 0)
        + _code(_JUMP, len(body) // 8)
        + body
    )


def _code(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(operation, if_true, if_false, value)
