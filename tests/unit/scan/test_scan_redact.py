"""No byte of a secret is left, wherever it stands, and nothing else is lost."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fumehood.scan.detector import Match
from fumehood.scan.leaves import CannotRedact, Leaves
from fumehood.scan.redact import (
    Fingerprints,
    Literals,
    Span,
    merged,
    redact_binary,
    redact_text,
)
from support.scan import KEY

SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12)).map(
        lambda p: Span(p[0], p[0] + p[1], "rule", "high", "0badcafe")
    ),
    max_size=8,
)
LABEL = "[redacted:rule:0badcafe]"


@given(st.text(max_size=60), SPANS)
def test_text_outside_of_secrets_stays_and_text_inside_goes(text: str, spans: list[Span]) -> None:
    data = text.encode()
    spans = [span for span in spans if span.end <= len(data)]
    redacted = redact_text(data, spans).decode()
    gone = {at for span in spans for at in range(span.start, span.end)}
    kept = []
    at = 0
    for character in text:
        size = len(character.encode())
        if not gone.intersection(range(at, at + size)):
            kept.append(character)
        at += size
    assert redacted.replace(LABEL, "") == "".join(kept).replace(LABEL, "")


@given(st.binary(max_size=60), SPANS)
def test_a_binary_keeps_its_length_and_every_other_byte(data: bytes, spans: list[Span]) -> None:
    spans = [span for span in spans if span.end <= len(data)]
    redacted = redact_binary(data, spans)
    assert len(redacted) == len(data)
    gone = {at for span in spans for at in range(span.start, span.end)}
    assert all(
        a == b for at, (a, b) in enumerate(zip(data, redacted, strict=True)) if at not in gone
    )


@given(SPANS)
def test_merged_spans_cover_the_same_bytes_without_overlap(spans: list[Span]) -> None:
    result = merged(spans)
    assert {n for s in result for n in range(s.start, s.end)} == {
        n for s in spans for n in range(s.start, s.end)
    }
    assert all(a.end <= b.start for a, b in pairwise(result))


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=8), st.binary(max_size=30))
def test_known_secrets_are_found_wherever_they_stand(secrets: list[bytes], filler: bytes) -> None:
    literals = Literals()
    for secret in secrets:
        literals.add(secret, Span(0, 1, "rule", "high", "0"))
    data = filler + filler.join(secrets) + filler
    spans = merged(literals.find(data))
    rest = redact_text(data, [])
    assert rest == data
    blanked = bytearray(data)
    for span in spans:
        blanked[span.start : span.end] = b"\0" * (span.end - span.start)
    for secret in secrets:
        assume(set(secret) != {0})
        assert bytes(blanked).find(secret) < 0 or 0 in secret


def test_a_fingerprint_is_keyed_short_and_stable() -> None:
    match = Match("rule", "secret", "high", 0, 6)
    one, other = Fingerprints(KEY), Fingerprints(b"g" * 48)
    print_ = one.span(match, b"secret").fingerprint
    assert print_ == one.span(match, b"secret").fingerprint
    assert print_ != other.span(match, b"secret").fingerprint
    assert len(print_) == 8
    encoded = Match("rule", "secret", "high", 0, 8, value=b"secret")
    assert one.span(encoded, b"c2VjcmV0").fingerprint == print_


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


def sprinkle(value: Any, data: st.DataObject, secret: str) -> Any:
    if isinstance(value, dict):
        return {
            key + (secret if data.draw(st.integers(0, 4)) == 0 else ""): sprinkle(
                item, data, secret
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [sprinkle(item, data, secret) for item in value]
    if isinstance(value, str) and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value)))
        return value[:at] + secret + value[at:]
    return value


def spans_of(leaves: Leaves, secret: bytes) -> list[Span]:
    literals = Literals()
    literals.add(secret, Span(0, 1, "rule", "high", "0badcafe"))
    return list(literals.find(leaves.data))


@given(JSON, st.data())
def test_a_structured_value_keeps_its_shape_and_no_secret(plain: Any, data: st.DataObject) -> None:
    secret = 'S"E\\C-é\n☃'
    value = sprinkle(plain, data, secret)
    before = shape(value)
    leaves = Leaves(value)
    edits = leaves.edits(spans_of(leaves, secret.encode()), None)
    try:
        leaves.apply(edits)
    except CannotRedact:
        return
    assert shape(leaves.value) == before
    assert json.dumps(secret)[1:-1] not in json.dumps(leaves.value)
    assert json.loads(json.dumps(leaves.value)) == leaves.value


@given(JSON, st.data())
def test_a_pointer_leads_to_the_string_it_names(value: Any, data: st.DataObject) -> None:
    leaves = Leaves(value)
    spans = [
        Span(leaf.start, leaf.end, "r", "high", "0")
        for leaf in leaves._leaves
        if not leaf.place.is_key and leaf.end > leaf.start
    ]
    assume(spans)
    span = data.draw(st.sampled_from(spans))
    found = value
    for part in leaves.pointer(span.start).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found[int(name)] if isinstance(found, list) else found[name]
    assert found.encode() == leaves.data[span.start : span.end]


def test_strings_stand_beside_their_keys() -> None:
    leaves = Leaves({"password": "p", "n": 1, "list": ["a", {"deep": "b"}]})
    assert leaves.data == b'password: "p"\nn\nlist\n"a"\ndeep: "b"\n'


def test_a_secret_over_several_strings_is_cut_up_and_the_keys_between_stay() -> None:
    leaves = Leaves({"one": "BEGIN", "two": "MIDDLE", "three": "END"})
    start, end = leaves.data.index(b"GIN"), leaves.data.index(b"END") + 3
    leaves.apply(leaves.edits([Span(start, end, "rule", "high", "0badcafe")], None))
    assert leaves.value == {"one": "BE" + LABEL, "two": LABEL, "three": LABEL}


def test_a_span_in_no_string_cannot_be_redacted() -> None:
    leaves = Leaves({"a": "b"})
    with pytest.raises(CannotRedact):
        leaves.edits([Span(1, 2, "rule", "high", "0")], None)


def test_keys_that_would_become_one_cannot_be_redacted() -> None:
    leaves = Leaves({"aXb": 1, "aYb": 2})
    x, y = leaves.data.index(b"X"), leaves.data.index(b"Y")
    spans = [Span(at, at + 1, "rule", "high", "same") for at in (x, y)]
    with pytest.raises(CannotRedact):
        leaves.apply(leaves.edits(spans, None))


def test_the_pointer_of_a_redacted_key_does_not_hold_the_secret() -> None:
    leaves = Leaves({"sEcReT": {"in/ner": "value"}})
    at = leaves.data.index(b"sEcReT")
    leaves.apply(leaves.edits([Span(at, at + 6, "rule", "high", "0badcafe")], None))
    assert leaves.pointer(leaves.data.index(b"value")) == f"/{LABEL}/in~1ner"
