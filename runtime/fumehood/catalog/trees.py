"""What a stored tree is made of, file by file: to tell what changed, and to look cheaply.

Standard library only. Must never follow a link: a stored tree is data of whoever registered it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fumehood.catalog.pins import walk
from fumehood.errors import CatalogError
from fumehood.model.tree import MAX_TREE_BYTES, PROGRAM_MODE, ToolFile

Listing = dict[str, str]
"""By path: `x` or `-` for executable, and the SHA-384 of the contents."""
Stamp = tuple[tuple[int, ...], ...]
SHOWN: Final = 20


def listing(files: Mapping[str, ToolFile]) -> Listing:
    """The listing of files that are about to be stored."""
    return {
        path: _entry(file.data, executable=file.executable)
        for path, file in sorted(files.items(), key=lambda item: item[0].encode())
    }


def stored_listing(directory: Path) -> Listing:
    """The same, read back; raises CatalogError and OSError as `pins.stored_digest` does."""
    found: Listing = {}
    for path, fd in walk(directory):
        with os.fdopen(fd, "rb") as file:
            mode = os.fstat(fd).st_mode & 0o7777
            data = file.read(MAX_TREE_BYTES + 1)
            found[path] = _entry(data, executable=mode == PROGRAM_MODE)
    return found


HOW: Final = ("added", "removed", "changed", "+x", "-x")
"""How a file differs; the first word of each that `differences` says."""


def differences(old: Listing, new: Listing) -> list[str]:
    """In words, what was added, removed or changed between two trees."""
    words = [f"added {path}" for path in new if path not in old]
    words += [f"removed {path}" for path in old if path not in new]
    for path in old.keys() & new.keys():
        if old[path][1:] != new[path][1:]:
            words.append(f"changed {path}")
        elif old[path] != new[path]:
            words.append(f"{'+x' if new[path][0] == 'x' else '-x'} {path}")
    return sorted(words)


def what_changed(pinned: Listing | None, directory: Path) -> list[str]:
    """Why a stored tree is not what was pinned, as far as that can be read."""
    try:
        found = stored_listing(directory)
    except (CatalogError, OSError) as error:
        cause = error.cause if isinstance(error, CatalogError) else str(error.strerror)
        return [f"cannot be read as stored: {cause}"]
    return differences(pinned, found) if pinned is not None else ["differs from its digest"]


def stamp(directory: Path) -> Stamp:
    """What lstat(2) says of every file and folder of a tree. ctime cannot be set: whoever changes
    a file, its mode or its name changes the stamp, unless they are root and turn the clock.

    Raises OSError.
    """
    found = [_stat(os.lstat(directory))]
    for root, folders, names in os.walk(directory, onerror=_raise):
        found += [_stat(os.lstat(os.path.join(root, name))) for name in (*folders, *names)]
    return tuple(sorted(found))


def encoded(value: Listing) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def decoded(text: str) -> Listing:
    value = json.loads(text)
    return {str(path): str(entry) for path, entry in value.items()}


def _entry(data: bytes, *, executable: bool) -> str:
    return ("x" if executable else "-") + hashlib.sha384(data).hexdigest()


def _stat(found: os.stat_result) -> tuple[int, ...]:
    return (
        found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid,
        found.st_size, found.st_mtime_ns, found.st_ctime_ns,
    )  # fmt: skip


def _raise(error: OSError) -> None:
    raise error
