"""Unpacks Node packages into a tree without running anything of them.

npm only downloads, in a sandbox of its own (see `fetching`); every archive must have the SHA-512
that the lock file names, and unpacking is ours. Packages go below /node_modules, where Node looks
for whatever /tool imports. Install scripts are never run: a package that compiles itself needs an
image built with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images.beneath import open_directory
from fumehood.images.bounds import Bounds
from fumehood.images.external import find
from fumehood.images.fetching import (
    CERTIFICATES,
    NETWORK_SECONDS,
    PLACE,
    Fetch,
    Fetcher,
    bare_environment,
    certificates_in,
    left_in,
    new_work,
)
from fumehood.images.local_files import take
from fumehood.images.npm_lock import Package
from fumehood.images.npm_settings import npm_settings
from fumehood.images.streams import Decompressed
from fumehood.images.tar import Member, TarReader
from fumehood.images.tree import Tree

FOLDER: Final = "node_modules"
_BATCH: Final = 50
_NPMRC, _LEFT = "/etc/fetch-npmrc", "packages"


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
    fetcher: Fetcher,
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

    def chosen(_: str, digest: str) -> str | None:
        return _kept_name(digest) if digest in wanted else None

    def missing() -> list[Package]:
        return [item for item in wanted.values() if not _copy(target, item).exists()]

    for folder in folders:
        take(folder, target, "sha512", ".tgz", chosen)
    if asked := missing():
        progress(f"fetching {len(asked)} Node packages in a sandbox")
        for fetched in _download(asked, work, fetcher):
            take(fetched, target, "sha512", ".tgz", chosen)
    for item in missing():
        raise ImageError(f"npm fetched {item.spec} with another hash than the lock file names")
    return {digest: _copy(target, item) for digest, item in wanted.items()}


def _kept_name(digest: str) -> str:
    return f"npm-{digest[:64]}.tgz"


def _copy(target: Path, item: Package) -> Path:
    return target / _kept_name(item.sha512)


def _download(missing: list[Package], work: Path, fetcher: Fetcher) -> Iterator[Path]:
    """Folders in which npm left what it was asked for, or anything else."""
    program = find("npm")
    remedy = (
        "put the archives (`npm pack NAME@VERSION`) into a folder and name it with --wheels, or "
        "see that npm is installed and reaches its registry"
    )
    if program is None:
        raise ImageError(f"{missing[0].spec} cannot be had: npm is not installed", remedy)
    settings = npm_settings(program)
    if settings.stripped:
        remedy += " without a password, which no sandbox is given"
    written = work / "npmrc"
    written.write_text("".join(f"{line}\n" for line in settings.lines), encoding="utf-8")
    binds = [(str(written), _NPMRC)]
    if settings.certificates is not None:
        binds.append((str(certificates_in(settings.certificates, work)), CERTIFICATES))
    environment = dict(bare_environment()) | {
        "NPM_CONFIG_USERCONFIG": _NPMRC,
        "NPM_CONFIG_GLOBALCONFIG": os.devnull,
    }
    argv = [program, "pack", "--silent", "--ignore-scripts", "--no-update-notifier"]
    argv += ["--cache", f"{PLACE}/cache", "--pack-destination", f"{PLACE}/{_LEFT}", "--"]
    specs = sorted({item.spec for item in missing})
    for start in range(0, len(specs), _BATCH):
        batch = specs[start : start + _BATCH]
        run = Fetch(
            argv=(*argv, *batch),
            environment=tuple(sorted(environment.items())),
            binds=tuple(binds),
            work=new_work(work, _LEFT),
            network=True,
            seconds=NETWORK_SECONDS,
        )
        try:
            fetcher(run)
        except ImageError as error:
            raise ImageError(
                f"the packages of run.requirements cannot be had: {error.cause}",
                remedy,
                detail=error.detail,
            ) from None
        yield left_in(run.work, _LEFT, len(batch))


def install(
    tree: Tree, packages: tuple[Package, ...], archives: dict[str, Path], bounds: Bounds
) -> None:
    """Unpack all packages into the tree, the outer ones first.

    Raises:
        ImageError: naming the package and the file.
    """
    if tree.find([FOLDER]) is not None:
        raise ImageError(f"the image has a /{FOLDER} already", "derive from an image without one")
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
