"""What the log says of one invocation, each seal checked, however the log is cut into files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.find import MAX_RECORDS, find
from fumehood.errors import AuditError
from fumehood.model.ids import uuid7
from support.audit import KEYS

ONE, OTHER = uuid7(), uuid7()


def write(directory: Path, count: int = 1, **options: int) -> None:
    with AuditLog.open(directory, KEYS, **options) as log:
        for number in range(count):
            log.append("invocation.launched", {"invocation": ONE, "n": number})
            log.append("noise", {"text": ONE, "more": [f'"invocation":"{ONE}"']})
            log.append("invocation.ended", {"invocation": OTHER}).result(10)
        log.append("invocation.ended", {"invocation": ONE, "status": "ok"}).result(10)


def test_its_records_and_no_others_in_order(tmp_path: Path) -> None:
    write(tmp_path / "audit")
    found = find(tmp_path / "audit", ONE)
    assert [record["event"] for record in found.records] == [
        "invocation.launched", "invocation.ended",
    ]  # fmt: skip
    assert (found.broken, found.whole) == (0, True)
    assert found.records[1]["status"] == "ok"
    assert not {"mac", "prev", "key", "alg"} & set(found.records[0])


def test_over_many_segments(tmp_path: Path) -> None:
    write(tmp_path / "audit", 10, segment_bytes=1024)
    assert len(list((tmp_path / "audit").glob("segment-*.jsonl"))) > 3
    found = find(tmp_path / "audit", ONE)
    assert [record.get("n") for record in found.records] == [*range(10), None]


def test_a_record_that_was_edited_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path / "audit")
    (segment,) = (tmp_path / "audit").glob("segment-*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"status":"ok"', b'"status":"no"'))
    found = find(tmp_path / "audit", ONE)
    assert [record["event"] for record in found.records] == ["invocation.launched"]
    assert found.broken == 1


def test_what_is_not_searched_is_told(tmp_path: Path) -> None:
    write(tmp_path / "audit", 10, segment_bytes=1024)
    found = find(tmp_path / "audit", ONE, most_bytes=1)
    assert found.records
    assert not found.whole


def test_too_many_records_are_cut(tmp_path: Path) -> None:
    write(tmp_path / "audit", MAX_RECORDS * 2)
    found = find(tmp_path / "audit", ONE)
    assert len(found.records) == MAX_RECORDS
    assert not found.whole


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", f"{ONE}\n", ONE.upper()])
def test_what_is_no_invocation_has_no_records(tmp_path: Path, name: str) -> None:
    write(tmp_path / "audit")
    assert find(tmp_path / "audit", name).records == ()


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(AuditError):
        find(tmp_path / "none", ONE)
