"""The processes that scan: a parent that loads the rules once, and children that read what is
hostile, each forked from it in milliseconds.

A child has no privilege to lose: no new file can be opened, no socket made, no program run, and
its memory and time are bounded by the kernel. The parent reads nothing but the supervisor's
words. None of them outlives the supervisor.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from fumehood.kernel import libc
from fumehood.kernel.seccomp import Action, Profile, Rule, compile_bpf
from fumehood.kernel.seccomp_profile import ALLOW, ARCHITECTURES, ERRNO
from fumehood.model.scan_policy import ScanSpec
from fumehood.scan.exchange import HEADER, Answer, Subject, answer, read_task
from fumehood.scan.policy import Withhold
from fumehood.scan.search import WALL_SECONDS, Budget, Search

PAGE: Final = struct.Struct("!Q48s")
"""Shared with the supervisor: the number of the task it gave up, the detector at work."""
GRACE_SECONDS: Final = 2.0
"""Of CPU and of wall time beyond a task's own, after which the kernel ends a child."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_EPERM: Final = 1
_CALLS: Final = (
    "read", "readv", "write", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "poll", "ppoll",
    "close", "fstat", "newfstatat", "lseek", "brk", "mmap", "munmap", "mremap", "mprotect",
    "madvise", "futex", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "setitimer", "getitimer", "clock_gettime", "gettimeofday", "getrusage", "getpid", "gettid",
    "tgkill", "getrandom", "sched_yield", "sched_getaffinity", "restart_syscall", "exit",
    "exit_group", "rseq", "set_robust_list", "uname",
)  # fmt: skip
"""What a child needs once its rules are loaded. Everything else answers EPERM."""


def main(argv: list[str]) -> int:
    """`scan_process CONTROL SETTINGS BUILDER`: a socket, a file with JSON, `module:function`."""
    control = socket.socket(fileno=int(argv[0]))
    control.set_inheritable(False)
    _die_with_parent()
    with os.fdopen(int(argv[1]), "rb") as file:
        file.seek(0)
        settings = json.load(file)
    module, _, function = argv[2].partition(":")
    build: Callable[[Path | None, ScanSpec], Search] = getattr(import_module(module), function)
    cache = Path(settings["cache"]) if settings["cache"] else None
    search = build(cache, ScanSpec.model_validate_json(settings["spec"]))
    _warm(search)
    filter_ = compile_bpf(_profile())
    control.send(b"ready")
    return _Parent(control, search, filter_, int(settings["memory_bytes"])).run()


def _warm(search: Search) -> None:
    """Everything that is loaded on first use is loaded here: a child can open no file."""
    samples = (
        b"plain",
        "\x1b[0m é \uff46 \\u0041 %41 &#65;".encode(),
        b"dGhlIHRleHQgaXMgbG9uZ2VyIHRoYW4=",
    )
    search.find_all([Subject(sample, clean=False, name="a.txt") for sample in samples], Budget())


class _Parent:
    """Forks children when it is told to, and ends them when it is told to."""

    def __init__(
        self, control: socket.socket, search: Search, filter_: bytes, memory_bytes: int
    ) -> None:
        self._control = control
        self._search = search
        self._filter = filter_
        self._memory = memory_bytes
        self._children: set[int] = set()

    def run(self) -> int:
        """Until the supervisor is gone."""
        while word := self._control.recv(64):
            if word == b"new":
                self._fork()
            elif word.startswith(b"end "):
                self._control.send(self._end(int(word[4:])))
        for pid in tuple(self._children):  # `_end` takes each out
            self._end(pid)
        return 0

    def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        page = os.memfd_create("fumehood-scan", os.MFD_CLOEXEC)
        os.ftruncate(page, PAGE.size)
        pid = os.fork()
        if not pid:
            self._control.close()
            theirs.close()
            _child(ours, page, self._search, self._filter, self._memory)
        ours.close()
        self._children.add(pid)
        socket.send_fds(self._control, [str(pid).encode()], [theirs.fileno(), page])
        theirs.close()
        os.close(page)

    def _end(self, pid: int) -> bytes:
        """Kill a child of ours, and say how it ended: it may have been dead."""
        if pid not in self._children:
            return b"unknown"
        self._children.discard(pid)
        os.kill(pid, signal.SIGKILL)  # ours, and not waited for yet: the number is still its
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return f"signal {-code}".encode() if code < 0 else f"exit status {code}".encode()


def _child(
    sock: socket.socket, page: int, search: Search, filter_: bytes, memory_bytes: int
) -> NoReturn:
    status = 1
    try:
        _die_with_parent()
        shared = mmap.mmap(page, PAGE.size)
        os.close(page)
        _confine(filter_, memory_bytes)
        _serve(sock, search, shared)
        status = 0
    finally:
        os._exit(status)


def _confine(filter_: bytes, memory_bytes: int) -> None:
    _, _, used = _memory()
    for limit, value in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    program = ctypes.create_string_buffer(filter_, len(filter_))
    header = struct.pack("HxxxxxxP", len(filter_) // 8, ctypes.addressof(program))
    loaded = ctypes.create_string_buffer(header, len(header))
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(loaded))


def _serve(sock: socket.socket, search: Search, shared: mmap.mmap) -> None:
    """One task after the other, each within the time that it says."""
    wall = WALL_SECONDS + GRACE_SECONDS
    while (header := _receive(sock, HEADER.size)) is not None:
        number, size = HEADER.unpack(header)
        message = _receive(sock, size)
        if message is None:
            return
        subjects, seconds, given = read_task(memoryview(message))
        # The kernel's own ends: native code that does not return sees no deadline of ours.
        signal.setitimer(signal.ITIMER_PROF, seconds + GRACE_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, wall)
        said = answer(_answered(search, subjects, seconds, number, shared, given))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        del message, subjects
        sock.sendall(HEADER.pack(number, len(said)) + said)


def _answered(
    search: Search,
    subjects: list[Subject],
    seconds: float,
    number: int,
    shared: mmap.mmap,
    given: list[bytes],
) -> Answer:
    def abandoned() -> bool:
        return int.from_bytes(shared[:8], "big") >= number

    def entering(detector: str) -> None:
        shared[8:56] = detector.encode()[:48].ljust(48, b"\0")

    budget = Budget(seconds, abandoned=abandoned, entering=entering, given=given)
    began = _cpu()
    try:
        found = tuple(tuple(matches) for matches in search.find_all(subjects, budget))
    except Withhold as withhold:
        (finding,) = withhold.findings
        too_many = finding.kind == "secret"
        late = "too long" in finding.message
        counts = _counts(budget)
        return Answer((), _cpu() - began, finding.rule, late, withhold.detail, too_many, counts)
    return Answer(found, _cpu() - began, counts=_counts(budget))


def _counts(budget: Budget) -> dict[str, tuple[float, int]]:
    return {name: (round(count.seconds, 7), count.matches) for name, count in budget.counts.items()}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _receive(sock: socket.socket, size: int) -> bytearray | None:
    """Exactly `size` bytes; None when the supervisor is gone."""
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return data


def _memory() -> tuple[int, int, int]:
    """Resident, shared and whole size of this process in bytes."""
    page = resource.getpagesize()
    size, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
    return int(resident) * page, int(shared) * page, int(size) * page


def _die_with_parent() -> None:
    parent = os.getppid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _profile() -> Profile:
    rule = Rule(_CALLS, Action(ALLOW))
    return Profile("scanner", Action(ERRNO, _EPERM), tuple(ARCHITECTURES), (rule,), "", "")
