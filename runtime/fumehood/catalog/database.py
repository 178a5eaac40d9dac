"""The catalog's database: opened by one process at a time, migrated, its errors translated."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fumehood.errors import CatalogError

SCHEMA_VERSION: Final = 5
LOCK_SECONDS: Final = 5.0

_TOOLS = """
CREATE TABLE tools (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, files TEXT,
    state TEXT NOT NULL, added TEXT NOT NULL, added_by TEXT NOT NULL, notes TEXT NOT NULL,
    manifest BLOB NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE trees (digest TEXT PRIMARY KEY, listing TEXT NOT NULL) STRICT
"""
_SIGNER = "ALTER TABLE tools ADD COLUMN signer TEXT NOT NULL DEFAULT ''"
"""New in schema 3."""
_SUBMISSIONS = (
    """
    CREATE TABLE submissions (
        name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, files TEXT,
        state TEXT NOT NULL, added TEXT NOT NULL, added_by TEXT NOT NULL, notes TEXT NOT NULL,
        manifest BLOB NOT NULL, signer TEXT NOT NULL, PRIMARY KEY (name, version, added_by)
    ) STRICT
    """,
    "INSERT INTO submissions SELECT * FROM tools WHERE state = 'pending'",
    "DELETE FROM versions WHERE (name, version) IN (SELECT name, version FROM submissions)",
    "DELETE FROM tools WHERE state = 'pending'",
)
"""New in schema 4: what nobody agreed to yet stands apart, under who brought it."""
_REMOVED = """
CREATE TABLE removed (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, files TEXT,
    added TEXT NOT NULL, added_by TEXT NOT NULL, notes TEXT NOT NULL, declared BLOB NOT NULL,
    signer TEXT NOT NULL, removed TEXT NOT NULL, PRIMARY KEY (name, digest)
) STRICT
"""
"""New in schema 5: quarantines that outlive their versions. Their manifests are `declared`: what
is called `manifest` needs its image (`fumehood image remove`)."""
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
{_TOOLS};
CREATE TABLE versions (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE accounts (uid INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE INDEX accounts_by_name ON accounts (name);
"""
_FROM_1 = (
    "ALTER TABLE tools RENAME TO tools_1",
    *_TOOLS.split(";"),
    "INSERT INTO tools SELECT name, version, digest, files, state, added, '', '[]', manifest"
    " FROM tools_1",
    "DROP TABLE tools_1",
)
"""Schema 1 kept the current version of each tool only."""


def open_database(path: Path, wait: float) -> sqlite3.Connection:
    # SQLite creates files under the umask; its -wal file takes the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=wait)
    try:
        # Exclusive: one supervisor at a time, and no shared-memory file beside the database.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("BEGIN EXCLUSIVE")
        _migrate(db)
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection) -> None:
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
        _run(db, [*_TABLES.split(";"), _SIGNER, *_SUBMISSIONS, _REMOVED])
        db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        return
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is not None and row[0] in ("1", "2", "3", "4"):
        steps = (_FROM_1, (_SIGNER,), _SUBMISSIONS, (_REMOVED,))
        for step in steps[int(row[0]) - 1 :]:
            _run(db, step)
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA_VERSION),))
        return
    if row is None or row[0] != str(SCHEMA_VERSION):
        raise CatalogError(
            f"the catalog has another schema than {SCHEMA_VERSION}, which this Fumehood knows",
            "use the Fumehood that made it, or a newer one",
        )


def _run(db: sqlite3.Connection, statements: Sequence[str]) -> None:
    # Not executescript: that would commit first.
    for statement in statements:
        if statement.strip():
            db.execute(statement)


@contextlib.contextmanager
def translated(directory: Path) -> Iterator[None]:
    """Foreign errors become CatalogError where they enter; their text stays in the local log."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise CatalogError(
                "another supervisor uses this catalog", "stop it, or choose another --state"
            ) from error
        raise _unusable(directory, error) from error
    except (sqlite3.Error, OSError) as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: Exception) -> CatalogError:
    return CatalogError(
        "the catalog cannot be read or written",
        "the log names the file; check space, owner and mode, or restore a copy",
        detail=f"{directory}: {type(error).__name__}: {error}",
    )
