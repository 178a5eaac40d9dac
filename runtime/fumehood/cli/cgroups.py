"""Whether a group of processes can be limited here, tried controller by controller.

It changes nothing that it does not undo at once, and must never name a remedy that cannot help on
this host: what an ordinary user may be given differs between cgroup v1 and v2.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fumehood.kernel import cgroup

Why = Literal[
    "disabled", "unmounted", "undelegated", "unoffered", "read-only", "occupied", "denied", "swap"
]
_BY_ERRNO: Final[dict[int | None, Why]] = {
    errno.EROFS: "read-only",
    errno.EBUSY: "occupied",  # cgroups(7), "no internal processes"
    errno.EOPNOTSUPP: "occupied",
}
_LIMIT_FILES: Final = {
    "memory": ("memory.max", "memory.limit_in_bytes", "67108864"),
    "cpu": ("cpu.max", "cpu.cfs_quota_us", "50000"),
    "pids": ("pids.max", "pids.max", "16"),
}
_SWAP_FILES: Final = ("memory.swap.max", "memory.memsw.limit_in_bytes")


class Unlimited(Exception):
    """A controller that cannot limit anything here. place: the directory where it failed."""

    def __init__(self, why: Why, cause: str, place: Path | None = None) -> None:
        super().__init__(cause)
        self.why = why
        self.cause = cause
        self.place = place


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one controller: a proof, or a problem and what mends it."""

    controller: str
    proof: str = ""
    problem: str = ""
    remedy: str = ""


def trials(layout: cgroup.Layout) -> Iterator[Trial]:
    """One for each controller that sandboxes need."""
    root = os.geteuid() == 0
    for controller in cgroup.CONTROLLERS:
        try:
            yield Trial(controller, prove(layout, controller))
        except Unlimited as found:
            mends = remedy(found, controller, layout, root=root)
            yield Trial(controller, problem=found.cause, remedy=mends)


def limitable() -> tuple[str, list[str]]:
    """The hierarchy's kind, and the controllers that were tried and work."""
    layout = cgroup.discover()
    return layout.mode, [trial.controller for trial in trials(layout) if trial.proof]


def prove(layout: cgroup.Layout, controller: str) -> str:
    """Make a group, set a limit, read it back, remove the group; how it was proven.

    Raises Unlimited.
    """
    v2_file, v1_file, value = _LIMIT_FILES[controller]
    if controller in layout.v1:
        return _limited(layout.v1[controller], v1_file, value)
    if controller not in layout.v2:
        if controller in _disabled():
            raise Unlimited("disabled", "the kernel was told to leave it out")
        raise Unlimited("unmounted", "the controller is not mounted")
    parent = cgroup.parent_in_unified(layout)
    if parent is None:
        raise Unlimited("undelegated", "the cgroup of this process is not delegated to it")
    if parent != layout.unified:
        # Enabling it here would first move this shell out of its cgroup, cgroups(7).
        offered = parent / "cgroup.controllers"
        if controller not in offered.read_text().split():
            raise Unlimited("unoffered", f"not in {offered}", parent)
        return f"offered in {offered}"
    with enabled(parent, controller):
        return _limited(parent, v2_file, value)


@contextlib.contextmanager
def enabled(parent: Path, controller: str) -> Iterator[None]:
    """The controller enabled for groups below `parent`, and as it was afterwards.

    A daemon that starts meanwhile keeps it: the kernel answers EBUSY when a group below has
    enabled it too. Raises Unlimited.
    """
    control = parent / "cgroup.subtree_control"
    with _told(parent):
        before = control.read_text().split()
        control.write_text(f"+{controller}")
    try:
        yield
    finally:
        if controller not in before:
            with contextlib.suppress(OSError):
                control.write_text(f"-{controller}")


def _limited(parent: Path, file: str, value: str) -> str:
    group = parent / f"{cgroup.PREFIX}doctor-{os.getpid()}"
    with _told(parent):
        group.mkdir()
        try:
            (group / file).write_text(value)
            read = (group / file).read_text().split()[0]
            swap = any((group / name).exists() for name in _SWAP_FILES)
        finally:
            group.rmdir()
    if read != value:
        raise Unlimited("denied", f"{file} read back {read}", parent)
    if file.startswith("memory.") and cgroup.swap_is_on() and not swap:
        raise Unlimited("swap", "swap is on and cannot be limited", parent)
    return f"{file} set and read back"


@contextlib.contextmanager
def _told(place: Path) -> Iterator[None]:
    """Turn the kernel's refusal into its reason."""
    try:
        yield
    except OSError as error:
        why = _BY_ERRNO.get(error.errno, "denied")
        raise Unlimited(why, f"{error.filename or place}: {error.strerror}", place) from None


def _disabled() -> set[str]:
    """Controllers that /proc/cgroups lists with `enabled` 0: cgroup_disable= at boot."""
    try:
        rows = Path("/proc/cgroups").read_text().splitlines()[1:]
    except OSError:
        return set()
    return {row.split()[0] for row in rows if row.split()[-1] == "0"}


# --- what mends it


def remedy(found: Unlimited, controller: str, layout: cgroup.Layout, *, root: bool) -> str:
    """A command, where one mends it."""
    if found.why == "disabled":
        return f"boot without cgroup_disable={controller} on the kernel's command line"
    if root:
        return _for_root(found, controller, layout)
    return f"{_for_a_user(found, layout)}, or accept it by name: --accept-unenforced {controller}"


def mount_remedy(*, root: bool) -> str:
    """For a host without any hierarchy."""
    command = "mount -t cgroup2 none /sys/fs/cgroup"
    return command if root else f"as root: {command}"


def _for_root(found: Unlimited, controller: str, layout: cgroup.Layout) -> str:
    place = found.place
    match found.why:
        case "unmounted" if layout.mode == "none":
            return mount_remedy(root=True)
        case "unmounted" if layout.mode == "v2":
            return (
                f"write +{controller} to cgroup.subtree_control of each cgroup above this "
                f"container, on its host"
            )
        case "unmounted":
            where = f"/sys/fs/cgroup/{controller}"
            return f"mkdir -p {where} && mount -t cgroup -o {controller} none {where}"
        case "unoffered":
            return (
                "set Delegate=cpu memory pids in the unit of this service, then systemctl "
                "daemon-reload, and restart it"
            )
        case "read-only":
            return (
                f"mount -o remount,bind,rw {place}; a container that may not: start it with "
                f"--privileged --cgroupns=private"
            )
        case "occupied":
            # What container runtimes inside containers do, too.
            return (
                f"mkdir -p {place}/init && xargs -rn1 -a {place}/cgroup.procs "
                f"sh -c 'echo $0 > {place}/init/cgroup.procs'"
            )
        case "swap":
            return "swapoff -a, or boot with swapaccount=1"
        case _:
            return "run on the host itself, or start this container with --privileged"


def _for_a_user(found: Unlimited, layout: cgroup.Layout) -> str:
    if found.why == "unoffered":
        return (
            "sudo systemctl edit user@.service, add [Service] Delegate=cpu memory pids, and log "
            "in again; or run as root"
        )
    if found.why == "swap":
        return "sudo swapoff -a"
    if layout.mode == "v2":
        return "run as root, or under `systemd-run --user --scope -p Delegate=yes`"
    if layout.mode == "none":
        return "run as root"
    # A v1 controller can be delegated to nobody without handing over the host's own groups.
    return "run as root, or boot with systemd.unified_cgroup_hierarchy=1 (cgroup v2)"
