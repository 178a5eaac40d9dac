"""The service account of each tool: given once, by name, and never to a second one."""

from __future__ import annotations

import sqlite3

from fumehood.errors import CatalogError


class ServiceAccounts:
    """In transactions of the catalog's.

    Args:
        within: first UID and count; None when rootless, where every tool runs as `own_uid`.
    """

    def __init__(
        self, database: sqlite3.Connection, within: tuple[int, int] | None, own_uid: int
    ) -> None:
        self._db = database
        self._within = within
        self._own_uid = own_uid

    def of(self, name: str) -> int:
        """The account of `name`, a new one if it has none in the range. Rows are never deleted,
        so no second name ever gets files or processes of the first. Raises CatalogError."""
        if self._within is None:
            return self._own_uid
        first, count = self._within
        row = self._db.execute(
            "SELECT min(uid) FROM accounts WHERE name = ? AND uid >= ? AND uid < ?",
            (name, first, first + count),
        ).fetchone()
        uid: int | None = row[0]
        if uid is None:
            uid = self._free(first, count)
            self._db.execute("INSERT INTO accounts VALUES (?, ?)", (uid, name))
        return uid

    def _free(self, first: int, count: int) -> int:
        """The lowest account of the range that never had a name."""
        taken = {
            row[0]
            for row in self._db.execute(
                "SELECT uid FROM accounts WHERE uid >= ? AND uid < ?", (first, first + count)
            )
        }
        for uid in range(first, first + count):
            if uid not in taken:
                return uid
        raise CatalogError(
            f"all {count} service accounts are taken",
            "raise accounts.count in the configuration",
        )
