"""No byte is skipped, no failure passes for nothing found, and everything has a bound."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.scan.detector import Match
from fumehood.scan.policy import Withhold
from fumehood.scan.private_keys import PrivateKeysDetector
from fumehood.scan.search import CHUNK, OVERLAP, Budget, Searcher, chunks, outermost
from fumehood.scan.secrets import SecretsDetector
from support.scan import SECRETS


class Word:
    """Finds each place of a word."""

    name = "word"

    def __init__(self, word: bytes) -> None:
        self.word = word

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        found, at = [], data.find(self.word)
        while at >= 0:
            found.append(Match("word", "secret", "high", at, at + len(self.word)))
            at = data.find(self.word, at + 1)
        return found


class Panic(BaseException):
    """As PyO3 raises a panic of native code."""


class Failing:
    name = "failing"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        raise self.error


def search(word: bytes, data: bytes) -> list[tuple[int, int]]:
    matches = Searcher([Word(word)], []).find(data, Budget(), clean=False)
    return [(match.start, match.end) for match in matches]


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + OVERLAP, CHUNK + OVERLAP + 1, 5 * CHUNK + 7])
def test_chunks_cover_every_byte_and_overlap(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    covered = 0
    for at, chunk in chunks(data):
        assert at <= max(0, covered - OVERLAP)
        assert data[at : at + len(chunk)] == chunk
        assert len(chunk) <= CHUNK + OVERLAP
        covered = at + len(chunk)
    assert covered == size


@pytest.mark.parametrize("at", [0, CHUNK - 5, CHUNK, CHUNK + OVERLAP - 5, 3 * CHUNK - 1])
def test_a_secret_across_a_boundary_is_found_once_and_whole(at: int) -> None:
    data = bytearray(b"." * (4 * CHUNK))
    data[at : at + 10] = b"0123456789"
    assert search(b"0123456789", bytes(data)) == [(at, at + 10)]


@given(
    st.lists(
        st.sampled_from(["\x1b[31m", "\u200b", "\0", "\r", "\u202e", "\udc80", ""]), max_size=8
    ),
    st.lists(st.sampled_from(["a", "é", "안", "\x1b", "\u2060", " "]), max_size=8),
)
def test_a_secret_split_by_hidden_text_is_found_with_what_splits_it(
    between: list[str], before: list[str]
) -> None:
    word = "s3cr3t-w0rd"
    split = "".join(a + b for a, b in zip(word, [*between, *[""] * len(word)], strict=False))
    raw = [text.encode("utf-8", "surrogateescape") for text in ("".join(before), split)]
    ((start, end),) = search(word.encode(), b" ".join(raw))
    assert start <= len(raw[0]) + 1
    assert b" ".join(raw)[start:end].endswith(raw[1].rstrip())


@pytest.mark.parametrize("kind", sorted(SECRETS))
@pytest.mark.parametrize(
    "frame",
    ["a,{},b", "({})", "<b>{}</b>", "It is {}. Keep it.", "**{}**", "?key={}&x=1",
     "열쇠는 {}입니다", "[{}]", "{}: yes", "x|{}|y", "`{}`", "{}!", "\x1b[1m{}\x1b[0m,"],
)  # fmt: skip
def test_a_secret_is_found_whatever_it_touches(
    kingfisher: SecretsDetector, kind: str, frame: str
) -> None:
    secret = SECRETS[kind]().encode()
    before, after = frame.encode().split(b"{}")
    data = before + secret + after
    matches = Searcher([kingfisher], [PrivateKeysDetector()]).find(data, Budget(), clean=False)
    assert any(m.start <= len(before) and len(before + secret) <= m.end for m in matches)


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), MemoryError(), RecursionError(), OSError(), KeyError("secret!"), Panic()],
)
def test_a_detector_that_fails_withholds_and_is_named(error: BaseException) -> None:
    with pytest.raises(Withhold) as withheld:
        Searcher([Failing(error)], []).find(b"data", Budget(), clean=True)
    (finding,) = withheld.value.findings
    assert (finding.rule, finding.kind, finding.action) == ("failing", "scanner", "withhold")
    assert "`failing` failed" in withheld.value.message
    assert "secret!" not in str(withheld.value) + withheld.value.detail
    assert type(error).__name__ in withheld.value.detail


def test_a_detector_that_takes_too_long_withholds_and_is_named() -> None:
    with pytest.raises(Withhold, match="took too long"):
        Searcher([Failing(TimeoutError())], []).find(b"data", Budget(), clean=True)


def test_a_used_up_budget_withholds_before_looking() -> None:
    with pytest.raises(Withhold, match="took too long"):
        Searcher([Word(b"x")], []).find(b"data", Budget(seconds=0), clean=True)


def test_more_secrets_than_are_looked_at_withhold() -> None:
    with pytest.raises(Withhold, match="too many") as withheld:
        Searcher([Word(b"x")], []).find(b"x" * 11, Budget(secrets=10), clean=True)
    assert withheld.value.findings[0].rule == "too-many-secrets"


spans: Callable[[list[tuple[int, int]]], list[Match]] = lambda pairs: [  # noqa: E731
    Match("r", "secret", "high", start, start + length) for start, length in pairs
]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10))).map(spans))
def test_what_lies_inside_another_is_left_out_and_nothing_else(matches: list[Match]) -> None:
    kept = outermost(matches)
    assert all(any(k.start <= m.start and m.end <= k.end for k in kept) for m in matches)
    pairs = [(k.start, k.end) for k in kept]
    assert pairs == sorted(set(pairs))
    assert all(a[1] < b[1] for a, b in pairwise(pairs))
