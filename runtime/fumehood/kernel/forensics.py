"""What a sandbox is at one moment: its processes, their open files, its cgroup, its scratch space.

Standard library only. Meant for a short-lived process of its own: it writes lines of JSON as it
finds them, so that whoever stops it for taking too long still has what came before. It must never
follow a link that a tool made, nor read without bound.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from fumehood.kernel import proc

MAX_BYTES: Final = 1024 * 1024
"""Of everything that is written."""
MAX_PROCESSES: Final = 256
MAX_FILES_EACH: Final = 64
"""Open files of one process."""
MAX_ENTRIES: Final = 4096
"""Of the scratch space."""
MAX_DEPTH: Final = 16
MAX_HASHED: Final = 64 * 1024 * 1024
"""Bytes of the scratch space that are hashed, the rest is listed."""
_MAX_TEXT: Final = 4096
_CHUNK: Final = 256 * 1024
_COUNTERS: Final = (
    "cgroup.events", "cpu.stat", "cpu.pressure", "cpuacct.usage", "memory.current", "memory.peak",
    "memory.events", "memory.pressure", "memory.usage_in_bytes", "memory.max_usage_in_bytes",
    "memory.failcnt", "memory.oom_control", "pids.current", "pids.peak", "pids.events", "io.stat",
)  # fmt: skip
FREEZE_SECONDS: Final = 0.05
"""How long to wait until everything in a group stands still."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where to look. groups: the sandbox's directories in each hierarchy, processes in the first;
    scratch: the directory that holds /tmp and /out; freezer: `cgroup.freeze`'s directory, or empty
    where there is no unified hierarchy; root: the first process, for hosts without groups."""

    groups: tuple[str, ...]
    scratch: str
    freezer: str = ""
    root: int = -1


def freeze(evidence: Evidence, *, frozen: bool) -> bool:
    """Let everything in it stand still, or go on (cgroup-v2.rst, cgroup.freeze); whether it does.
    What is frozen can still be killed."""
    if not evidence.freezer:
        return False
    try:
        with open(f"{evidence.freezer}/cgroup.freeze", "w") as file:
            file.write("1" if frozen else "0")
    except OSError:
        return False
    return True


@dataclass(slots=True)
class _Writer:
    fd: int
    left: int = MAX_BYTES
    entries: int = 0
    hashed: int = 0
    processes: int = 0
    cut: list[str] = field(default_factory=list)

    def line(self, kind: str, value: object) -> bool:
        data = json.dumps({kind: value}, separators=(",", ":")).encode() + b"\n"
        if len(data) > self.left - 256:  # the last line says that something is missing
            self.note("size")
            return False
        self.left -= len(data)
        os.write(self.fd, data)
        return True

    def note(self, bound: str) -> None:
        if bound not in self.cut:
            self.cut.append(bound)


def collect(evidence: Evidence, fd: int) -> None:
    """Write what is found to `fd`: `cgroup`, `process`, `file` and one `end`, which names the
    bounds that were reached."""
    out = _Writer(fd)
    frozen = _wait_frozen(evidence)
    out.line("frozen", frozen)
    for group in evidence.groups:
        out.line("cgroup", {"path": group, **_counters(group)})
    for pid in _pids(evidence):
        if out.processes >= MAX_PROCESSES:
            out.note("processes")
            break
        found = _process(pid)
        if found is not None and not out.line("process", found):
            break
        out.processes += 1
    if evidence.scratch:
        for place in ("tmp", "out"):
            _scratch(evidence.scratch, place, out)
    out.left += 256
    out.line("end", {"cut": out.cut})


def _wait_frozen(evidence: Evidence) -> bool:
    until = time.monotonic() + FREEZE_SECONDS
    while evidence.freezer:
        if "frozen 1" in _text(f"{evidence.freezer}/cgroup.events"):
            return True
        if time.monotonic() >= until:
            break
        time.sleep(0.001)  # microseconds, unless a process of it is deep in the kernel
    return False


def _counters(group: str) -> dict[str, str]:
    found = {name: _text(f"{group}/{name}").strip() for name in _COUNTERS}
    return {name: text for name, text in found.items() if text}


def _pids(evidence: Evidence) -> Iterator[int]:
    if evidence.groups:
        yield from _members(evidence.groups[0])
    elif evidence.root > 0:
        yield evidence.root
        yield from proc.descendants(evidence.root)


def _members(group: str) -> Iterator[int]:
    """PIDs in the group and in those that an engine made below it."""
    for directory, _, _ in os.walk(group):
        for word in _text(f"{directory}/cgroup.procs", 64 * 1024).split():
            yield int(word)


def _process(pid: int) -> dict[str, Any] | None:
    """None when it is gone."""
    stat_line = _text(f"/proc/{pid}/stat")
    if not stat_line:
        return None
    name, _, rest = stat_line.partition("(")[2].rpartition(")")
    fields = rest.split()
    status = dict(
        line.split(":", 1) for line in _text(f"/proc/{pid}/status").splitlines() if ":" in line
    )
    kept = ("NSpid", "Uid", "Gid", "Threads", "VmRSS", "Seccomp", "CapEff", "NoNewPrivs")
    return {
        "pid": pid,
        "parent": int(fields[1]),
        "name": name,
        "state": fields[0],
        "ticks": int(fields[11]) + int(fields[12]),
        "command": _text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:1024],
        "program": _link(f"/proc/{pid}/exe"),
        "directory": _link(f"/proc/{pid}/cwd"),
        "status": {key: status[key].strip() for key in kept if key in status},
        "files": _open_files(pid),
    }


def _open_files(pid: int) -> dict[str, str]:
    try:
        numbers = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
    except OSError as error:
        return {"error": error.strerror or ""}
    shown = {number: _link(f"/proc/{pid}/fd/{number}") for number in numbers[:MAX_FILES_EACH]}
    if len(numbers) > MAX_FILES_EACH:
        shown["more"] = str(len(numbers) - MAX_FILES_EACH)
    return shown


def _link(path: str) -> str:
    try:
        return _shown(os.readlink(os.fsencode(path))[:_MAX_TEXT])
    except OSError:
        return ""


def _text(path: str, most: int = _MAX_TEXT) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        return os.read(fd, most).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


# --- the scratch space, which is the tool's own doing


def _scratch(scratch: str, place: str, out: _Writer) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(f"{scratch}/{place}", flags)
    except OSError:
        return
    try:
        _directory(fd, f"/{place}", 0, out)
    finally:
        os.close(fd)


def _directory(fd: int, shown: str, depth: int, out: _Writer) -> None:
    with contextlib.suppress(OSError), os.scandir(fd) as entries:
        for entry in entries:
            if out.entries >= MAX_ENTRIES:
                out.note("files")
                return
            out.entries += 1
            name = os.fsencode(entry.name)
            path = f"{shown}/{_shown(name)}"
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            told = _entry(fd, name, path, found, out)
            if not out.line("file", told):
                return
            if stat.S_ISDIR(found.st_mode):
                _below(fd, name, path, depth, out)


def _below(fd: int, name: bytes, path: str, depth: int, out: _Writer) -> None:
    if depth >= MAX_DEPTH:
        out.note("depth")
        return
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        below = os.open(name, flags, dir_fd=fd)
        try:
            _directory(below, path, depth + 1, out)
        finally:
            os.close(below)


def _entry(
    fd: int, name: bytes, path: str, found: os.stat_result, out: _Writer
) -> dict[str, object]:
    told: dict[str, object] = {
        "path": path[:_MAX_TEXT],
        "mode": stat.filemode(found.st_mode),
        "uid": found.st_uid,
        "size": found.st_size,
        "modified": found.st_mtime,
    }
    if stat.S_ISLNK(found.st_mode):
        with contextlib.suppress(OSError):
            told["target"] = _shown(os.readlink(name, dir_fd=fd)[:_MAX_TEXT])
    elif stat.S_ISREG(found.st_mode):
        # A sparse file claims any size: read whole, it would use up what the others' hashes need.
        sparse = found.st_size > MAX_HASHED - out.hashed and found.st_blocks * 512 < found.st_size
        told["sha384_data" if sparse else "sha384"] = _hashed(fd, name, found, out, sparse=sparse)
    return told


def _hashed(fd: int, name: bytes, found: os.stat_result, out: _Writer, *, sparse: bool) -> str:
    """Empty where a bound is reached.

    sparse: of what was written only, each extent of it as offset and length in 16 hex digits each,
    a newline, and its bytes; holes are passed over (lseek(2), SEEK_DATA).
    """
    if (found.st_blocks * 512 if sparse else found.st_size) > MAX_HASHED - out.hashed:
        out.note("hashes")
        return ""
    import hashlib  # not in the launcher itself: 5 ms and a library of 5 MB

    digest, left = hashlib.sha384(), MAX_HASHED - out.hashed
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return ""
    try:
        for begin, end in _extents(file) if sparse else ((0, found.st_size),):
            if sparse:
                digest.update(b"%016x%016x\n" % (begin, end - begin))
            while begin < end and (data := os.pread(file, min(_CHUNK, end - begin), begin)):
                begin += len(data)
                left -= len(data)
                if left < 0:
                    out.note("hashes")
                    return ""
                digest.update(data)
    except OSError:
        return ""
    finally:
        os.close(file)
        out.hashed = MAX_HASHED - max(left, 0)
    return digest.hexdigest()


def _extents(file: int) -> Iterator[tuple[int, int]]:
    """Where something was written: from, to. No more of them than blocks that the file takes."""
    at = 0
    while True:
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing behind `at`
                return
            raise
        at = os.lseek(file, begin, os.SEEK_HOLE)
        yield begin, at
