"""A store of former times, which the supervisor could write, taken over at a start.

Must never take over what is not what its pin says.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from fumehood.catalog.pins import stored_files
from fumehood.catalog.rows import PENDING, QUARANTINED
from fumehood.catalog.shelves import Shelves
from fumehood.errors import CatalogError
from fumehood.model.request import RegisteredTool
from fumehood.model.tree import UNSEALED, tree_digest


def unsound(
    directory: Path, tools: Iterable[RegisteredTool], shelves: Shelves
) -> Iterator[tuple[RegisteredTool, Path]]:
    """Have what is sound stored where this process cannot write; each version that is not, and
    where its files are until the next is asked for.

    Raises:
        CatalogError: it could not be stored; all is still there.
    """
    old = directory / UNSEALED
    if old.is_symlink() or not old.is_dir():
        return
    for tool in tools:
        if tool.files is None or tool.state == QUARANTINED:
            continue
        tree = old / tool.files.removeprefix("sha384:")
        try:
            files = stored_files(tree)
        except (OSError, CatalogError):
            files = {}
        if tree_digest(files) == tool.files:
            shelves.keep(tool.files, files, afresh=False)
        elif tool.state != PENDING and not shelves.is_sound(tool.files):
            yield tool, tree
    shutil.rmtree(old, ignore_errors=True)
