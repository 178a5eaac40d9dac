"""Whatever an edited line claims of its place, the verifier's work is bounded."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import BASE_TYPE
from fumehood.audit.first_key import take_first_key
from fumehood.audit.head import Signed, parse_first_key, write_signed
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import Epoch, Position, digest
from fumehood.audit.report import Trust
from fumehood.audit.verify import verify
from fumehood.audit.walk import MAX_LOST_STEPS, MAX_SEGMENTS
from support.audit import KEYS
from support.tamper import EXTREMES, put_extreme

GUARD_SECONDS = 120


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, bytes]:
    directory = tmp_path / "audit"
    with AuditLog.open(directory, KEYS, segment_bytes=2500) as log:
        for n in range(40):
            log.append("test", {"n": n}).result(10)
    return directory, parse_first_key(take_first_key(directory, KEYS))


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Counts what moves a key, also in the processes that share the work (each from its fork on),
    and does not let a test hang that would."""
    moved = 0
    endless = tmp_path / "endless"  # what a process raises is lost when its part is not needed

    def count() -> None:
        nonlocal moved
        moved += 1
        if moved > 8 * (MAX_LOST_STEPS + 1000):
            endless.touch()
            raise RuntimeError("the key is moved without an end")

    advance, next_segment = Ratchet.advance, Ratchet.next_segment

    def counted_advance(self: Ratchet) -> None:
        count()
        advance(self)

    def counted_next(self: Ratchet) -> None:
        count()
        next_segment(self)

    monkeypatch.setattr(Ratchet, "advance", counted_advance)
    monkeypatch.setattr(Ratchet, "next_segment", counted_next)

    def rang(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("the verifier does not end")

    before = signal.signal(signal.SIGALRM, rang)
    signal.alarm(GUARD_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert not endless.exists()


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("segment-*.jsonl"))


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("numbers", EXTREMES)
@pytest.mark.parametrize(("segment", "at"), [(0, 2), (1, 0), (1, -1), (-1, 0)])
def test_a_line_that_claims_to_be_far_away_is_found(
    log: tuple[Path, bytes],
    segment: int,
    at: int,
    numbers: tuple[bytes | None, bytes | None, bytes],
    processes: int,
) -> None:
    directory, key = log
    path = segments(directory)[segment]
    lines = path.read_bytes().splitlines(keepends=True)
    put_extreme(lines, range(len(lines))[at], numbers)
    path.write_bytes(b"".join(lines))
    for first in (key, None):
        bad = verify(directory, Trust(first, KEYS.public()), processes=processes).first_bad
        assert bad is not None
        if first:
            assert (bad.file, bad.line) == (path.name, range(len(lines))[at] + 1)
            # The key of a segment before is behind: what claims to be from there is believed to be
            # only at the wrong place.
            assert bad.kind == "edited" or (bad.kind, numbers[0]) == ("reordered", b"0")


def test_two_segments_that_agree_on_a_number_far_away_are_found(log: tuple[Path, bytes]) -> None:
    """Each process takes the last line of the segment before as it stands."""
    directory, key = log
    one, other = segments(directory)[1:3]
    lines = one.read_bytes().splitlines(keepends=True)
    put_extreme(lines, len(lines) - 1, (None, b"999999998", b"0"))
    one.write_bytes(b"".join(lines))
    after = other.read_bytes().splitlines(keepends=True)
    put_extreme(after, 0, (None, b"999999999", b"0"))
    prev = b'"prev":"%b"' % digest(lines[-1][:-1]).encode()
    after[0] = re.sub(rb'"prev":"[0-9a-f]+"', prev, after[0])
    other.write_bytes(b"".join(after))
    trust = Trust(key, KEYS.public())
    assert verify(directory, trust, processes=3) == verify(directory, trust)
    assert not verify(directory, trust).ok


@pytest.mark.parametrize("segment", [MAX_SEGMENTS, 999_999_998, -1])
def test_a_base_that_claims_more_segments_than_can_be_is_found(
    log: tuple[Path, bytes], segment: int
) -> None:
    directory, key = log
    first, following = segments(directory)[:2]
    last = first.read_bytes().splitlines()[-1]
    end = Position(json.loads(last)["seq"], digest(last))
    signed = Signed(json.loads(last)["key"], 0, end, Epoch(segment, 0), "2026")
    write_signed(directory / "base", signed, KEYS, BASE_TYPE)
    first.unlink()
    lines = following.read_bytes().splitlines(keepends=True)
    put_extreme(lines, 0, (None, b"%d" % (segment + 1), b"0"))
    following.write_bytes(b"".join(lines))
    bad = verify(directory, Trust(key, KEYS.public())).first_bad
    assert bad is not None
    assert bad.kind == "base"


def test_a_line_moved_across_the_log_is_told_from_a_forged_one(
    log: tuple[Path, bytes], tmp_path: Path
) -> None:
    directory, key = log
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    last = segments(copy)[-1].read_bytes().splitlines(keepends=True)[-1]
    path = segments(copy)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], last, *lines[2:]]))
    bad = verify(copy, Trust(key, KEYS.public())).first_bad
    assert bad is not None
    assert (bad.kind, bad.line) == ("reordered", 3)
