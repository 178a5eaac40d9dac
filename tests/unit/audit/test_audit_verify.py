"""Tampering is found, said by name and place, and an untouched log passes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fumehood.audit.chain import AuditLog
from fumehood.audit.folder import MAX_LINE
from fumehood.audit.report import Kind
from fumehood.errors import AuditError
from support.audit import KEYS, verify

Lines = list[bytes]


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    """30 records in segments of about 8."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "audit"
        with AuditLog.open(directory, KEYS, segment_bytes=2500) as log:
            for n in range(30):
                log.append("test", {"n": n}).result(10)
        yield directory


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def change(directory: Path, edit: Callable[[Lines], Lines], segment: int = 0) -> None:
    path = sorted(directory.glob("segment-*.jsonl"))[segment]
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def test_an_untouched_log_is_whole(original: Path) -> None:
    report = verify(original)
    assert report.ok
    assert (report.records, report.last.seq) == (30, 30)
    assert report.segments >= 3


def swap(lines: Lines) -> Lines:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeat(lines: Lines) -> Lines:
    return [*lines[:3], lines[1], *lines[3:]]


@pytest.mark.parametrize(
    ("edit", "kind", "line"),
    [
        (lambda lines: [*lines[:2], lines[2].replace(b'"n"', b'"m"'), *lines[3:]], "edited", 3),
        (lambda lines: [*lines[:2], lines[2].replace(b":", b": ", 1), *lines[3:]], "edited", 3),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], "edited", 3),
        (lambda lines: [*lines[:2], b"{}\n", *lines[2:]], "edited", 3),
        (lambda lines: [*lines[:2], b"x" * (2 * MAX_LINE) + b"\n", *lines[2:]], "edited", 3),
        (lambda lines: [*lines[:2], *lines[3:]], "deleted", 3),
        (lambda lines: lines[1:], "deleted", 1),
        (swap, "reordered", 2),
        (repeat, "reordered", 4),
        (lambda lines: lines[:-1], "deleted", 1),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "edited", 0),
        (lambda lines: [], "deleted", 1),
    ],
)
def test_each_kind_of_tampering_is_named_with_its_line(
    copy: Path, edit: Callable[[Lines], Lines], kind: Kind, line: int
) -> None:
    change(copy, edit)
    report = verify(copy)
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.line) == (kind, line)
    assert report.first_bad.file.startswith("segment-")
    assert report.first_bad.file in str(report.first_bad)


def test_the_last_records_cut_off_are_missed(copy: Path) -> None:
    change(copy, lambda lines: lines[:-1], segment=-1)
    bad = verify(copy).first_bad
    assert bad is not None
    assert (bad.kind, bad.message) == ("truncated", "records 30 to 30 are missing at the end")


def test_a_last_record_cut_in_the_middle_is_no_power_cut(copy: Path) -> None:
    change(copy, lambda lines: [*lines[:-1], lines[-1][:50]], segment=-1)
    bad = verify(copy).first_bad
    assert bad is not None
    assert bad.kind == "truncated"
    with pytest.raises(AuditError):
        AuditLog.open(copy, KEYS)


@pytest.mark.parametrize(("segment", "kind"), [(0, "deleted"), (1, "deleted"), (-1, "truncated")])
def test_a_removed_segment_is_missed(copy: Path, segment: int, kind: Kind) -> None:
    sorted(copy.glob("segment-*.jsonl"))[segment].unlink()
    bad = verify(copy).first_bad
    assert bad is not None
    assert bad.kind == kind
    with pytest.raises(AuditError):
        AuditLog.open(copy, KEYS)


def test_a_renamed_segment_is_named(copy: Path) -> None:
    path = sorted(copy.glob("segment-*.jsonl"))[-1]
    path.rename(copy / "segment-0000000000000029.jsonl")
    bad = verify(copy).first_bad
    assert bad is not None
    assert bad.kind == "renamed"


def test_a_missing_or_edited_head_is_named(copy: Path) -> None:
    head = (copy / "head").read_bytes()
    for content in (head.replace(b"30", b"31", 1), b"{}", b"", b"\xff" * 512):
        (copy / "head").write_bytes(content)
        bad = verify(copy).first_bad
        assert bad is not None
        assert bad.kind == "head"
    (copy / "head").unlink()
    assert verify(copy).first_bad is not None


def test_a_folder_from_which_all_was_removed_is_no_whole_log(copy: Path, tmp_path: Path) -> None:
    for path in copy.iterdir():
        path.unlink()
    bad = verify(copy).first_bad
    assert bad is not None
    assert (bad.kind, "all of it was removed" in bad.message) == ("head", True)
    AuditLog.open(tmp_path / "begun", KEYS).close()
    assert verify(tmp_path / "begun").ok


def test_two_histories_of_one_key_do_not_mix(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with AuditLog.open(other, KEYS, segment_bytes=2500) as log:
        for n in range(30):
            log.append("test", {"n": n + 1000}).result(10)
    first = sorted(copy.glob("segment-*.jsonl"))[0].name
    shutil.copy(other / first, copy / first)
    bad = verify(copy).first_bad
    assert bad is not None
    assert bad.kind == "forked"
    shutil.copytree(other, tmp_path / "third")
    shutil.copy(copy / "head", tmp_path / "third" / "head")
    bad = verify(tmp_path / "third").first_bad
    assert bad is not None
    assert bad.kind == "wrong_key"


def test_the_wrong_key_is_said_to_be_wrong(copy: Path) -> None:
    bad = verify(copy, first_key=b"x" * 48).first_bad
    assert bad is not None
    assert bad.kind == "wrong_key"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_random_tampering_passes(original: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(original, Path(folder) / "copy"))
        paths = sorted(copy.glob("segment-*.jsonl"))
        path = paths[data.draw(st.integers(0, len(paths) - 1))]
        before = path.read_bytes()
        lines = before.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines) - 1))
        how = data.draw(
            st.sampled_from(["flip", "drop", "swap", "repeat", "cut", "insert", "line"])
        )
        if how == "flip":
            where = data.draw(st.integers(0, len(before) - 1))
            changed = bytearray(before)
            changed[where] ^= 1 << data.draw(st.integers(0, 7))
            after = bytes(changed)
        elif how == "drop":
            after = b"".join(lines[:at] + lines[at + 1 :])
        elif how == "swap":
            to = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != at))
            lines[at], lines[to] = lines[to], lines[at]
            after = b"".join(lines)
        elif how == "repeat":
            after = b"".join([*lines[: at + 1], lines[at], *lines[at + 1 :]])
        elif how == "cut":
            after = before[: data.draw(st.integers(0, len(before) - 1))]
        elif how == "insert":
            where = data.draw(st.integers(0, len(before) - 1))
            after = before[:where] + data.draw(st.binary(min_size=1, max_size=9)) + before[where:]
        else:
            forged = lines[at].replace(b'"n":', b'"N":')
            after = b"".join([*lines[:at], forged, *lines[at + 1 :]])
        path.write_bytes(after)
        assert verify(copy).ok == (after == before)
