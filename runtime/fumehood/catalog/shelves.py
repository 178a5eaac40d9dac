"""The trees of tools on disk, each under its digest: compared with it, and looked at cheaply.

Must never follow a link, and never write: a sealer does, whose trees nobody else can change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from fumehood.catalog.pins import stored_digest, walk
from fumehood.catalog.trees import Stamp, stamp
from fumehood.errors import CatalogError
from fumehood.model.request import Sealed
from fumehood.model.tree import STORED, ToolFile


class Sealer(Protocol):
    """Who may write in the store. Both raise CatalogError and OSError."""

    def seal(self, files: Mapping[str, ToolFile]) -> str:
        """Store a tree, in place of what stands under its digest, which is returned: whole and on
        disk, or not at all."""
        ...

    def discard(self, names: Iterable[str]) -> None:
        """Delete entries of the store."""
        ...


class Shelves:
    """frozen: whether the kernel keeps an open file from ever being changed."""

    def __init__(self, directory: Path, sealer: Sealer, frozen: Callable[[int], bool]) -> None:
        self.directory = directory
        self._frozen = frozen
        self._sealer = sealer
        self._stamps: dict[str, Stamp] = {}

    def tree(self, digest: str) -> Path:
        return self.directory / digest.removeprefix("sha384:")

    def is_sound(self, digest: str | None) -> bool:
        """Read the whole tree; and remember how it looks, for `looks_sound`."""
        if digest is None:
            return True
        try:
            before = stamp(self.tree(digest))
            sound = stored_digest(self.tree(digest)) == digest
            if sound and stamp(self.tree(digest)) == before:
                self._stamps[digest] = before
        except (CatalogError, OSError):
            return False
        return sound

    def looks_sound(self, digest: str | None) -> bool:
        """Whether nothing of a tree was touched since it was read: some microseconds a file."""
        if digest is None:
            return True
        try:
            return self._stamps.get(digest) == stamp(self.tree(digest))
        except OSError:
            return False

    def entries(self, digest: str | None) -> int:
        """How many files and folders a tree has, as far as is known."""
        return len(self._stamps.get(digest or "", ()))

    def sealed(self, digest: str | None) -> Sealed:
        """Who can change a tree: see `RegisteredTool.sealed`."""
        if digest is None:
            return ""
        try:
            owners = {os.lstat(path).st_uid for path in (self.directory, self.tree(digest))}
            if owners != {0} or os.geteuid() == 0:
                return "none"
            return "fs-verity" if self._all_frozen(digest) else "copy"
        except (CatalogError, OSError):
            return "missing"

    def _all_frozen(self, digest: str) -> bool:
        found = True
        for _, fd in walk(self.tree(digest)):
            found = found and self._frozen(fd)
            os.close(fd)
        return found

    def keep(self, digest: str, files: Mapping[str, ToolFile]) -> None:
        """Have a tree stored under its digest, unless it stands there. Raises CatalogError, also
        when what was stored is something else."""
        if os.path.lexists(self.tree(digest)) and self.is_sound(digest):
            return
        written = self._sealer.seal(files)
        if written != digest or not self.is_sound(digest):
            raise CatalogError(
                "what was stored of the tool's files is not what was registered",
                "register it again; the daemon's log tells more",
                detail=f"{written} in place of {digest}",
            )

    def collect(self, kept: Collection[str | None]) -> int:
        """Delete the trees that are not kept. Returns how many."""
        found = [e.name for e in self.directory.iterdir() if STORED.fullmatch(e.name)]
        gone = [name for name in found if f"sha384:{name}" not in kept]
        for name in gone:
            self._stamps.pop(f"sha384:{name}", None)
        self._sealer.discard(gone)
        return len(gone)
