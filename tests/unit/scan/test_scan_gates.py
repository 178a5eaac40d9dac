"""A gate lets everything through that a rule would find: no text is left out for being quick."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fumehood.scan import decoding, personal
from fumehood.scan.patterns import PatternDetector, Rule

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
