"""The first pass sees a pattern that fits wherever the rule does."""

from __future__ import annotations

import re

import pytest

from fumehood.scan import injection
from fumehood.scan.patterns import PatternDetector, Rule
from fumehood.scan.sieve import alternatives, sieve


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        (r"ab{2,9}c", r"ab{2,}c"),
        (r"a{0,40}?b", r"a*b"),
        (r"a{1,8}b{0,3}", r"a+b{0,3}"),
        (r"a\{0,40}", r"a\{0,40}"),
        (r"(?i)(?P<lead>\b(?:the|any) [)(]{1,9}\))rules", r"(?i)rules"),
        (r"rules(?P<tail> (?:of|in) .{0,9})", r"rules"),
    ],
)
def test_what_is_dear_is_not_asked_for(pattern: str, seen: str) -> None:
    assert sieve(pattern) == seen


def test_a_group_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="not closed"):
        sieve("(?P<lead>a")


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("(?i)a|b", ["(?i)a", "(?i)b"]),
        ("a(?:b|c)|d", ["a(?:b|c)", "d"]),
        (r"[|)]|[^]|(]|\||e", ["[|)]", "[^]|(]", r"\|", "e"]),
    ],
)
def test_a_pattern_is_parted_where_nothing_encloses_it(pattern: str, parts: list[str]) -> None:
    assert list(alternatives(pattern)) == parts


def test_a_rule_is_found_though_its_lead_was_not_asked_for() -> None:
    rule = Rule("order", "low", r"(?P<lead>\b(?:the|any) )rules(?P<tail> of \w{1,20})")
    detector = PatternDetector("one", [rule])
    data = b"no rules here; the rules of chess; rules of go"
    (match,) = detector.find(data, seconds=5)
    assert data[match.start : match.end] == b"the rules of chess"


def test_text_in_latin_letters_is_not_searched_for_other_ones() -> None:
    (gate,) = injection._SCRIPTS_GATE
    wanted = re.compile(gate.encode("latin-1"))
    assert all(
        wanted.search(text.encode())
        for text in ("무시", "忽略", "무", "無視", "забудь", "Ігноруй", "תתעלם", "تجاهل", "भूल")
    )  # fmt: skip
    assert not wanted.search("naïve “Größe” – 5 € ─ ✓ 😀 señor".encode())
