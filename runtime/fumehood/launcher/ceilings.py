"""Whether a plan may run at all: the launcher's own decision, from root-owned ceilings alone.

Pure and standard library only. Admission decided the same before, with better words; this is
for the day when the supervisor belongs to somebody else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

from fumehood.errors import PlanRefused
from fumehood.model.plan import SCRATCH_MOUNTS, TOOL_MOUNT, Ceilings, Limits, Mount, Plan

_DIGEST = re.compile(r"sha384:[0-9a-f]{96}\Z")
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}\Z")
_SANDBOX = re.compile(r"[0-9a-f-]{8,64}\Z")
_MINIMUM = Limits(
    timeout_ms=1,
    cpu_millis=10,
    memory_bytes=1 << 20,
    pids=1,
    scratch_bytes=4096,
    scratch_inodes=1,
    output_bytes=0,
    grace_ms=0,
)
MAX_ARGUMENTS = 256
MAX_ARGUMENT_BYTES = 4096
MAX_VARIABLES = 64
MAX_CPU_TIME_MS = 24 * 3_600_000
MAX_GRACE_MS = 10_000


def check_sandbox_name(name: str) -> None:
    """A sandbox's name becomes a directory and a cgroup."""
    if not _SANDBOX.match(name):
        raise PlanRefused("the sandbox's name is malformed", control="sandbox")


def check(
    plan: Plan,
    ceilings: Ceilings,
    profiles: Mapping[str, str],
    unenforceable: Mapping[str, str],
    trees: Callable[[str], bool] = lambda _: False,
) -> None:
    """Refuse a plan that breaks a ceiling.

    profiles: digest of each profile in the profile directory, by name.
    unenforceable: what the engine cannot enforce on this host, with reasons.
    trees: whether the root-owned image store has the tree of a digest (64 hex digits).

    Raises:
        PlanRefused: naming the control, with both values where there are two.
    """
    _account(plan, ceilings)
    _limits(plan.limits, ceilings.limits)
    _program(plan)
    _mounts(plan.mounts)
    stored = _IMAGE.match(plan.image) is not None and trees(plan.image.removeprefix("sha256:"))
    if plan.image not in ceilings.images and not stored:
        _refuse("image", f"the image {plan.image[:64]!r} is not allowed")
    if plan.seccomp not in profiles:
        _refuse("seccomp", f"no profile {plan.seccomp[:64]!r} in the profile directory")
    if plan.seccomp_digest != profiles[plan.seccomp]:
        _refuse("seccomp", f"the profile {plan.seccomp!r} is not the one that was planned")
    # What a plan accepts is not read back: only the operator may let a proof be left out.
    if unknown := sorted(set(plan.accepted) - set(ceilings.accepted)):
        _refuse("accepted", f"the operator did not accept {unknown[0][:64]!r} as not enforced")
    if missing := sorted(set(unenforceable) - set(plan.accepted)):
        _refuse(missing[0], f"not enforceable on this host: {unenforceable[missing[0]]}")


def _refuse(control: str, cause: str) -> None:
    raise PlanRefused(cause, control=control)


def _account(plan: Plan, ceilings: Ceilings) -> None:
    if ceilings.uid_own >= 0:
        allowed = plan.uid == ceilings.uid_own
    else:
        allowed = 0 <= plan.uid - ceilings.uid_first < ceilings.uid_count and plan.gid == plan.uid
    if not allowed or plan.uid == 0 or plan.gid == 0:
        _refuse("service_account", f"UID {plan.uid}, GID {plan.gid} is no service account")


def _limits(wanted: Limits, most: Limits) -> None:
    # No ceiling: one that is too large never fires, since timeout and cpu have theirs.
    most = dataclasses.replace(most, cpu_time_ms=MAX_CPU_TIME_MS, grace_ms=MAX_GRACE_MS)
    for item in dataclasses.fields(Limits):
        value = getattr(wanted, item.name)
        low, high = getattr(_MINIMUM, item.name), getattr(most, item.name)
        if not low <= value <= high:
            _refuse(f"limits.{item.name}", f"{item.name} is {value}; allowed is {low} to {high}")


def _program(plan: Plan) -> None:
    if not 1 <= len(plan.argv) <= MAX_ARGUMENTS or not plan.argv[0]:
        _refuse("argv", f"argv has {len(plan.argv)} items; allowed is 1 to {MAX_ARGUMENTS}")
    if plan.argv[0].startswith("-"):
        _refuse("argv", "the program's name looks like an option")
    if not all(_fits(item) for item in plan.argv):
        _refuse("argv", f"an argument has a NUL, no UTF-8 or over {MAX_ARGUMENT_BYTES} bytes")
    if len(plan.environment) > MAX_VARIABLES:
        _refuse("environment", f"more than {MAX_VARIABLES} variables")
    for name, value in plan.environment:
        if not _NAME.match(name) or name.startswith("LD_"):
            _refuse("environment", f"the variable {name[:64]!r} is not allowed")
        if not _fits(value):
            _refuse("environment", f"the value of {name} has a NUL, no UTF-8 or is too long")


def _fits(text: str) -> bool:
    try:
        return "\0" not in text and len(text.encode()) <= MAX_ARGUMENT_BYTES
    except UnicodeEncodeError:  # a lone surrogate, which JSON can carry
        return False


def _mounts(mounts: tuple[Mount, ...]) -> None:
    targets = [mount.target for mount in mounts]
    if len(set(targets)) != len(targets):
        _refuse("mounts", "two mounts have one target")
    if not set(SCRATCH_MOUNTS) <= set(targets):
        _refuse("mounts", "the scratch mounts are missing")
    for mount in mounts:
        if mount.kind == "scratch":
            fine = mount.target in SCRATCH_MOUNTS and not mount.source and not mount.read_only
        else:
            fine = (
                mount.target == TOOL_MOUNT and bool(_DIGEST.match(mount.source)) and mount.read_only
            )
        if not fine:
            _refuse("mounts", f"the mount at {mount.target[:64]!r} is not allowed")
