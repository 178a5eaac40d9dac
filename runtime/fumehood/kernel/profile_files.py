"""Which files are profiles: those shipped with the package, and the operator's own.

It must never let a profile of the operator's stand for a shipped one, nor take one that somebody
else than root (rootless: than the daemon's own user) could have written: whoever writes a
profile decides what tools may do. Standard library only, because the privileged launcher
imports it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fumehood.errors import EngineError
from fumehood.kernel import seccomp

SUFFIX: Final = ".json"
FOLDER: Final = "profiles"
"""The operator's profiles are in the folder of this name beside the configuration file."""
MAX_PROFILES: Final = 1_000


def find(shipped: str, own: str = "") -> dict[str, str]:
    """The file of each profile by its name, sorted.

    shipped: directory of the package's profiles. own: the operator's, empty when there is none.

    Raises:
        EngineError: control `seccomp`; a file or folder of the operator's that others may write,
            a link, or one that has the name of a shipped profile.
    """
    found = _names(shipped)
    if own:
        _check(own, stat.S_ISDIR, "folder")
        for name, path in _names(own).items():
            if name in found:
                raise EngineError(
                    f"seccomp profile {path}: {name} is the name of a shipped profile",
                    "give it another name, such as TOOL-VERSION",
                    control="seccomp",
                )
            _check(path, stat.S_ISREG, "file")
            found[name] = path
    if len(found) > MAX_PROFILES:
        raise EngineError(f"more than {MAX_PROFILES} seccomp profiles", control="seccomp")
    return dict(sorted(found.items()))


def load(shipped: str, own: str, name: str) -> seccomp.Profile:
    """The profile `name` of either directory.

    Raises:
        LookupError: there is none.
        EngineError: control `seccomp`, when it is unsafe or breaks a rule.
    """
    return seccomp.load_named(os.path.dirname(find(shipped, own)[name]), name)


def _names(directory: str) -> dict[str, str]:
    try:
        entries = sorted(os.listdir(directory))
    except OSError as error:
        raise EngineError(
            f"seccomp profiles {directory}: {error.strerror}", control="seccomp"
        ) from error
    paths = (Path(directory, entry) for entry in entries if entry.endswith(SUFFIX))
    return {path.name.removesuffix(SUFFIX): str(path) for path in paths}


def _check(path: str, kind: Callable[[int], bool], what: str) -> None:
    status = os.lstat(path)
    if not kind(status.st_mode):
        raise EngineError(f"seccomp profiles: {path} is no plain {what}", control="seccomp")
    if status.st_uid not in (0, os.geteuid()):
        raise EngineError(
            f"seccomp profiles: {path} belongs to UID {status.st_uid}",
            f"chown root: {path}",
            control="seccomp",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineError(
            f"seccomp profiles: others may write {path}", f"chmod go-w {path}", control="seccomp"
        )
