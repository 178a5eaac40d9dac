"""Builds an image from Debian packages with mmdebstrap: no container registry, no Dockerfile.

apt checks the archive's signatures. The packages' own scripts run in a chroot, with the rights of
whoever builds: it is Debian that is trusted here, nobody else. Equal versions of packages give
equal digests.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.external import find, follow
from fumehood.images.recipe import EPOCH, Recipe
from fumehood.images.sources import Workplace, from_tar
from fumehood.images.tree import Directory, Tree

BUILD_SECONDS: Final = 1800.0
Progress = Callable[[str], None]

_REMEDY: Final = "check that Debian's archive can be reached, and the names of the packages"
_REMEDY_ROOTLESS: Final = (
    "an ordinary user needs uidmap and a range of UIDs in /etc/subuid and /etc/subgid for this; "
    "or build as root, `fumehood image export` it, and import the file"
)

_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
# What only installing needs, what differs between two builds, and what a program never reads.
_REMOVED: Final = (
    "boot",
    "etc/.pwd.lock",
    "etc/apt",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/fstab",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/shadow",
    "etc/gshadow",
    "usr/share/bug",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers",
    "var/lib/shells.state",
    "var/lib/systemd",
    "var/log",
)
_COPYRIGHT: Final = "copyright"


def build(recipe: Recipe, place: Workplace, progress: Progress, bounds: Bounds = DEFAULT) -> Tree:
    """Install the packages and read the result.

    Raises:
        ImageError: mmdebstrap is missing or fails, with its last line.
    """
    archive = place.copies / "root.tar"
    follow(
        _argv(recipe, archive),
        lambda line: _stage(line, progress),
        seconds=BUILD_SECONDS,
        remedy=_REMEDY if os.geteuid() == 0 else _REMEDY_ROOTLESS,
        extra={"SOURCE_DATE_EPOCH": epoch(), "DEBIAN_FRONTEND": "noninteractive"},
    )
    progress("reading the result")
    with archive.open("rb") as file:
        tree = from_tar(file, place, bounds)
    archive.unlink()
    for path in _REMOVED:
        tree.remove(path)
    _keep_copyrights(tree)
    return tree


def _stage(line: str, progress: Progress) -> None:
    """mmdebstrap tells its stages as `I: …`; what dpkg and apt say is for the error only."""
    stage = line.removeprefix("I: ")
    if stage != line and stage.endswith(("...", "seconds")):
        progress(stage.removesuffix("..."))


def epoch() -> str:
    """SOURCE_DATE_EPOCH of the environment, or ours."""
    text = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ImageError(f"SOURCE_DATE_EPOCH is {text[:32]!r}", "set it to seconds since 1970")
    return text


def _argv(recipe: Recipe, archive: Path) -> list[str]:
    program = find("mmdebstrap")
    if program is None:
        raise ImageError(
            "images are built with mmdebstrap, which is not installed",
            "apt-get install mmdebstrap debian-archive-keyring",
        )
    mode = "root" if os.geteuid() == 0 else "unshare"
    return [
        program,
        "--variant=custom",
        f"--mode={mode}",
        "--format=tar",
        f"--include={','.join(recipe.packages)}",
        f"--hook-dir={_MERGED_USR}",
        "--skip=output/dev",
        "--dpkgopt=force-unsafe-io",  # nothing is kept of a build that a power cut ends
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        recipe.suite,
        str(archive),
    ]


def _keep_copyrights(tree: Tree) -> None:
    """Of the documentation only what licences demand."""
    folder = tree.find(["usr", "share", "doc"])
    if not isinstance(folder, Directory):
        return
    for name, package in list(folder.children.items()):
        if isinstance(package, Directory):
            for item in list(package.children):
                if item != _COPYRIGHT:
                    del package.children[item]
            if not package.children:
                del folder.children[name]
