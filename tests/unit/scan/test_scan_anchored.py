"""Wide patterns are read near their anchors, and nowhere is one passed over."""

from __future__ import annotations

import pytest

from fumehood.scan import anchored, injection
from fumehood.scan.anchored import Anchored
from fumehood.scan.patterns import Rule

RULE = Rule("order", "low", r"(?:obey|follow) (?:\w+ ){0,3}?page\b", kind="injection")
DETECTOR = Anchored("one", [(r"(?:obey|follow)", RULE)])


def places(data: bytes) -> list[bytes]:
    return [data[match.start : match.end] for match in DETECTOR.find(data, seconds=30)]


@pytest.mark.parametrize("gap", [0, 1, anchored.REACH - 1, anchored.REACH, 3 * anchored.REACH])
def test_what_is_near_another_one_is_found_once(gap: int) -> None:
    data = b"obey this page" + b" " * gap + b" follow the other page" + b"." * gap
    assert places(data) == [b"obey this page", b"follow the other page"]


def test_anchors_alone_are_nothing() -> None:
    assert places(b"obey! " * 10 + b"page") == []
    assert places(b"") == []


def test_text_full_of_anchors_is_read_as_a_whole() -> None:
    data = b"obey! " * (2 * anchored.MAX_ANCHORS) + b"follow the page"
    assert places(data) == [b"follow the page"]


def test_more_places_than_are_told_are_counted() -> None:
    data = b"obey this page. " * (anchored.MAX_PLACES + 10)
    found = DETECTOR.find(data, seconds=30)
    assert len(found) == anchored.MAX_PLACES + 1
    assert found[-1].rule != "order"


def test_time_that_is_used_up_is_no_clean_text() -> None:
    with pytest.raises(TimeoutError):
        DETECTOR.find(b"obey this page", seconds=-1)


def test_every_anchor_fits_in_what_its_rule_was_made_for() -> None:
    """What the rules find alone, over all of the corpus, they find by their anchors, too."""
    from corpus import orders, unseen

    detector = Anchored("composed", injection.COMPOSED)
    rules = [rule for _, rule in injection.COMPOSED]
    everywhere = [0] * (anchored.MAX_ANCHORS + 1)
    for sample in (*orders.samples(), *unseen.samples()):
        found = {(match.rule, match.start) for match in detector.find(sample.data, seconds=30)}
        for rule in rules:
            alone = anchored._near(rule, sample.data, everywhere, float("inf"), {})
            assert {(match.rule, match.start) for match in alone} <= found, sample.name
