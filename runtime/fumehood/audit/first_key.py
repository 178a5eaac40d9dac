"""The log's first key, given away once, so that whoever has the host cannot seal the past anew.

Must never erase it here before whoever takes it has it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from fumehood.audit import opening
from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import Custody
from fumehood.audit.head import first_key_path, no_head, read_first_key, show_first_key
from fumehood.audit.known import Known
from fumehood.audit.segments import claim
from fumehood.crypto.files import sync_directory
from fumehood.errors import AuditError


def take_first_key(
    directory: Path,
    custody: Custody,
    known: Known | None = None,
    *,
    show: Callable[[str], None] = lambda _: None,
) -> str:
    """The log's first key as text, for keeping elsewhere; it can be had only once.

    Begins the log where there is none yet, and records that in it if the state had another one.
    known: as for `AuditLog.open`. show: gets the key before it is erased here; when it raises, the
    key stays, to be taken later.

    Raises:
        AuditError: it was taken before, or the directory cannot be used.
    """
    if no_head(directory) and _begun(directory, custody):
        # The key is shown whatever happens now: else a start records that the log is another one,
        # and does not call it deliberate.
        with contextlib.suppress(AuditError):
            AuditLog.open(directory, custody, known=known, deliberate=True).close()
    key = read_first_key(directory)
    if key is None:
        raise AuditError(
            "the first key of this log was shown before, and is not kept here",
            f"look where it was put; without it verify what is signed, or begin a new log: move "
            f"{directory} away while the daemon is stopped",
        )
    text = show_first_key(key)
    show(text)
    first_key_path(directory).unlink()
    sync_directory(directory)
    return text


def _begun(directory: Path, custody: Custody) -> bool:
    """Begin a log where there is none; whether it did. Raises AuditError."""
    lock = claim(directory)
    try:
        if not opening.is_there(directory):
            opening.begin(directory, custody)
            return True
    except OSError as error:
        raise opening.unusable("begun", directory, error) from error
    finally:
        os.close(lock)
    return False
