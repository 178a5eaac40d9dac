"""Control groups on v2, v1 and hybrid hosts: limits, membership, counters, killing.

Standard library only. An `Instance` is one launcher's own place in every hierarchy; it holds
a lock on it for as long as the launcher lives, so that a later sweep can tell what a crash
left behind from what is in use. A `Group` is one sandbox's place in the instance.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fumehood.errors import EngineError, PlanRefused
from fumehood.kernel import proc
from fumehood.kernel.forensics import Evidence
from fumehood.model.outcome import Proof
from fumehood.model.plan import Limits

PREFIX = "fumehood-"
DAEMON = "daemon"
"""Where the processes of a delegated cgroup go, so that its controllers may be used."""
TOOL = "tool"
"""Of a sandbox whose processes an engine puts into a group of its own: where only the tool is."""
CPU_PERIOD_US = 100_000
CONTROLLERS = ("memory", "cpu", "pids")
_V1_HIERARCHIES = ("memory", "cpu", "cpuacct", "pids")
_SWEEP_SECONDS = 5.0
_MAX_FILE = 16 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """Where this host keeps its cgroups.

    unified: directory of the v2 hierarchy (also on hybrid hosts), or None.
    v2: the controllers of ours that the v2 hierarchy offers.
    v1: controller to directory, for those mounted the old way.
    others: v1 hierarchies that we set nothing in, but where an engine makes directories.
    """

    unified: Path | None
    v2: frozenset[str]
    v1: dict[str, Path]
    others: tuple[Path, ...] = ()

    @property
    def mode(self) -> str:
        if self.v1:
            return "hybrid" if self.unified else "v1"
        return "v2" if self.unified else "none"

    @property
    def usable(self) -> frozenset[str]:
        """The controllers among memory, cpu and pids that are mounted at all."""
        return frozenset(c for c in CONTROLLERS if c in self.v2 or c in self.v1)


def discover(mounts: list[proc.MountPoint] | None = None) -> Layout:
    """Read the layout from the mount table of this process."""
    unified: Path | None = None
    v2: frozenset[str] = frozenset()
    v1: dict[str, Path] = {}
    others: list[Path] = []
    for mount in mounts if mounts is not None else proc.mounts("self"):
        if mount.fstype == "cgroup2" and unified is None:
            unified = Path(mount.target)
            with contextlib.suppress(OSError):
                v2 = frozenset((unified / "cgroup.controllers").read_text().split())
        elif mount.fstype == "cgroup":
            ours = [name for name in _V1_HIERARCHIES if name in mount.super_options]
            for name in ours:
                v1.setdefault(name, Path(mount.target))
            if not ours:
                others.append(Path(mount.target))
    return Layout(unified, v2 & {"memory", "cpu", "pids"}, v1, tuple(others))


def parent_in_unified(layout: Layout) -> Path | None:
    """The v2 directory below which an instance may be made.

    A delegated cgroup (systemd sets the xattr `user.delegate` or `trusted.delegate`), or one
    that an ordinary user may write, is used from inside; root elsewhere uses the top.
    """
    if layout.unified is None:
        return None
    own = layout.unified / proc.cgroups("self").get("", "/").lstrip("/")
    if os.geteuid() != 0:
        return own if os.access(own / "cgroup.procs", os.W_OK) else None
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(own, name) == b"1":
                return own
    return layout.unified


class Instance:
    """One launcher's directory `fumehood-<random>` in every hierarchy that it can use."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = f"{PREFIX}{_own_process()}-{secrets.token_hex(3)}"
        self.problems: dict[str, str] = {}
        """controller to reason, for those that cannot be enforced here."""
        self._unified: Path | None = None
        self._v1: dict[str, Path] = {}
        self._lock = -1

    @classmethod
    def create(cls, layout: Layout, *, nested: bool = False) -> Instance:
        """Make the instance; what cannot be made is recorded in `problems`, not raised.

        nested: an engine makes groups of its own below ours, in every hierarchy.
        """
        instance = cls(layout)
        parent = parent_in_unified(layout)
        if parent is not None:
            instance._create_unified(parent)
        elif layout.unified is not None and not layout.v1:
            for controller in layout.v2:
                instance.problems[controller] = "the cgroup of this process is not delegated to it"
        # The unified hierarchy counts CPU time in every group (cpu.stat), whoever has controllers.
        needless = frozenset({"cpuacct"}) if instance._unified and not nested else frozenset()
        instance._create_v1(needless)
        instance._check_swap(swap_is_on())
        for controller in CONTROLLERS:
            if controller not in instance.enforceable:
                instance.problems.setdefault(controller, "the controller is not mounted")
        return instance

    @property
    def enforceable(self) -> frozenset[str]:
        """The controllers that groups of this instance really limit."""
        v2 = self.layout.v2 if self._unified else frozenset()
        return frozenset(c for c in CONTROLLERS if c in self._v1 or c in v2) - set(self.problems)

    def _create_unified(self, parent: Path) -> None:
        path = parent / self.name
        try:
            path.mkdir()
        except OSError as error:
            for controller in self.layout.v2:
                self.problems[controller] = f"{path}: {error.strerror}"
            return
        self._unified = path
        self._take_lock(path)
        if self.layout.v2 and parent != self.layout.unified:
            # Beside the instance, never in it: a shell may be among them, and an instance is
            # killed whole when its launcher ends.
            _move_all(parent, parent / DAEMON)
        for controller in sorted(self.layout.v2):
            try:
                for directory in (parent, path):
                    (directory / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                self.problems[controller] = f"{directory}: {error.strerror}"

    def _create_v1(self, needless: Collection[str]) -> None:
        for controller, base in self.layout.v1.items():
            if controller in needless:
                continue
            path = base / self.name
            try:
                path.mkdir(exist_ok=True)  # cpu and cpuacct may share one mount
            except OSError as error:
                self.problems["cpu" if controller == "cpuacct" else controller] = (
                    f"{path}: {error.strerror}"
                )
                continue
            self._v1[controller] = path
            if self._lock < 0:
                self._take_lock(path)

    def _check_swap(self, on: bool) -> None:  # noqa: FBT001
        """A memory limit that swap gets around is none."""
        if "memory" in self._v1:
            switch = self._v1["memory"] / "memory.memsw.limit_in_bytes"
        elif "memory" in self.layout.v2 and self._unified:
            switch = self._unified / "memory.swap.max"
        else:
            return
        if on and not switch.exists():
            self.problems["memory"] = "swap is on and cannot be limited (swapaccount=1, or swapoff)"

    def _take_lock(self, path: Path) -> None:
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def group(self, name: str, limits: Limits, overhead_pids: int) -> Group:
        """Make the group of one sandbox, with its limits set. Raises EngineError and PlanRefused.

        overhead_pids: processes of the engine itself that live in the group beside the tool.
        """
        if limits.cpu_time_ms and not (self._unified or "cpuacct" in self._v1):
            raise PlanRefused(
                "limits.cpu_time cannot be enforced: no cgroup here counts CPU time",
                "remove it from the manifest, or run where cgroups are delegated",
                control="cpu_time",
            )
        v1 = {controller: f"{path}/{name}" for controller, path in self._v1.items()}
        unified = f"{self._unified}/{name}" if self._unified else None
        v2 = self.layout.v2 - set(self.problems) if self._unified else frozenset[str]()
        group = Group(v1=v1, unified=unified, v2=v2, limits=limits, overhead=overhead_pids)
        try:
            group.create()
        except OSError as error:
            group.remove()
            raise EngineError(
                "the cgroup of the sandbox could not be made",
                "see the launcher's log; `fumehood doctor` shows which controllers work here",
                control="cgroup",
                detail=str(error),
            ) from error
        return group

    def close(self) -> None:
        """Remove the instance's own, by now empty, directories."""
        for path in self._paths():
            remove_tree(path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _paths(self) -> list[Path]:
        return [*self._v1.values(), *([self._unified] if self._unified else [])]


@dataclass(slots=True)
class Group:
    """One sandbox's cgroup. Counters stay readable until `remove`.

    v1, unified: its directories, as text: to join a Path costs what opening a file does.
    """

    v1: dict[str, str]
    unified: str | None
    v2: frozenset[str]
    limits: Limits
    overhead: int
    _expected: dict[str, str] = field(default_factory=dict)
    _places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        v1 = dict.fromkeys(self.v1.values())
        self._places = (*v1, *([self.unified] if self.unified else []))

    def create(self) -> None:
        for path in self._places:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
        for path, value in self._settings().items():
            write(path, value)
            self._expected[path] = value
        for path in self._unlimited_swap_is_none():
            write(path, self._expected[path])

    def _unlimited_swap_is_none(self) -> list[str]:
        """memory.memsw.limit_in_bytes (v1) exists only with swap accounting, and may be set only
        after memory.limit_in_bytes; memory.swap.max (v2) likewise depends on CONFIG_SWAP."""
        found = []
        if "memory" in self.v1:
            path = f"{self.v1['memory']}/memory.memsw.limit_in_bytes"
            value = str(self.limits.memory_bytes)
        elif "memory" in self.v2 and self.unified:
            path, value = f"{self.unified}/memory.swap.max", "0"
        else:
            return []
        if os.path.exists(path):
            self._expected[path] = value
            found.append(path)
        return found

    def _settings(self) -> dict[str, str]:
        limits, settings = self.limits, dict[str, str]()
        quota = str(limits.cpu_millis * CPU_PERIOD_US // 1000)
        pids = str(limits.pids + self.overhead)
        if "memory" in self.v1:
            settings[f"{self.v1['memory']}/memory.limit_in_bytes"] = str(limits.memory_bytes)
        if "cpu" in self.v1:
            settings[f"{self.v1['cpu']}/cpu.cfs_period_us"] = str(CPU_PERIOD_US)
            settings[f"{self.v1['cpu']}/cpu.cfs_quota_us"] = quota
        if "pids" in self.v1:
            settings[f"{self.v1['pids']}/pids.max"] = pids
        if self.unified:
            if "memory" in self.v2:
                settings[f"{self.unified}/memory.max"] = str(limits.memory_bytes)
                settings[f"{self.unified}/memory.oom.group"] = "1"
            if "cpu" in self.v2:
                settings[f"{self.unified}/cpu.max"] = f"{quota} {CPU_PERIOD_US}"
            if "pids" in self.v2:
                settings[f"{self.unified}/pids.max"] = pids
        return settings

    def attach(self, pid: int) -> None:
        """Move a process in; its future children are born here."""
        for path in self._places:
            write(f"{path}/cgroup.procs", str(pid))

    def retune(self, limits: Limits, overhead: int) -> None:
        """Put other limits in force. Raises OSError (EBUSY) when more memory is in use on v1."""
        self.limits, self.overhead = limits, overhead
        self.create()

    def read_back(
        self, pid: int, *, below: str = "", apart: Mapping[str, Path] | None = None
    ) -> list[Proof]:
        """Prove membership and every limit from the kernel, or raise EngineError.

        below: name of the child group that an engine made in this one for the process.
        apart: of some controllers, the group below this one that the process is in instead.
        """
        if stray := self._stray(pid, below, apart or {}):
            raise EngineError("the sandbox is not in its cgroup", control="cgroup", detail=stray)
        proofs = [Proof("cgroup", "member", f"/proc/{pid}/cgroup")]
        page = os.sysconf("SC_PAGE_SIZE")
        for file, wanted in self._expected.items():
            value = read(file).decode().strip()
            name = file.rpartition("/")[2]
            if value != wanted and not _same_pages(value, wanted, page):
                raise EngineError(
                    f"{name} is not what the plan promises",
                    control=name.split(".")[0],
                    detail=f"{file}: wanted {wanted}, found {value}",
                )
            proofs.append(Proof(name, value, file))
        return proofs

    def holds(self, pid: int) -> bool:
        """Whether a process is in here, in every hierarchy."""
        return not self._stray(pid, "", {})

    def _stray(self, pid: int, below: str, apart: Mapping[str, Path]) -> str:
        """In which hierarchy a process is elsewhere, and where; empty when in none."""
        found = {
            controller: path
            for controllers, path in proc.cgroups(pid).items()
            for controller in controllers.split(",")
        }
        places = {**self.v1, "": self.unified} if self.unified else self.v1
        for controller, place in places.items():
            child = apart[controller].name if controller in apart else below
            wanted = "/".join(("", *place.split("/")[-2:], *([child] if child else [])))
            if not found.get(controller, "").endswith(wanted):
                return f"{controller or 'unified'}: {found.get(controller, '')}"
        return ""

    def cpu_seconds(self) -> float | None:
        """User and system time of everything that ever ran here."""
        if "cpuacct" in self.v1:
            usage = number(f"{self.v1['cpuacct']}/cpuacct.usage")
            return None if usage is None else usage / 1e9
        if self.unified:  # cpu.stat has usage_usec even where the cpu controller is off
            return counters(f"{self.unified}/cpu.stat").get(b"usage_usec", 0) / 1e6
        return None

    def memory_peak(self) -> int | None:
        """Bytes; None before Linux 5.19 on v2, which has no memory.peak."""
        if "memory" in self.v1:
            return number(f"{self.v1['memory']}/memory.max_usage_in_bytes")
        if "memory" in self.v2 and self.unified:
            return number(f"{self.unified}/memory.peak")
        return None

    def oom_kills(self) -> int:
        """Processes here that the kernel killed for want of memory."""
        if "memory" in self.v1:
            return counters(f"{self.v1['memory']}/memory.oom_control").get(b"oom_kill", 0)
        if "memory" in self.v2 and self.unified:
            return counters(f"{self.unified}/memory.events").get(b"oom_kill", 0)
        return 0

    def pids_peak(self) -> int | None:
        """The tool's own processes at most, the engine's left out; None before Linux 6.1."""
        base = self.v1.get("pids") or (self.unified if "pids" in self.v2 else None)
        peak = number(f"{base}/pids.peak") if base else None
        return None if peak is None else max(peak - self.overhead, 0)

    def evidence(self, scratch: str, root: int = -1) -> Evidence:
        """Where to look at what runs here; the unified hierarchy first, where there is one."""
        return Evidence(tuple(reversed(self._places)), scratch, self.unified or "", root)

    def members(self) -> list[int]:
        """PIDs of the living (and zombies not yet reaped) in any hierarchy."""
        pids: set[int] = set()
        for path in self._places:
            with contextlib.suppress(FileNotFoundError):
                pids.update(map(int, proc.read(f"{path}/cgroup.procs").split()))
        return sorted(pids)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left, by one hierarchy's word: processes are attached to all of them,
        and no tool can reach any to leave it. For what is proven dead otherwise, too."""
        one = self.unified or next(iter(self.v1.values()), None)
        return one is None or not read(f"{one}/cgroup.procs")

    def kill(self) -> None:
        """SIGKILL to everything here: cgroup.kill where there is one (Linux 5.14), also on
        hybrid hosts; otherwise one by one, which the caller repeats until `members` is empty."""
        if self.unified:
            try:
                write(f"{self.unified}/cgroup.kill", "1")
            except FileNotFoundError:
                pass
            else:
                return
        kill_each(self.members())

    @property
    def can_freeze(self) -> bool:
        """Whether all of it can be stopped at once: Linux 5.2, also on hybrid hosts."""
        return self.unified is not None and os.path.exists(f"{self.unified}/cgroup.freeze")

    def freeze(self, *, frozen: bool) -> bool:
        """Stop or continue everything here; what is killed dies all the same. Whether it does."""
        if self.unified is None:
            return False
        try:
            write(f"{self.unified}/cgroup.freeze", "1" if frozen else "0")
        except OSError:
            return False
        return True

    def remove(self) -> bool:
        """Remove the directories; False when something is still inside."""
        left = [path for path in self._places if not _rmdir(path)]
        return not left


def swap_is_on() -> bool:
    """Whether the host has any swap (proc(5): a heading, then a line for each)."""
    try:
        return len(Path("/proc/swaps").read_text().splitlines()) > 1
    except FileNotFoundError:
        return False


def remove_tree(path: Path) -> None:
    """Kill everything below a cgroup directory and remove it, waiting at most a few seconds."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while path.is_dir() and time.monotonic() < deadline:
        for directory, _, files in os.walk(path, topdown=False):
            if "cgroup.kill" in files:
                with contextlib.suppress(OSError):
                    Path(directory, "cgroup.kill").write_text("1")
            elif "cgroup.procs" in files:
                with contextlib.suppress(OSError):
                    kill_each([int(p) for p in Path(directory, "cgroup.procs").read_text().split()])
            _rmdir(Path(directory))
        if path.is_dir():
            time.sleep(0.005)  # v1 tells nobody that a group is empty


def _own_process() -> str:
    return f"{os.getpid()}-{proc.start_time(os.getpid())}"


def _move_all(source: Path, target: Path) -> None:
    """cgroups(7), "no internal processes": a delegated cgroup must be empty of processes before
    its controllers can be given to children."""
    target.mkdir(exist_ok=True)
    for pid in (source / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (target / "cgroup.procs").write_text(pid)


def kill_each(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _rmdir(path: str | Path) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _same_pages(value: str, wanted: str, page: int) -> bool:
    """The kernel rounds memory limits down to whole pages."""
    if not (value.isdigit() and wanted.isdigit()):
        return False
    return int(value) == int(wanted) // page * page


def read(path: str | Path) -> bytes:
    """A file of the kernel's, whole; empty when this kernel has none of that name. Not for lists:
    what has one record comes with one read, lists of processes a page at a time."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, _MAX_FILE)
    finally:
        os.close(fd)


def write(path: str | Path, value: str) -> None:
    """Give one value to a file of the kernel's, which takes it whole or raises OSError.

    By descriptor, as `proc.read`: three system calls and not eight.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def counters(path: str | Path) -> dict[bytes, int]:
    """The lines `name number` of a file; no line when there is no such file."""
    words = read(path).split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=False))


def number(path: str | Path) -> int | None:
    """The one number in a file; None when there is no such file."""
    text = read(path)
    return int(text) if text else None
