"""Images with a tool's Python distributions or Node packages added: `run.requirements`.

pip and npm only choose and download, in a sandbox of their own, and every file must have one of
the hashes that the requirements name; unpacking is ours and runs nothing. The result is an image
like any other, kept under the digest of its base and its requirements, so that registering a tool
again needs no network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import npm, npm_lock, pip
from fumehood.images.beneath import open_directory
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.fetching import Fetcher
from fumehood.images.index import Image
from fumehood.images.requirements import key_of, parse
from fumehood.images.sbom import installed
from fumehood.images.sources import Workplace
from fumehood.images.spool import Spool
from fumehood.images.store import ImageStore
from fumehood.images.streams import Reader
from fumehood.images.tar import Member, TarReader
from fumehood.images.tree import File, Tree, split
from fumehood.images.wheel import Python, install

_DEFAULT_GLIBC: Final = 17
"""glibc 2.17 is manylinux2014's (PEP 600)."""
_VERSION = re.compile(r"python(3\.[0-9]{1,2})\Z")
_GLIBC = re.compile(r"2\.([0-9]{1,3})[^0-9]")

Compiler = Callable[[Image, Python], AbstractContextManager[Reader]]
"""Gives a tar archive of the bytecode of an image's site directory."""
_BARE = "without-bytecode"


def derive(
    store: ImageStore,
    base: str,
    text: str,
    *,
    fetcher: Fetcher,
    wheels: Path | None = None,
    compiler: Compiler | None = None,
    progress: Callable[[str], None] = lambda _: None,
    bounds: Bounds = DEFAULT,
) -> Image:
    """The image that adds `text` (a requirements file, or a package-lock.json) to `base`, made
    unless it is there.

    fetcher: runs pip and npm where they can do no harm.
    wheels: a folder that is searched for wheels and packages too; with it nothing needs to be
        fetched.
    compiler: makes bytecode inside a sandbox; without one, each call compiles what it imports.

    Raises:
        ImageError: the requirements are malformed, the base has no Python or no Node, wheels or
            packages cannot be had, or one of them is not what it must be.
    """
    wanted, below = key_of(text), store.resolve(base)
    if (known := store.derived(below.digest, wanted)) is not None and store.has_tree(known):
        return known
    # Of both, so that the same requirements over another base are no other image under its name.
    tag = f"requirements-{_short(wanted)}-{_short(below.digest)}"
    name = f"{below.name.split(':')[0] or 'image'}:{tag}"
    source = f"requirements over {below.name or below.digest}"
    if npm_lock.is_lock(text):
        packages = npm_lock.parse(text)

        def with_packages(place: Workplace) -> Tree:
            return _with_packages(store, below, packages, wheels, fetcher, place, progress, bounds)

        return store.add(with_packages, name, source=source, base=below.digest, requirements=wanted)
    requirements = parse(text)
    with _opened(store.path(below.digest)) as base_fd:
        python = find_python(base_fd)

        def unpacked(place: Workplace) -> Tree:
            links = [folder for folder in (store.wheels(), wheels) if folder is not None]
            files = pip.fetch(
                requirements, place, links, python, _glibc(base_fd), fetcher, progress
            )
            tree = _tree(place, bounds)
            tree.adopt(base_fd)
            for path in files:
                progress(f"unpacking {path.name}")
                install(tree, path, python, bounds)
            store.keep_wheels(files)
            return tree

        if compiler is None:
            return store.add(unpacked, name, source=source, base=below.digest, requirements=wanted)
        # Under a name of its own first: a sandbox runs only what is in the store.
        bare_name = f"{name}-{_BARE}"
        kept = {image.digest for image in store.list() if image.name != bare_name}
        bare = store.add(unpacked, bare_name, source=source)
    try:
        progress("compiling in a sandbox")
        with compiler(bare, python) as archive, _opened(store.path(bare.digest)) as bare_fd:

            def compiled(place: Workplace) -> Tree:
                tree = _tree(place, bounds)
                tree.adopt(bare_fd)
                tree.apply(_Bytecode(TarReader(archive, bounds), tree, bounds), whiteouts=False)
                return tree

            return store.add(compiled, name, source=source, base=below.digest, requirements=wanted)
    finally:
        if bare.digest in kept:  # tools may be pinned to what was there before
            store.unname(bare.name)
        else:
            store.remove(bare.name, force=True)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _tree(place: Workplace, bounds: Bounds) -> Tree:
    within = place.within(bounds)
    return Tree(Spool(place.contents, within), within)


def _with_packages(
    store: ImageStore,
    below: Image,
    packages: tuple[npm_lock.Package, ...],
    folder: Path | None,
    fetcher: Fetcher,
    place: Workplace,
    progress: Callable[[str], None],
    bounds: Bounds,
) -> Tree:
    """The base's tree with Node packages in it; what was used is kept for the next time."""
    folders = [path for path in (store.wheels(), folder) if path is not None]
    with _opened(store.path(below.digest)) as base_fd:
        npm.find_node(base_fd)
        archives = npm.fetch(packages, place.copies, folders, fetcher, progress)
        tree = _tree(place, bounds)
        tree.adopt(base_fd)
        progress(f"unpacking {len(packages)} Node packages")
        npm.install(tree, packages, archives, bounds)
        store.keep_wheels(list(archives.values()))
        return tree


class _Bytecode:
    """What a compiler delivered, held to what it may: new `.pyc` files beside their sources."""

    def __init__(self, reader: TarReader, tree: Tree, bounds: Bounds) -> None:
        self._reader = reader
        self._tree = tree
        self._bounds = bounds

    def __iter__(self) -> Iterator[Member]:
        for member in self._reader:
            parts = split(member.name, self._bounds)
            source = [*parts[:-2], f"{parts[-1].split('.')[0]}.py"] if len(parts) > 2 else []
            fine = (
                member.kind == "file"
                and parts[-2:-1] == ["__pycache__"]
                and parts[-1].endswith(".pyc")
                and isinstance(self._tree.find(source), File)
                and self._tree.find(parts) is None
            )
            if not fine:
                raise ImageError(f"{member.name[:256]!r} is no bytecode of the image")
            yield member

    def content(self) -> Iterator[bytes]:
        return self._reader.content()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def find_python(tree: int) -> Python:
    """The image's Python, found without running it.

    Raises:
        ImageError: there is none.
    """
    for directory, site in (
        ("usr/bin", "usr/local/lib/python{}/dist-packages"),  # Debian's
        ("usr/local/bin", "usr/local/lib/python{}/site-packages"),
    ):
        try:
            fd = open_directory(tree, directory)
        except OSError:
            continue
        try:
            names = sorted(os.listdir(fd), reverse=True)
            target = os.readlink("python3", dir_fd=fd) if "python3" in names else ""
        except OSError:
            target = ""
        finally:
            os.close(fd)
        found = _VERSION.match(target.rpartition("/")[2])
        if found is not None:
            version = found[1]
            return Python(version, site.format(version), f"/{directory}/python3")
    raise ImageError(
        "run.requirements: the image has no Python 3", "set run.image: python, or one like it"
    )


def _glibc(tree: int) -> int:
    """The minor version of its glibc, as Debian's dpkg knows it; else what wheels can expect."""
    for package in installed(tree):
        if package.name == "libc6" and (found := _GLIBC.match(package.version)) is not None:
            return int(found[1])
    return _DEFAULT_GLIBC
