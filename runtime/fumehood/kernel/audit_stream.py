"""The kernel's audit records of system calls that a seccomp filter killed, logged or denied.

Standard library only. It reads the multicast group that auditd's best-effort readers use, so it
takes nothing away from auditd and needs none. It must never block, never believe a record that
it does not understand whole, and never hold more than its socket's buffer: what does not fit
is dropped by the kernel and counted here as an overflow.

The kernel writes a record (type 1326) for every kill, whatever filter did it. It writes one for
an ERRNO answer only when the filter was loaded with SECCOMP_FILTER_FLAG_LOG. Records carry no
arguments: socket(AF_VSOCK) and socket(AF_INET) look the same.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

from fumehood.errors import EngineError
from fumehood.kernel import libc

# linux/netlink.h, linux/audit.h
_NETLINK_AUDIT: Final = 9
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_AUDIT_NLGRP_READLOG: Final = 1
_AUDIT_SECCOMP: Final = 1326
_HEADER: Final = struct.Struct("=IHHII")
# asm-generic/socket.h, linux/filter.h
_SO_ATTACH_FILTER: Final = 26
_SO_RCVBUFFORCE: Final = 33
_INSTRUCTION: Final = struct.Struct("=HBBI")
_LOAD_HALF, _EQUAL, _RETURN = 0x28, 0x15, 0x06
# linux/seccomp.h
SECCOMP_RET_KILL_PROCESS: Final = 0x80000000

ACTIONS_LOGGED: Final = "/proc/sys/kernel/seccomp/actions_logged"
BUFFER_BYTES: Final = 1 << 20
"""Kernel memory for records that were not read yet: about 1,000."""
_MAX_RECORD: Final = 9000
"""MAX_AUDIT_MESSAGE_LENGTH and a header (linux/audit.h)."""
PROOF_SECONDS: Final = 1.0

# audit_log_untrustedstring writes "text" only without blanks, quotes and control characters, and
# hex otherwise, so what a process calls itself cannot imitate a field. subj is the LSM's own.
_TEXT = rb'(?:"[^"\s]*"|[0-9A-F]+|\(null\)|\?)'
_RECORD: Final = re.compile(
    rb"audit\([0-9]+\.[0-9]+:[0-9]+\): auid=[0-9]+ uid=([0-9]+) gid=[0-9]+ ses=[0-9]+"
    rb'(?: subj=[^"\n]{0,4096}?)? pid=([0-9]+) comm=' + _TEXT + rb" exe=" + _TEXT + rb" sig=[0-9]+"
    rb" arch=([0-9a-f]+) syscall=([0-9]+) compat=[01] ip=0x[0-9a-f]+ code=0x([0-9a-f]+)\s*\0*"
)


@dataclass(frozen=True, slots=True)
class Record:
    """uid: the host's. pid: in the host's PID namespace. architecture: AUDIT_ARCH_*.

    action: SECCOMP_RET_* without its data.
    """

    uid: int
    pid: int
    architecture: int
    number: int
    action: int


def parse(text: bytes) -> Record | None:
    """The record in the text of an audit message; None when it is not exactly one."""
    found = _RECORD.fullmatch(text)
    if found is None:
        return None
    uid, pid, architecture, number, action = found.groups()
    return Record(int(uid), int(pid), int(architecture, 16), int(number), int(action, 16))


class Stream:
    """A subscription. `overflows` and `malformed` say that something was missed."""

    def __init__(self) -> None:
        """Subscribe.

        Raises:
            OSError: EPERM without CAP_AUDIT_READ in the initial user namespace; it is needed
                for this moment only.
        """
        self.overflows = 0
        self.malformed = 0
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_AUDIT)
        try:
            self._set_buffer()
            self._only_seccomp()
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _AUDIT_NLGRP_READLOG)
        except OSError:
            self._socket.close()
            raise

    def _set_buffer(self) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        except PermissionError:  # CAP_NET_ADMIN; without it the host's own bound holds
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)

    def _only_seccomp(self) -> None:
        """Let the kernel drop all other records before they are queued or wake anybody."""
        kind = int.from_bytes(struct.pack("=H", _AUDIT_SECCOMP), "big")  # BPF loads big endian
        program = ctypes.create_string_buffer(
            _INSTRUCTION.pack(_LOAD_HALF, 0, 0, 4)  # nlmsghdr.nlmsg_type
            + _INSTRUCTION.pack(_EQUAL, 0, 1, kind)
            + _INSTRUCTION.pack(_RETURN, 0, 0, 0xFFFFFFFF)
            + _INSTRUCTION.pack(_RETURN, 0, 0, 0)
        )
        filter_ = struct.pack("@HP", 4, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)

    @property
    def fd(self) -> int:
        return self._socket.fileno()

    def read(self, most: int) -> list[Record]:
        """What has arrived, at most `most` messages; never waits."""
        found = []
        for _ in range(most):
            try:
                data, sender = self._socket.recvfrom(_MAX_RECORD)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overflows += 1
                continue
            if sender[0] != 0:
                continue  # only the kernel is believed
            record = parse(data[_HEADER.size :])
            if record is None:
                self.malformed += 1
            else:
                found.append(record)
        return found

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, now or within `seconds`."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def close(self) -> None:
        self._socket.close()


class Kauditd:
    """The kernel thread that sends records on. When it sleeps, everything that was recorded
    before has been sent: recording wakes it at once (kernel/audit.c, audit_log_end), and it
    sleeps only when its queue is empty."""

    def __init__(self, pid: int) -> None:
        self._fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def find(cls) -> Kauditd | None:
        """None where it is not visible: in another PID namespace than the first."""
        for name in os.listdir("/proc"):
            if name.isdigit() and _is_kernel_thread(name, b"kauditd"):
                return cls(int(name))
        return None

    def sleeps(self) -> bool:
        """5 µs."""
        return _stat(os.pread(self._fd, 512, 0))[0] == b"S"

    def close(self) -> None:
        os.close(self._fd)


def _is_kernel_thread(pid: str, name: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return False
    return b" (" + name + b") " in text and _stat(text)[1] == b"2"  # kthreadd's children


def _stat(text: bytes) -> list[bytes]:
    """State, parent and so on (proc(5)); a name in parentheses may hold anything."""
    return text.rpartition(b")")[2].split()


def errors_are_logged(path: str = ACTIONS_LOGGED) -> bool:
    """Whether this host records the ERRNO answers of filters that want it; any administrator may
    change that at any time."""
    try:
        with open(path, encoding="ascii") as file:
            return "errno" in file.read().split()
    except OSError:
        return False


def prove(stream: Stream) -> None:
    """See with our own eyes that a kill is reported: other network namespaces than the first get
    nothing at all, and `kernel.seccomp.actions_logged` may leave kills out.

    Forks; for single-threaded processes only. It leaves one record in the host's audit log.

    Raises:
        EngineError: control `audit_stream`.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _die_by_seccomp()
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + PROOF_SECONDS
    while (left := deadline - time.monotonic()) > 0 and stream.wait(left):
        if any(record.pid == pid for record in stream.read(100)):
            return
    raise EngineError(
        "the kernel does not report system calls that are killed",
        "run outside of containers, and see that kernel.seccomp.actions_logged has kill_process",
        control="audit_stream",
    )


def _die_by_seccomp() -> None:
    libc.prctl(libc.PR_SET_DUMPABLE, 0)  # no core of root's anywhere
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    program = ctypes.create_string_buffer(
        _INSTRUCTION.pack(_RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS)
    )
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(program)))
    libc.prctl(libc.PR_SET_SECCOMP, libc.SECCOMP_MODE_FILTER, ctypes.addressof(filter_))
    os.getppid()
