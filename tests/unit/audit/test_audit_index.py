"""Searching: the index only tells where to look, and is made again when it is wrong or gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.follow import last_lines, read_on
from fumehood.audit.index import Index
from fumehood.audit.query import Query
from fumehood.audit.report import Trust
from fumehood.audit.verify import verify
from fumehood.audit.whole import Whole
from fumehood.errors import AuditError
from fumehood.model.ids import uuid7
from support.audit import KEYS

IDS = [uuid7() for _ in range(6)]


def write(directory: Path, numbers: range = range(6), **options: int) -> None:
    with AuditLog.open(directory, KEYS, **options) as log:
        for number in numbers:
            fields = {
                "invocation": IDS[number % 6], "tool": f"tool-{number % 2}", "n": number,
                "caller": {"uid": 1000 + number % 3}, "status": "ok" if number % 3 else "timeout",
                "findings": ["secret:aws:redact"] if number == 4 else [],
            }  # fmt: skip
            log.append("invocation.ended", fields).result(10)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    write(tmp_path / "audit", segment_bytes=1500)
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        assert index.update() == 6
        yield index


def numbers(index: Index | Whole, **query: object) -> list[int]:
    hits = list(index.search(Query(**query)))  # type: ignore[arg-type]
    assert all(hit.sound for hit in hits)
    return [hit.record["n"] for hit in hits]


ASKED = pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"tool": "tool-1"}, [1, 3, 5]),
        ({"caller": 1002}, [2, 5]),
        ({"status": "timeout"}, [0, 3]),
        ({"finding": "aws"}, [4]),
        ({"text": '"n":5'}, [5]),
        ({"event": "tool.added"}, []),
        ({"invocation": IDS[2]}, [2]),
        ({"since": "2100"}, []),
        ({"until": "2100"}, [0, 1, 2, 3, 4, 5]),
        ({"newest": True, "limit": 2}, [5, 4]),
        ({"tool": "tool-0", "status": "ok"}, [2, 4]),
        ({"seq": 3}, [2]),
        ({"tool": "' OR 1=1 --"}, []),
    ],
)


@ASKED
def test_what_is_asked_for_is_found(
    index: Index, query: dict[str, object], found: list[int]
) -> None:
    assert numbers(index, **query) == found


@ASKED
def test_the_log_itself_gives_the_same_in_its_order(
    index: Index, tmp_path: Path, query: dict[str, object], found: list[int]
) -> None:
    log = Whole(tmp_path / "audit")
    asked = {name: query[name] for name in query.keys() - {"newest", "limit"}}
    assert set(numbers(log, **asked)) >= set(found)
    assert numbers(log, **asked) == numbers(index, **asked)
    assert log.unread == 0


def test_what_was_written_since_is_taken_in_once(index: Index, tmp_path: Path) -> None:
    write(tmp_path / "audit", range(6, 9))
    assert (index.update(), index.update()) == (3, 0)
    assert numbers(index) == list(range(9))


def test_all_there_are_are_found_however_many_at_once(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        for number in range(6, 1100):
            last = log.append("noise", {"n": number})
        last.result(10)
    monkeypatch.setattr("fumehood.audit.index._BATCH", 100)
    index.update()
    assert numbers(index) == list(range(1100))
    assert numbers(index, newest=True, limit=1050) == list(range(1099, 49, -1))


@pytest.mark.parametrize("text", ["Prüfung", "🧪 auf", 'sagt "nein"', '"why":"Die Pr', r"\u00fc"])
def test_text_is_found_as_it_was_given_and_as_it_stands(
    index: Index, tmp_path: Path, text: str
) -> None:
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.append("stop", {"n": 6, "why": 'Die Prüfung 🧪 auf Blei sagt "nein"'}).result(10)
    index.update()
    assert numbers(index, text=text) == [6]


def test_an_index_that_lacks_rows_is_made_again(index: Index, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("DELETE FROM records WHERE seq < 5")
    database.close()
    assert index.update() == 6
    assert numbers(index) == list(range(6))


EDITS = (
    "UPDATE records SET event = 'nothing' WHERE seq = 3",
    f"UPDATE records SET invocation = '{IDS[0]}' WHERE seq = 3",
    "UPDATE records SET seq = 2 WHERE seq = 3",
    "CREATE TRIGGER no_more AFTER INSERT ON records BEGIN"
    " UPDATE records SET event = 'nothing' WHERE seq = 3; END;"
    "DELETE FROM state",
)


@pytest.mark.parametrize("edit", EDITS)
def test_an_index_whose_rows_somebody_edited_is_made_again(
    index: Index, tmp_path: Path, edit: str
) -> None:
    with sqlite3.connect(tmp_path / "index") as database:
        database.executescript(edit)
    database.close()
    for _ in range(2):
        with Index(tmp_path / "index", tmp_path / "audit") as again:
            again.update()
            assert numbers(again, event="invocation.ended") == list(range(6))
            assert numbers(again, invocation=IDS[2]) == [2]
            assert numbers(again, seq=3) == [2]
    assert index.update() in (0, 6), "an index that is open meanwhile goes on"
    assert numbers(index, event="invocation.ended") == list(range(6))


def test_an_index_without_the_note_of_how_it_was_left_is_made_again(
    index: Index, tmp_path: Path
) -> None:
    (tmp_path / "index.left").unlink()
    assert index.update() == 6
    assert index.update() == 0


def overwritten(data: bytes) -> bytes:
    return data[:8192] + b"\xff" * (len(data) - 12288) + data[-4096:]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def blank(data: bytes) -> bytes:
    return data[:4096] + bytes(4096) + data[8192:]


def without_schema(data: bytes) -> bytes:
    return data[:120] + b"\xaa" * 3000 + data[3120:]


def header(data: bytes) -> bytes:
    return b"\xff" * 100 + data[100:]


@pytest.mark.parametrize("harm", [overwritten, cut, blank, without_schema, header])
def test_a_damaged_index_is_made_again(
    index: Index, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "index").write_bytes(harm((tmp_path / "index").read_bytes()))
    with Index(tmp_path / "index", tmp_path / "audit") as again:
        again.update()
        assert numbers(again) == list(range(6))
        assert numbers(again, tool="tool-1", newest=True) == [5, 3, 1]
    with Index(tmp_path / "index", tmp_path / "audit") as again:
        assert again.update() == 0


@pytest.mark.parametrize("table", ["records", "state"])
def test_an_index_without_a_table_is_made_again(index: Index, tmp_path: Path, table: str) -> None:
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute(f"DROP TABLE {table}")
    database.close()
    with Index(tmp_path / "index", tmp_path / "audit") as again:
        assert again.update() == 6
        assert numbers(again) == list(range(6))


def test_an_index_that_is_damaged_while_it_is_searched_is_made_again(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fumehood.audit.index._BATCH", 2)
    hits = index.search(Query())
    first = next(hits)
    with sqlite3.connect(tmp_path / "index") as database:
        database.execute("DROP TABLE records")
    database.close()
    assert [hit.record["n"] for hit in (first, *hits)] == list(range(6))


def test_an_index_that_another_command_writes_is_left_to_it(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "audit", range(6, 7))
    monkeypatch.setattr("fumehood.audit.ways.BUSY_SECONDS", 0)
    with sqlite3.connect(tmp_path / "index", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AuditError, match="another command"):
            Index(tmp_path / "index", tmp_path / "audit").update()
        other.execute("COMMIT")
    other.close()
    assert index.update() == 1


def test_what_retention_removed_is_not_missed(index: Index, tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        assert log.prune(before="2100")
    assert index.update() == 1
    first, *_ = (hit.record["seq"] for hit in index.search(Query()))
    assert first > 1
    assert (index.update(), index.unread) == (0, 0)


def test_records_that_the_log_does_not_have_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "audit")
    (segment,) = (tmp_path / "audit").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([lines[0], b"x\n", *lines[3:]]))
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        assert (index.update(), index.unread) == (4, 2)
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        assert (index.update(), index.unread) == (0, 2)
    segment.write_bytes(b"".join(lines[:4]))
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        assert (index.update(), index.unread) == (4, 2), "those at its end, too"


@pytest.mark.parametrize("claimed", [2, 3, 5, 99, 10**6, 2**63 - 1, 10**19 - 1])
@pytest.mark.parametrize("line", [0, 3, 5])
def test_a_record_that_claims_another_number_hides_no_other(
    tmp_path: Path, line: int, claimed: int
) -> None:
    audit = tmp_path / "audit"
    write(audit)
    early = (audit / "head").read_bytes()
    write(audit, range(6, 9))
    late = (audit / "head").read_bytes()
    (segment,) = audit.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"seq":%d,' % (line + 1), b'"seq":%d,' % claimed)
    others = [n for n in range(9) if n != line]
    with Index(tmp_path / "index", audit) as index:
        segment.write_bytes(b"".join(lines[:6]))
        (audit / "head").write_bytes(early)
        assert (index.update(), index.unread) == (6, 1)
        segment.write_bytes(b"".join(lines))
        (audit / "head").write_bytes(late)
        assert (index.update(), index.unread) == (3, 1)
        found = [(hit.record["n"], hit.sound) for hit in index.search(Query())]
        assert found == [(n, n != line) for n in range(9)], "each where it stands"
        by_number = {n: list(index.search(Query(seq=n + 1))) for n in others}
        assert all(n in [hit.record["n"] for hit in hits] for n, hits in by_number.items())
        newest = index.search(Query(tool="tool-1", newest=True, limit=3))
        assert [hit.record["n"] for hit in newest] == [7, 5, 3]


@pytest.mark.parametrize("claimed", [2, 3, 5, 99, 10**6, 2**63 - 1, 10**19 - 1])
@pytest.mark.parametrize("line", [0, 3, 5])
def test_what_a_record_claims_hides_no_other_where_the_log_itself_is_read(
    tmp_path: Path, line: int, claimed: int
) -> None:
    write(tmp_path, range(9))
    (segment,) = tmp_path.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"seq":%d,' % (line + 1), b'"seq":%d,' % claimed)
    segment.write_bytes(b"".join(lines))
    log = Whole(tmp_path)
    found = [(hit.record["n"], hit.sound) for hit in log.search(Query())]
    assert (found, log.unread) == ([(n, n != line) for n in range(9)], 1)
    for number in range(9):
        if number != line:
            assert number in [hit.record["n"] for hit in log.search(Query(seq=number + 1))]


def test_what_retention_removed_is_not_missed_in_the_log_itself(tmp_path: Path) -> None:
    write(tmp_path, segment_bytes=1500)
    with AuditLog.open(tmp_path, KEYS) as log:
        assert log.prune(before="2100")
    rest = Whole(tmp_path)
    assert min(hit.record["seq"] for hit in rest.search(Query())) > 1
    assert rest.unread == 0


def test_an_edited_record_is_shown_as_such(index: Index, tmp_path: Path) -> None:
    for path in (tmp_path / "audit").glob("*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))
    found = [(hit.record["n"], hit.sound) for hit in index.search(Query())]
    assert (7, False) in found
    assert (2, True) in found


def test_an_index_of_another_log_or_of_rubbish_is_made_again(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", range(3, 6))
    with Index(tmp_path / "index", tmp_path / "one") as index:
        assert index.update() == 6
    with Index(tmp_path / "index", tmp_path / "two") as index:
        assert index.update() == 3
        assert numbers(index) == [3, 4, 5]
    (tmp_path / "index").write_bytes(b"rubbish" * 1000)
    with Index(tmp_path / "index", tmp_path / "two") as index:
        assert index.update() == 3
    assert (tmp_path / "index").stat().st_mode & 0o077 == 0


def test_an_index_that_lies_about_places_shows_nothing_false(tmp_path: Path) -> None:
    write(tmp_path / "audit")
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        index.update()
    database = sqlite3.connect(tmp_path / "index")
    database.execute("UPDATE records SET offset = offset + 1")
    database.commit()
    database.close()
    with Index(tmp_path / "index", tmp_path / "audit") as index:
        assert [hit for hit in index.search(Query()) if hit.sound] == []


def test_reading_on_gives_each_whole_line_once_across_segments(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    lines, place = last_lines(tmp_path, 2)
    assert [b'"n":%d' % n in line for n, line in zip((1, 2), lines, strict=True)] == [True, True]
    assert read_on(tmp_path, place) == ([], place)
    write(tmp_path, range(3, 6), segment_bytes=100)
    seen: list[bytes] = []
    while True:
        more, place = read_on(tmp_path, place)
        if not more:
            break
        seen += more
    assert [b'"n":%d' % n in line for n, line in zip((3, 4, 5), seen, strict=True)] == [True] * 3
    with next(tmp_path.glob("segment-*6.jsonl")).open("ab") as file:
        file.write(b'{"seq":')
    assert read_on(tmp_path, place) == ([], place)
    assert len(last_lines(tmp_path, 100)[0]) == 6


def test_segments_are_pruned_by_age_and_the_rest_verifies(tmp_path: Path) -> None:
    write(tmp_path, segment_bytes=100)
    with AuditLog.open(tmp_path, KEYS) as log:
        assert log.prune(before="2020") == 0
        removed = log.prune(before="2100")
        assert removed == 5
    report = verify(tmp_path, Trust(None, KEYS.public(), KEYS))
    assert (report.ok, report.removed) == (True, 5)
