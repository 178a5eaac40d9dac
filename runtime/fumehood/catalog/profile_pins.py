"""The seccomp profile that each registered version was agreed to with, by its digest.

A manifest names a profile, and the operator's files may come to say something else under that
name: then the version is not what was agreed to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from fumehood.model.request import RegisteredTool

TABLE = """
CREATE TABLE IF NOT EXISTS profile_pins (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT
"""
ProfileDigest = Callable[[str], str]
"""The digest of a profile by its name; empty when there is none."""


class ProfilePins:
    def __init__(self, database: sqlite3.Connection, digest: ProfileDigest) -> None:
        self._db = database
        self._digest = digest
        self._db.execute(TABLE)

    def pin(self, tool: RegisteredTool) -> None:
        """The version is agreed to with the profile as it is now. In a transaction."""
        manifest = tool.manifest
        row = (manifest.name, manifest.version, self._digest(manifest.seccomp))
        self._db.execute("INSERT OR REPLACE INTO profile_pins VALUES (?, ?, ?)", row)

    def change(self, tool: RegisteredTool) -> str:
        """What is to be said when the profile is another one now; empty when it is not, and for a
        version that was agreed to before profiles were pinned, which is pinned now."""
        manifest = tool.manifest
        row = self._db.execute(
            "SELECT digest FROM profile_pins WHERE name = ? AND version = ?",
            (manifest.name, manifest.version),
        ).fetchone()
        if row is None:
            self.pin(tool)
            return ""
        now = self._digest(manifest.seccomp)
        if row[0] == now:
            return ""
        if not now:
            return f"its seccomp profile {manifest.seccomp} is gone"
        return f"its seccomp profile {manifest.seccomp} changed: {now[:23]}… was {row[0][:23]}…"
