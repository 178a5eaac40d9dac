"""How a log is begun, and how one is found again: what a start verifies, and what it sets aside.

For whoever holds the writer's lock (`segments.claim`). Must never go on behind a record that does
not verify.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fumehood.audit.custody import Custody
from fumehood.audit.folder import list_segments
from fumehood.audit.head import first_key_path, no_head, read_head, show_first_key
from fumehood.audit.ratchet import KEY_BYTES, Ratchet
from fumehood.audit.report import Report, Trust
from fumehood.audit.segments import SEGMENT_BYTES, Tail, write_whole
from fumehood.audit.verify import survey
from fumehood.crypto.files import open_plain, sync_directory, write_private
from fumehood.errors import AuditError, KeyringError


def is_there(directory: Path) -> bool:
    """Whether a log was begun here."""
    return not no_head(directory) or bool(list_segments(directory))


def begin(directory: Path, custody: Custody) -> None:
    """Begin a log, whose first key then lies beside it. Raises OSError."""
    key = secrets.token_bytes(KEY_BYTES)
    text = show_first_key(key).encode() + b"\n"
    write_private(first_key_path(directory), text, replace=True)
    Tail(directory, Ratchet.first(key), custody, segment_bytes=SEGMENT_BYTES).close()


def resumed(directory: Path, custody: Custody) -> Ratchet:
    """The sealing key that the head holds. Raises AuditError."""
    head = read_head(directory)
    if head is None:
        raise AuditError(
            "the audit log is not whole: head:0: head: it is missing, edited, or of an older form",
            f"keep {directory} as evidence (move it away), find out who changed it, start anew",
        )
    try:
        return head.opened(custody)
    except KeyringError as error:
        raise AuditError(
            "the audit log cannot be continued: its sealing key does not open",
            f"bring the key ring of its time back, or move {directory} away and start anew",
            detail=error.cause,
        ) from error


def examined(directory: Path, custody: Custody, ratchet: Ratchet) -> Report:
    """Verify what a start can afford, and move `ratchet` past what a crash left behind the head.

    Raises:
        AuditError: the chain is broken.
    """
    report = survey(directory, Trust(custody=custody, public=custody.public()), whole=False)
    if report.first_bad is not None:
        raise AuditError(
            f"the audit log is not whole: {report.first_bad}",
            f"keep {directory} as evidence (move it away), find out who changed it, start anew",
        )
    if report.epoch is not None and report.epoch >= ratchet.epoch:
        ratchet.to(report.epoch, most=report.last.seq + 1)
        ratchet.advance()
    return report


def set_aside(directory: Path, report: Report) -> str:
    """Move the unfinished last line into its own file; its name. Raises OSError."""
    segment = list_segments(directory)[-1].path
    whole = segment.stat().st_size - report.torn_bytes
    aside = segment.with_name(f"{segment.stem}.after-{report.last.seq}.torn")
    with os.fdopen(open_plain(segment, os.O_RDWR), "r+b") as file:
        file.seek(whole)
        write_whole(aside, file.read())
        sync_directory(directory)
        file.truncate(whole)
        os.fsync(file.fileno())
    return aside.name
