"""The bubblewrap of this host: whether it can make a sandbox at all, asked of the program itself.

The launcher and the doctor ask here, so that neither calls usable what the other refuses. Must
never guess: a program that does not say its version is refused. Standard library only.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from typing import Final

from fumehood.errors import EngineError

BWRAP: Final = "/usr/bin/bwrap"
OLDEST: Final = (0, 8, 0)
"""The first release with --disable-userns, which every sandbox is started with. It is newer than
the fixes of CVE-2017-5226 (0.1.5) and CVE-2020-5291 (0.4.1)."""
_SECONDS: Final = 10
_INSTALL: Final = "apt-get install bubblewrap"
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
