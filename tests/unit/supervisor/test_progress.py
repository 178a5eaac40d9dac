"""Progress lines are read out of stderr however it is cut, and cost a bounded amount."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.supervisor.progress import MAX_LINE, PREFIX, ProgressLines, Said, parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"0.5", Said(0.5, 1.0, b"")),
        (b"1 all of it", Said(1.0, 1.0, b"all of it")),
        (b"3/10", Said(3.0, 10.0, b"")),
        (b"3/10 page three \r", Said(3.0, 10.0, b"page three")),
        (b"37/? pages", Said(37.0, None, b"pages")),
        (b"0.25/0.5\thalf", Said(0.25, 0.5, b"half")),
    ],
)
def test_lines_as_documented(line: bytes, expected: Said) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    "line",
    [b"", b"5", b"11/10", b"1/0", b"0/0", b"-1", b"nan", b"inf", b"1e3/?", b"0.5x", b"1/", b"/1",
     b"9999999999999999/?", b"0.5/?/? x", b" 0.5", b"0.5 " + b"x" * MAX_LINE],
)  # fmt: skip
def test_other_lines_are_no_progress(line: bytes) -> None:
    assert parse(line) is None


def test_only_the_beginning_of_a_line_counts() -> None:
    lines = ProgressLines()
    assert not lines.feed(b"I say ::progress 0.5 to you\n")
    assert not lines.feed(b"::progress")
    assert not lines.feed(b" 0.5 not ended yet")
    assert lines.feed(b"\n")
    assert lines.latest == Said(0.5, 1.0, b"not ended yet")


def test_the_last_of_many_counts_and_broken_ones_do_not() -> None:
    lines = ProgressLines()
    assert lines.feed(
        b"::progress 1/9 a\nnoise\n::progress 2/9 b\n::progress broken\n::progress 3/"
    )
    assert lines.latest == Said(2.0, 9.0, b"b")
    assert lines.feed(b"9\n")
    assert lines.latest == Said(3.0, 9.0, b"")


def test_a_line_without_end_is_not_kept() -> None:
    lines = ProgressLines()
    for _ in range(1000):
        assert not lines.feed(b"x" * 4096)
    assert not lines.feed(b"::progress 0.1\n")
    assert lines.feed(b"::progress 0.2\n")
    assert lines.latest == Said(0.2, 1.0, b"")


def test_a_flood_of_broken_lines_is_cheap_and_changes_nothing() -> None:
    lines = ProgressLines()
    assert lines.feed(b"::progress 0.3\n")
    assert not lines.feed(b"::progress x\n" * 100_000)
    assert lines.latest == Said(0.3, 1.0, b"")


@given(st.lists(st.sampled_from([b"::progress 1/8\n", b"::progress 2/8 x\n", b"text\n", b"::"])),
       st.lists(st.integers(0, 200)))  # fmt: skip
def test_cuts_do_not_matter(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    whole, pieces = ProgressLines(), ProgressLines()
    whole.feed(stream)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(places):
        pieces.feed(stream[start:end])
    # A read looks at its last lines only, so the whole may know less than its pieces.
    if stream.count(PREFIX) <= 4:
        assert pieces.latest == whole.latest
