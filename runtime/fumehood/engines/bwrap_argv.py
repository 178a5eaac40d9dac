"""What bubblewrap is told to make one sandbox. Pure; standard library only.

Nothing of a caller's is in it: options come from the plan alone, and the tool's own words stand
behind `--`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fumehood.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Places:
    """Directories that a sandbox is made from: its root, /dev, its scratch space, /tool."""

    root: str
    devices: str
    scratch: str
    tool: str


def argv(plan: Plan, places: Places, *, seccomp: int, status: int) -> list[str]:
    """The whole command line of a sandbox; descriptors of its filter and of its report."""
    words = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--uid", str(plan.uid), "--gid", str(plan.gid), "--hostname", "sandbox"]
    words += ["--seccomp", str(seccomp), "--json-status-fd", str(status)]
    words += ["--ro-bind", places.root, "/", "--dev-bind", places.devices, "/dev"]
    words += ["--proc", "/proc"]
    for mount in plan.mounts:
        if mount.kind == "scratch":
            words += ["--bind", f"{places.scratch}{mount.target}", mount.target]
        else:
            words += ["--ro-bind", places.tool, mount.target]
    for name, value in plan.environment:
        words += ["--setenv", name, value]
    return [*words, "--chdir", "/tmp", "--", *plan.argv]  # noqa: S108  (the sandbox's own)
