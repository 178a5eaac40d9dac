"""Digests that pin a tool: its file tree as it is stored, and manifest and tree together.

Must never follow a link: a stored tree is data of whoever registered it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from fumehood.errors import CatalogError
from fumehood.model.document import parse
from fumehood.model.tree import (
    DIRECTORY_MODE,
    FILE_MODE,
    MAX_FILES,
    MAX_TREE_BYTES,
    PROGRAM_MODE,
    Entry,
    ToolFile,
    entries_digest,
    tree_digest,
)


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
    return entries_digest(
        {
            path: Entry(hashlib.sha384(file.data).digest(), file.executable)
            for path, file in _stored(directory)
        }
    )


def stored_files(directory: Path) -> dict[str, ToolFile]:
    """The files of a stored tree, read back in the same way, with the same errors."""
    return dict(_stored(directory))


def _stored(directory: Path) -> Iterator[tuple[str, ToolFile]]:
    count = size = 0
    for path, fd in walk(directory):
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_TREE_BYTES - size + 1)
            executable = stat.S_IMODE(os.fstat(fd).st_mode) == PROGRAM_MODE
        count, size = count + 1, size + len(data)
        if size > MAX_TREE_BYTES or count > MAX_FILES:
            raise CatalogError("a stored tree has grown above its bound")
        yield path, ToolFile(data, executable)


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
