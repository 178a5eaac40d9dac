"""The trees of tools on disk, each under its digest: compared with it, and looked at cheaply.

Must never follow a link, and never write: a sealer does, whose trees nobody else can change.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from fumehood.catalog.pins import stored_digest, walk
from fumehood.catalog.trees import Stamp, stamp
from fumehood.errors import CatalogError
from fumehood.model.request import Sealed
from fumehood.model.tree import STORED, ToolFile

DROP_SECONDS: Final = 90.0
"""For a tree that is just being deleted to be gone; longer than a sealer may take for it."""


class Sealer(Protocol):
    """Who may write in the store. Both raise CatalogError and OSError."""

    def seal(self, files: Mapping[str, ToolFile], *, replace: bool) -> str:
        """Write a tree: whole and on disk, or not at all. replace: in place of what stands under
        its digest, which is returned; what stands there stays otherwise."""
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
        self._changed = threading.Condition()
        self._held: Counter[str] = Counter()
        """Trees that nothing refers to yet, by how many are registering them."""
        self._leaving: Counter[str] = Counter()
        """Trees that are being deleted: to be waited for, not to be read."""

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

    # --- what comes and goes: never under a lock of the catalog's

    @contextlib.contextmanager
    def holding(self, digest: str | None) -> Iterator[None]:
        """Keep a tree from being collected until the block ends."""
        if digest is None:
            yield
            return
        with self._changed:
            self._held[digest] += 1
        try:
            yield
        finally:
            with self._changed:
                self._held[digest] -= 1
                if not self._held[digest]:
                    del self._held[digest]

    def keep(self, digest: str, files: Mapping[str, ToolFile], *, afresh: bool) -> None:
        """Have a tree stored under its digest, which is being held; what is sound there stays,
        because sandboxes may have it mounted.

        Args:
            afresh: have it written also where it stands, and thrown away then.

        Raises:
            CatalogError: also when what was stored is something else.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._leaving[digest], DROP_SECONDS):
                raise CatalogError("these files are just being deleted", "try again")
        stands = os.path.lexists(self.tree(digest))
        if stands and not afresh and self.is_sound(digest):
            return
        written = self._sealer.seal(files, replace=False)
        if written == digest and not self.is_sound(digest):  # what stood there, and stayed
            written = self._sealer.seal(files, replace=True)
        if written != digest or not self.is_sound(digest):
            raise CatalogError(
                "what was stored of the tool's files is not what was registered",
                "register it again; the daemon's log tells more",
                detail=f"{written} in place of {digest}",
            )

    def listed(self) -> list[str]:
        """The names of what stands in the store."""
        return [e.name for e in self.directory.iterdir() if STORED.fullmatch(e.name)]

    def leaving(self, names: Iterable[str], kept: Collection[str | None]) -> list[str]:
        """Those of `names` that are neither kept nor held, which `drop` is to delete; whoever wants
        to store one of them waits for that."""
        with self._changed:
            gone = [
                name
                for name in names
                if f"sha384:{name}" not in kept and not self._held[f"sha384:{name}"]
            ]
            self._leaving.update(f"sha384:{name}" for name in gone)
        return gone

    def drop(self, names: Collection[str]) -> None:
        """Delete what is leaving; raises CatalogError, OSError."""
        for name in names:
            self._stamps.pop(f"sha384:{name}", None)
        try:
            self._sealer.discard(names)
        finally:
            with self._changed:
                self._leaving.subtract(f"sha384:{name}" for name in names)
                self._leaving += Counter()  # without those that are back at none
                self._changed.notify_all()
