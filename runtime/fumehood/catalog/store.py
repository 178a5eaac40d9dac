"""The catalog: registered tools, pinned by digest, and the service account of each.

Must never serve what differs from its pin, and never give an account to a second name. One
process at a time holds it. A tree is on disk, whole, before the database knows of it, and is
deleted only when nothing can still be running from it.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fumehood.catalog.lint import lint_files, lint_schemas
from fumehood.catalog.pins import (
    DIRECTORY_MODE,
    FILE_MODE,
    PROGRAM_MODE,
    ToolFile,
    check_files,
    stored_digest,
    tool_digest,
    tree_digest,
)
from fumehood.errors import CatalogError, ManifestError
from fumehood.model.manifest import Manifest, canonical, load_manifest
from fumehood.model.request import RegisteredTool

__all__ = ["Catalog", "ToolFile"]

SCHEMA_VERSION: Final = 1
MAX_TOOLS: Final = 10_000
ACTIVE: Final = "active"
QUARANTINED: Final = "quarantined"
LOCK_SECONDS: Final = 5.0
BLOCK: Final = 4096
UNBOUNDED: Final = 1 << 62

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE tools (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, digest TEXT NOT NULL, files TEXT,
    state TEXT NOT NULL, added TEXT NOT NULL, manifest BLOB NOT NULL
) STRICT;
CREATE TABLE versions (
    name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE accounts (uid INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE INDEX accounts_by_name ON accounts (name);
"""


class Catalog:
    """The registered tools below `directory` (see the state layout in docs/architecture.md).

    Args:
        directory: `catalog.sqlite3` and `store/` are made in it.
        accounts: first UID and count of the service accounts; None when rootless.
        own_uid: the account of every tool when rootless.
        wait: seconds that a predecessor, just ending, may still hold the catalog.
        most_bytes: what the files of all tools may take on disk.

    `problems` says which rows could not be read at opening, for the log.

    Raises:
        CatalogError: another process holds it, it is damaged, or a newer Fumehood made it.
    """

    def __init__(
        self,
        directory: Path,
        accounts: tuple[int, int] | None,
        own_uid: int,
        *,
        wait: float = LOCK_SECONDS,
        most_bytes: int = UNBOUNDED,
    ) -> None:
        self._most_bytes = most_bytes
        self._store = directory / "store"
        self._accounts = accounts
        self._own_uid = own_uid
        self._lock = threading.RLock()
        self.problems: tuple[str, ...] = ()
        with _translated(directory):
            self._store.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            self._db = _open(directory / "catalog.sqlite3", wait)
            try:
                with self._transaction():
                    self._tools = self._load()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def get(self, name: str) -> RegisteredTool | None:
        """The current version of a tool, whatever its state; takes no lock."""
        return self._tools.get(name)

    def add(self, manifest: Manifest, files: Mapping[str, ToolFile]) -> RegisteredTool:
        """Register a version; it replaces the current one. The same content again changes
        nothing, except that a quarantined tool is stored anew and active.

        Raises:
            ManifestError: the manifest's schemas, or files that do not fit it.
            CatalogError: other content under a known version, no account left, a bad tree.
        """
        lint_schemas(manifest)
        lint_files(manifest, files)
        check_files(files)
        text = canonical(manifest)
        tree = tree_digest(files) if files else None
        digest = tool_digest(text, tree)
        with self._lock, _translated(self._store.parent):
            known = self._tools.get(manifest.name)
            # Compared as read, not as digests: a newer Fumehood writes more defaults out.
            unchanged = known is not None and (known.manifest, known.files) == (manifest, tree)
            if not unchanged:
                self._check_conflict(manifest, digest)
            if tree is not None:
                self._keep(tree, files)
            if known is not None and unchanged and known.state == ACTIVE:
                return known
            added = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            with self._transaction():
                account = self._account(manifest.name)
                self._db.execute(
                    "INSERT OR REPLACE INTO tools VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (manifest.name, manifest.version, digest, tree, ACTIVE, added, text),
                )
                self._db.execute(
                    "INSERT OR REPLACE INTO versions VALUES (?, ?, ?)",
                    (manifest.name, manifest.version, digest),
                )
            tool = RegisteredTool(manifest, digest, tree, account, ACTIVE, added)
            self._tools = {**self._tools, manifest.name: tool}
            return tool

    def remove(self, name: str) -> RegisteredTool:
        """Forget a tool and its versions. Its account stays its own, for when it comes back.

        Raises CatalogError when there is no such tool.
        """
        with self._lock, _translated(self._store.parent):
            tool = self._tools.get(name)
            if tool is None:
                raise CatalogError(f"there is no tool {name[:64]!r}", "see `fumehood tool list`")
            with self._transaction():
                self._db.execute("DELETE FROM tools WHERE name = ?", (name,))
                self._db.execute("DELETE FROM versions WHERE name = ?", (name,))
            self._tools = {key: other for key, other in self._tools.items() if key != name}
            return tool

    def verify(self) -> tuple[RegisteredTool, ...]:
        """Compare every stored tree with its pin; to be called at start, before any call.

        Returns: the tools quarantined now. Trees that no tool refers to, and what a power cut
        left half made, are deleted.
        """
        with self._lock, _translated(self._store.parent):
            bad = tuple(
                replace(tool, state=QUARANTINED)
                for tool in self._tools.values()
                if tool.state == ACTIVE and not self._sound(tool)
            )
            with self._transaction():
                for tool in bad:
                    self._db.execute(
                        "UPDATE tools SET state = ? WHERE name = ?",
                        (QUARANTINED, tool.manifest.name),
                    )
            self._tools = {**self._tools, **{tool.manifest.name: tool for tool in bad}}
            self.collect(())
            return bad

    def collect(self, in_use: Collection[str]) -> int:
        """Delete the trees of versions that are gone. Returns how many.

        Args:
            in_use: tree digests (`RegisteredTool.files`) that sandboxes still have mounted.
        """
        with self._lock, _translated(self._store.parent):
            kept = {tool.files for tool in self._tools.values()} | set(in_use)
            gone = [entry for entry in self._store.iterdir() if f"sha384:{entry.name}" not in kept]
            for entry in gone:
                self._discard(entry)
            return len(gone)

    def _load(self) -> dict[str, RegisteredTool]:
        tools, problems = {}, []
        rows = self._db.execute(
            "SELECT name, digest, files, state, added, manifest FROM tools ORDER BY name"
        ).fetchall()
        for name, digest, files, state, added, text in rows:
            try:
                manifest = load_manifest(text.decode(), source=f"catalog, tool {name}")
            except (ManifestError, UnicodeDecodeError) as error:
                problems.append(f"the tool {name} is left out, register it again: {error}")
                continue
            if manifest.name != name or tool_digest(text, files) != digest:
                problems.append(f"the tool {name} differs from its digest: quarantined")
                state = QUARANTINED
            tools[name] = RegisteredTool(manifest, digest, files, self._account(name), state, added)
        self.problems = tuple(problems)
        return tools

    def _check_conflict(self, manifest: Manifest, digest: str) -> None:
        row = self._db.execute(
            "SELECT digest FROM versions WHERE name = ? AND version = ?",
            (manifest.name, manifest.version),
        ).fetchone()
        if row is not None and row[0] != digest:
            raise CatalogError(
                f"{manifest.name} {manifest.version} is registered with other content",
                "raise its version, or remove the tool first",
            )
        if manifest.name not in self._tools and len(self._tools) >= MAX_TOOLS:
            raise CatalogError(f"the catalog is full: {MAX_TOOLS} tools", "remove some")

    def _account(self, name: str) -> int:
        """The account of `name`, a new one if it has none in the range. Rows are never deleted,
        so no second name ever gets files or processes of the first."""
        if self._accounts is None:
            return self._own_uid
        first, count = self._accounts
        row = self._db.execute(
            "SELECT min(uid) FROM accounts WHERE name = ? AND uid >= ? AND uid < ?",
            (name, first, first + count),
        ).fetchone()
        uid: int | None = row[0]
        if uid is None:
            uid = self._free_account(first, count)
            self._db.execute("INSERT INTO accounts VALUES (?, ?)", (uid, name))
        return uid

    def _free_account(self, first: int, count: int) -> int:
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

    def _sound(self, tool: RegisteredTool) -> bool:
        if tool.files is None:
            return True
        try:
            return stored_digest(self._tree(tool.files)) == tool.files
        except (CatalogError, OSError):
            return False

    def _tree(self, digest: str) -> Path:
        return self._store / digest.removeprefix("sha384:")

    def _keep(self, digest: str, files: Mapping[str, ToolFile]) -> None:
        """Store a tree under its digest: written and synced elsewhere, then renamed."""
        final = self._tree(digest)
        if final.is_symlink() or final.exists():
            with contextlib.suppress(CatalogError, OSError):
                if stored_digest(final) == digest:
                    return
            self._discard(final)
        self._check_room(files)
        new = self._store / f".new-{secrets.token_hex(8)}"
        new.mkdir(mode=0o700)
        try:
            _write_tree(new, files)
            new.rename(final)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        _sync(self._store)

    def _check_room(self, files: Mapping[str, ToolFile]) -> None:
        taken = sum(_allocated(path) for path in self._store.rglob("*"))
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
        old = self._store / f".old-{secrets.token_hex(8)}"
        entry.rename(old)
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def list(self) -> builtins.list[RegisteredTool]:
        """All tools by name, quarantined ones too."""
        tools = self._tools
        return [tools[name] for name in sorted(tools)]


def _allocated(path: Path) -> int:
    """Bytes on disk; 0 for what was removed meanwhile."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _open(path: Path, wait: float) -> sqlite3.Connection:
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
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        return
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or row[0] != str(SCHEMA_VERSION):
        raise CatalogError(
            f"the catalog has another schema than {SCHEMA_VERSION}, which this Fumehood knows",
            "use the Fumehood that made it, or a newer one",
        )


@contextlib.contextmanager
def _translated(directory: Path) -> Iterator[None]:
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
