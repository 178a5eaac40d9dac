"""Reads a tool's manifest and the folder beside it, to be sent to the daemon.

Regular files only, everything bounded, and no link followed, the manifest's own name included: the
folder may be another's than who packs it, as when root registers somebody's tool. Only the path to
the folder is the caller's own word. What is left out is left out by name (`__pycache__`, `.git`,
the manifest's signature), never in silence: anything else that cannot be packed is an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fumehood.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from fumehood.model.manifest import Manifest

MAX_MANIFEST_BYTES: Final = 256 * 1024
MAX_FILES: Final = 2_000
MAX_BYTES: Final = 10 * 1024 * 1024
MAX_DEPTH: Final = 32
NAME_ONE: Final = "name a manifest that you may read, a plain file such as tool.yaml"
SIGNATURE: Final = ".sig"
"""Behind a manifest's name: its signature, which is no file of the tool."""
SKIPPED: Final = frozenset({"__pycache__", ".git"})


class PackedFile(NamedTuple):
    """One file of a tool: its bytes, and whether anybody may execute it."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Package:
    """What `tool add` sends: the manifest's text as it is, and the files by relative path.

    image, requirements, seccomp: as the manifest names them.
    """

    manifest: str
    name: str
    files: dict[str, PackedFile]
    image: str = "host"
    requirements: str | None = None
    seccomp: str = ""


def load(path: Path, *, checked: bool = False) -> Package:
    """Read manifest and files. checked: also its schemas, which the daemon checks when adding.

    Raises:
        ManifestError: the manifest breaks a rule. UsageError: a file cannot be packed.
    """
    # pydantic costs 75 ms: only the commands that register a tool pay for it.
    from fumehood.model.manifest import load_manifest

    with ExitStack() as held:
        try:
            beside = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", NAME_ONE) from None
        held.callback(os.close, beside)
        text = _text(path, beside)
        manifest = load_manifest(text, source=str(path))
        if checked:
            _check_schemas(manifest, path)
        files = {}
        if manifest.run.files is not None:
            files = _below(beside, path.parent, Path(manifest.run.files), held)
    if manifest.run.files is not None and Path(manifest.run.files) == Path():
        files.pop(path.name + SIGNATURE, None)  # it cannot cover itself
    return Package(
        text, manifest.name, files, manifest.run.image, manifest.run.requirements, manifest.seccomp
    )


def _check_schemas(manifest: Manifest, path: Path) -> None:
    from fumehood.model.schema import check_schema

    try:
        check_schema(manifest.inputSchema, "inputSchema")
        if manifest.outputSchema is not None:
            check_schema(manifest.outputSchema, "outputSchema")
    except ManifestError as error:
        raise ManifestError(f"{path}: {error.cause}", error.remedy, field=error.field) from None


def _text(path: Path, parent: int) -> str:
    name = path.name or "."
    # O_NONBLOCK: the open of a FIFO waits for no writer (open(2)).
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except OSError as error:
        raise UsageError(f"{path}{_why(name, parent, error)}", NAME_ONE) from None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path} is a folder", f"name the manifest: {path / 'tool.yaml'}")
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path} is no regular file", NAME_ONE)
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{path}: more than {size_limit(MAX_MANIFEST_BYTES)}", "shorten it")
        return data.decode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", NAME_ONE) from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 at byte {error.start}", "save as UTF-8") from None
    finally:
        os.close(fd)


def size_limit(count: int) -> str:
    return f"{count // 1024} KiB" if count < 1 << 20 else f"{count >> 20} MiB"


def folder(root: Path) -> dict[str, PackedFile]:
    """All files below `root` by `/`-separated relative path, sorted.

    Raises:
        UsageError: naming the file that is a link, a device, unreadable or one too many.
    """
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{root}: {error.strerror}", "name a folder that you may read") from None
    try:
        return _files(fd, root)
    finally:
        os.close(fd)


def _below(parent: int, at: Path, relative: Path, held: ExitStack) -> dict[str, PackedFile]:
    """The files of a folder beside a manifest. O_NOFOLLOW holds for a path's last name only
    (open(2)), so each name on the way is opened by itself."""
    for name in relative.parts:
        at /= name
        try:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=parent)
        except OSError as error:
            remedy = "run.files must name a folder, with no link on the way to it"
            raise UsageError(f"{at}{_why(name, parent, error)}", remedy) from None
        held.callback(os.close, fd)
        parent = fd
    return _files(parent, at)


def _why(name: str, parent: int, error: OSError) -> str:
    """Why a file was not opened, to be said behind its path."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return f": {error.strerror}"
    return " is a link" if stat.S_ISLNK(found.st_mode) else f": {error.strerror}"


def _files(fd: int, root: Path) -> dict[str, PackedFile]:
    files: dict[str, PackedFile] = {}
    room = MAX_BYTES
    for name, file in _walk(fd, "", root, MAX_DEPTH):
        room -= len(file.data)
        if room < 0 or len(files) == MAX_FILES:
            raise UsageError(
                f"{root / name}: the tool has more than {MAX_FILES} files or "
                f"{size_limit(MAX_BYTES)}",
                "move what the tool does not need out of run.files",
            )
        files[name] = file
    return dict(sorted(files.items()))


def _walk(fd: int, prefix: str, root: Path, depth: int) -> Iterator[tuple[str, PackedFile]]:
    if depth == 0:
        raise UsageError(
            f"{root / prefix}: more than {MAX_DEPTH} folders within each other",
            "move what the tool does not need out of run.files",
        )
    for name in sorted(os.listdir(fd)):
        if name in SKIPPED:
            continue
        path = f"{prefix}{name}"
        try:
            path.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{root / prefix}: the name {name!r} is not UTF-8", "rename it"
            ) from None
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            child = _open(name, os.O_DIRECTORY, fd, root / path)
            try:
                yield from _walk(child, path + "/", root, depth - 1)
            finally:
                os.close(child)
        elif stat.S_ISREG(found.st_mode):
            yield path, _file(name, fd, root / path)
        else:
            kind = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
            raise UsageError(f"{root / path} is {kind}", "a tool consists of plain files only")


def _file(name: str, parent: int, path: Path) -> PackedFile:
    with os.fdopen(_open(name, os.O_NONBLOCK, parent, path), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} changed while it was packed", "leave it alone, and try again")
        return PackedFile(file.read(MAX_BYTES + 1), bool(found.st_mode & 0o111))


def _open(name: str, flags: int, parent: int, path: Path) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=parent)
    except OSError as error:
        raise UsageError(
            f"{path}{_why(name, parent, error)}", "a tool's files are plain files that you may read"
        ) from None
