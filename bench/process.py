"""What the kernel says of a process's memory. Reads only."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MIB = 1024 * 1024


def rss(pid: int) -> int:
    """Resident bytes now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """Most resident bytes since the start, or since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Begin to measure the peak anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def unshared(pid: int) -> int:
    """Bytes that would come back if only this process ended."""
    found = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            found += int(line.split()[1]) * 1024
    return found


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, whichever thread started them."""
    found: list[int] = []
    for task in os.scandir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found += map(int, Path(task.path, "children").read_text().split())
    return found + [below for child in found for below in descendants(child)]


def processes_of(uid: int) -> list[int]:
    """Living processes with this real UID."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                lines = Path(entry.path, "status").read_text().splitlines()
                fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                alive = not fields["State"].startswith("Z")
                if alive and int(fields["Uid"].split()[0]) == uid:
                    found.append(int(entry.name))
    return found


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0
