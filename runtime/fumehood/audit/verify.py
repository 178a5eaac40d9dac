"""Reads an audit log and says whether it is whole, and where not; must never change a byte.

What anybody can check: that each record continues the one before, that segments end as was
signed. What takes the first key: that every record was sealed when its time was. What takes the
host's own keys: that the head, and so the end of the log, is what was written last. What no file
beside the log can show: an earlier head put back, alone with a cut behind its record or with the
whole directory. Who knows a record's number from elsewhere finds that with `reaching`.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.audit.folder import (
    Segment,
    last_line,
    list_segments,
    look_over,
    read_lines,
    reading,
)
from fumehood.audit.head import (
    PRUNED,
    START,
    Head,
    Signed,
    no_head,
    read_base,
    read_first_key,
    read_head,
    telling,
)
from fumehood.audit.record import Position, Unsealed, read
from fumehood.audit.report import Defect, Report, Trust
from fumehood.audit.walk import Stage, Walk
from fumehood.errors import AuditError, KeyringError

_LOOKS: Final = 3
"""How often to look again when retention removes segments meanwhile."""
_MOST_BASE: Final = 64 * 1024
MAX_PROCESSES: Final = 8
"""That share a walk: each keeps about 10 MiB of its own."""


def verify(directory: Path, trust: Trust, *, processes: int = 1) -> Report:
    """Check every record of the log, also while it is being written.

    On the host itself (`trust.custody`) the first key is taken from beside the log where `trust`
    has none and it still lies there. Never elsewhere: who wrote a copy may have written that, too.
    processes: how many may share the work, a segment each; more than one forks, which only a
    process of one thread may do. What is found and said does not depend on it.

    Raises:
        AuditError: there is no log to read.
        KeyringError: the first key that lies beside it cannot be used.
    """
    ours = trust.first_key is None and trust.custody is not None
    if (
        ours
        and look_over(directory).special is None
        and (kept := read_first_key(directory)) is not None
    ):
        trust = Trust(kept, trust.public, trust.custody)
    return survey(directory, trust, whole=True, processes=processes)


def survey(directory: Path, trust: Trust, *, whole: bool, processes: int = 1) -> Report:
    """`verify`, or, when not `whole`, every record of the last segment and only the first and
    last record of those before it: what a start can afford. Raises AuditError."""
    for _ in range(_LOOKS):
        before = _base_text(directory)
        try:
            report = _survey(directory, trust, whole=whole, processes=processes)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise AuditError(
                f"the audit log cannot be read: {error.strerror}", f"see {directory}"
            ) from error
        if report.ok or _base_text(directory) == before:
            return report
    raise AuditError("the log's oldest segments are being removed just now", "verify again")


def _base_text(directory: Path) -> bytes:
    try:
        with reading(directory / "base") as file:
            return file.read(_MOST_BASE)
    except (OSError, AuditError):
        return b""


def _survey(directory: Path, trust: Trust, *, whole: bool, processes: int) -> Report:
    lying = look_over(directory)
    if lying.special is not None:
        return Report(0, 0, START, lying.special)
    report = _chained(directory, trust, whole=whole, processes=processes)
    strays = replace(report, strays=lying.strays, stray_files=lying.count)
    # A start goes on without them: nothing reads a file of another name.
    if whole and strays.ok and lying.strays:
        return replace(strays, first_bad=lying.strays[0])
    return strays


def _chained(directory: Path, trust: Trust, *, whole: bool, processes: int) -> Report:
    try:
        base = read_base(directory, trust.public)
    except KeyringError as error:
        return Report(0, 0, START, Defect("base", "base", 0, error.cause))
    last = base.position if base else START
    for _ in range(_LOOKS):
        # The head is read before the records: a live writer only ever adds to what it names.
        head = read_head(directory)
        every = list_segments(directory)
        segments = [s for s in every if s.first > last.seq]
        if head is None or not _passed_by(head, segments):  # or a segment was begun between
            break
    if head is None:
        # Not even an empty log is without one: whoever removes all files must not pass for nothing.
        said = "the head is missing or was edited"
        if not segments and base is None and no_head(directory):
            said = "there is none: no log was begun here, or all of it was removed"
        return Report(0, len(segments), last, Defect("head", "head", 0, said))
    walk = Walk(trust, head, base, last=last, most=len(segments))
    walk.begin()
    if whole and base is not None and walk.defect is None:
        walk.defect = _left_over(every[: len(every) - len(segments)], base)
    done = 0
    if whole and processes > 1 and len(segments) > 2 and walk.defect is None:
        done = _shared(walk, segments[:-1], processes)
    for segment in segments[done:]:
        newest = segment is segments[-1]
        walk.segment(segment, whole=whole or newest, newest=newest)
        if walk.defect:
            break
    if whole and base is not None and walk.defect is None and not _is_told(segments, base.position):
        said = f"no record tells that retention removed the log up to record {base.position.seq}"
        walk.defect = Defect("base", "base", 0, said)
    if walk.defect is None and head.position.seq > walk.last.seq:
        missing = f"records {walk.last.seq + 1} to {head.position.seq} are missing at the end"
        walk.stop("truncated", missing, line=walk.line + 1)
    if walk.defect is None and _passed_by(head, segments):
        said = f"{segments[-1].path.name} was begun behind record {segments[-1].first - 1}"
        old = f"it is an earlier one: it names record {head.position.seq}, and {said}"
        walk.defect = Defect("head", "head", 0, old)
    return Report(
        walk.records, len(segments), walk.last, walk.defect, walk.torn, last.seq if base else 0,
        walk.sealed, walk.signed, walk.clock_steps, tuple(walk.steps), walk.epoch,
        behind_head=max(0, walk.last.seq - head.position.seq), signers=tuple(sorted(walk.signers)),
    )  # fmt: skip


def _passed_by(head: Head, segments: Sequence[Segment]) -> bool:
    """Whether a segment was begun that this head cannot have seen begin. It is on disk, and names
    the last record of a segment, before that segment's end is signed and another one made; then it
    is written with each group and may, after a power cut, be behind within the last segment."""
    return bool(segments) and head.position.seq < segments[-1].first - 1


def _left_over(segments: Sequence[Segment], base: Signed) -> Defect | None:
    """Whether segments that the base stands for are what a crash of retention left of them: they
    go the oldest first, so what is left leads to the record that the base names."""
    last: Position | None = None
    for segment in segments:
        for number, line in enumerate(read_lines(segment.path), 1):
            place = segment.path.name, number
            try:
                entry = read(line[:-1])
            except Unsealed:
                return Defect("edited", *place, "the record is not what was sealed")
            if (number == 1 and entry.position.seq != segment.first) or (
                last is not None and (entry.position.seq, entry.prev) != (last.seq + 1, last.digest)
            ):
                said = f"record {entry.position.seq} does not continue what stands before it"
                return Defect("stray", *place, said)
            last = entry.position
    if segments and last != base.position:
        said = f"it does not lead to record {base.position.seq}, up to which the log was removed"
        return Defect("stray", segments[-1].path.name, 0, said)
    return None


def _is_told(segments: Sequence[Segment], removed: Position) -> bool:
    """Whether a record behind it tells of a removal, as one does that retention has made."""
    wanted = telling(removed)
    for segment in segments:
        with reading(segment.path) as file:
            if not file.seek(0, 2):
                continue
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                at = -1
                while (at := data.find(wanted, at + 1)) >= 0:
                    start = data.rfind(b"\n", 0, at) + 1
                    with contextlib.suppress(Unsealed):
                        if read(data[start : data.find(b"\n", at)]).event == PRUNED:
                            return True
    return False


def _shared(walk: Walk, segments: Sequence[Segment], processes: int) -> int:
    """Walk the first of `segments` in several processes; how many: all that are sound.

    Each process takes the last line of the segment before as it stands, and nothing of what it
    finds counts unless the walk through that segment ended on the very same line. From the first
    segment that is not sound the caller goes on alone, and says what is wrong with it.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    done = 0
    pool = ProcessPoolExecutor(
        min(processes, MAX_PROCESSES), get_context("fork"), _share, (walk, segments)
    )
    # A process that was killed, or cannot be made: the rest is walked alone.
    with pool, contextlib.suppress(BrokenProcessPool, OSError):
        for begin, end in pool.map(_walk_share, range(len(segments))):
            if not end.sound or not walk.stands(begin):
                pool.shutdown(wait=True, cancel_futures=True)
                break
            walk.take(segments[done], end)
            done += 1
    return done


_shares: tuple[Walk, Sequence[Segment]] | None = None
"""Of a process that `_shared` forked: given before the fork, since a walk holds keys."""


def _share(walk: Walk, segments: Sequence[Segment]) -> None:
    global _shares
    _shares = walk, segments


def _walk_share(number: int) -> tuple[Stage, Stage]:
    """One segment in a process of its own: what was taken for granted, and where it ended."""
    if _shares is None:
        raise RuntimeError("nothing was given before the fork")
    walk, segments = _shares[0].copy(), _shares[1]
    if number:
        before = segments[number - 1]
        try:
            entry = read(last_line(before.path)[:-1])
        except (Unsealed, OSError, AuditError):
            return walk.stage(sound=False), walk.stage(sound=False)
        walk.after(before, entry)
    begin = walk.stage(sound=True)
    try:
        walk.segment(segments[number], whole=True, newest=False)
    except (OSError, AuditError):
        return begin, walk.stage(sound=False)
    return begin, walk.stage(sound=walk.defect is None and not walk.torn)
