"""Digests that pin a tool: its file tree, and manifest and tree together.

Standard library only. Must never follow a link: a stored tree is data of whoever registered it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.errors import CatalogError
from fumehood.model.document import parse
from fumehood.model.text import relative_path_fault

MAX_FILES: Final = 4_096
MAX_TREE_BYTES: Final = 64 << 20
MAX_PATH_BYTES: Final = 1_024
MAX_PATH_PARTS: Final = 16

FILE_MODE: Final = 0o644
PROGRAM_MODE: Final = 0o755
DIRECTORY_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class ToolFile:
    """One regular file of a tool; the only bit of its mode that counts is `executable`."""

    data: bytes
    executable: bool


def check_files(files: Mapping[str, ToolFile]) -> None:
    """Refuse a tree that could not be stored exactly as named.

    Raises:
        CatalogError: a path that is absolute, leads out, is spelled in two ways (`a//b`,
            `./a`), hides characters, is a file and a folder; or a tree above a bound.
    """
    if len(files) > MAX_FILES:
        raise CatalogError(f"the tool has {len(files)} files; at most {MAX_FILES} are stored")
    size = sum(len(file.data) for file in files.values())
    if size > MAX_TREE_BYTES:
        raise CatalogError(
            f"the tool's files have {size} bytes; at most {MAX_TREE_BYTES} are stored"
        )
    for path in files:
        _check_path(path)
        for end in range(1, len(parts := path.split("/"))):
            if "/".join(parts[:end]) in files:
                raise CatalogError(f"{path[:80]!r} lies in something that is a file")


def _check_path(path: str) -> None:
    fault = relative_path_fault(path, max_bytes=MAX_PATH_BYTES)
    parts = path.split("/")
    if fault is None and not {"", "."}.isdisjoint(parts):
        fault = "has an empty part, or a part `.`"
    if fault is None and len(parts) > MAX_PATH_PARTS:
        fault = f"has more than {MAX_PATH_PARTS} parts"
    if fault is not None:
        raise CatalogError(f"the tool's file {path[:80]!r} {fault}", "rename it")


def tree_digest(files: Mapping[str, ToolFile]) -> str:
    """`sha384:<hex>` over paths (sorted by their bytes), the executable bits and the contents.

    Each part is framed by its length, so that no two trees have the same input.
    """
    whole = hashlib.sha384(b"fumehood tree 1\0")
    for path in sorted(files, key=str.encode):
        file = files[path]
        name = path.encode()
        whole.update(b"%d:%s%d:" % (len(name), name, file.executable))
        whole.update(hashlib.sha384(file.data).digest())
    return "sha384:" + whole.hexdigest()


def tool_digest(manifest: bytes, files: str | None) -> str:
    """`sha384:<hex>` over the canonical manifest and its tree's digest."""
    whole = hashlib.sha384(b"fumehood tool 1\0")
    whole.update(b"%d:%s%s" % (len(manifest), manifest, (files or "").encode()))
    return "sha384:" + whole.hexdigest()


def signed_digests(manifest_text: str, files: Mapping[str, ToolFile]) -> dict[str, str]:
    """What a publisher's signature covers: `manifest`, as it is written, without regard to
    spacing and the order of keys, and `files` where there are some.

    Raises DocumentError: the text is no strict document.
    """
    value = parse(manifest_text).value
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digests = {"manifest": "sha384:" + hashlib.sha384(text).hexdigest()}
    return {**digests, "files": tree_digest(files)} if files else digests


def stored_digest(directory: Path) -> str:
    """The digest of a stored tree, read back without following any link.

    Raises:
        CatalogError: something in it is neither a folder nor a regular file with one name,
            has another mode than it was stored with, or the tree is above a bound.
        OSError: it cannot be read.
    """
    files: dict[str, ToolFile] = {}
    size = 0
    for path, fd in walk(directory):
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_TREE_BYTES - size + 1)
            size += len(data)
            if size > MAX_TREE_BYTES or len(files) == MAX_FILES:
                raise CatalogError("a stored tree has grown above its bound")
            files[path] = ToolFile(data, stat.S_IMODE(os.fstat(fd).st_mode) == PROGRAM_MODE)
    return tree_digest(files)


def walk(directory: Path) -> Iterator[tuple[str, int]]:
    """Relative path and open descriptor of each file; whoever takes it closes it."""
    for root, folders, names, root_fd in os.fwalk(directory, follow_symlinks=False):
        _expect(os.fstat(root_fd), {DIRECTORY_MODE}, root)
        below = os.path.relpath(root, directory)
        prefix = "" if below == "." else below + "/"
        if not folders and not names and prefix:
            raise CatalogError(f"a stored tree has the empty folder {prefix[:80]!r}")
        for name in folders:
            # os.fwalk does not enter a link to a folder, and does not tell either.
            found = os.stat(name, dir_fd=root_fd, follow_symlinks=False)
            _expect(found, {DIRECTORY_MODE}, prefix + name)
        for name in names:
            # O_NONBLOCK: a FIFO in its place must not stop us.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(name, flags, dir_fd=root_fd)
            try:
                _expect(os.fstat(fd), {FILE_MODE, PROGRAM_MODE}, prefix + name)
            except BaseException:
                os.close(fd)
                raise
            yield prefix + name, fd


def _expect(found: os.stat_result, modes: set[int], path: str) -> None:
    regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if not regular and not stat.S_ISDIR(found.st_mode):
        raise CatalogError(f"a stored tree has something at {path[-80:]!r} that is no plain file")
    if stat.S_IMODE(found.st_mode) not in modes:
        raise CatalogError(f"the mode of {path[-80:]!r} in a stored tree was changed")
