"""What lies in the log's folder and is no file of it: named, never opened, never waited for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import BASE_TYPE, SEGMENT_TYPE
from fumehood.audit.find import find
from fumehood.audit.first_key import take_first_key
from fumehood.audit.folder import Special, list_segments
from fumehood.audit.follow import Place, last_lines, read_on
from fumehood.audit.head import PRUNED, Signed, read_signed, signature_path, write_signed
from fumehood.audit.index import Index
from fumehood.audit.record import Entry, Epoch, Position, read
from fumehood.audit.report import MAX_STRAYS, Trust
from fumehood.audit.segments import Due
from fumehood.audit.verify import verify
from fumehood.errors import AuditError
from support.audit import KEYS

ID = "01a2002f-a269-716f-a068-95ee26d21dae"
TRUST = Trust(None, KEYS.public(), KEYS)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "audit"
    with AuditLog.open(directory, KEYS, segment_bytes=2500) as log:
        for n in range(30):
            log.append("test", {"n": n, "invocation": ID}).result(10)
    return directory


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "audit"))


@pytest.fixture(autouse=True)
def hanging_fails() -> Iterator[None]:
    """Not a measurement: what waits for the other end of a FIFO waits for ever."""

    def rang(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, rang)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        back = os.open(".", os.O_PATH)
        os.chdir(path.parent)  # a socket's whole path must be short (unix(7))
        sock.bind(path.name)
        os.fchdir(back)
        os.close(back)


def link(path: Path) -> None:
    kept = path.with_name("kept")
    if not kept.exists():
        kept.write_bytes(b"")
    path.symlink_to("kept")


def device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("making a device takes root")
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # as /dev/zero: it never ends


KINDS = [fifo, bound, link, device, Path.mkdir]


def names(log: Path) -> dict[str, str]:
    segments = [segment.path.name for segment in list_segments(log)]
    return {
        "first": segments[0], "newest": segments[-1], "end": segments[0].replace("jsonl", "sig"),
        "head": "head", "base": "base", "lock": "lock", "first key": "first.key",
    }  # fmt: skip


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("which", ["first", "newest", "end", "head", "base", "lock", "first key"])
def test_what_is_no_plain_file_is_a_finding(
    log: Path, which: str, make: Callable[[Path], None]
) -> None:
    path = log / names(log)[which]
    path.unlink(missing_ok=True)
    make(path)
    report = verify(log, TRUST)
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.file) == ("special", path.name)
    assert "not a plain file" in str(report.first_bad)
    with pytest.raises(AuditError, match=path.name):
        AuditLog.open(log, KEYS)


@pytest.mark.parametrize("make", KINDS)
def test_nothing_reads_what_is_no_plain_file(
    log: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    segment = list_segments(log)[-1]
    segment.path.unlink()
    make(segment.path)
    for act in (
        lambda: find(log, ID),
        lambda: last_lines(log, 5),
        lambda: read_on(log, Place(segment.first, 0)),
        lambda: Index(tmp_path / "index", log).update(),
    ):
        with pytest.raises(Special, match=segment.path.name):
            act()


@pytest.mark.parametrize("make", KINDS)
def test_the_key_is_not_taken_from_a_folder_with_a_strange_head(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    directory = tmp_path / "audit"
    directory.mkdir(mode=0o700)
    make(directory / "head")
    with pytest.raises(AuditError):
        take_first_key(directory, KEYS)


@pytest.mark.parametrize("name", ["audit-index", "audit-index-journal", "audit-index-wal"])
@pytest.mark.parametrize("make", [fifo, bound, link, device, Path.mkdir])
def test_an_index_that_is_no_plain_file_is_refused(
    log: Path, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    with pytest.raises(AuditError, match="audit-index"):
        Index(tmp_path / "audit-index", log)


STRAYS = [
    "segment-0000000000000000.jsonl", "segment-1.jsonl", "segment-00000000000000001.jsonl",
    "segment-000000000000000x.jsonl", "segment-0000000000000001.jsonl.bak",
    "segment-0000000000000001 (copy).jsonl", "segment-0000000000000099.sig",
    "segment-0000000000000099.after-98.torn", "segment-", "segment-\n\x1b[2J",
]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"x\n"])
@pytest.mark.parametrize("name", STRAYS)
def test_a_file_that_only_looks_like_a_segment_is_a_finding(
    log: Path, name: str, content: bytes
) -> None:
    (log / name).write_bytes(content)
    report = verify(log, TRUST)
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.file) == ("stray", name)
    assert report.records == 30


def test_each_stray_file_is_named_beside_what_else_is_wrong(log: Path) -> None:
    for number in range(MAX_STRAYS + 4):
        (log / f"segment-{number}").touch()
    first = list_segments(log)[0].path
    first.write_bytes(first.read_bytes().replace(b'"n":3', b'"n":4'))
    report = verify(log, TRUST)
    assert report.first_bad is not None
    assert report.first_bad.kind == "edited"
    assert (len(report.strays), report.stray_files) == (MAX_STRAYS, MAX_STRAYS + 4)


def test_a_start_goes_on_beside_stray_files_and_reads_none(log: Path) -> None:
    shutil.copy(list_segments(log)[0].path, log / "segment-0000000000000000.jsonl")
    with AuditLog.open(log, KEYS) as opened:
        assert opened.last.seq == 30
        assert [stray.file for stray in opened.strays] == ["segment-0000000000000000.jsonl"]


def test_an_empty_segment_behind_one_that_is_not_finished_is_a_finding(log: Path) -> None:
    (log / "segment-0000000000000031.jsonl").touch()
    report = verify(log, TRUST)
    assert report.first_bad is not None
    assert report.first_bad.kind == "signature"


@pytest.mark.parametrize("number", [5, 29, 31, 500])
def test_a_copy_under_another_number_is_a_finding(log: Path, number: int) -> None:
    shutil.copy(list_segments(log)[0].path, log / f"segment-{number:016d}.jsonl")
    assert not verify(log, TRUST).ok


# --- what retention leaves


def sign_base(log: Path, end: Entry) -> None:
    signed = Signed(end.key, 0, end.position, end.epoch, "2026")
    write_signed(log / "base", signed, KEYS, BASE_TYPE)


def pruned(log: Path) -> tuple[Path, Path]:
    """A log whose two first segments went, as is on record; both, kept elsewhere."""
    one, other = (segment.path for segment in list_segments(log)[:2])
    aside = log.with_name("aside")
    aside.mkdir()
    end = read(other.read_bytes().splitlines()[-1])
    with AuditLog.open(log, KEYS) as writer:
        writer.append(PRUNED, Due(end, 2).fields).result(10)
    sign_base(log, end)
    for path in (one, other):
        path.rename(aside / path.name)
        path.with_suffix(".sig").unlink()
    return aside / one.name, aside / other.name


def test_what_a_crash_of_retention_left_is_no_finding(log: Path) -> None:
    _, other = pruned(log)
    assert verify(log, TRUST).ok
    shutil.copy(other, log)
    assert verify(log, TRUST).ok


@pytest.mark.parametrize("before", ["nothing", "something"])
def test_a_removal_of_which_no_record_tells_is_a_finding(log: Path, before: str) -> None:
    """Who has the host's keys can sign a base for whatever he likes to remove, and cut a segment
    in two where it begins; what the log tells of removals is sealed."""
    if before == "something":
        pruned(log)
    first = list_segments(log)[0].path
    lines = first.read_bytes().splitlines(keepends=True)
    end = read(lines[1][:-1])
    sign_base(log, end)
    cut = first.with_name(f"segment-{end.position.seq + 1:016d}.jsonl")
    cut.write_bytes(b"".join(lines[2:]))
    signed = read_signed(signature_path(first), SEGMENT_TYPE, None)
    again = replace(signed, first=end.position.seq + 1)
    write_signed(signature_path(cut), again, KEYS, SEGMENT_TYPE)
    signature_path(first).unlink()
    first.unlink()
    bad = verify(log, TRUST).first_bad
    assert bad is not None
    assert (bad.kind, bad.file) == ("base", "base")
    assert f"no record tells that retention removed the log up to record {end.position.seq}" in (
        bad.message
    )


def test_what_retention_left_must_lead_to_where_it_ended(log: Path) -> None:
    one, other = pruned(log)
    shutil.copy(one, log)
    bad = verify(log, TRUST).first_bad
    assert bad is not None
    assert (bad.kind, bad.file) == ("stray", one.name)
    (log / one.name).write_bytes(other.read_bytes())
    bad = verify(log, TRUST).first_bad
    assert bad is not None
    assert (bad.kind, bad.file, bad.line) == ("stray", one.name, 1)


def test_a_base_of_another_log_or_beyond_its_end_is_a_finding(log: Path) -> None:
    end = read(list_segments(log)[-1].path.read_bytes().splitlines()[-1])
    for chain, position in (
        ("0" * 16, Position(8, "0" * 96)),
        (end.key, Position(1000, "0" * 96)),
        (end.key, end.position),
    ):
        signed = Signed(chain, 0, position, Epoch(1, 0), "2026")
        write_signed(log / "base", signed, KEYS, BASE_TYPE)
        bad = verify(log, TRUST).first_bad
        assert bad is not None
        assert bad.kind == "base"


def test_a_pruned_log_without_its_tombstone_is_a_finding(log: Path) -> None:
    pruned(log)
    (log / "base").unlink()
    bad = verify(log, TRUST).first_bad
    assert bad is not None
    assert bad.kind == "deleted"
    assert "tombstone" in bad.message
    with pytest.raises(AuditError, match="tombstone"):
        AuditLog.open(log, KEYS)
