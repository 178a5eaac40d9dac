"""What /proc says of a process: the launcher's read-backs come from here.

Standard library only; reads, never writes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


_CHUNK = 64 * 1024


def read(path: str | os.PathLike[str]) -> bytes:
    """A file of the kernel's, whole.

    By descriptor: a text file object costs 30 µs and five more system calls, and some of these
    are read for each call. Asked until it has no more: lists come a page at a time.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, _CHUNK):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def read_record(path: str) -> bytes:
    """A file that the kernel makes as one record, which comes whole with one read (seq_file)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _CHUNK)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Status:
    """Fields of /proc/PID/status (proc(5)). uids, gids: real, effective, saved, file system.

    capabilities: CapInh, CapPrm, CapEff, CapBnd, CapAmb as one number each.
    seccomp_filters: how many it has; -1 before Linux 5.9, which does not tell.
    context_switches: voluntary or not, of its first thread.
    """

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    no_new_privs: int
    seccomp: int
    context_switches: int = 0
    seccomp_filters: int = -1


_CAPABILITIES = (b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb")
_SWITCHES = (b"voluntary_ctxt_switches", b"nonvoluntary_ctxt_switches")
_FIELDS = re.compile(
    rb"^(Uid|Gid|Groups|Cap(?:Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp(?:_filters)?"
    rb"|(?:non)?voluntary_ctxt_switches):(.*)$",
    re.MULTILINE,
)
"""A quarter of the file's lines; taking all of them apart costs 0.1 ms, four times a call."""


def read_status(pid: int) -> Status:
    """The status of a process or zombie; FileNotFoundError or ProcessLookupError: it is gone."""
    fields = dict(_FIELDS.findall(read_record(f"/proc/{pid}/status")))
    return Status(
        uids=_numbers(fields[b"Uid"]),
        gids=_numbers(fields[b"Gid"]),
        groups=_numbers(fields.get(b"Groups", b"")),
        capabilities=tuple(int(fields[name], 16) for name in _CAPABILITIES),
        no_new_privs=int(fields.get(b"NoNewPrivs", -1)),
        seccomp=int(fields.get(b"Seccomp", -1)),
        context_switches=sum(int(fields.get(name, 0)) for name in _SWITCHES),
        seccomp_filters=int(fields.get(b"Seccomp_filters", -1)),
    )


def _numbers(text: bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the PID it names one process.

    ProcessLookupError for a zombie: it is dead, only nobody has said so yet.
    """
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return int(fields[19])


def namespaces(pid: int | str) -> dict[str, str]:
    """Identity (`user:[4026531837]`) of each of a process's namespaces."""
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}


def children(pid: int) -> tuple[int, ...]:
    """Direct children of a single-threaded process (needs CONFIG_PROC_CHILDREN)."""
    return _numbers(read(f"/proc/{pid}/task/{pid}/children"))


def is_namespace_init(pid: int) -> bool:
    """Whether a process or zombie, as seen from outside, is the first of a PID namespace (NSpid,
    proc(5)). FileNotFoundError or ProcessLookupError: it is gone."""
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            own = line.split()[1:]
            return len(own) > 1 and own[-1] == b"1"
    return False


def parent(pid: int) -> int:
    """The parent of a process, as it is now; 0 when the process is gone."""
    return _parents().get(pid, 0)


def command(pid: int) -> str:
    """The name of a process's program as the kernel keeps it, at most 15 bytes; empty: gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def descendants(pid: int) -> tuple[int, ...]:
    """Children, their children and so on, of a process with any number of threads.

    Nothing for PID 0 and 1: what has no parent any more is nobody's to count.
    """
    if pid <= 1:
        return ()
    by_parent: dict[int, list[int]] = {}
    for child, above in _parents().items():
        by_parent.setdefault(above, []).append(child)
    found: list[int] = []
    pending = [pid]
    while pending:
        children_of_one = by_parent.get(pending.pop(), [])
        found += children_of_one
        pending += children_of_one
    return tuple(found)


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The command in parentheses may hold anything, parentheses included.
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def cgroups(pid: int | str) -> dict[str, str]:
    """Path per controller list of /proc/PID/cgroup; the unified hierarchy has the key ''."""
    found = {}
    for line in read_record(f"/proc/{pid}/cgroup").decode().split("\n")[:-1]:
        _, controllers, path = line.split(":", 2)
        found[controllers] = path
    return found


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of /proc/PID/mountinfo."""

    root: str
    target: str
    options: frozenset[str]
    fstype: str
    super_options: frozenset[str]


def mounts(pid: int | str) -> list[MountPoint]:
    """The mounts a process sees, in order; later ones cover earlier ones."""
    return parse_mounts(mount_table(pid))


def mount_table(pid: int | str) -> bytes:
    """/proc/PID/mountinfo (proc(5)) without the first three fields of each line, which number
    mounts and devices: what is left is the same for mounts that were made alike."""
    lines = read(f"/proc/{pid}/mountinfo").split(b"\n")
    return b"\n".join(line.split(b" ", 3)[3] for line in lines if line)


def parse_mounts(table: bytes) -> list[MountPoint]:
    """What `mount_table` gives."""
    lines = table.decode("utf-8", "surrogateescape").split("\n")
    return [_mount(line) for line in lines if line]


def _mount(line: str) -> MountPoint:
    left, right = line.split(" - ", 1)
    fields = left.split(" ")
    fstype, _, super_options = right.split(" ", 2)
    return MountPoint(
        root=_unescape(fields[0]),
        target=_unescape(fields[1]),
        options=frozenset(fields[2].split(",")),
        fstype=fstype,
        super_options=frozenset(super_options.split(",")),
    )


def _unescape(path: str) -> str:
    if "\\" not in path:
        return path
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path
