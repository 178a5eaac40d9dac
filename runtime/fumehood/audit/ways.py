"""Where the index of an audit log can be kept: in its file, or elsewhere when that is damaged or
the disk takes nothing; must never leave anybody without an index whom the log would give one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fumehood.crypto.files import NotPlain, open_plain, write_private
from fumehood.errors import AuditError

BUSY_SECONDS: Final = 30
"""How long another command may write the index; then this one gives up."""
_CACHE_KIB: Final = 64 * 1024
"""What a temporary index keeps in memory before it goes to a file."""
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NOT_TAKEN: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)


class Ways:
    """Ways to come by a database, each tried once.

    path: its file. tables: what makes one, `version` among it.
    """

    def __init__(self, path: Path, tables: str, version: int) -> None:
        self._path = path
        self._tables = tables
        self._version = version
        self._left: list[Callable[[], sqlite3.Connection]] = [self._file, self._anew]
        self._unwritable = [self._as_it_stands, self._temporary]
        self._kept = False
        """Whether what is open is the file, and not one that nobody else can have changed."""
        self._inode = 0
        """Of the file that is open; 0 when none is."""
        self._note = self._beside(".left")

    def open(self, error: Exception | None = None) -> sqlite3.Connection:
        """The file; where it failed with an `error`, the next way that helps against that.

        Raises:
            AuditError: none is left, or another command is writing the index.
        """
        while True:
            if error is not None:
                self._must_help(error)
            if not self._left:
                self._left, self._unwritable = self._unwritable, []
            if not self._left:
                raise AuditError(
                    f"no index of the audit log can be made: {error}",
                    f"see to the disks of {self._path.parent} and of temporary files",
                ) from error
            way = self._left.pop(0)
            try:
                return way()
            except NotPlain as odd:
                raise AuditError(
                    f"the audit log's index cannot be used: {odd}",
                    f"remove {odd.filename}; the index is remade",
                ) from odd
            except (OSError, sqlite3.Error) as failed:
                error = failed

    def must_be_as_left(self) -> None:
        """Raises sqlite3.DatabaseError when something else than `leave` was the last to write the
        file: an edit moves st_ctime, which no call sets (inode(7)). Whoever also edits the note
        beside the file, which is no secret, is not found out."""
        if not self._kept:
            return
        try:
            with os.fdopen(open_plain(self._note), "rb") as file:
                noted = file.read(4096)
            as_left = noted == self._identity() and self._is_open(os.lstat(self._path))
        except OSError:
            as_left = False
        if not as_left:
            raise sqlite3.DatabaseError("the index is not as it was left")

    def leave(self) -> None:
        """Note what the file is now, once it was written. Without the note it is made again."""
        with contextlib.suppress(OSError):
            if self._is_open(os.lstat(self._path)):
                write_private(self._note, self._identity(), replace=True)
                self._kept = True

    def _is_open(self, found: os.stat_result) -> bool:
        return found.st_ino == self._inode

    def _identity(self) -> bytes:
        found = os.lstat(self._path)
        parts = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        return b"%d %d %d %d\n" % parts

    def _must_help(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            raise AuditError(
                "another command is writing the audit log's index", "try again in a moment"
            ) from error
        if (code in _NOT_TAKEN or isinstance(error, OSError)) and self._unwritable:
            self._left = []

    def _file(self) -> sqlite3.Connection:
        self._look_beside()
        self._take(open_plain(self._path, os.O_RDWR | os.O_CREAT))
        self._kept = True
        return self._of_this_form(sqlite3.connect(self._path, timeout=BUSY_SECONDS))

    def _anew(self) -> sqlite3.Connection:
        self._look_beside()
        for name in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._beside(name).unlink()
        self._take(open_plain(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        self._kept = False
        return self._made(sqlite3.connect(self._path, timeout=BUSY_SECONDS))

    def _as_it_stands(self) -> sqlite3.Connection:
        self._look_beside()
        self._take(open_plain(self._path))
        self._kept = True
        address = f"{self._path.absolute().as_uri()}?mode=ro"
        return self._of_this_form(sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True))

    def _temporary(self) -> sqlite3.Connection:
        self._kept, self._inode = False, 0
        database = sqlite3.connect("")  # sqlite3_open(3): private, and deleted when it is closed
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return self._made(database)

    def _take(self, fd: int) -> None:
        self._inode = os.fstat(fd).st_ino
        os.close(fd)

    def _look_beside(self) -> None:
        """SQLite would open a FIFO under these names, and wait."""
        for name in ("-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.close(open_plain(self._beside(name)))

    def _beside(self, name: str) -> Path:
        return self._path.with_name(self._path.name + name)

    def _made(self, database: sqlite3.Connection) -> sqlite3.Connection:
        with _closed_on_error(database):
            database.executescript(self._tables)
        return database

    def _of_this_form(self, database: sqlite3.Connection) -> sqlite3.Connection:
        with _closed_on_error(database):
            if database.execute("PRAGMA user_version").fetchone()[0] != self._version:
                raise sqlite3.DatabaseError("the index is of another form")
        return database


@contextlib.contextmanager
def _closed_on_error(database: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error:
        database.close()
        raise
