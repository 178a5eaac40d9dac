"""Whether an engine could ever open a sandbox for a tool: said at registration, and not first by
a call that fails. Pure and standard library only.

Must never be the only place where that is decided: the launcher refuses again, by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fumehood.engines.docker_seccomp import denied_before_tool
from fumehood.engines.promises import PLAIN_RUNTIMES, lacking
from fumehood.kernel.seccomp_profile import Profile


@dataclass(frozen=True, slots=True)
class Unfit:
    """key: of the manifest. The rest as in errors."""

    key: str
    cause: str
    remedy: str


def unfit(
    engine: str,
    runtime: str,
    seccomp: str,
    *,
    runtimes: Collection[str],
    accepted: Collection[str],
    profile: Callable[[str], Profile],
) -> Unfit | None:
    """Why no sandbox can be opened; None where nothing speaks against it.

    Args:
        runtimes: those that the operator allows for containers. accepted: controls that may be
            missing, by name. profile: loads a profile; raises LookupError when there is none.
    """
    if engine != "docker":
        return None
    runtime = runtime or "runc"
    if runtime not in runtimes:
        return Unfit(
            "run.runtime",
            f"{runtime} is none of the runtimes here: {', '.join(runtimes)}",
            "leave it out, or add it to docker.runtimes in the configuration",
        )
    lacks = lacking(runtime)
    if missing := sorted(set(lacks) - set(accepted)):
        return Unfit(
            "run.runtime",
            f"{runtime} cannot enforce {missing[0]}: {lacks[missing[0]]}",
            f"accept by name under accept_unenforced: {', '.join(missing)}",
        )
    if runtime in PLAIN_RUNTIMES:
        try:
            cause = container_unfit(profile(seccomp))
        except LookupError:
            return None  # which has an error of its own
        if cause:
            return Unfit("seccomp", cause, CONTAINER_REMEDY)
    return None


CONTAINER_REMEDY = "use the engine bubblewrap for this tool, or another profile"


def container_unfit(profile: Profile) -> str:
    """Why runc would start no container under a profile, or not hold all of it, in the launcher's
    words as well; empty: it does both."""
    if not profile.default.denies:
        # runc passes over a rule for a call whose name its libseccomp does not know.
        return (
            f"the profile {profile.name!r} allows what it does not name, and runc forgets rules "
            "for calls that are younger than its libseccomp: what they deny would be allowed"
        )
    if call := denied_before_tool(profile):
        return (
            f"the profile {profile.name!r} denies {call}, which runc or the init of a container "
            "needs: both run under the tool's own filter before the tool does"
        )
    return ""
