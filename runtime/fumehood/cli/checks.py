"""What this host can enforce, each claim proven by trying or by reading the kernel.

Each check returns a Check and raises nothing that the host can cause; it changes nothing that
it does not undo at once.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from fumehood.cli import cgroups as limits
from fumehood.engines import bwrap
from fumehood.errors import ConfigError, EngineError
from fumehood.kernel import accounts, cgroup, fsverity
from fumehood.places import Places

if TYPE_CHECKING:
    from fumehood.config import Accounts, Config

SECONDS: Final = 10
OLDEST_PYTHON: Final = (3, 11)
OLDEST_KERNEL: Final = (5, 14)
"""cgroup.kill came with 5.14; openat2 (5.6) and pidfd (5.3) are older."""
COMFORTABLE_KERNEL: Final = (6, 1)
"""memory.peak came with 5.19, pids.peak with 6.1: before, usage says `unknown` on v2."""

State = Literal["ok", "degraded", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """One answer of the doctor.

    state: `missing` means that nothing can run; `degraded`, that something is not enforced or
    not known. found: what was found, and how. remedy: a command or a setting, when not ok.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def host(places: Places, accept: tuple[str, ...] = ()) -> Iterator[Check]:
    """All checks that need no sandbox, in the order in which things depend on each other.

    accept: controls accepted as not enforced, besides the configuration's.
    """
    yield python(sys.version_info[:3], sys.executable)
    yield kernel(os.uname().release)
    yield libseccomp()
    config, check = configuration(places)
    yield check
    accepted = (*config.accept_unenforced, *accept)
    root = os.geteuid() == 0
    if "bubblewrap" in config.engines:
        program = bubblewrap(accepted)
        yield program
        if program.state != "missing":  # otherwise its remedy is the only one
            last = config.accounts.first + config.accounts.count - 1
            yield user_namespaces(last if root else None)
        if (restricted := apparmor()) is not None:
            yield restricted
    yield from cgroups(accepted)
    if root:
        yield supervisor(config)
        yield service_accounts(config.accounts)
    else:
        yield rootless(accepted)
    yield tool_files(places.state, root=root)


def python(version: tuple[int, ...], executable: str) -> Check:
    found = f"{'.'.join(map(str, version))} at {executable}"
    if version < OLDEST_PYTHON:
        return Check("python", "missing", found, "install Python 3.11 or later")
    return Check("python", "ok", found)


def kernel(release: str) -> Check:
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if version < OLDEST_KERNEL:
        return Check("kernel", "degraded", release, "use Linux 5.14 or later: it has cgroup.kill")
    if version < COMFORTABLE_KERNEL:
        return Check(
            "kernel",
            "degraded",
            f"{release}: peaks are unknown on cgroup v2",
            "use Linux 6.1 or later: it has memory.peak and pids.peak",
        )
    return Check("kernel", "ok", release)


# --- bubblewrap


def bubblewrap(accepted: tuple[str, ...] = ()) -> Check:
    """The engine's program: fit for a sandbox, and without the known vulnerability."""
    name = "bubblewrap"
    try:
        version = bwrap.installed()
    except EngineError as error:
        return Check(name, "missing", error.cause, error.remedy)
    package = bwrap.package_version()
    found = f"{version}, package {package}" if package else version
    proof = bwrap.proof_of_fix(version)
    if proof:
        return Check(name, "ok", f"{found}; {bwrap.CVE} fixed ({proof})")
    found = f"{found}; no proof that {bwrap.CVE} is fixed"
    if bwrap.CVE in accepted:
        return Check(name, "degraded", f"{found}, which is accepted", "apt-get install bubblewrap")
    return Check(
        name,
        "missing",
        found,
        f"apt-get install bubblewrap, or accept by name under accept_unenforced: {bwrap.CVE}",
    )


def _output(*argv: str) -> str | None:
    """stdout of a program that succeeds, stripped; None otherwise."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=SECONDS, check=True, env={"LANG": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def libseccomp() -> Check:
    """Loads the library, compiles every shipped profile with it, and asks the kernel."""
    from fumehood.kernel import seccomp
    from fumehood.resources import profile_directory

    name = "libseccomp"
    try:
        version = ".".join(map(str, seccomp.library_version()))
        names = sorted(path.stem for path in profile_directory().glob("*.json"))
        for profile in names:
            seccomp.compile_bpf(seccomp.load_named(str(profile_directory()), profile))
    except EngineError as error:
        return Check(name, "missing", error.cause, error.remedy or "apt-get install libseccomp2")
    try:
        actions = Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split()
    except OSError:
        return Check(
            name,
            "missing",
            "this kernel has no seccomp filters",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )
    if "kill_process" not in actions:
        return Check(name, "missing", "the kernel lacks kill_process", "use Linux 4.14 or later")
    return Check(name, "ok", f"{version}; compiled {', '.join(names)}")


# --- configuration and accounts


def configuration(places: Places) -> tuple[Config, Check]:
    """The operator's configuration, or the defaults when it cannot be used."""
    from fumehood.config import Config, load

    try:
        config = load(places.config, trusted_uid=os.geteuid(), required=places.config_named)
    except ConfigError as error:
        return Config(), Check("configuration", "missing", error.cause, error.remedy)
    where = (
        str(places.config) if os.path.exists(places.config) else f"defaults (no {places.config})"
    )
    return config, Check("configuration", "ok", where)


def supervisor(config: Config) -> Check:
    """The account that the supervisor drops to, and the group that may connect."""
    user, group = config.supervisor_user, config.socket_group
    remedy = "scripts/setup, or set supervisor_user and socket_group in the configuration"
    try:
        uid = pwd.getpwnam(user).pw_uid
        gid = grp.getgrnam(group).gr_gid
    except KeyError as error:
        return Check("supervisor", "missing", str(error.args[0]), remedy)
    if uid == 0:
        return Check("supervisor", "missing", f"{user} is root", remedy)
    return Check("supervisor", "ok", f"user {user} ({uid}), socket group {group} ({gid})")


def service_accounts(own: Accounts) -> Check:
    """The accounts of tools and the one of libraries: no account, group or subordinate range may
    have one of them."""
    try:
        accounts.check_range(own.first, own.count)
        libraries_account(own)
    except ConfigError as error:
        return Check("service_account", "missing", error.cause, error.remedy)
    found = f"UIDs and GIDs {own.first} to {own.libraries} belong to nobody (passwd, group, sub?id)"
    return Check("service_account", "ok", found)


def libraries_account(own: Accounts) -> None:
    """Raises ConfigError when somebody has the account that libraries are fetched and compiled
    as."""
    try:
        accounts.check_range(own.libraries, 1)
    except ConfigError as error:
        raise ConfigError(
            f"accounts: {own.libraries}, behind the range of tools, is for fetching and compiling "
            f"libraries: {error.cause.removeprefix('accounts: ')}",
            error.remedy,
        ) from None


def tool_files(state: Path, *, root: bool) -> Check:
    """Who can change the files of registered tools."""
    if not root:
        return Check(
            "tool_files",
            "degraded",
            "they are yours: whatever runs as you can change them, which is seen before each call",
            "run as root: then they are root's, and the supervisor has another account",
        )
    there = next(path for path in (state, *state.absolute().parents) if path.is_dir())
    try:
        frozen = fsverity.available(str(there))
    except (OSError, EngineError):
        frozen = False
    besides = "and fs-verity" if frozen else "without fs-verity, which its file system lacks"
    return Check("tool_files", "ok", f"sealed: root's copy below {state}, {besides}")


def rootless(accepted: tuple[str, ...]) -> Check:
    found = "only root can give each tool an account of its own"
    if "service_account" in accepted:
        return Check("service_account", "degraded", f"{found}; accepted")
    remedy = "run as root, or accept it by name: --accept-unenforced service_account"
    return Check("service_account", "missing", found, remedy)


# --- user namespaces


def user_namespaces(uid: int | None) -> Check:
    """Makes a real, empty bubblewrap sandbox, as `uid` when it is given (root only)."""
    argv = [bwrap.BWRAP, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    argv += ["--cap-drop", "ALL", "--ro-bind", "/usr", "/usr", "--proc", "/proc"]
    for name in ("bin", "lib", "lib64"):
        argv += ["--symlink", f"usr/{name}", f"/{name}"]
    argv += ["--", "/usr/bin/true"]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd="/",
            env={},
            user=uid,
            group=uid,
            extra_groups=None if uid is None else (),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("user namespaces", "missing", f"not tried: {error}", "install bubblewrap")
    if done.returncode == 0:
        who = f"as UID {uid}" if uid is not None else "as this user"
        return Check("user namespaces", "ok", f"a sandbox was made {who}")
    lines = done.stderr.strip().splitlines()
    reason = lines[-1] if lines else f"bwrap ended with {done.returncode}"
    return Check("user namespaces", "missing", reason, _namespace_remedy(_sysctl))


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name.replace(".", "/")).read_text().strip()
    except OSError:
        return None


_NAMESPACE_SWITCHES: Final = (
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "see apparmor"),
)


def _namespace_remedy(sysctl: Callable[[str], str | None]) -> str:
    for name, blocks, remedy in _NAMESPACE_SWITCHES:
        if sysctl(name) == blocks:
            return remedy
    return "see what denies user namespaces here: a container's profile, or a kernel without them"


def apparmor(sysctl: Callable[[str], str | None] = _sysctl) -> Check | None:
    """Ubuntu's restriction of user namespaces; None where this kernel does not have it."""
    name = "kernel.apparmor_restrict_unprivileged_userns"
    value = sysctl(name)
    if value is None:
        return None
    if value == "0":
        return Check("apparmor", "ok", f"{name} is 0")
    if profiles := sorted(Path("/etc/apparmor.d").glob("bwrap*")):
        return Check("apparmor", "ok", f"{name} is {value}; bwrap has the profile {profiles[0]}")
    remedy = f"sudo scripts/setup (installs a profile for bwrap), or sysctl -w {name}=0"
    return Check("apparmor", "degraded", f"{name} is {value}, and bwrap has no profile", remedy)


# --- cgroups


def cgroups(accepted: tuple[str, ...] = ()) -> Iterator[Check]:
    """The hierarchy's kind, and for each controller whether a group can really be limited."""
    layout = cgroup.discover()
    yield hierarchy(layout.mode, accepted)
    for trial in limits.trials(layout):
        if trial.proof:
            yield Check(trial.controller, "ok", trial.proof)
        elif trial.controller in accepted:
            yield Check(trial.controller, "degraded", f"{trial.problem}; accepted")
        else:
            yield Check(trial.controller, "missing", trial.problem, trial.remedy)


def hierarchy(mode: str, accepted: tuple[str, ...]) -> Check:
    """Nothing runs without one, unless every controller was accepted as missing."""
    if mode != "none":
        return Check("cgroup", "ok", f"{mode} (from the mount table)")
    found = "no cgroup hierarchy is mounted"
    if set(cgroup.CONTROLLERS) <= set(accepted):
        return Check("cgroup", "degraded", f"{found}; accepted")
    return Check("cgroup", "missing", found, limits.mount_remedy(root=os.geteuid() == 0))
