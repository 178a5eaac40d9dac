"""The files of a tool as one thing: what they may be, and the digest that names them all.

Pure, standard library only: the supervisor decides by it what to pin, and the sealer, which
believes the supervisor nothing, what it has written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fumehood.errors import CatalogError
from fumehood.model.text import relative_path_fault

MAX_FILES: Final = 4_096
MAX_ENTRIES: Final = 4_096
"""Files and the folders on their way: an inode each, and names alone can ask for 15 folders a
file."""
MAX_TREE_BYTES: Final = 64 << 20
MAX_PATH_BYTES: Final = 1_024
MAX_PATH_PARTS: Final = 16

UNSEALED: Final = "store.unsealed"
"""In the state: a store that the supervisor could write itself, until what is sound in it is
sealed."""
STORED: Final = re.compile(r"[0-9a-f]{96}|\.(new|old)-[0-9a-f]{16}")
"""Names in the store: trees by their digest, and those half made or half deleted. Nothing else
there is anybody's to delete."""
FILE_MODE: Final = 0o644
PROGRAM_MODE: Final = 0o755
DIRECTORY_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class ToolFile:
    """One regular file of a tool; the only bit of its mode that counts is `executable`."""

    data: bytes
    executable: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a file goes into the digest of its tree. content: the SHA-384 of its bytes."""

    content: bytes
    executable: bool


def check_files(files: Mapping[str, ToolFile]) -> None:
    """Refuse a tree that could not be stored exactly as named.

    Raises:
        CatalogError: a path that is absolute, leads out, is spelled in two ways (`a//b`,
            `./a`), hides characters, is a file and a folder; or a tree above a bound.
    """
    check_bounds(len(files), sum(len(file.data) for file in files.values()))
    check_paths(files.keys())


def check_bounds(count: int, size: int) -> None:
    """Refuse so many files, of so many bytes together; raises CatalogError."""
    if count > MAX_FILES:
        raise CatalogError(f"the tool has {count} files; at most {MAX_FILES} are stored")
    if size > MAX_TREE_BYTES:
        raise CatalogError(
            f"the tool's files have {size} bytes; at most {MAX_TREE_BYTES} are stored"
        )


def check_paths(paths: Collection[str]) -> None:
    """Refuse paths that are not those of plain files below one folder, or that need too many
    folders; raises CatalogError."""
    folders: set[str] = set()
    for path in paths:
        _check_path(path)
        for folder in _above(path):
            if folder in paths:
                raise CatalogError(f"{path[:80]!r} lies in something that is a file")
            folders.add(folder)
        if len(paths) + len(folders) > MAX_ENTRIES:
            raise CatalogError(
                f"the tool has more than {MAX_ENTRIES} files and folders together",
                "use fewer folders, or pack the files into one",
            )


def folders_of(paths: Iterable[str]) -> list[str]:
    """The folders that these files lie in, parents first; the top itself is none of them."""
    found = {folder for path in paths for folder in _above(path)}
    return sorted(found, key=lambda folder: folder.count("/"))


def _above(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


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
    """`sha384:<hex>` over paths (sorted by their bytes), the executable bits and the contents."""
    return entries_digest(
        {
            path: Entry(hashlib.sha384(file.data).digest(), file.executable)
            for path, file in files.items()
        }
    )


def entries_digest(entries: Mapping[str, Entry]) -> str:
    """The same, of files that were hashed one by one. Each part is framed by its length, so that
    no two trees have the same input."""
    whole = hashlib.sha384(b"fumehood tree 1\0")
    for path in sorted(entries, key=str.encode):
        name = path.encode()
        whole.update(b"%d:%s%d:" % (len(name), name, entries[path].executable))
        whole.update(entries[path].content)
    return "sha384:" + whole.hexdigest()
