"""Images with a tool's Python distributions or Node packages added: `run.requirements`.

pip and npm only download, and every file must have one of the hashes that the requirements name;
unpacking is ours and runs nothing. The result is an image like any other, kept under the digest
of its base and its requirements, so that registering a tool again needs no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from fumehood.errors import ImageError
from fumehood.images import npm, npm_lock
from fumehood.images.beneath import open_directory
from fumehood.images.bounds import DEFAULT, Bounds
from fumehood.images.external import run
from fumehood.images.index import Image
from fumehood.images.requirements import Requirement, key_of, parse
from fumehood.images.sbom import installed
from fumehood.images.sources import Workplace
from fumehood.images.spool import Spool
from fumehood.images.store import ImageStore
from fumehood.images.streams import CHUNK, Reader
from fumehood.images.tar import Member, TarReader
from fumehood.images.tree import File, Tree, split
from fumehood.images.wheel import Python, install

PIP_SECONDS: Final = 1800.0
OFFLINE_SECONDS: Final = 120.0
MAX_WHEELS: Final = 1000
_OLDEST_GLIBC, _DEFAULT_GLIBC = 5, 17
"""glibc 2.5 is manylinux1's, 2.17 manylinux2014's (PEP 600)."""
_VERSION = re.compile(r"python(3\.[0-9]{1,2})\Z")
_GLIBC = re.compile(r"2\.([0-9]{1,3})[^0-9]")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}\.whl\Z")
_PASSED_ON = ("PIP_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
              "PIP_INDEX_URL", "PIP_PROXY", "PIP_TRUSTED_HOST")  # fmt: skip


Compiler = Callable[[Image, Python], AbstractContextManager[Reader]]
"""Gives a tar archive of the bytecode of an image's site directory."""
_BARE = "without-bytecode"


def derive(
    store: ImageStore,
    base: str,
    text: str,
    *,
    wheels: Path | None = None,
    compiler: Compiler | None = None,
    progress: Callable[[str], None] = lambda _: None,
    bounds: Bounds = DEFAULT,
) -> Image:
    """The image that adds `text` (a requirements file, or a package-lock.json) to `base`, made
    unless it is there.

    wheels: a folder that is searched for wheels and packages too; with it nothing needs to be
        fetched.
    compiler: makes bytecode inside a sandbox; without one, each call compiles what it imports.

    Raises:
        ImageError: the requirements are malformed, the base has no Python or no Node, wheels or
            packages cannot be had, or one of them is not what it must be.
    """
    wanted, below = key_of(text), store.resolve(base)
    if (known := store.derived(below.digest, wanted)) is not None:
        return known
    name = f"{below.name.split(':')[0]}:requirements-{wanted.removeprefix('sha256:')[:12]}"
    source = f"requirements over {below.name}"
    if npm_lock.is_lock(text):
        packages = npm_lock.parse(text)

        def with_packages(place: Workplace) -> Tree:
            return _with_packages(store, below, packages, wheels, place, progress, bounds)

        return store.add(with_packages, name, source=source, base=below.digest, requirements=wanted)
    requirements = parse(text)
    with _opened(store.path(below.digest)) as base_fd:
        python = find_python(base_fd)

        def unpacked(place: Workplace) -> Tree:
            links = [folder for folder in (store.wheels(), wheels) if folder is not None]
            files = _fetch(requirements, place.copies, links, python, _glibc(base_fd), progress)
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
        bare = store.add(unpacked, f"{name}-{_BARE}", source=source)
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
        store.remove(bare.name, force=True)


def _tree(place: Workplace, bounds: Bounds) -> Tree:
    within = place.within(bounds)
    return Tree(Spool(place.contents, within), within)


def _with_packages(
    store: ImageStore,
    below: Image,
    packages: tuple[npm_lock.Package, ...],
    folder: Path | None,
    place: Workplace,
    progress: Callable[[str], None],
    bounds: Bounds,
) -> Tree:
    """The base's tree with Node packages in it; what was used is kept for the next time."""
    folders = [path for path in (store.wheels(), folder) if path is not None]
    with _opened(store.path(below.digest)) as base_fd:
        npm.find_node(base_fd)
        archives = npm.fetch(packages, place.copies, folders, progress)
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


def _platforms(glibc: int) -> list[str]:
    """What wheels may be built for (PEP 600), newest first."""
    machine = os.uname().machine
    newest = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, _OLDEST_GLIBC - 1, -1)]
    return [*newest, f"manylinux2014_{machine}", f"manylinux2010_{machine}",
            f"manylinux1_{machine}", f"linux_{machine}"]  # fmt: skip


def _fetch(
    requirements: tuple[Requirement, ...],
    work: Path,
    folders: list[Path],
    python: Python,
    glibc: int,
    progress: Callable[[str], None],
) -> list[Path]:
    """The wheels of the requirements, each with a hash that is allowed; nothing of them is run."""
    listing, target = work / "requirements.txt", work / "wheels"
    listing.write_text("".join(f"{item.line}\n" for item in requirements), encoding="utf-8")
    target.mkdir()
    argv = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-input"]
    argv += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
    argv += ["--no-cache-dir", "--dest", str(target), "--requirement", str(listing)]
    argv += ["--python-version", python.version, "--implementation", "cp"]
    for abi in (f"cp{python.version.replace('.', '')}", "abi3", "none"):
        argv += ["--abi", abi]
    for platform in _platforms(glibc):
        argv += ["--platform", platform]
    for folder in folders:
        if folder.is_dir():
            argv += ["--find-links", str(folder.resolve())]
    extra = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        run([*argv, "--no-index"], seconds=OFFLINE_SECONDS, extra=extra)
    except ImageError:
        progress("fetching wheels")
        try:
            run(argv, seconds=PIP_SECONDS, extra=extra)
        except ImageError as error:
            raise ImageError(
                f"the wheels of run.requirements cannot be had: {error.cause}",
                "see that pip reaches its index; without a network, put the wheels into a folder "
                "and name it with --wheels",
                detail=error.detail,
            ) from None
    return _checked(target, requirements)


def _checked(target: Path, requirements: tuple[Requirement, ...]) -> list[Path]:
    allowed = {digest for item in requirements for digest in item.hashes}
    found = sorted(target.iterdir())
    if len(found) > MAX_WHEELS:
        raise ImageError(f"pip fetched {len(found)} files; at most {MAX_WHEELS} are allowed")
    for path in found:
        if not _WHEEL.match(path.name) or not stat.S_ISREG(path.lstat().st_mode):
            raise ImageError(f"pip fetched {path.name!r}, which is no wheel")
        if _sha256(path) not in allowed:
            raise ImageError(f"{path.name} has none of the hashes that the requirements allow")
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hexdigest()
