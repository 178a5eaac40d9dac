"""What the files of each version were when they were pinned, by the digest of their tree.

Must never be believed over the digest. In transactions of the catalog's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from fumehood.catalog import trees
from fumehood.model.request import RegisteredTool
from fumehood.model.tree import ToolFile


class Listings:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def of(self, tool: RegisteredTool) -> trees.Listing | None:
        """The files of a version; None when that is not known."""
        if tool.files is None:
            return {}
        row = self._db.execute(
            "SELECT listing FROM trees WHERE digest = ?", (tool.files,)
        ).fetchone()
        return None if row is None else trees.decoded(row[0])

    def keep(self, tool: RegisteredTool, files: Mapping[str, ToolFile]) -> None:
        if tool.files is not None:
            listing = trees.encoded(trees.listing(files))
            self._db.execute("INSERT OR REPLACE INTO trees VALUES (?, ?)", (tool.files, listing))

    def drop_except(self, kept: Collection[str | None]) -> None:
        for (digest,) in self._db.execute("SELECT digest FROM trees").fetchall():
            if digest not in kept:
                self._db.execute("DELETE FROM trees WHERE digest = ?", (digest,))
