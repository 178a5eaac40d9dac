"""Unpacks Node packages into a tree without running anything of them.

npm only downloads; every archive must have the SHA-512 that the lock file names, and unpacking is
ours. Packages go below /node_modules, where Node looks for whatever /tool imports. Install
scripts are never run: a package that compiles itself needs an image built with it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images.beneath import open_directory
from fumehood.images.bounds import Bounds
from fumehood.images.external import find, run
from fumehood.images.npm_lock import Package
from fumehood.images.streams import CHUNK, Decompressed
from fumehood.images.tar import Member, TarReader
from fumehood.images.tree import Tree

SECONDS: Final = 1800.0
MAX_ARCHIVE_BYTES: Final = 1 << 30
PLACE: Final = "node_modules"
_BATCH: Final = 50
_PASSED_ON = ("NPM_CONFIG_CAFILE", "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_NOPROXY",
              "NPM_CONFIG_PROXY", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG")  # fmt: skip


def find_node(tree: int) -> None:
    """Raises ImageError when the image has no Node."""
    for directory in ("usr/bin", "usr/local/bin"):
        try:
            fd = open_directory(tree, directory)
        except OSError:
            continue
        try:
            if "node" in os.listdir(fd):
                return
        finally:
            os.close(fd)
    raise ImageError(
        "run.requirements: the image has no Node", "set run.image: node, or one like it"
    )


def fetch(
    packages: tuple[Package, ...],
    work: Path,
    folders: list[Path],
    progress: Callable[[str], None],
) -> dict[str, Path]:
    """Archives by their SHA-512: from the folders, and what is missing there from npm's registry.

    Returned are copies in `work`, named by their hash.

    Raises:
        ImageError: a package cannot be had.
    """
    target = work / "packages"
    target.mkdir()
    wanted = {item.sha512: item for item in packages}
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            _take(folder, target, wanted, found)
    missing = [item for digest, item in wanted.items() if digest not in found]
    if missing:
        progress(f"fetching {len(missing)} Node packages")
        fetched = work / "fetched"
        fetched.mkdir()
        _download(missing, work, fetched)
        _take(fetched, target, wanted, found)
    for item in missing:
        if item.sha512 not in found:
            raise ImageError(f"npm fetched {item.spec} with another hash than the lock file names")
    return found


def _take(folder: Path, target: Path, wanted: dict[str, Package], found: dict[str, Path]) -> None:
    """Copy archives that are wanted; a copy, so that what was hashed is what is used."""
    for path in sorted(folder.glob("*.tgz")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}") from None
        with os.fdopen(fd, "rb") as source:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_ARCHIVE_BYTES:
                continue
            digest, copy = hashlib.sha512(), target / "copy"
            with copy.open("wb") as sink:
                while data := source.read(CHUNK):
                    digest.update(data)
                    sink.write(data)
        name = digest.hexdigest()
        if name in wanted and name not in found:
            found[name] = copy.rename(target / f"npm-{name[:64]}.tgz")
        else:
            copy.unlink()


def _download(missing: list[Package], work: Path, target: Path) -> None:
    program = find("npm")
    remedy = (
        "put the archives (`npm pack NAME@VERSION`) into a folder and name it with --wheels, or "
        "see that npm is installed and reaches its registry"
    )
    if program is None:
        raise ImageError(f"{missing[0].spec} cannot be had: npm is not installed", remedy)
    argv = [program, "pack", "--silent", "--ignore-scripts", "--no-update-notifier"]
    argv += ["--cache", str(work / "cache"), "--pack-destination", str(target), "--"]
    extra = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    specs = sorted({item.spec for item in missing})
    for start in range(0, len(specs), _BATCH):
        try:
            run([*argv, *specs[start : start + _BATCH]], seconds=SECONDS, extra=extra)
        except ImageError as error:
            raise ImageError(
                f"the packages of run.requirements cannot be had: {error.cause}",
                remedy,
                detail=error.detail,
            ) from None


def install(
    tree: Tree, packages: tuple[Package, ...], archives: dict[str, Path], bounds: Bounds
) -> None:
    """Unpack all packages into the tree, the outer ones first.

    Raises:
        ImageError: naming the package and the file.
    """
    if tree.find([PLACE]) is not None:
        raise ImageError(f"the image has a /{PLACE} already", "derive from an image without one")
    for item in packages:
        with archives[item.sha512].open("rb") as file:
            reader = TarReader(Decompressed(file), bounds)
            try:
                tree.apply(_Unpacked(reader, item), whiteouts=False)
            except ImageError as error:
                raise ImageError(f"{item.spec}: {error.cause}", error.remedy) from None


class _Unpacked:
    """The files of an archive at the package's own place: npm's archives have one top folder,
    whatever its name."""

    def __init__(self, reader: TarReader, package: Package) -> None:
        self._reader = reader
        self._package = package

    def __iter__(self) -> Iterator[Member]:
        for member in self._reader:
            if member.kind == "directory":
                continue
            rest = member.name.partition("/")[2]
            if member.kind != "file" or not rest:
                raise ImageError(f"{member.name[:256]!r} is no file of a package: {member.kind}")
            place = f"{self._package.path}/{rest}"
            yield replace(member, name=place, mtime=0, link="")

    def content(self) -> Iterator[bytes]:
        return self._reader.content()
