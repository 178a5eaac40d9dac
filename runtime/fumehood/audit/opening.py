"""How a log is begun, and how one is found again: what a start verifies, and what it sets aside.

For whoever holds the writer's lock (`segments.claim`). Must never go on behind a record that does
not verify.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Final

from fumehood.audit.custody import Custody
from fumehood.audit.folder import last_line, list_segments, read_lines
from fumehood.audit.head import Head, first_key_path, no_head, read_head, show_first_key
from fumehood.audit.ratchet import KEY_BYTES, Ratchet
from fumehood.audit.record import Unsealed, read
from fumehood.audit.replay import STARTED
from fumehood.audit.report import Report, Trust
from fumehood.audit.segments import SEGMENT_BYTES, Tail, Unkept, write_whole
from fumehood.audit.verify import survey
from fumehood.crypto.files import open_plain, sync_directory, write_private
from fumehood.errors import AuditError, KeyringError

STANDING: Final = "standing"
"""The field that tells the state of the key ring (`Ring.standing`), in records of keys, and within
`keys` in those of starts."""
_TELL_OF_KEYS: Final = (b'"event":"key.', b'"event":"supervisor.started"')


def is_there(directory: Path) -> bool:
    """Whether a log was begun here."""
    return not no_head(directory) or bool(list_segments(directory))


def newest_time(directory: Path) -> str:
    """Of the newest record that can be read; empty where there is none."""
    for segment in reversed(list_segments(directory)):
        with contextlib.suppress(Unsealed, OSError):
            return read(last_line(segment.path)[:-1]).time
    return ""


def unusable(doing: str, directory: Path, error: OSError) -> AuditError:
    """Why a log cannot be begun or opened: the disk, or keys that cannot be used."""
    said = f"the audit log cannot be {doing}"
    if isinstance(error, Unkept) and isinstance(why := error.__cause__, KeyringError):
        return AuditError(f"{said}: {why.cause}", why.remedy or "see `fumehood key list`")
    return AuditError(
        f"{said}: {error.strerror or error}",
        f"see to the disk and the modes of {directory}",
        detail=str(error),
    )


def begin(directory: Path, custody: Custody) -> None:
    """Begin a log, whose first key then lies beside it. Raises OSError."""
    key = secrets.token_bytes(KEY_BYTES)
    text = show_first_key(key).encode() + b"\n"
    write_private(first_key_path(directory), text, replace=True)
    Tail(directory, Ratchet.first(key), custody, segment_bytes=SEGMENT_BYTES).close()


def resumed(directory: Path, custody: Custody) -> tuple[Head, Ratchet]:
    """The head, and the sealing key that it holds. Raises AuditError."""
    head = read_head(directory)
    if head is None:
        raise AuditError(
            "the audit log is not whole: head:0: head: it is missing, edited, or of an older form",
            f"keep {directory} as evidence (move it away), find out who changed it, start anew",
        )
    try:
        return head, head.opened(custody)
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


def must_follow(directory: Path, custody: Custody, head: Head, report: Report) -> None:
    """The keys are those that the log was last written with, or came from them.

    The head tells which those were, and so do records behind it, which a power cut, or an earlier
    head put back, leaves within the last segment.

    Raises:
        AuditError: they were put back to before; a revoked one would be used again.
    """
    standing = head.ring
    if report.behind_head:
        standing = _last_standing(list_segments(directory)[-1].path, head) or standing
    if not standing:
        return
    try:
        custody.must_follow(standing)
    except KeyringError as error:
        raise AuditError(
            f"the key ring was put back to an earlier state, or exchanged: {error.cause}",
            "revoked keys would be used again. Bring its newest copy back; where there is none, "
            f"find out who did it, note what `fumehood audit search --event key.revoked` names, "
            f"move {directory} away as evidence, `fumehood key revoke` those keys, and start anew",
        ) from error


def _last_standing(segment: Path, head: Head) -> str:
    """What records behind the head say last of the key ring's state; empty when nothing."""
    found = ""
    for line in read_lines(segment):
        # The event stands behind `seq` and `time`, at most 60 bytes in.
        if not line.endswith(b"\n") or not any(mark in line[:128] for mark in _TELL_OF_KEYS):
            continue
        record = json.loads(line)
        keys = record.get("keys") if record["event"] == STARTED else record
        if record["seq"] > head.position.seq and isinstance(keys, dict):
            found = str(keys.get(STANDING, found))
    return found


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
