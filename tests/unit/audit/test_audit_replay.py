"""What a crash left unfinished is found once, whatever segment it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.audit import replay
from fumehood.audit.chain import AuditLog
from fumehood.audit.folder import read_lines
from fumehood.audit.replay import LAUNCHED, STARTED, unfinished
from support.audit import KEYS


def write(directory: Path, *events: tuple[str, str], segment_bytes: int = 10_000) -> None:
    with AuditLog.open(directory, KEYS, segment_bytes=segment_bytes) as log:
        for event, name in events:
            log.append(event, {"invocation": name, "tool": "t"} if name else {}).result(10)


def test_what_was_launched_and_not_ended_is_found_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        (STARTED, ""),
        (LAUNCHED, "a"),
        (LAUNCHED, "b"),
        (LAUNCHED, "c"),
        ("invocation.ended", "b"),
        ("invocation.rejected", "x"),
    )
    found = unfinished(tmp_path)
    assert [item.invocation for item in found] == ["a", "c"]
    assert found[0].fields == {"invocation": "a", "tool": "t"}


def test_what_stands_before_the_last_start_is_settled(tmp_path: Path) -> None:
    write(tmp_path, (LAUNCHED, "old"), (STARTED, ""), (LAUNCHED, "new"))
    assert [item.invocation for item in unfinished(tmp_path)] == ["new"]


def test_every_segment_since_the_last_start_is_read(tmp_path: Path) -> None:
    write(tmp_path, (STARTED, ""), *((LAUNCHED, f"i{n}") for n in range(20)), segment_bytes=1000)
    write(tmp_path, ("invocation.ended", "i3"), segment_bytes=1000)
    assert len(list(tmp_path.glob("segment-*"))) > 3
    assert [item.invocation for item in unfinished(tmp_path)] == [
        f"i{n}" for n in range(20) if n != 3
    ]


def test_an_empty_log_has_nothing_unfinished(tmp_path: Path) -> None:
    write(tmp_path)
    assert unfinished(tmp_path) == []


def calls(log: AuditLog, count: int) -> None:
    for n in range(count):
        log.append(LAUNCHED, {"invocation": f"i{n}"}).result(10)
        log.append("invocation.ended", {"invocation": f"i{n}"}).result(10)


def read_by(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], int]:
    """What `unfinished` finds, and how many segments it read for it."""
    read: list[Path] = []

    def noted(path: Path) -> Iterator[bytes]:
        read.append(path)
        return read_lines(path)

    monkeypatch.setattr(replay, "read_lines", noted)
    return [item.invocation for item in unfinished(directory)], len(read)


def test_only_the_last_segment_is_read_however_long_the_daemon_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditLog.open(tmp_path, KEYS, segment_bytes=10_000) as log:
        log.append(STARTED, {}).result(10)
        calls(log, 100)
        log.append(LAUNCHED, {"invocation": "open"}).result(10)
    assert len(list(tmp_path.glob("segment-*.jsonl"))) > 5
    found, segments = read_by(tmp_path, monkeypatch)
    assert found == ["open"]
    assert segments <= 2  # the last may just have begun, and not tell yet


def test_a_launch_that_is_open_for_long_is_read_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditLog.open(tmp_path, KEYS, segment_bytes=10_000) as log:
        log.append(STARTED, {}).result(10)
        calls(log, 60)
        log.append(LAUNCHED, {"invocation": "long"}).result(10)
        calls(log, 60)
    every = len(list(tmp_path.glob("segment-*.jsonl")))
    found, segments = read_by(tmp_path, monkeypatch)
    assert found == ["long"]
    assert 3 < segments < every - 2


def test_before_a_start_nothing_is_called_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash left open has no end before the daemon that finds it has said so."""
    with AuditLog.open(tmp_path, KEYS, segment_bytes=10_000) as log:
        log.append(STARTED, {}).result(10)
        log.append(LAUNCHED, {"invocation": "cut"}).result(10)
    with AuditLog.open(tmp_path, KEYS, segment_bytes=10_000) as log:
        calls(log, 60)
    found, segments = read_by(tmp_path, monkeypatch)
    assert found == ["cut"]
    assert segments == len(list(tmp_path.glob("segment-*.jsonl")))
