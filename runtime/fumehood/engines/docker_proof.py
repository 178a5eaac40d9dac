"""What was promised for a container, read back from the kernel while its program is held.

Never from Docker's own account of it. Standard library only; every function returns proofs or
raises EngineError naming the control.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

from fumehood.engines.docker_create import INIT, MEMORY_LOCK_BYTES, OPEN_FILES
from fumehood.errors import EngineError
from fumehood.kernel import proc
from fumehood.kernel.readback import prove_confined, prove_seccomp
from fumehood.model.outcome import Proof
from fumehood.model.plan import SCRATCH_MOUNTS, TOOL_MOUNT, Plan

SHARED_NAMESPACES = frozenset({"user"})
"""Docker's containers live in the host's user namespace: the service account is the same UID
inside and outside, and what keeps it from the host is that it has no capability in any set."""
_DOCKERS_FILES = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})
_KERNEL_TREES = ("/proc", "/dev", "/sys")
_LIMITS = {
    "Max core file size": 0,
    "Max locked memory": MEMORY_LOCK_BYTES,
    "Max msgqueue size": 0,
    "Max open files": OPEN_FILES,
}


def prove(
    tool: int, init: int, plan: Plan, host: Mapping[str, str], binds: Iterable[str]
) -> list[Proof]:
    """Everything but the cgroup's limits. tool: the held process; init: the container's PID 1.

    host: identities of the host's namespaces. binds: targets of binds besides the plan's mounts.
    """
    prove_confined(init, plan, host, shared=SHARED_NAMESPACES)
    proofs = prove_confined(tool, plan, host, shared=SHARED_NAMESPACES)
    filters = _inherited_filters(init) + 1
    seccomp = prove_seccomp(tool, -1, filters=filters)
    if seccomp is None or prove_seccomp(init, -1, filters=filters) is None:
        raise EngineError("the seccomp filter was not loaded", control="seccomp")
    own, first = proc.namespaces(tool), proc.namespaces(init)
    _require("namespace", own == first, f"{own} is not {first}")
    return [
        *proofs,
        *seccomp,
        *_environment(tool, plan),
        *_descriptors(tool),
        *_limits(tool),
        *_network(tool),
        *_mounts(tool, plan, frozenset(binds)),
    ]


def _inherited_filters(init: int) -> int:
    """How many filters the container's shim has, which dockerd may have from its own service."""
    above = int(proc.read(f"/proc/{init}/stat").rpartition(b")")[2].split()[1])
    return max(proc.read_status(above).seccomp_filters, 0)


def _environment(pid: int, plan: Plan) -> list[Proof]:
    """The program's first environment: nothing of the image's, nothing of Docker's."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        found = sorted(item for item in file.read().split(b"\0") if item)
    wanted = sorted(f"{name}={value}".encode() for name, value in plan.environment)
    _require("environment", found == wanted, "the environment is not the plan's")
    return [Proof("environment", f"{len(found)} variables", f"/proc/{pid}/environ")]


def _descriptors(pid: int) -> list[Proof]:
    """Three, and a working directory inside: CVE-2024-21626 was a fourth one."""
    found = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    _require("descriptors", found == [0, 1, 2], f"descriptors {found}")
    for fd in found:
        mode = os.stat(f"/proc/{pid}/fd/{fd}").st_mode
        _require("descriptors", stat.S_ISFIFO(mode), f"descriptor {fd} is no pipe")
    directory = os.readlink(f"/proc/{pid}/cwd")
    _require("cwd", directory == "/tmp", f"it is {directory}")  # noqa: S108  (the sandbox's own)
    return [Proof("descriptors", "0,1,2", f"/proc/{pid}/fd")]


def _limits(pid: int) -> list[Proof]:
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        table = {line[:26].strip(): line[26:].split()[:2] for line in file}
    proofs = []
    for name, most in _LIMITS.items():
        for value in table[name]:
            held = value.isdigit() and int(value) <= most
            _require("rlimit", held, f"{name} is {value}")
        proofs.append(Proof(f"rlimit.{name}", table[name][1], f"/proc/{pid}/limits"))
    return proofs


def _network(pid: int) -> list[Proof]:
    with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
        names = sorted(line.split(":")[0].strip() for line in file if ":" in line)
    _require("network", names == ["lo"], f"interfaces {names}")
    return [Proof("network", "lo only", f"/proc/{pid}/net/dev")]


def _mounts(pid: int, plan: Plan, binds: frozenset[str]) -> list[Proof]:
    """Nothing is mounted that was not asked for; what is writable is scratch, or root's own."""
    source = f"/proc/{pid}/mountinfo"
    table = proc.mounts(pid)
    last = {mount.target: mount for mount in table}
    _require("root", "ro" in last["/"].options, "the root file system is writable")
    _require("mounts", "ro" in last["/sys"].options, "/sys is writable")
    _require("mounts", last["/sys"].fstype == "tmpfs", "/sys is not masked")
    scratch = {*SCRATCH_MOUNTS, "/dev/shm"}  # noqa: S108
    planned = {mount.target for mount in plan.mounts}
    for target in {mount.target for mount in table}:
        kernels = any(target == tree or target.startswith(f"{tree}/") for tree in _KERNEL_TREES)
        asked = target in scratch | binds | planned | _DOCKERS_FILES | {"/", INIT}
        _require("mounts", asked or kernels, f"nobody asked for a mount at {target}")
        mount = last[target]
        if target in scratch:
            _require("scratch", {"noexec", "nosuid", "nodev"} <= mount.options, target)
            bounds = {option.split("=")[0] for option in mount.super_options if "=" in option}
            _require("scratch", {"size", "nr_inodes"} <= bounds, f"{target} is unbounded")
            continue
        if not target.startswith("/sys/") and "rw" in mount.options:
            _require(
                "mounts", kernels and _closed(pid, target, mount, plan), f"{target} is writable"
            )
    for target in planned:
        _require("mounts", target in last, f"{target} is missing")
    if TOOL_MOUNT in last:
        _require("tool", "ro" in last[TOOL_MOUNT].options, "the tool's files are writable")
    return [
        Proof("root", "ro", source),
        # Docker binds without nosuid; no_new_privs makes setuid bits mean nothing at exec.
        Proof("nosuid", "by no_new_privs", source),
        *(
            Proof(f"mount.{target}", ",".join(sorted(last[target].options)), source)
            for target in sorted(planned)
        ),
    ]


def _closed(pid: int, target: str, mount: proc.MountPoint, plan: Plan) -> bool:
    """Whether a writable mount of the kernel's trees gives this account nothing to fill: procfs
    has modes of its own, the others are root's and closed to everybody else."""
    if mount.fstype == "proc":
        return True
    found = os.stat(f"/proc/{pid}/root{target}", follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        return True  # a masked file, which is /dev/null
    return (
        found.st_uid != plan.uid and found.st_gid != plan.gid and not found.st_mode & stat.S_IWOTH
    )


def _require(control: str, held: bool, detail: str) -> None:  # noqa: FBT001
    if not held:
        raise EngineError(f"{control} is not as the plan promises", control=control, detail=detail)
