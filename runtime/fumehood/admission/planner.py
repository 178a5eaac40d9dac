"""Joins an admitted call, the tool's manifest, its account and the ceilings into a plan. Pure.

Must never put anything of the caller into a plan: arguments reach a tool on stdin only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from fumehood.errors import Rejected
from fumehood.model.limits import above
from fumehood.model.plan import SCRATCH_MOUNTS, TOOL_MOUNT, Ceilings, Mount, Plan
from fumehood.model.request import Admitted, RegisteredTool

BASE_ENVIRONMENT: Final = (
    ("HOME", "/tmp"),  # noqa: S108  (inside the sandbox, as below)
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("TMPDIR", "/tmp"),  # noqa: S108
    ("USER", "tool"),
)
"""What every tool gets; its manifest may give other values."""

EVERY_TOOL: Final = "*"
"""In the place of a tool's name."""
_REGISTER_AGAIN: Final = "ask an operator to change the tool or the configuration"


def plan(
    admitted: Admitted,
    *,
    ceilings: Ceilings,
    profile_digest: Callable[[str], str],
    engines: Sequence[str] = ("bubblewrap",),
    own_gid: int = -1,
    log_denials: Collection[str] = (),
) -> Plan:
    """The one plan of an admitted call: equal tools and ceilings give equal plans.

    Args:
        profile_digest: `sha384:<hex>` of a seccomp profile's file by its name; raises
            LookupError when there is none.
        engines: those that run here; the first one is for tools that name none.
        own_gid: the daemon's GID when rootless (`ceilings.uid_own` is set), else unused.
        log_denials: names of tools whose denied calls the operator wants to be told, or
            EVERY_TOOL.

    Raises:
        Rejected: the tool asks for more than this installation allows now; ceilings may have
            been lowered since it was registered.
    """
    tool = admitted.tool
    manifest = tool.manifest
    limits = manifest.limits.to_plan()
    if (found := above(limits, ceilings.limits)) is not None:
        raise Rejected(f"limits.{found[0]}: {found[1]}", _REGISTER_AGAIN)
    root = manifest.run.root
    if root not in ceilings.images and not (ceilings.image_store and root.startswith("sha256:")):
        raise Rejected(f"run.image: there is no image {manifest.run.image!r}", _REGISTER_AGAIN)
    try:
        seccomp_digest = profile_digest(manifest.seccomp)
    except LookupError:
        raise Rejected(
            f"seccomp: there is no profile {manifest.seccomp!r}", _REGISTER_AGAIN
        ) from None
    engine = manifest.run.engine or engines[0]
    if engine not in engines:
        raise Rejected(f"run.engine: {engine} does not run here", _REGISTER_AGAIN)
    uid, gid = _account(tool, ceilings, own_gid)
    return Plan(
        engine=engine,
        image=root,
        argv=manifest.run.command,
        environment=_environment(manifest.run.environment),
        mounts=_mounts(tool.files),
        uid=uid,
        gid=gid,
        seccomp=manifest.seccomp,
        seccomp_digest=seccomp_digest,
        network=manifest.network,
        limits=limits,
        accepted=_accepted(ceilings, manifest.run.runtime or ""),
        runtime=manifest.run.runtime or "",
        log_denials=manifest.name in log_denials or EVERY_TOOL in log_denials,
    )


def _accepted(ceilings: Ceilings, runtime: str) -> tuple[str, ...]:
    """What this plan may lack: the host's controls, and those of its own runtime; the faults of
    old programs (CVE-…) are the launcher's business, not a plan's."""
    return tuple(
        name
        for name in sorted(ceilings.accepted)
        if not name.startswith("CVE-") and ("." not in name or name.startswith(f"{runtime}."))
    )


def _account(tool: RegisteredTool, ceilings: Ceilings, own_gid: int) -> tuple[int, int]:
    uid = tool.account
    if ceilings.uid_own >= 0:
        allowed, gid = uid == ceilings.uid_own, own_gid if own_gid >= 0 else uid
    else:
        allowed, gid = 0 <= uid - ceilings.uid_first < ceilings.uid_count, uid
    if not allowed:
        raise Rejected("the tool's service account is outside the range", _REGISTER_AGAIN)
    return uid, gid


def _environment(own: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**dict(BASE_ENVIRONMENT), **own}.items()))


def _mounts(files: str | None) -> tuple[Mount, ...]:
    tool = (Mount("tool", files, TOOL_MOUNT, read_only=True),) if files is not None else ()
    scratch = (Mount("scratch", "", target, read_only=False) for target in SCRATCH_MOUNTS)
    return (*tool, *scratch)
