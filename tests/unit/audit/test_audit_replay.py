"""What a crash left unfinished is found once, whatever segment it stands in."""

from __future__ import annotations

from pathlib import Path

from fumehood.audit.chain import AuditLog
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
