"""The trees of tools on disk: whole before anybody knows of them, each under its digest.

Must never follow a link, and never delete what something may still be running from.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from fumehood.catalog.pins import (
    DIRECTORY_MODE,
    FILE_MODE,
    PROGRAM_MODE,
    ToolFile,
    stored_digest,
)
from fumehood.catalog.trees import Stamp, stamp
from fumehood.errors import CatalogError

BLOCK: Final = 4096


class Shelves:
    """Args: most_bytes: what all trees together may take on disk."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.directory = directory
        self._most_bytes = most_bytes
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

    def keep(self, digest: str, files: Mapping[str, ToolFile]) -> None:
        """Store a tree under its digest: written and synced elsewhere, then renamed."""
        final = self.tree(digest)
        if final.is_symlink() or final.exists():
            if self.is_sound(digest):
                return
            self._discard(final)
        self._check_room(files)
        new = self.directory / f".new-{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        try:
            _write_tree(new, files)
            new.rename(final)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _sync(self.directory)
        with contextlib.suppress(OSError):
            self._stamps[digest] = stamp(final)

    def collect(self, kept: Collection[str | None]) -> int:
        """Delete the trees that are not kept. Returns how many."""
        gone = [e for e in self.directory.iterdir() if f"sha384:{e.name}" not in kept]
        for entry in gone:
            self._stamps.pop(f"sha384:{entry.name}", None)
            self._discard(entry)
        return len(gone)

    def _check_room(self, files: Mapping[str, ToolFile]) -> None:
        taken = sum(_allocated(path) for path in self.directory.rglob("*"))
        # A file takes whole blocks, and an entry in its folder.
        wanted = sum(-(-len(file.data) // BLOCK) * BLOCK + BLOCK for file in files.values())
        if taken + wanted > self._most_bytes:
            raise CatalogError(
                f"the tool's files need {wanted} bytes; of {self._most_bytes} for all tools "
                f"{taken} are taken",
                "remove tools, or have the operator raise storage.tools",
            )

    def _discard(self, entry: Path) -> None:
        """Rename first: a half-deleted tree must not stand under a digest."""
        old = self.directory / f".old-{secrets.token_hex(8)}"
        entry.rename(old)
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()


def _allocated(path: Path) -> int:
    """Bytes on disk; 0 for what was removed meanwhile."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _write_tree(directory: Path, files: Mapping[str, ToolFile]) -> None:
    folders = {directory}
    for path, file in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        folders.update(parent for parent in target.parents if directory in parent.parents)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
            out.write(file.data)
            out.flush()
            # Explicitly: the umask decides about the mode that open gives.
            os.fchmod(out.fileno(), PROGRAM_MODE if file.executable else FILE_MODE)
            os.fsync(out.fileno())
    for folder in sorted(folders, key=lambda item: len(item.parts), reverse=True):
        folder.chmod(DIRECTORY_MODE)
        _sync(folder)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
