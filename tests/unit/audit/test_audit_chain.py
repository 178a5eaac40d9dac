"""The log as a chain: numbered and linked, taken up again, pruned; what is broken does not open."""

from __future__ import annotations

import concurrent.futures
import threading
from pathlib import Path

import pytest

from fumehood.audit import chain, segments
from fumehood.audit.chain import AuditLog
from fumehood.audit.head import PRUNED
from fumehood.audit.record import digest
from fumehood.audit.segments import Tail
from fumehood.crypto.signing import SigningKey
from fumehood.errors import AuditError
from support.audit import KEYS, custody, fill, records, verify


def test_records_are_numbered_linked_and_readable(tmp_path: Path) -> None:
    positions = fill(tmp_path / "audit", 3)
    found = records(tmp_path / "audit")
    assert [record["seq"] for record in found] == [1, 2, 3]
    lines = next((tmp_path / "audit").glob("segment-*.jsonl")).read_bytes().splitlines()
    digests = [position.digest for position in positions]
    assert [digest(line) for line in lines] == digests
    assert [record["prev"] for record in found] == ["0" * 96, *digests[:-1]]
    assert {record["alg"] for record in found} == {"HMAC-SHA-384"}
    assert str(found[0]["time"]).endswith("Z")


def test_nothing_is_readable_by_others(tmp_path: Path) -> None:
    fill(tmp_path / "audit", 1)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "audit").iterdir()}
    assert modes == {0}
    assert (tmp_path / "audit").stat().st_mode & 0o077 == 0


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    assert fill(tmp_path, 2)[0].seq == 4
    report = verify(tmp_path)
    assert (report.ok, report.records, report.segments) == (True, 5, 1)


def test_a_full_segment_is_followed_by_another_and_the_chain_goes_on(tmp_path: Path) -> None:
    for _ in range(6):
        fill(tmp_path, 3, segment_bytes=1500)
    report = verify(tmp_path)
    assert (report.ok, report.records) == (True, 18)
    assert report.segments == 3
    assert [record["seq"] for record in records(tmp_path)] == list(range(1, 19))


def test_many_threads_append_at_once_and_the_order_is_one(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, KEYS)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda n: log.append("test", {"n": n}), range(400)))
    positions = [future.result(10) for future in futures]
    log.close()
    assert sorted(position.seq for position in positions) == list(range(1, 401))
    assert verify(tmp_path).records == 400


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        with pytest.raises(AuditError, match="another process") as refused:
            AuditLog.open(tmp_path, KEYS)
        assert "state directory" in refused.value.remedy
        log.append("test", {}).result(10)
    fill(tmp_path, 1)
    assert verify(tmp_path).records == 2


def test_retention_removes_the_oldest_segments_and_the_rest_verifies(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS, segment_bytes=1000, keep_bytes=4000) as log:
        for n in range(40):
            log.append("test", {"n": n}).result(10)
    report = verify(tmp_path)
    assert report.ok
    assert sum(path.stat().st_size for path in tmp_path.glob("segment-*.jsonl")) < 5500
    pruned = [record for record in records(tmp_path) if record["event"] == PRUNED]
    assert pruned
    assert fill(tmp_path, 1)[0].seq == report.last.seq + 1


def test_retention_removes_nothing_that_it_does_not_understand(tmp_path: Path) -> None:
    """And goes on writing: what was damaged while it wrote, `verify` tells."""
    with AuditLog.open(tmp_path, KEYS, segment_bytes=1000) as log:
        for n in range(12):
            log.append("test", {"n": n}).result(10)
        oldest, second = sorted(tmp_path.glob("segment-*.jsonl"))[:2]
        second.write_bytes(second.read_bytes()[:-20] + b"?" * 19 + b"\n")
        rest = sum(path.stat().st_size for path in tmp_path.glob("segment-*.jsonl"))
        log._keep = rest - oldest.stat().st_size - second.stat().st_size
        assert log.prune(before="") == 1, "up to the one before it"
        assert not oldest.exists()
        log._keep = 1
        for n in range(6):
            log.append("test", {"n": n}).result(10)
        assert not log.given_up
        assert not second.exists(), "what ends well takes along what is before it"


def test_a_removal_is_on_record_before_anything_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        fill(tmp_path, 3, segment_bytes=1000)
    seen: list[object] = []

    def removing(directory: Path, _custody: object, removal: segments.Due, **_: object) -> None:
        told = [record for record in records(directory) if record["event"] == PRUNED]
        seen.extend(record["last"] for record in told)
        assert removal.end.position.seq == told[-1]["last"]

    with monkeypatch.context() as patch:
        patch.setattr(chain, "prune", removing)
        with AuditLog.open(tmp_path, KEYS, keep_bytes=1) as log:
            assert log.prune(before="") == 3
    assert len(seen) == 1
    assert verify(tmp_path).ok, "a crash between leaves a whole log"


def test_a_crash_within_retention_leaves_a_log_that_verifies_and_is_tidied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        fill(tmp_path, 3, segment_bytes=1000)

    def prune() -> int:
        with AuditLog.open(tmp_path, KEYS, keep_bytes=1) as log:
            return log.prune(before="")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "crash")))
        with pytest.raises(AuditError, match="crash"):
            prune()
    before = len(list(tmp_path.glob("segment-*.jsonl")))
    assert verify(tmp_path).ok
    prune()
    assert len(list(tmp_path.glob("segment-*.jsonl"))) == 1 < before
    assert verify(tmp_path).ok


def test_a_base_that_was_edited_or_removed_is_seen(tmp_path: Path) -> None:
    for _ in range(4):
        fill(tmp_path, 3, segment_bytes=1000)
    with AuditLog.open(tmp_path, KEYS, keep_bytes=1) as log:
        assert log.prune(before="") == 3
    base = tmp_path / "base"
    text = base.read_bytes()
    base.write_bytes(text.replace(b'"sig": "M', b'"sig": "N', 1))
    assert str(verify(tmp_path).first_bad).startswith("base:0: base")
    base.unlink()
    found = verify(tmp_path).first_bad
    assert found is not None
    assert found.kind == "deleted"


def test_an_unforeseen_error_of_the_writer_stops_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr(Tail, "write", lambda *_: 1 / 0)
    log = AuditLog.open(tmp_path, KEYS)
    with pytest.raises(AuditError):
        log.append("test", {}).result(10)
    with pytest.raises(AuditError):
        log.append("test", {})
    log.close()
    assert seen[0].exc_type is ZeroDivisionError


def test_an_unforeseen_error_stops_the_log_also_where_who_waits_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tail, "write", lambda *_: 1 / 0)
    with AuditLog.open(tmp_path, KEYS) as log:
        waiting = log.append("test", {}, wake=False)
        with pytest.raises(ZeroDivisionError):
            log.write_now()
        with pytest.raises(AuditError, match="nothing runs unrecorded"):
            waiting.result(0)
        with pytest.raises(AuditError, match="restart the daemon"):
            log.append("test", {})
        assert log.given_up


def test_a_closed_log_accepts_nothing_and_closes_again(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, KEYS)
    log.close()
    log.close()
    with pytest.raises(AuditError, match="closed"):
        log.append("test", {})


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, KEYS)
    futures = [log.append("test", {"n": n}) for n in range(300)]
    log.close()
    assert all(future.done() for future in futures)
    assert len(records(tmp_path)) == 300


def test_a_torn_last_line_is_set_aside_and_recorded(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    segment = next(tmp_path.glob("segment-*.jsonl"))
    with segment.open("ab") as file:
        file.write(b'{"seq":3,"time":"20\r\x00')
    assert verify(tmp_path).torn_bytes == 21
    assert verify(tmp_path).ok
    AuditLog.open(tmp_path, KEYS).close()
    torn = next(tmp_path.glob("*.torn"))
    assert torn.read_bytes() == b'{"seq":3,"time":"20\r\x00'
    last = records(tmp_path)[-1]
    assert (last["event"], last["bytes"], last["file"]) == (chain.TORN, 21, torn.name)
    report = verify(tmp_path)
    assert (report.ok, report.records, report.torn_bytes) == (True, 3, 0)


def test_a_first_line_torn_in_a_new_segment_is_set_aside_too(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    head = (tmp_path / "head").read_bytes()
    fill(tmp_path, 1, segment_bytes=100)
    (tmp_path / "segment-0000000000000004.jsonl").write_bytes(b'{"seq":')
    (tmp_path / "head").write_bytes(head)
    assert fill(tmp_path, 1)[0].seq == 5
    assert verify(tmp_path).ok


def test_a_power_cut_at_the_very_first_start_leaves_a_log_that_opens(tmp_path: Path) -> None:
    (tmp_path / "head").touch()
    fill(tmp_path, 1)
    assert verify(tmp_path).ok


def test_a_head_left_behind_by_a_power_cut_is_taken(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    old = (tmp_path / "head").read_bytes()
    fill(tmp_path, 2)
    (tmp_path / "head").write_bytes(old)
    assert fill(tmp_path, 1)[0].seq == 5
    assert verify(tmp_path).ok


def test_a_broken_chain_does_not_open(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    segment = next(tmp_path.glob("segment-*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"n":1', b'"n":7'))
    with pytest.raises(AuditError, match=r"not whole: segment-0000000000000001.jsonl:3: edited"):
        AuditLog.open(tmp_path, KEYS)
    segment.write_bytes(segment.read_bytes().replace(b'"n":7', b'"n":1'))
    fill(tmp_path, 1)


def test_another_key_does_not_open_it(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(AuditError, match="does not open"):
        AuditLog.open(tmp_path, custody(SigningKey.generate(), b"o" * 32))


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    fill(directory, 1)
    directory.chmod(0o777)
    with pytest.raises(AuditError, match="written by others"):
        AuditLog.open(directory, KEYS)


def test_a_place_that_is_no_directory_is_an_error_with_a_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="cannot be used"):
        AuditLog.open(tmp_path / "file", KEYS)
    with pytest.raises(AuditError, match="no audit log"):
        verify(tmp_path / "missing")
