"""The bubblewrap of this host: whether it can make a sandbox at all, asked of the program itself.

The launcher and the doctor ask here, so that neither calls usable what the other refuses. Must
never guess: a program that does not say its version is refused. Standard library only.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import stat
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Final

from fumehood.engines.versions import HOST_ADVISORIES
from fumehood.errors import EngineError

BWRAP: Final = "/usr/bin/bwrap"
OLDEST: Final = (0, 8, 0)
"""The first release with --disable-userns, which every sandbox is started with. It is newer than
the fixes of CVE-2017-5226 (0.1.5) and CVE-2020-5291 (0.4.1)."""
_SECONDS: Final = 10
_MAX_CHANGELOG: Final = 1 << 20
_INSTALL: Final = "apt-get install bubblewrap"
_UPGRADE: Final = "apt-get update && apt-get install --only-upgrade bubblewrap"
_REPAIR: Final = "apt-get install --reinstall bubblewrap"


def installed() -> str:
    """The version of the installed bubblewrap, such as `0.8.0`.

    Raises EngineError (control `engine`): it is missing, setuid, not executable for service
    accounts, does not say what it is, or is older than OLDEST.
    """
    try:
        mode = os.stat(BWRAP).st_mode
    except FileNotFoundError:
        raise _unusable(f"{BWRAP} is missing", _INSTALL) from None
    except OSError as error:
        raise _unusable(f"{BWRAP}: {error.strerror}", _REPAIR) from None
    if mode & stat.S_ISUID:
        # bubblewrap(1): a setuid bwrap refuses --disable-userns.
        raise _unusable(f"{BWRAP} is setuid", f"chmod u-s {BWRAP}")
    # Root may execute what has any x; the account that bubblewrap runs as is neither its owner
    # nor in its group.
    if not os.access(BWRAP, os.X_OK) or (os.geteuid() == 0 and not mode & stat.S_IXOTH):
        raise _unusable(f"{BWRAP} is not executable", f"chmod 755 {BWRAP}")
    return _recent(_said())


CVE: Final = "CVE-2024-42472"
"""The one fault of bubblewrap that OLDEST does not rule out. No sandbox binds a path that a tool
can change, so it is accepted more easily than the others; but that is the operator's to say."""
_FIXED_UPSTREAM: Final = (0, 10, 0)


def require_fixed(version: str, accepted: Collection[str]) -> None:
    """Refuse a bubblewrap with a known fault, unless that was accepted by name.

    version: from `installed`.

    Raises EngineError (control: the CVE).
    """
    if CVE in accepted or proof_of_fix(version):
        return
    advisory = next(item for item in HOST_ADVISORIES if item.cve == CVE)
    raise EngineError(
        f"too old: bubblewrap {version} has {CVE} ({advisory.what}), fixed in "
        f"{advisory.fixed[-1]}, and nothing here proves a fix of its package",
        f"{_UPGRADE}; or accept by name under accept_unenforced: {CVE}",
        control=CVE,
    )


def proof_of_fix(version: str) -> str:
    """How it is known on this host that CVE is fixed, or an empty string."""
    return fixed_by(version, "") or fixed_by(version, package_version(), changelog())


def fixed_by(version: str, package: str, changes: str = "") -> str:
    """The same from a package's version and changelog. Pure.

    Debian keeps 0.8.0 and fixes it in 0.8.0-2+deb12u1; distributions name the fix in the
    package's changelog; upstream fixed it in 0.10.0.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers >= _FIXED_UPSTREAM:
        return "upstream 0.10.0"
    if not package.startswith(f"{version}-"):
        return ""  # another program than the package's
    if revision := re.fullmatch(r"0\.8\.0-2\+deb12u(\d+)", package):
        return "Debian 0.8.0-2+deb12u1" if int(revision[1]) >= 1 else ""
    return "the package's changelog" if CVE in changes else ""


def package_version() -> str:
    """What dpkg has installed; empty where there is no dpkg, or no such package."""
    try:
        done = subprocess.run(
            ["/usr/bin/dpkg-query", "--show", "--showformat=${Version}", "bubblewrap"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env={"LANG": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:200].decode(errors="replace").strip()


def changelog() -> str:
    """The Debian package's changelog; empty where there is none."""
    for name in ("changelog.Debian.gz", "changelog.Debian.amd64.gz"):
        with (
            contextlib.suppress(OSError, EOFError),
            gzip.open(Path("/usr/share/doc/bubblewrap", name)) as file,
        ):
            return file.read(_MAX_CHANGELOG).decode(errors="replace")
    return ""


def _said() -> str:
    try:
        done = subprocess.run(
            [BWRAP, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env={"LANG": "C"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unusable(f"{BWRAP} does not tell its version: {error}", _REPAIR) from None
    return done.stdout[:200].decode(errors="replace").strip()


def _recent(said: str) -> str:
    found = re.fullmatch(r"bubblewrap ((\d+)\.(\d+)(?:\.(\d+))?\S*)", said)
    if found is None:
        raise _unusable(f"{BWRAP} does not tell its version: it said {said!r}", _REPAIR)
    if tuple(int(part or 0) for part in found.groups()[1:]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise _unusable(
            f"bubblewrap {found[1]} has no --disable-userns, which every sandbox needs",
            f"install {oldest} or later, which Debian 12 and Ubuntu 24.04 have: {_INSTALL}",
        )
    return found[1]


def _unusable(cause: str, remedy: str) -> EngineError:
    return EngineError(cause, remedy, control="engine")
