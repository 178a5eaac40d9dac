"""A catalog in a directory, over the store that a sealer writes, without a process for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fumehood.catalog.store import Catalog
from fumehood.launcher import sealing
from fumehood.launcher.sealer import Vault
from fumehood.launcher.tool_trees import open_store
from fumehood.model.tree import ToolFile

UNBOUNDED = 1 << 62


class Here:
    """The sealer's own code, called where a daemon sends an errand."""

    def __init__(self, store: Path, most_bytes: int = UNBOUNDED) -> None:
        store.mkdir(mode=0o755, parents=True, exist_ok=True)
        store.chmod(0o755)
        self._vault = Vault(open_store(str(store)), most_bytes)

    def seal(self, files: Mapping[str, ToolFile]) -> str:
        fd = sealing.packed(files)
        try:
            return self._vault.keep(fd)
        finally:
            os.close(fd)

    def discard(self, names: Iterable[str]) -> None:
        for name in names:
            self._vault.discard(name)


def catalog_in(
    directory: Path,
    accounts: tuple[int, int] | None,
    own_uid: int = 0,
    *,
    most_bytes: int = UNBOUNDED,
    **options: Any,
) -> Catalog:
    sealer = Here(directory / "store", most_bytes)
    return Catalog(directory, accounts, own_uid, sealer=sealer, **options)
