"""What budgets have counted, in SQLite: it survives the supervisor, and its kill.

Written before a call runs and when it has ended. With WAL and `synchronous = NORMAL` a power cut
may lose the last moments, a killed process loses nothing (sqlite.org/pragma.html).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fumehood.admission.budgets import Amounts
from fumehood.errors import CatalogError

COLUMNS: Final = 5
AT_ONCE: Final = 100
"""Rows of one statement; SQLite takes 32,766 values (SQLITE_MAX_VARIABLE_NUMBER)."""
_PLACES: Final = "(?, ?, ?, ?, ?)"
KEPT_SECONDS: Final = 8 * 86_400
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS used (
    key TEXT NOT NULL, window INTEGER NOT NULL, invocations INTEGER NOT NULL,
    cpu_ms INTEGER NOT NULL, output_bytes INTEGER NOT NULL, PRIMARY KEY (key, window)
) STRICT, WITHOUT ROWID
"""


class Usage:
    """The table below the state directory; raises CatalogError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(path, flags, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in (
                "locking_mode = EXCLUSIVE",
                "journal_mode = WAL",
                "synchronous = NORMAL",
            ):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute(_TABLE)
            oldest = int(time.time()) - KEPT_SECONDS
            self._db.execute("DELETE FROM used WHERE window < ?", (oldest,))
        except (OSError, sqlite3.Error) as error:
            raise _unusable(error) from error

    def load(self, key: str, window: int) -> Amounts:
        try:
            row = self._db.execute(
                "SELECT invocations, cpu_ms, output_bytes FROM used WHERE key = ? AND window = ?",
                (key, window),
            ).fetchone()
        except sqlite3.Error as error:
            raise _unusable(error) from error
        return (0, 0, 0) if row is None else (row[0], row[1], row[2])

    def save(self, entries: Sequence[tuple[str, int, Amounts]]) -> None:
        """On disk when this returns, as far as `synchronous = NORMAL` goes."""
        rows = [value for key, window, amounts in entries for value in (key, window, *amounts)]
        try:
            for start in range(0, len(entries), AT_ONCE):
                some = rows[start * COLUMNS : (start + AT_ONCE) * COLUMNS]
                places = ", ".join([_PLACES] * (len(some) // COLUMNS))
                # One statement is one transaction. Only the number of places is not constant.
                self._db.execute(f"INSERT OR REPLACE INTO used VALUES {places}", some)  # noqa: S608
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def close(self) -> None:
        self._db.close()


def steady_utc() -> Callable[[], float]:
    """Seconds of UTC that follow no jump of the clock while this process lives."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def _unusable(error: Exception) -> CatalogError:
    return CatalogError(
        "what budgets have counted cannot be read or written",
        "the log names the cause; check space, owner and mode of usage.sqlite3 in the state",
        detail=f"{type(error).__name__}: {error}",
    )
