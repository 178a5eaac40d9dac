"""The writer on a disk that stalls, fills up or fails, in a log that is moved away or changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fumehood.audit import chain, queue, segments
from fumehood.audit.chain import AuditLog
from fumehood.audit.record import digest
from fumehood.errors import AuditError
from support.audit import KEYS, SIGNER, fill, records, verify


class StalledDisk:
    """fdatasync waits until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._entered, self._go = threading.Event(), threading.Event()
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._fdatasync)

    def _fdatasync(self, fd: int) -> None:
        self.calls += 1
        self._entered.set()
        assert self._go.wait(10)
        self._real(fd)

    def wait_for_a_write(self) -> None:
        assert self._entered.wait(10)

    def go_on(self) -> None:
        self._go.set()


def test_waiting_records_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = StalledDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS) as log:
        first = log.append("test", {})
        disk.wait_for_a_write()
        rest = [log.append("test", {}) for _ in range(100)]
        assert not first.done()
        disk.go_on()
        assert [future.result(10).seq for future in rest] == list(range(2, 102))
    assert disk.calls == 2


def test_a_future_is_done_only_after_the_record_is_on_disk(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        position = log.append("test", {"n": 1}).result(10)
        line = next(tmp_path.glob("segment-*.jsonl")).read_bytes()
        assert digest(line[:-1]) == position.digest
        assert log.last == position


def test_giving_up_the_wait_does_not_give_up_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StalledDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS) as log:
        with pytest.raises(TimeoutError):
            log.append("test", {"n": 1}).result(0)
        disk.go_on()
        assert log.append("test", {"n": 2}).result(10).seq == 2
    assert [record["n"] for record in records(tmp_path)] == [1, 2]


def test_the_queue_is_bounded_and_overrun_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StalledDisk(monkeypatch)
    monkeypatch.setattr(queue, "MAX_PENDING", 4)
    with AuditLog.open(tmp_path, KEYS) as log:
        accepted = [log.append("test", {})]
        disk.wait_for_a_write()
        accepted += [log.append("test", {}) for _ in range(4)]
        with pytest.raises(AuditError, match="wait to be written"):
            log.append("test", {})
        disk.go_on()
        assert [future.result(10).seq for future in accepted] == [1, 2, 3, 4, 5]
        assert log.append("test", {}).result(10).seq == 6


class FailingDisk:
    """fdatasync fails until it is mended; `appeared` tells of the first failure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chain, "RETRY_SECONDS", 0.01)
        self.mended = False
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._fdatasync)

    def _fdatasync(self, fd: int) -> None:
        if not self.mended:
            raise OSError(28, "No space left on device")
        self._real(fd)


def test_while_the_disk_fails_nothing_is_confirmed_and_afterwards_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 2)
    disk = FailingDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS) as log:
        with pytest.raises(AuditError, match="nothing runs unrecorded") as failed:
            log.append("test", {"n": 2}).result(10)
        assert "No space left" in failed.value.detail
        assert str(tmp_path) not in str(failed.value)
        assert log.broken is not None
        for n in (3, 4):
            with pytest.raises(AuditError, match="just now"):
                log.append("test", {"n": n}).result(0)
        disk.mended = True
        while log.broken is not None:
            threading.Event().wait(0.01)
        assert log.append("test", {"n": 5}).result(10).seq == 6
    assert [record["n"] for record in records(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert verify(tmp_path).ok


def test_who_waits_may_write_what_is_queued_without_the_writer(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        quiet = [log.append("test", {"n": n}, wake=False) for n in range(3)]
        assert not any(future.done() for future in quiet)
        log.write_now()
        assert [future.result(0).seq for future in quiet] == [1, 2, 3]
        log.write_now()
        left = log.append("test", {"n": 3}, wake=False)
        assert log.append("test", {"n": 4}).result(10).seq == 5
        assert left.result(0).seq == 4, "the next record takes along what was left"
        log.append("test", {"n": 5}, wake=False)
    assert [record["n"] for record in records(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert verify(tmp_path).ok


def test_what_the_disk_does_not_take_at_once_is_the_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 1)
    disk = FailingDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS) as log:
        refused = log.append("test", {"n": 1}, wake=False)
        log.write_now()
        with pytest.raises(AuditError, match="nothing runs unrecorded"):
            refused.result(10)
        log.write_now()
        disk.mended = True
        while log.broken is not None:
            threading.Event().wait(0.01)
        assert log.append("test", {"n": 2}).result(10).seq == 3
    assert [record["n"] for record in records(tmp_path)] == [0, 1, 2]


def test_nobody_waits_for_a_writer_that_is_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = StalledDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS) as log:
        first = log.append("test", {})
        disk.wait_for_a_write()
        second = log.append("test", {}, wake=False)
        log.write_now()
        assert not second.done()
        disk.go_on()
        assert (first.result(10).seq, second.result(10).seq) == (1, 2)


def test_a_writer_that_finds_its_records_written_goes_on(tmp_path: Path) -> None:
    class Late:
        """The writer's turn, before which somebody else writes what woke it."""

        def __init__(self, turn: threading.Lock) -> None:
            self._turn = turn
            self.acquire, self.release = turn.acquire, turn.release

        def __enter__(self) -> None:
            log.write_now()
            self._turn.acquire()

        def __exit__(self, *_: object) -> None:
            self._turn.release()

    with AuditLog.open(tmp_path, KEYS) as log:
        log._turn = Late(log._turn)
        assert log.append("test", {}).result(10).seq == 1
        assert log.append("test", {}).result(10).seq == 2
        assert not log.given_up
    assert verify(tmp_path).records == 2


def test_a_new_segment_that_cannot_be_made_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 3)
    disk = FailingDisk(monkeypatch)
    with AuditLog.open(tmp_path, KEYS, segment_bytes=100) as log:
        with pytest.raises(AuditError):
            log.append("test", {"n": 3}).result(10)
        disk.mended = True
        while log.broken is not None:
            threading.Event().wait(0.01)
    report = verify(tmp_path)
    assert (report.ok, report.records, report.segments) == (True, 4, 2)


def test_closing_while_the_disk_fails_tries_once_more_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 2)
    disk = FailingDisk(monkeypatch)
    log = AuditLog.open(tmp_path, KEYS)
    with pytest.raises(AuditError):
        log.append("test", {}).result(10)
    log.close()
    disk.mended = True
    fill(tmp_path, 1)
    assert verify(tmp_path).ok


def test_a_segment_changed_while_the_disk_fails_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 2)
    disk = FailingDisk(monkeypatch)
    log = AuditLog.open(tmp_path, KEYS)
    with pytest.raises(AuditError):
        log.append("test", {}).result(10)
    add_to(next(tmp_path.glob("segment-*.jsonl")))
    disk.mended = True
    log._writer.join(10)
    with pytest.raises(AuditError, match="nothing runs unrecorded"):
        log.append("test", {})
    log.close()


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def add_to(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def a_tick_later(path: Path) -> None:
    """Wait until a change would have another time: file systems count in ticks of the kernel."""
    before, probe = path.stat().st_ctime_ns, path.with_name("probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns != before:
            break
    probe.unlink()


def edit(path: Path) -> None:
    a_tick_later(path)
    with path.open("r+b") as file:
        place = file.read().index(b'"n":0')
        file.seek(place)
        file.write(b'"n":1')


@pytest.mark.parametrize("harm", [remove, cut, add_to, edit])
def test_a_segment_removed_or_changed_under_the_writer_stops_it(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    fill(tmp_path, 1)
    log = AuditLog.open(tmp_path, KEYS)
    harm(next(tmp_path.glob("segment-*.jsonl")))
    with pytest.raises(AuditError):
        log.append("test", {}).result(10)
    log.close()


def test_a_disk_that_failed_often_does_not_make_it_blind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_READ_BACK", 2)
    disk = FailingDisk(monkeypatch)
    disk.mended = True
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {"n": 0}).result(10)
        disk.mended = False
        for _ in range(6):
            a_tick_later(next(tmp_path.glob("segment-*.jsonl")))
            with pytest.raises(AuditError):
                log.append("test", {"n": 0}).result(10)
        disk.mended = True
        while log.broken is not None:
            threading.Event().wait(0.01)
        assert log._tail._read_back == 0
        with log._turn:  # the writer is done with the group
            edit(next(tmp_path.glob("segment-*.jsonl")))
        log.look()
        assert log.given_up


def test_an_edit_is_noticed_between_records_too(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        for n in range(3):
            log.append("test", {"n": n}).result(10)
        log.look()
        assert not log.given_up
        edit(next(tmp_path.glob("segment-*.jsonl")))
        log.look()
        assert log.given_up


def test_a_segment_that_was_only_touched_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MAX_READ_BACK", 4)
    reads: list[Path] = []
    leads_to = segments._leads_to
    monkeypatch.setattr(
        segments, "_leads_to", lambda path, last: reads.append(path) or leads_to(path, last)
    )
    with AuditLog.open(tmp_path, KEYS, segment_bytes=700) as log:
        for n in range(20):
            log.append("test", {"n": n}).result(10)
            path = max(tmp_path.glob("segment-*.jsonl"))
            a_tick_later(path)
            os.utime(path)
            log.look()
        assert not log.given_up
        assert len(reads) == 4, "of what changes without end no more is read"
    assert verify(tmp_path).ok


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from fumehood.audit.chain import AuditLog
    from fumehood.audit.custody import FixedCustody
    from fumehood.crypto.signing import SigningKey
    from fumehood.errors import AuditError

    keys = FixedCustody(b"k" * 32, SigningKey.from_bytes(bytes.fromhex(sys.argv[2])))
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # write() gives EFBIG, like ENOSPC
    log = AuditLog.open(Path(sys.argv[1]), keys)
    done = 0
    try:
        for n in range(1000):
            log.append("test", {"n": n}).result(10)
            done += 1
    except AuditError as error:
        print(done, error.detail)
    try:
        log.append("test", {}).result(10)
        print("accepted")
    except AuditError:
        print("refused")
    log.close()
"""


def test_a_full_disk_refuses_the_record_that_does_not_fit_and_all_after_it(tmp_path: Path) -> None:
    process = child(FULL_DISK, tmp_path, SIGNER.to_bytes().hex())
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    first, second = out.splitlines()
    done = int(first.split()[0])
    assert 5 < done < 30
    assert "File too large" in first
    assert second == "refused"
    report = verify(tmp_path)
    assert (report.ok, report.records, report.torn_bytes) == (True, done, 0)
    assert fill(tmp_path, 1)[0].seq == done + 1


KILLED = """
    import sys
    from pathlib import Path
    from fumehood.audit.chain import AuditLog
    from fumehood.audit.custody import FixedCustody
    from fumehood.crypto.signing import SigningKey

    keys = FixedCustody(b"k" * 32, SigningKey.from_bytes(bytes.fromhex(sys.argv[2])))
    log = AuditLog.open(Path(sys.argv[1]), keys, segment_bytes=20_000)
    while True:
        futures = [log.append("test", {"n": n}) for n in range(20)]
        print(futures[-1].result().seq, flush=True)
"""


def test_a_killed_writer_loses_no_confirmed_record(tmp_path: Path) -> None:
    process = child(KILLED, tmp_path, SIGNER.to_bytes().hex())
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(10)]
    assert verify(tmp_path).ok  # while it writes
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    confirmed = max([*seen, *map(int, rest.split())])
    report = verify(tmp_path)
    assert report.ok
    assert report.records >= confirmed
    assert fill(tmp_path, 1)[0].seq > confirmed
    assert verify(tmp_path).ok


CRASHED = """
    import os, sys
    from pathlib import Path
    from fumehood.audit.chain import AuditLog
    from fumehood.audit.custody import FixedCustody
    from fumehood.audit.segments import Tail
    from fumehood.crypto.signing import SigningKey

    keys = FixedCustody(b"k" * 32, SigningKey.from_bytes(bytes.fromhex(sys.argv[2])))
    log = AuditLog.open(Path(sys.argv[1]), keys, segment_bytes=2000)
    finished = False
    finish, write_head = Tail.finish, Tail._write_head

    def finishing(self, last, time):
        global finished
        finish(self, last, time)
        finished = True
        if sys.argv[3] == "finished":
            os._exit(7)

    def writing(self, ratchet, sealer, position):
        if finished:
            os._exit(7)
        write_head(self, ratchet, sealer, position)

    Tail.finish, Tail._write_head = finishing, writing
    while True:
        print(log.append("test", {}).result(10).seq, flush=True)
"""


@pytest.mark.parametrize(("when", "behind"), [("finished", 0), ("begun", 1)])
def test_a_crash_between_the_end_of_a_segment_and_the_head_is_recovered_from(
    tmp_path: Path, when: str, behind: int
) -> None:
    process = child(CRASHED, tmp_path, SIGNER.to_bytes().hex(), when)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    confirmed = int(out.split()[-1])
    report = verify(tmp_path)
    assert (report.ok, report.records, report.behind_head) == (True, confirmed + behind, behind)
    assert report.segments == 1 + behind
    assert fill(tmp_path, 1)[0].seq == confirmed + behind + 1
    assert (verify(tmp_path).ok, verify(tmp_path).behind_head) == (True, 0)


def test_a_head_from_before_the_last_segment_was_begun_is_a_finding(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    early = (tmp_path / "head").read_bytes()
    fill(tmp_path, 6, segment_bytes=1500)
    first_end = (tmp_path / "head").read_bytes()
    fill(tmp_path, 1, segment_bytes=1500)
    (tmp_path / "head").write_bytes(first_end)
    assert verify(tmp_path).ok, "a power cut leaves it so"
    (tmp_path / "head").write_bytes(early)
    bad = verify(tmp_path).first_bad
    assert bad is not None
    assert (bad.kind, "an earlier one" in bad.message) == ("head", True)
    with pytest.raises(AuditError, match="an earlier one"):
        AuditLog.open(tmp_path, KEYS)


def exchange(audit: Path) -> None:
    audit.rename(audit.with_name("away"))
    fill(audit, 1)


def copy_in_place(audit: Path) -> None:
    audit.rename(audit.with_name("away"))
    shutil.copytree(audit.with_name("away"), audit)


def rename_segment(audit: Path) -> None:
    segment = next(audit.glob("segment-*.jsonl"))
    segment.rename(audit / "kept")


def unlink_head(audit: Path) -> None:
    (audit / "head").unlink()


def replace_head(audit: Path) -> None:
    (audit / "other").write_bytes((audit / "head").read_bytes())
    (audit / "other").rename(audit / "head")


def move_away(audit: Path) -> None:
    audit.rename(audit.with_name("away"))


MOVES = [exchange, copy_in_place, rename_segment, unlink_head, replace_head, move_away]


def test_a_log_that_somebody_saw_go_away_writes_nothing_more(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.append("test", {}).result(10)
        log.lose("its folder was moved")
        assert log.given_up
        with pytest.raises(AuditError, match="moved away by somebody else") as refused:
            log.append("test", {})
        assert "its folder was moved" in refused.value.detail
        log._queue.settle([], [])
        assert log.broken is not None, "also when a group was on its way to the disk"
    assert len(records(tmp_path / "audit")) == 1


@pytest.mark.parametrize(
    "segment_bytes", [chain.SEGMENT_BYTES, 100], ids=["within a segment", "at its end"]
)
@pytest.mark.parametrize("move", MOVES)
def test_a_log_moved_away_under_the_writer_takes_no_more_records(
    tmp_path: Path, move: Callable[[Path], None], segment_bytes: int
) -> None:
    audit = tmp_path / "audit"
    fill(audit, 1)
    log = AuditLog.open(audit, KEYS, segment_bytes=segment_bytes)
    move(audit)
    before = sorted(path for path in tmp_path.rglob("*") if path.suffix != ".jsonl")
    with pytest.raises(AuditError, match="changed or moved away") as refused:
        log.append("test", {}).result(10)
    assert "audit verify" in refused.value.remedy
    assert log.given_up
    log.close()
    assert b'"seq":2' not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.jsonl"))
    after = sorted(path for path in tmp_path.rglob("*") if path.suffix != ".jsonl")
    assert after == before, "nothing of it is written into another folder"


def test_a_new_segment_is_not_begun_in_another_logs_folder(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    log = AuditLog.open(audit, KEYS)
    exchange(audit)
    before = verify(audit).last
    with pytest.raises(AuditError, match="changed or moved away"):
        log.append("test", {}).result(10)
    log.close()
    assert verify(audit).last == before
    assert len(list(audit.glob("segment-*"))) == 1


@pytest.mark.parametrize("move", MOVES)
def test_a_look_notices_what_no_record_has_met_yet(
    tmp_path: Path, move: Callable[[Path], None]
) -> None:
    audit = tmp_path / "audit"
    fill(audit, 1)
    with AuditLog.open(audit, KEYS) as log:
        log.look()
        assert not log.given_up
        log.append("test", {}).result(10)
        move(audit)
        log.look()
        assert log.given_up
        with pytest.raises(AuditError, match="changed or moved away"):
            log.append("test", {})
