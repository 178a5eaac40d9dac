"""The versions of tools as rows: those that were agreed to, and what was submitted and was not.

Whatever is read is held against its digest. Everything here happens in transactions of the
catalog's.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fumehood.catalog.pins import tool_digest
from fumehood.catalog.service_accounts import ServiceAccounts
from fumehood.errors import ManifestError
from fumehood.model.manifest import canonical, load_manifest
from fumehood.model.request import RegisteredTool

ACTIVE: Final = "active"
QUARANTINED: Final = "quarantined"
PENDING: Final = "pending"
SUPERSEDED: Final = "superseded"
NO_ACCOUNT: Final = -1
"""Of a tool that was never active: accounts are given for ever, and not to whoever asks."""
_COLUMNS: Final = (
    "name, version, digest, files, state, added, added_by, notes, manifest, signer"
)  # fmt: skip


_CURRENT: Final = """
CREATE TABLE IF NOT EXISTS current (name TEXT PRIMARY KEY, version TEXT NOT NULL) STRICT
"""
"""Which version was made the current one last: of quarantined ones the state does not tell."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A version whose manifest cannot be read, so that nobody can say what it was. bad: it is
    quarantined, so that nothing under its name is as new. why: for the log."""

    name: str
    version: str
    files: str | None
    bad: bool
    why: str

    def could_be(self, tool: RegisteredTool) -> bool:
        """Whether it may have been this version, or the same program under another number."""
        return self.version == tool.manifest.version or self.files == tool.files


def as_notes(text: str) -> tuple[str, ...]:
    """The notes of a row; where they are damaged, that. They are for people: no digest holds them,
    and nothing is agreed to or refused by what they say."""
    with contextlib.suppress(ValueError, RecursionError):
        notes = json.loads(text)
        if isinstance(notes, list) and all(isinstance(note, str) for note in notes):
            return tuple(notes)
    return ("what was noted of it cannot be read",)


class Rows:
    def __init__(self, database: sqlite3.Connection, accounts: ServiceAccounts) -> None:
        self._db = database
        self._db.execute(_CURRENT)
        self._accounts = accounts

    def read(self, only: str | None = None) -> Iterator[RegisteredTool | Unread | str]:
        """Each version, of one tool or of all, by name: the current one first, then the others,
        the newest first, pending ones last by when they were added. In place of a row that cannot
        be used, why; of one that differs from its digest, that besides."""
        # Without a row in `current`, of an earlier version's, the newest.
        last = "version IS NOT (SELECT c.version FROM current c WHERE c.name = tools.name)"
        first = f"state != 'active', {last}, added DESC, rowid DESC"
        for table, order in (("tools", first), ("submissions", "added")):
            rows = self._db.execute(
                f"SELECT {_COLUMNS} FROM {table} WHERE ?1 IS NULL OR name = ?1"  # noqa: S608  (ours)
                f" ORDER BY name, {order}",
                (only,),
            ).fetchall()
            for row in rows:
                yield from self._tool(*row)

    def _tool(
        self, name: str, version: str, digest: str, files: str | None, state: str, added: str,
        by: str, notes: str, text: bytes, signer: str,
    ) -> Iterator[RegisteredTool | Unread | str]:  # fmt: skip
        try:
            manifest = load_manifest(text.decode(), source=f"catalog, tool {name}")
        except (ManifestError, UnicodeDecodeError) as error:
            bad = state not in (ACTIVE, SUPERSEDED, PENDING)
            known = f"; {version} is quarantined, and so is what comes again" if bad else ""
            why = f"the tool {name} is left out, register it again{known}: {error}"
            yield Unread(name, version, files, bad, why)
            return
        if manifest.name != name or tool_digest(text, files) != digest:
            if state == PENDING:
                yield f"{name} {version}, submitted by {by}, differs from its digest: left out"
                return
            yield f"the tool {name} differs from its digest: quarantined"
            state = QUARANTINED
        account = NO_ACCOUNT if state in (PENDING, SUPERSEDED) else self._accounts.of(name)
        told = as_notes(notes)
        yield RegisteredTool(manifest, digest, files, account, state, added, told, by, signer)

    def put(self, tool: RegisteredTool) -> None:
        """A version, in place of what stands under its name and number; a pending one in place of
        what its submitter has there."""
        manifest = tool.manifest
        table = "submissions" if tool.state == PENDING else "tools"
        self._db.execute(
            f"INSERT OR REPLACE INTO {table} ({_COLUMNS})"  # noqa: S608  (ours)
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                manifest.name, manifest.version, tool.digest, tool.files, tool.state, tool.added,
                tool.added_by, json.dumps(tool.notes), canonical(manifest), tool.signer,
            ),
        )  # fmt: skip

    def set(self, tool: RegisteredTool, **values: str) -> None:
        """Change columns of a version that was agreed to."""
        names = ", ".join(f"{column} = ?" for column in values)
        self._db.execute(
            f"UPDATE tools SET {names} WHERE name = ? AND version = ?",  # noqa: S608  (ours)
            (*values.values(), tool.manifest.name, tool.manifest.version),
        )

    def make_current(self, tool: RegisteredTool) -> None:
        """This version is called from now on, and none beside it."""
        self.set(tool, state=ACTIVE)
        row = (tool.manifest.name, tool.manifest.version)
        self._db.execute("INSERT OR REPLACE INTO current VALUES (?, ?)", row)

    def agree(self, name: str, version: str, digest: str) -> None:
        """What this version is from now on, for ever."""
        self._db.execute(
            "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", (name, version, digest)
        )

    def agreed(self, name: str, version: str) -> str | None:
        """The digest that was agreed to under a version, also when it is not kept any more."""
        row = self._db.execute(
            "SELECT digest FROM versions WHERE name = ? AND version = ?", (name, version)
        ).fetchone()
        return None if row is None else str(row[0])

    def withdraw(self, tool: RegisteredTool) -> None:
        """Delete a submission."""
        self._db.execute(
            "DELETE FROM submissions WHERE name = ? AND version = ? AND added_by = ?",
            (tool.manifest.name, tool.manifest.version, tool.added_by),
        )

    def drop(self, name: str, version: str) -> None:
        """Delete a version that was agreed to, and remember what it was: what was once told under
        it may not come back as something else."""
        self._db.execute("DELETE FROM tools WHERE name = ? AND version = ?", (name, version))

    def forget(self, name: str, version: str | None = None) -> None:
        """Delete a version that was agreed to, or with None all there is of a tool, and what it
        was."""
        if version is None:
            for table in ("submissions", "current"):
                self._db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608  (ours)
        for table in ("tools", "versions"):
            self._db.execute(
                f"DELETE FROM {table} WHERE name = ?1 AND (?2 IS NULL OR version = ?2)",  # noqa: S608  (ours)
                (name, version),
            )
