"""The system calls that Python 3.11 does not offer, under the kernel's own names.

Standard library only. Every wrapper returns nothing or a descriptor, and raises OSError with
the call's name; nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_LOG = 2

# linux/capability.h
CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_FOWNER = 3
CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_AUDIT_READ = 37
_CAPABILITY_VERSION_3 = 0x20080522

# linux/openat2.h; the number is the same on every architecture (asm-generic/unistd.h)
_SYS_OPENAT2 = 437
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08


# linux/landlock.h; numbers as above
LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 0x1
LANDLOCK_SCOPES_SINCE = 6
"""The version of Landlock's ABI that first knows scopes (Linux 6.12)."""
_LANDLOCK_CREATE_RULESET_VERSION = 0x1
_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_RESTRICT_SELF = 446


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _check(result: int, call: str, path: str = "") -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}", path or None)
    return result


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """mount(2). Empty strings stand for NULL."""
    _check(
        _libc.mount(
            os.fsencode(source) or None,
            os.fsencode(target),
            fstype.encode() or None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        ),
        "mount",
        target,
    )


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), "umount2", target)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), "pivot_root", new_root)


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """prctl(2) with integer arguments."""
    unsigned = ctypes.c_ulong
    return _check(
        _libc.prctl(option, unsigned(arg2), unsigned(arg3), unsigned(0), unsigned(0)),
        f"prctl({option})",
    )


def syncfs(fd: int) -> None:
    """syncfs(2): all of the file system that `fd` is in; since Linux 5.8 it tells of failures."""
    _check(_libc.syncfs(fd), "syncfs")


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2): a close-on-exec descriptor of `path` resolved below `directory`."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return _check(
        _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        ),
        "openat2",
        os.fsdecode(path),
    )


def seccomp_logging(program: bytes) -> None:
    """seccomp(2) with SECCOMP_FILTER_FLAG_LOG: load a filter whose denials are recorded."""
    number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]  # asm/unistd_64.h
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    given = ctypes.create_string_buffer(filter_, len(filter_))
    _check(
        _libc.syscall(
            ctypes.c_long(number),
            ctypes.c_uint(SECCOMP_SET_MODE_FILTER),
            ctypes.c_uint(SECCOMP_FILTER_FLAG_LOG),
            given,
        ),
        "seccomp",
    )


def landlock_version() -> int:
    """The version of Landlock's ABI; 0 where the kernel has none, or has it switched off."""
    version = _libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(0, int(version))


def landlock_scope(scoped: int) -> None:
    """Confine this process, and all it starts, to what LANDLOCK_SCOPE_* leaves them.

    Needs no_new_privs and LANDLOCK_SCOPES_SINCE. Without a right of the file system in it the
    rule set does not forbid mounts.
    """
    given = struct.pack("@QQQ", 0, 0, scoped)  # handled_access_fs, handled_access_net, scoped
    ruleset = _check(
        _libc.syscall(
            ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET),
            given,
            ctypes.c_size_t(len(given)),
            ctypes.c_uint(0),
        ),
        "landlock_create_ruleset",
    )
    try:
        number = ctypes.c_long(_SYS_LANDLOCK_RESTRICT_SELF)
        _check(
            _libc.syscall(number, ctypes.c_int(ruleset), ctypes.c_uint(0)), "landlock_restrict_self"
        )
    finally:
        os.close(ruleset)


def limit_capabilities(keep: frozenset[int]) -> None:
    """Leave this process only the capabilities in `keep`, and whatever it executes none.

    The bounding set is emptied first, while CAP_SETPCAP is still held, which does not touch
    what the process has; capabilities the kernel does not know end the loop (EINVAL).
    """
    for capability in range(64):
        try:
            held = prctl(PR_CAPBSET_READ, capability)
        except OSError:
            break
        if held:
            prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    current = (_CapData * 2)()
    _check(_libc.capget(ctypes.byref(header), current), "capget")
    for word in range(2):
        mask = sum(1 << (cap - 32 * word) for cap in keep if cap // 32 == word)
        current[word].effective &= mask
        current[word].permitted &= mask
        current[word].inheritable = 0
    _check(_libc.capset(ctypes.byref(header), current), "capset")
