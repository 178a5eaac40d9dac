"""A catalog in a directory, over the store that a sealer writes, without a process for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fumehood.catalog.store import Catalog
from fumehood.launcher import sealing
from fumehood.launcher.sealer import Vault
from fumehood.launcher.tool_trees import open_store
from fumehood.model.manifest import Manifest
from fumehood.model.request import RegisteredTool
from fumehood.model.tree import ToolFile

UNBOUNDED = 1 << 62


class Here:
    """The sealer's own code, called where a daemon sends an errand."""

    def __init__(self, store: Path, most_bytes: int = UNBOUNDED) -> None:
        store.mkdir(mode=0o755, parents=True, exist_ok=True)
        store.chmod(0o755)
        self._vault = Vault(open_store(str(store)), most_bytes)
        self.sealed = 0

    def seal(self, files: Mapping[str, ToolFile], *, replace: bool) -> str:
        fd = sealing.packed(files)
        try:
            self.sealed += 1
            return self._vault.keep(fd, replace=replace)
        finally:
            os.close(fd)
            self._vault.clear()

    def discard(self, names: Iterable[str]) -> None:
        for name in names:
            self._vault.discard(name)


class Stuck(Here):
    """A disk that does not answer before it is told to."""

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self.asked = threading.Event()
        self.answer = threading.Event()

    def _wait(self) -> None:
        self.asked.set()
        assert self.answer.wait(30)

    def seal(self, files: Mapping[str, ToolFile], *, replace: bool) -> str:
        self._wait()
        return super().seal(files, replace=replace)

    def discard(self, names: Iterable[str]) -> None:
        self._wait()
        super().discard(names)


class Filled(Catalog):
    """A catalog whose versions come with their files, in one step each."""

    def put(
        self, manifest: Manifest, files: Mapping[str, ToolFile], **options: Any
    ) -> RegisteredTool:
        """What an operator adds."""
        tree = self.check(manifest, files)
        with self.holding(tree):
            self.store(tree, files)
            return self.add(manifest, tree, files, **options)

    def put_back(self, manifest: Manifest, files: Mapping[str, ToolFile]) -> RegisteredTool:
        """What an operator does to have a quarantined version again."""
        tree = self.check(manifest, files)
        with self.holding(tree):
            self.store(tree, files)
            return self.approve(manifest.name, manifest.version, tainted=True)

    def propose(
        self,
        manifest: Manifest,
        files: Mapping[str, ToolFile],
        *,
        by: str = "uid:7",
        **options: Any,
    ) -> RegisteredTool:
        """What waits for an operator."""
        tree = self.check(manifest, files)
        with self.holding(tree):
            self.store(tree, files, afresh=True)
            return self.submit(manifest, tree, files, by=by, **options)


def catalog_in(
    directory: Path,
    accounts: tuple[int, int] | None,
    own_uid: int = 0,
    *,
    most_bytes: int = UNBOUNDED,
    **options: Any,
) -> Filled:
    sealer = Here(directory / "store", most_bytes)
    return Filled(directory, accounts, own_uid, sealer=sealer, **options)
