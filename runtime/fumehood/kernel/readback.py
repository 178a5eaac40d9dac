"""Proofs: what was promised in a plan, read back from the kernel before the tool is fed.

Standard library only. Every function returns proofs or raises EngineError naming the control.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from fumehood.errors import EngineError
from fumehood.kernel import proc, rootfs
from fumehood.model.outcome import Proof
from fumehood.model.plan import SCRATCH_MOUNTS, TOOL_MOUNT, Mount, Plan

SECCOMP_MODE_FILTER = 2


def prove_confined(
    pid: int,
    plan: Plan,
    host: Mapping[str, str],
    *,
    shared: frozenset[str] = frozenset(),
    status: proc.Status | None = None,
) -> list[Proof]:
    """Identity, capabilities, no_new_privs and namespaces of a process.

    host: identities of the namespaces that the sandbox must not share.
    shared: namespaces that this engine does share with the host, and says so.
    status: the process's, where it has just been read.
    """
    status = status or proc.read_status(pid)
    source = f"/proc/{pid}/status"
    _require("service_account", set(status.uids) == {plan.uid}, f"Uid {status.uids}")
    _require("service_account", set(status.gids) == {plan.gid}, f"Gid {status.gids}")
    # Rootless, setgroups is denied and the caller's groups stay, without effect on mapped files.
    if "service_account" not in plan.accepted:
        _require("groups", set(status.groups) <= {plan.gid}, f"Groups {status.groups}")
    _require("capabilities", not any(status.capabilities), f"Cap* {status.capabilities}")
    _require("no_new_privs", status.no_new_privs == 1, f"NoNewPrivs {status.no_new_privs}")
    own = proc.namespaces(pid)
    for name in proc.NAMESPACES:
        if name not in shared:
            _require(f"namespace.{name}", own[name] != host[name], f"{name} is the host's")
    return [
        Proof("uid", str(plan.uid), source),
        Proof("gid", str(plan.gid), source),
        Proof("groups", ",".join(map(str, status.groups)), source),
        Proof("capabilities", "none", source),
        Proof("no_new_privs", "1", source),
        *(
            Proof(
                f"namespace.{name}",
                "shared with the host" if name in shared else own[name],
                f"/proc/{pid}/ns/{name}",
            )
            for name in own
        ),
    ]


def prove_mounts(pid: int, plan: Plan) -> list[Proof]:
    """The root and the tool's files are read-only; scratch is bounded, noexec, nosuid, nodev."""
    source = f"/proc/{pid}/mountinfo"
    limits = plan.limits
    held = _mounts_hold(
        proc.mount_table(pid), plan.image, plan.mounts, limits.scratch_bytes, limits.scratch_inodes
    )
    return [Proof(control, value, source) for control, value in held]


@functools.lru_cache(maxsize=128)
def _mounts_hold(
    table: bytes, image: str, mounts: tuple[Mount, ...], scratch_bytes: int, scratch_inodes: int
) -> tuple[tuple[str, str], ...]:
    """Controls and what the kernel says of each. Pure: what it said before need not be parsed
    again; what does not hold is raised anew each time."""
    found_at = {mount.target: mount for mount in proc.parse_mounts(table)}
    root = found_at["/"]
    _require("root", "ro" in root.options, "the root file system is writable")
    proofs = [("root", "ro,nosuid")]
    if image.startswith("sha256:"):
        tree = image.removeprefix("sha256:")
        _require("image", root.root.endswith(f"/{tree}"), f"the root is {root.root}")
        proofs.append(("image", image))
    for target, mount in found_at.items():
        _require("nosuid", "nosuid" in mount.options, f"{target} honours setuid bits")
        writable = "rw" in mount.options and "ro" not in mount.super_options
        expected = target in SCRATCH_MOUNTS or target == "/proc" or target.startswith("/dev/")
        _require("mounts", expected or not writable, f"{target} is writable")
    for wanted in mounts:
        found = found_at.get(wanted.target)
        if found is None:
            raise EngineError("a mount of the plan is missing", control=wanted.target)
        if wanted.kind == "scratch":
            _require("scratch", {"noexec", "nosuid", "nodev"} <= found.options, wanted.target)
            bounds = rootfs.scratch_bounds(scratch_bytes, scratch_inodes)
            _require("scratch", bounds <= found.super_options, f"{wanted.target} is not {bounds}")
        elif wanted.target == TOOL_MOUNT:
            _require("tool", "ro" in found.options, "the tool's files are writable")
            tree = wanted.source.removeprefix("sha384:")
            _require("tool", found.root.endswith(f"/{tree}"), f"/tool is {found.root}")
        proofs.append((f"mount.{wanted.target}", ",".join(sorted(found.options))))
    return tuple(proofs)


def prove_seccomp(tool: int, init: int, *, filters: int = 0) -> list[Proof] | None:
    """Mode 2 (filter) of the tool's process, or, when that is gone already, of the sandbox's
    init, which loads the same filter before it can report the tool's end. None: not yet.

    filters: how many it must have at least. A service manager gives its services filters of their
    own (RestrictAddressFamilies= and others), which every process of theirs inherits: mode 2 alone
    is no proof there. Kernels before Linux 5.9 do not tell how many there are."""
    for pid in (tool, init):
        if pid < 0:
            continue
        try:
            status = proc.read_status(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if status.seccomp != SECCOMP_MODE_FILTER or 0 <= status.seccomp_filters < filters:
            return None
        return [Proof("seccomp", str(status.seccomp), f"/proc/{pid}/status")]
    return None


def _require(control: str, held: bool, detail: str) -> None:  # noqa: FBT001
    if not held:
        raise EngineError(f"{control} is not as the plan promises", control=control, detail=detail)
