"""The shipped profiles: every rule with arguments that it means and arguments just beside them,
by evaluation of the compiled filter and, where nothing can be harmed, on the kernel."""

from __future__ import annotations

import ctypes
import functools
import platform

import pytest

from fumehood.kernel import libseccomp, seccomp
from fumehood.kernel.seccomp_profile import ARCHITECTURES, ERRNO, KILL_PROCESS, Profile
from fumehood.resources import profile_directory
from unit.kernel import bpf, confined, oracle

PROFILES = ("compute", "network", "strict")
X86_64 = "SCMP_ARCH_X86_64"
NATIVE = {"x86_64": X86_64, "aarch64": "SCMP_ARCH_AARCH64"}[platform.machine()]

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET = 1, 2, 10, 16, 17
AF_TIPC, AF_ALG, AF_VSOCK, AF_XDP = 30, 38, 40, 44
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
SOCK_CLOEXEC, SOCK_NONBLOCK = 0o2000000, 0o4000
TCP, UDP, ICMP, SCTP, MPTCP = 6, 17, 1, 132, 262
CLONE_THREAD, CLONE_NEWUSER, CLONE_NEWNET = 0x10000, 0x10000000, 0x40000000
CLONE_NEW = (0x20000, 0x2000000, 0x4000000, 0x8000000, CLONE_NEWUSER, 0x20000000, CLONE_NEWNET)
FORK_FLAGS, THREAD_FLAGS = 0x1200011, 0x3D0F00
TIOCSTI, TIOCLINUX, TIOCSETD, TCGETS, FIOCLEX = 0x5412, 0x541C, 0x5423, 0x5401, 0x5451
S_IFIFO, S_IFCHR, S_IFBLK, S_IFREG = 0o010000, 0o020000, 0o060000, 0o100000
PR_SET_NAME, PR_SET_MM, PR_SET_PTRACER = 15, 35, 0x59616D61
GARBAGE = 0xDEADBEEF << 32
"""High halves that the kernel ignores where it reads an int."""


@functools.cache
def load(name: str) -> Profile:
    return seccomp.load_named(str(profile_directory()), name)


@functools.cache
def compiled(name: str, architecture: str = NATIVE) -> bytes:
    return seccomp.compile_bpf(load(name), architecture=architecture)


@functools.cache
def number(name: str, architecture: str = NATIVE) -> int:
    found = libseccomp.seccomp_syscall_resolve_name_arch(ARCHITECTURES[architecture], name)
    return seccomp.NEWER_CALLS[name] if found is None else found


def verdict(profile: str, call: str, *args: int, architecture: str = NATIVE) -> str:
    program = compiled(profile, architecture)
    arch = ARCHITECTURES[architecture]
    return str(bpf.evaluate(program, number(call, architecture), *args, arch=arch))


# --- each rule, and just beside it --------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", PROFILES)
def test_every_rule_holds_where_it_should_and_nowhere_beside(name: str, architecture: str) -> None:
    profile, program = load(name), compiled(name, architecture)
    arch, native = ARCHITECTURES[architecture], architecture == NATIVE
    checked = 0
    for rule in profile.rules:
        base = [0] * 6
        for condition in rule.conditions:
            base[condition.index] = oracle.satisfying(condition)
        for call in rule.names:
            found = libseccomp.seccomp_syscall_resolve_name_arch(arch, call)
            if found is None and not native:
                continue  # libseccomp translates by name only what it knows
            nr = number(call, architecture)
            if nr < 0:
                continue
            indexes = {c.index for c in rule.conditions}
            for args in oracle.mutations(tuple(base), indexes):
                expected = oracle.text(oracle.decide(profile, call, args))
                assert str(bpf.evaluate(program, nr, *args, arch=arch)) == expected, (call, args)
                checked += 1
    assert checked > 1000


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", PROFILES)
def test_no_call_that_the_library_knows_is_left_to_the_default_by_oversight(
    name: str, architecture: str
) -> None:
    resolve = ctypes.CDLL(libseccomp.LIBRARY).seccomp_syscall_resolve_num_arch
    resolve.restype, resolve.argtypes = ctypes.c_void_p, (ctypes.c_uint32, ctypes.c_int)
    known = {
        ctypes.string_at(found).decode()
        for call in range(seccomp.NEWER_CALLS["listns"] + 1)
        if (found := resolve(ARCHITECTURES[architecture], call))
    }
    named = {call for rule in load(name).rules for call in rule.names}
    assert len(known) > 300
    assert known - named - {"uretprobe", "uprobe"} == set()


@pytest.mark.parametrize("name", PROFILES)
def test_no_name_is_unknown_and_every_group_has_a_reason(name: str) -> None:
    profile = load(name)
    assert seccomp.unknown_calls(profile) == ()
    assert [rule.names for rule in profile.rules if not rule.comment] == []


@pytest.mark.parametrize("name", PROFILES)
def test_unknown_numbers_give_enosys_and_foreign_abis_kill(name: str) -> None:
    program = compiled(name, X86_64)
    for call in (471, 500, 1024, 0x3FFFFFFF, 0xFFFFFFFF):
        assert str(bpf.evaluate(program, call)) == "errno 38"
    for call in range(600):
        assert str(bpf.evaluate(program, call, arch=bpf.AUDIT_ARCH_I386)) == "kill_process"
        assert str(bpf.evaluate(program, call | bpf.X32_SYSCALL_BIT)) == "kill_process"


@pytest.mark.parametrize("name", PROFILES)
def test_a_call_costs_few_instructions(name: str) -> None:
    program = compiled(name)
    steps = [bpf.evaluate(program, call, arch=ARCHITECTURES[NATIVE]).steps for call in range(471)]
    assert max(steps) < 150
    assert sorted(steps)[len(steps) // 2] < 30


def allowed(name: str) -> set[tuple[object, ...]]:
    return {
        (call, rule.conditions)
        for rule in load(name).rules
        if not rule.action.denies
        for call in rule.names
    }


def test_network_is_compute_and_inet_sockets() -> None:
    added = {str(call) for call, _ in allowed("network") - allowed("compute")}
    assert added == {"socket", "bind", "connect"}
    assert allowed("compute") <= allowed("network")


def test_strict_allows_no_call_that_compute_denies() -> None:
    compute = {call for call, _ in allowed("compute")}
    assert {call for call, _ in allowed("strict")} <= compute


# --- what they mean, in words -------------------------------------------------------------

ALLOW, EPERM, ENOSYS, EOPNOTSUPP, KILL = "allow", "errno 1", "errno 38", "errno 95", "kill_process"

MEANING = [
    # profiles, call, args, answer
    ("compute network strict", "read", (0,), ALLOW),
    ("compute network", "openat", (0, 0, 0o102), ALLOW),
    ("strict", "openat", (0, 0, 0o100000), ALLOW),
    ("strict", "openat", (0, 0, 0o1), ALLOW),
    ("strict", "openat", (0, 0, 0o2), EPERM),
    ("strict", "openat", (0, 0, 0o100), EPERM),
    ("strict", "openat", (0, 0, GARBAGE | 0o2), EPERM),
    ("compute network", "mmap", (0, 4096, 7), ALLOW),
    ("strict", "mmap", (0, 4096, 3), ALLOW),
    ("strict", "mmap", (0, 4096, 5), EPERM),
    ("strict", "mprotect", (0, 4096, 4), EPERM),
    # processes and namespaces
    ("compute network", "clone", (FORK_FLAGS,), ALLOW),
    ("compute network strict", "clone", (THREAD_FLAGS,), ALLOW),
    ("strict", "clone", (FORK_FLAGS,), EPERM),
    *(
        ("compute network strict", "clone", (flags | flag,), EPERM)
        for flags in (FORK_FLAGS, THREAD_FLAGS, GARBAGE)
        for flag in CLONE_NEW
    ),
    ("compute network strict", "clone3", (0, 88), ENOSYS),
    ("compute network", "unshare", (CLONE_NEWUSER,), EPERM),
    ("strict", "unshare", (CLONE_NEWUSER,), KILL),
    ("compute network", "setns", (3, 0), EPERM),
    ("compute network", "mount", (0, 0, 0), EPERM),
    ("compute network", "ptrace", (16, 1), EPERM),
    ("compute network", "pidfd_getfd", (3, 0, 0), EPERM),
    ("compute network strict", "setuid", (0,), EPERM),
    # sockets
    ("compute network", "socketpair", (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC), ALLOW),
    *(
        ("compute network", "socketpair", (AF_UNIX, kind | flags), answer)
        for kind, answer in (
            (SOCK_STREAM, ALLOW), (SOCK_SEQPACKET, ALLOW), (SOCK_DGRAM, EPERM), (SOCK_RAW, EPERM),
            (4, EPERM), (6, EPERM), (10, EPERM), (0, EPERM), (7, EPERM), (9, ENOSYS),
        )
        for flags in (0, SOCK_CLOEXEC | SOCK_NONBLOCK, GARBAGE)
    ),
    ("compute network", "socketpair", (GARBAGE | AF_UNIX, SOCK_DGRAM), EPERM),
    ("compute network", "socketpair", (GARBAGE | AF_UNIX, SOCK_STREAM), ALLOW),
    ("strict", "socketpair", (AF_UNIX, SOCK_STREAM), KILL),
    *(
        ("compute network", "socketpair", (AF_TIPC, kind), EPERM)
        for kind in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 4, SOCK_SEQPACKET)
    ),
    ("compute network", "socketpair", (AF_INET, SOCK_STREAM), ENOSYS),
    ("compute network", "socketpair", (AF_INET, SOCK_DGRAM), EPERM),
    *(
        ("compute", "socket", (family, kind), EPERM)
        for family in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP)
        for kind in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW)
    ),
    *(
        ("network", "socket", (family | high, kind | flags, protocol), ALLOW)
        for family in (AF_INET, AF_INET6)
        for kind, protocol in ((SOCK_STREAM, 0), (SOCK_STREAM, TCP), (SOCK_DGRAM, UDP))
        for flags in (0, SOCK_CLOEXEC | SOCK_NONBLOCK)
        for high in (0, GARBAGE)
    ),
    *(
        ("network", "socket", (family | high, SOCK_STREAM, 0), EPERM)
        for family in (AF_UNIX, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP)
        for high in (0, GARBAGE)
    ),
    *(("network", "socket", (family, SOCK_STREAM, 0), ENOSYS) for family in (46, 255, 2**31)),
    ("network", "socket", (AF_INET, SOCK_RAW, ICMP), EPERM),
    ("network", "socket", (AF_INET, SOCK_RAW | SOCK_CLOEXEC, 255), EPERM),
    ("network", "socket", (AF_INET, SOCK_DGRAM, ICMP), EPERM),
    ("network", "socket", (AF_INET6, SOCK_SEQPACKET, SCTP), EPERM),
    ("network", "socket", (AF_INET, SOCK_STREAM, SCTP), EPERM),
    ("network", "socket", (AF_INET, SOCK_STREAM, MPTCP), EPERM),
    ("network", "socket", (AF_INET, SOCK_STREAM, 77), ENOSYS),
    ("network", "connect", (3,), ALLOW),
    ("compute", "connect", (3,), EPERM),
    ("compute network", "listen", (3, 1), EPERM),
    ("compute network", "accept4", (3,), EPERM),
    ("strict", "socket", (AF_INET, SOCK_STREAM), KILL),
    # arguments that the kernel reads as 32 bits: a high half must not open anything
    *(
        ("compute network strict", "ioctl", (0, high | request), EPERM)
        for request in (TIOCSTI, TIOCLINUX, TIOCSETD)
        for high in (0, GARBAGE, 1 << 32)
    ),
    ("compute network strict", "ioctl", (0, TCGETS), ALLOW),
    ("compute network strict", "ioctl", (0, FIOCLEX), ALLOW),
    ("compute network strict", "ioctl", (0, 0xB701), ENOSYS),
    ("compute network strict", "prctl", (PR_SET_NAME,), ALLOW),
    ("compute network strict", "prctl", (GARBAGE | PR_SET_MM,), EPERM),
    ("compute network strict", "prctl", (PR_SET_PTRACER,), EPERM),
    ("compute network strict", "prctl", (9999,), ENOSYS),
    ("compute network", "personality", (0xFFFFFFFF,), ALLOW),
    ("compute network", "personality", (0x0040000,), EPERM),
    ("compute network", "personality", (0,), EPERM),
    # special files
    *(
        ("compute network", "mknodat", (0, 0, kind | 0o644), answer)
        for kind, answer in (
            (0, ALLOW), (S_IFREG, ALLOW), (S_IFIFO, ALLOW), (S_IFCHR, EPERM), (S_IFBLK, EPERM),
            (GARBAGE | S_IFCHR, EPERM),
        )
    ),
    ("compute network", "memfd_create", (0, 0), EPERM),
    ("compute network strict", "fsetxattr", (3, 0), EOPNOTSUPP),
    ("compute network", "io_uring_setup", (1, 0), EPERM),
    *(
        ("compute network strict", call, (), KILL)
        for call in (
            "bpf", "keyctl", "add_key", "request_key", "userfaultfd", "perf_event_open",
            "init_module", "finit_module", "delete_module", "kexec_load", "open_by_handle_at",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("profiles", "call", "args", "answer"), MEANING)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_a_profile_says_of(
    profiles: str, call: str, args: tuple[int, ...], answer: str, architecture: str
) -> None:
    for name in profiles.split():
        assert verdict(name, call, *args, architecture=architecture) == answer, name


# --- on the kernel ------------------------------------------------------------------------

BLOCKS_OR_ENDS = {"pause", "exit", "exit_group"}


@pytest.mark.parametrize("name", PROFILES)
def test_the_kernel_denies_every_call_that_the_profile_denies(name: str) -> None:
    """With nonsense for arguments: a filter that let one through would harm nothing."""
    calls: list[confined.Call] = []
    expected: list[str] = []
    for rule in load(name).rules:
        for call in rule.names:
            if rule.conditions or not rule.action.denies or number(call) < 0:
                continue
            calls.append((confined.NATIVE, number(call), *[2**64 - 1] * 6))
            assert rule.action.name in (ERRNO, KILL_PROCESS)
            killed = rule.action.name == KILL_PROCESS
            expected.append("signal 31" if killed else f"errno {rule.action.errno}")
    assert len(calls) > 100
    assert confined.run(compiled(name), calls) == expected


@pytest.mark.parametrize("name", PROFILES)
def test_the_kernel_filters_by_argument(name: str) -> None:
    meant = [m for m in MEANING if name in m[0].split() and m[1] in HARMLESS]
    calls: list[confined.Call] = [
        (confined.NATIVE, number(call), *args) for _, call, args, _ in meant
    ]
    answers = confined.run(compiled(name), calls)
    for (_, call, args, answer), found in zip(meant, answers, strict=True):
        if answer == ALLOW:
            assert found not in (EPERM, ENOSYS, "signal 31"), (call, args)
        else:
            assert found == ("signal 31" if answer == KILL else answer), (call, args)


HARMLESS = {
    "socket", "socketpair", "ioctl", "personality", "mknodat", "memfd_create", "fsetxattr",
    "clone3", "setns", "io_uring_setup", "bpf", "keyctl", "userfaultfd", "openat",
}  # fmt: skip


@pytest.mark.parametrize("name", PROFILES)
def test_the_kernel_kills_foreign_abis(name: str) -> None:
    getpid_i386, getpid = 20, number("getpid")
    calls: list[confined.Call] = [(confined.NATIVE, getpid)]
    if NATIVE == X86_64:  # aarch64 has no second ABI that a 64-bit process can call
        calls.append((confined.I386, getpid_i386))
        calls.append((confined.NATIVE, getpid | bpf.X32_SYSCALL_BIT))
    expected = ["ok", "signal 31", "signal 31"]
    assert confined.run(compiled(name), calls) == expected[: len(calls)]
