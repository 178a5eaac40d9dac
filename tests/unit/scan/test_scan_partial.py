"""Output that is shown before it ends: nothing of a secret, however it is written."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fumehood.scan.detector import Match
from fumehood.scan.partial import LONG_LINE, MAX_HELD, Partial, tail
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.search import OVERLAP
from support.scan import KEY, admitted, github_token, private_key

TOKEN = github_token().encode()
PRIVATE_KEY = private_key().encode()
TOKEN_LINE = b"the token is " + TOKEN + b" and that was it\n"


class Failing:
    """A detector that dies over its work."""

    name = "failing"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        raise RuntimeError("boom")


@pytest.fixture
def partial(pipeline: Pipeline) -> Partial:
    return pipeline.partial(admitted().tool)


def test_whole_lines_are_shown(partial: Partial) -> None:
    assert partial.feed(b"one\ntwo\nthr") == "one\ntwo\n"
    assert partial.feed(b"ee\n") == "three\n"


def test_a_secret_split_across_writes_is_not_shown(pipeline: Pipeline) -> None:
    for at in range(1, len(TOKEN_LINE)):
        partial = pipeline.partial(admitted().tool)
        shown = partial.feed(TOKEN_LINE[:at]) + partial.feed(TOKEN_LINE[at:])
        assert "[redacted:" in shown
        assert TOKEN[8:24].decode() not in shown


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(TOKEN_LINE) * 3), max_size=12))
def test_cuts_never_show_it(pipeline: Pipeline, cuts: list[int]) -> None:
    stream = b"before\n" + TOKEN_LINE + b"between\n" + TOKEN_LINE
    partial = pipeline.partial(admitted().tool)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    shown = "".join(partial.feed(stream[a:b]) for a, b in itertools.pairwise(places))
    assert TOKEN[8:24].decode() not in shown
    assert shown.startswith("before\n")
    assert shown.endswith("and that was it\n")


def test_a_private_key_is_held_back_until_it_ends(partial: Partial) -> None:
    shown = ""
    for line in (b"key:\n" + PRIVATE_KEY).splitlines(keepends=True):
        shown += partial.feed(line)
    assert shown == "key:\n"
    shown += partial.feed(b"\nafter\n")
    assert shown.startswith("key:\n[redacted:")
    assert shown.endswith("after\n")
    assert not any(line in shown for line in PRIVATE_KEY.decode().split("\n") if len(line) > 20)


def test_a_key_that_is_only_talked_about_does_not_stop_the_stream(partial: Partial) -> None:
    shown = partial.feed(b"put it behind -----BEGIN PRIVATE KEY-----\n")
    shown += partial.feed(b"and so on.\n" * 40)
    assert shown.count("and so on.") == 40


def test_a_line_without_end_is_shown_but_for_its_end(partial: Partial) -> None:
    assert partial.feed(b"x" * (LONG_LINE - 1)) == ""
    assert len(partial.feed(b"x")) == LONG_LINE - OVERLAP


def test_a_secret_over_the_cut_of_a_long_line(partial: Partial) -> None:
    head = b"a " * ((LONG_LINE - OVERLAP) // 2 - 10)
    shown = partial.feed(head + TOKEN + b" " + b"b " * (OVERLAP // 2))
    shown += partial.feed(b"\n")
    assert TOKEN[:12].decode() not in shown
    assert TOKEN[-12:].decode() not in shown
    assert "[redacted:" in shown


def test_characters_are_not_cut_in_two(partial: Partial) -> None:
    shown = partial.feed("ä".encode() * LONG_LINE) + partial.feed(b"\n")
    assert shown == "ä" * LONG_LINE + "\n"


def test_hidden_text_is_made_visible(partial: Partial) -> None:
    assert partial.feed(b"\x1b]52;c;eA==\x07\n\xff\n") == "\\x1b]52;c;eA==\\x07\n\\xff\n"


def test_too_much_that_must_wait_ends_the_showing(partial: Partial) -> None:
    line = b"A" * 64 + b"\n"
    shown = partial.feed(b"-----BEGIN PRIVATE KEY-----\n")
    for _ in range(MAX_HELD // len(line) + 1):
        shown += partial.feed(line)
    assert partial.over
    assert shown + partial.feed(b"more\n") == ""


def test_a_detector_that_fails_ends_the_showing() -> None:
    pipeline = Pipeline(fingerprint_key=KEY, secrets=[Failing()])
    partial = pipeline.partial(admitted().tool)
    assert partial.feed(b"one\n") == ""
    assert partial.over


def test_the_end_of_a_stream(pipeline: Pipeline) -> None:
    lines = b"".join(b"line %d\n" % number for number in range(20_000))
    shown = tail(pipeline.partial(admitted().tool), lines + TOKEN_LINE + b"unfinished", 1000)
    assert shown.startswith("line 19")
    assert "[redacted:" in shown
    assert "unfinished" not in shown
    assert tail(pipeline.partial(admitted().tool), b"all\n", 1000) == "all\n"
