"""Several processes that share a check find and say exactly what one alone does."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from fumehood.audit import clock
from fumehood.audit import walk as module
from fumehood.audit.chain import AuditLog
from fumehood.audit.first_key import take_first_key
from fumehood.audit.folder import Segment
from fumehood.audit.head import parse_first_key
from fumehood.audit.report import Trust
from fumehood.audit.verify import verify
from support import tamper
from support.audit import KEYS

RECORDS, ROUNDS = 60, 60


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A log of several segments, and its first key, which does not lie beside it."""
    directory = tmp_path_factory.mktemp("original") / "audit"
    write(directory)
    return directory, parse_first_key(take_first_key(directory, KEYS))


def write(directory: Path) -> None:
    """Segments of about eight records."""
    with AuditLog.open(directory, KEYS, segment_bytes=5000) as log:
        for number in range(RECORDS):
            log.append("invocation.ended", {**tamper.RECORD, "n": number}).result(10)


def trusts(first_key: bytes) -> list[Trust]:
    """An auditor's, a stranger's with public keys only, the host's own."""
    return [tamper.trust(first_key), Trust(None, KEYS.public()), Trust(None, KEYS.public(), KEYS)]


def test_a_whole_log_is_found_whole(original: tuple[Path, bytes]) -> None:
    directory, first_key = original
    for trust in trusts(first_key):
        shared = verify(directory, trust, processes=3)
        assert shared == verify(directory, trust)
        assert shared.ok
        assert shared.records == RECORDS
        assert shared.signed == shared.segments - 1


def test_the_work_is_shared(original: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process walks the last segment only."""
    directory, first_key = original
    alone: list[str] = []
    walk = module.Walk.segment

    def noted(self: module.Walk, segment: Segment, *, whole: bool, newest: bool) -> None:
        alone.append(segment.path.name)
        walk(self, segment, whole=whole, newest=newest)

    monkeypatch.setattr(module.Walk, "segment", noted)
    report = verify(directory, tamper.trust(first_key), processes=2)
    assert report.segments > 3
    assert len(alone) == 1


def test_each_tampering_is_told_in_the_same_words(
    original: tuple[Path, bytes], tmp_path: Path
) -> None:
    directory, first_key = original
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    found = 0
    for number in range(ROUNDS):
        rng = random.Random(number)
        path = rng.choice(sorted(copy.glob("segment-*.jsonl")))
        tamper.TAMPERINGS[number % len(tamper.TAMPERINGS)](rng, path)
        trust = trusts(first_key)[number % 3]
        one = verify(copy, trust)
        assert verify(copy, trust, processes=3) == one
        found += not one.ok
        tamper.put_back(copy, directory)
    assert found > ROUNDS // 2


def test_the_clock_is_watched_across_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "audit"
    times = (f"2026-01-01T00:{59 - n // 60:02}:{59 - n % 60:02}.0Z" for n in range(3600))
    monkeypatch.setattr(clock, "now", lambda: next(times))
    write(directory)
    trust = Trust(None, KEYS.public(), KEYS)
    shared = verify(directory, trust, processes=3)
    assert shared == verify(directory, trust)
    assert (shared.clock_steps, len(shared.steps)) == (RECORDS - 1, module.MAX_STEPS)


def test_a_process_that_is_killed_leaves_its_part_to_the_rest(
    original: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, first_key = original
    parent, walk = os.getpid(), module.Walk.segment

    def killed(self: module.Walk, segment: Segment, *, whole: bool, newest: bool) -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        walk(self, segment, whole=whole, newest=newest)

    monkeypatch.setattr(module.Walk, "segment", killed)
    report = verify(directory, tamper.trust(first_key), processes=3)
    assert report.ok
    assert report.records == RECORDS
