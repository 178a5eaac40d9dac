"""A gate lets everything through that a rule would find: no text is left out for being quick."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fumehood.scan import (
    decoding,
    national,
    personal,
    prefixes,
    printed,
    tokens,
    traffic,
    values,
)
from fumehood.scan.detector import Confidence
from fumehood.scan.patterns import Found, PatternDetector, Rule

WITHOUT = PatternDetector("all", personal.RULES)
WITH = personal.detector()


@pytest.mark.parametrize("rule", personal.RULES, ids=lambda rule: rule.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_fits_a_rule_for_persons_passes_its_gate(rule: Rule, data: st.DataObject) -> None:
    inner = re.search(r"\(\?P<s>(.*)\)\(\?:\$", rule.pattern)
    assert inner
    number = data.draw(st.from_regex(re.compile(inner[1], re.ASCII), fullmatch=True))
    around = data.draw(st.sampled_from(["{}", "a {} b", '"{}"', "x: {},\n", "({})", "{}\n{}"]))
    text = around.format(number, number).encode()
    if rule in WITHOUT.occurring(text):
        assert rule in WITH.occurring(text)


@settings(max_examples=200, deadline=None)
@given(text=st.binary(min_size=24, max_size=200), how=st.sampled_from(["plain", "url", "hex"]))
def test_what_is_encoded_passes_its_gate(text: bytes, how: str) -> None:
    encoded = {
        "plain": base64.b64encode(text),
        "url": base64.urlsafe_b64encode(text),
        "hex": text.hex().encode(),
    }[how]
    assume(encoded.count(b"-") + encoded.count(b"_") <= len(encoded) // 34)
    rules = decoding._CANDIDATES
    ungated = PatternDetector("all", rules._rules)
    assert {r.name for r in ungated.occurring(encoded)} == {
        r.name for r in rules.occurring(encoded)
    }


def test_a_gate_is_cached_beside_its_rules(tmp_path: Path) -> None:
    made = PatternDetector("kept", [Rule("x", "low", "needle")], tmp_path, gate=["n"])
    assert made.find(b"a needle", seconds=1)
    assert made.find(b"a haystack", seconds=1) == []
    assert len(list(tmp_path.iterdir())) == 2


NAMED = [rule for rule in personal.RULES if rule.near]
NUMBERS = [
    "1234 5678 9012", "78051120123", "123456782", "123-45-6789", "046 454 286", "9001011234568",
    "12345678903", "78-05-1120", "219099999", "36574261809", "52998224725", "499118665246",
]  # fmt: skip
WORDS = [
    "aadhaar", "Mein IdNr", "my number", "PESEL", "bsn", "sin", "SSN", "cpf", "resident", "tin",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_what_counts_beside_a_word_only_is_found_wherever_the_word_stands(
    data: st.DataObject,
) -> None:
    some = st.sampled_from([*NUMBERS, *WORDS, "x" * 70, "-" * 150, ",", "\n", " " * 300])
    text = " ".join(data.draw(st.lists(some, min_size=2, max_size=12))).encode()
    for rule in NAMED:
        everywhere = PatternDetector("all", [replace(rule, near=b"")])
        beside = PatternDetector("near", [rule])
        assert beside.find(text, seconds=9) == everywhere.find(text, seconds=9)


def asked(rule: Rule, text: bytes) -> int:
    """How many places of the text the rule's judge is asked about."""
    places: list[bytes] = []
    assert rule.judge
    judge = rule.judge

    def counting(found: Found) -> Confidence | None:
        places.append(found["s"])
        return judge(found)

    PatternDetector("counted", [replace(rule, judge=counting)]).find(text, seconds=9)
    return len(places)


@pytest.mark.parametrize(
    "unit", ["4111 1111 ", "4111 1111\n", "4000\t4001\t5123\t6011\t", "123456782 "]
)
@pytest.mark.parametrize("rule", personal.RULES, ids=lambda rule: f"{rule.name} {rule.near!r}")
def test_nobody_is_asked_about_each_number_of_a_table(rule: Rule, unit: str) -> None:
    text = (unit * 3000).encode()
    assert asked(rule, text) <= 2
    assert asked(rule, b"pesel aadhaar tin bsn cpf resident ssn sin my number\n" + text) <= 60


@pytest.mark.parametrize("before", ["", "1234 5678 9012 3456 7890 1234\n\n", "a 0000 "])
def test_a_card_number_beside_a_table_is_found(before: str) -> None:
    card = "4111 1111 1111 1111"
    text = f"{before}card: {card}, ok\n1234 5678 9012 3456 7890 1234\n"
    found = WITH.find(text.encode(), seconds=9)
    assert [text[m.start : m.end] for m in found if m.rule == "payment-card"] == [card]


def test_a_long_line_is_not_read_for_each_name_in_it() -> None:
    read: list[int] = []

    class Line(bytes):
        def __getitem__(self, part: Any) -> Any:
            if isinstance(part, slice) and part.stop is not None:
                read.append(part.stop - (part.start or 0))
            return super().__getitem__(part)

    line = Line(b"password=abcdef1;x" * 2000)
    for name in range(0, len(line), 18):
        assert values.value(line, name, name + 9, b"", b"=") is not None
    assert sum(read) <= 2000 * 2 * values.MAX_BEFORE
    assert values.quoted_end(b"x" * values.MAX_VALUE + b'"', 0, b'"') is None


FIRST = [
    (rule, example)
    for rules, name, example in (
        (national.FORMED, "national-id-ru", b"112-233-445 95"),
        (national.FORMED, "national-id-th", b"1-1037-02071-81-4"),
        (national.FORMED, "national-id-th", b"1 1037 02071 81 4"),
        (prefixes.RULES, "prefixed-token", b"0123456789abcdef" * 2 + b"-01234567-89abcdef"),
        (traffic.RULES, "session-cookie", b'{"name": "sessionid", "value": "a1B2c3D4e5F6g7H8"}'),
        (traffic.RULES, "session-cookie", b'{"value": "a1B2c3D4e5F6g7H8", "name": "sessionid"}'),
        (tokens.RULES, "connection-string", b"scott/tigerTiger9@db.example:1521/orcl"),
        (printed.RULES, "recovery-code", b"-".join(b"%06d" % n for n in range(111111, 111119))),
    )
    for rule in rules
    if rule.name == name and rule.first and rule.compiled.search(example)
]


@pytest.mark.parametrize(("rule", "example"), FIRST, ids=lambda given: str(given)[:40])
def test_what_a_rule_is_looked_for_by_stands_wherever_it_fits(rule: Rule, example: bytes) -> None:
    assert PatternDetector("one", [rule]).occurring(b"x %b y" % example)


def test_each_rule_that_is_looked_for_by_a_part_has_an_example() -> None:
    having = {
        rule.pattern
        for rules in (national.FORMED, prefixes.RULES, traffic.RULES, tokens.RULES, printed.RULES)
        for rule in rules
        if rule.first
    }
    assert having == {rule.pattern for rule, _ in FIRST}
