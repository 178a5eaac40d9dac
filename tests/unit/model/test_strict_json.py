"""What the one JSON reader takes and refuses."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import NotStrictJSON
from fumehood.model import strict_json

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(values)
def test_what_was_written_is_read_back_exactly(value: object) -> None:
    once = strict_json.dumps(value)
    assert strict_json.loads(once) == value
    assert strict_json.dumps(strict_json.loads(once)) == once
    assert b"\n" not in once


@given(values)
def test_escaped_and_plain_spellings_are_read_alike(value: object) -> None:
    assert strict_json.loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_garbage_is_either_read_as_json_reads_it_or_refused(data: bytes) -> None:
    try:
        value = strict_json.loads(data)
    except NotStrictJSON:
        return
    assert value == json.loads(data.decode())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", "not JSON at character 0"),
        (b"{", "not JSON"),
        (b"{} {}", "Extra data"),
        (b"'a'", "not JSON"),
        (b'"a\nb"', "Invalid control character"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": 1, "\\u0061": 2}', "same key twice"),
        (b'[{"b": {"a": 1, "a": 1}}]', "same key twice"),
        (b"NaN", "NaN is not"),
        (b"[Infinity]", "Infinity is not"),
        (b"-Infinity", "-Infinity is not"),
        (b"1e999", "too large for a double"),
        (b"-1e999", "too large for a double"),
        (b"1" * 400 + b".0", "too large for a double"),
        (b"18446744073709551616", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"1" * 5000, "64 bits"),
        (b'"\\ud800"', "lone surrogate"),
        (b'"\\uDFFF"', "lone surrogate"),
        (b'{"\\udc00\\ud800": 1}', "lone surrogate"),
        (b"[" * 65 + b"]" * 65, "more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 levels"),
        (b"[" * 100_000, "more than 64 levels"),
        (b"[" + b"[]," * 600_000 + b"[]]", "more than 500000 values"),
        (b"[" * 16_000_000, "more than 500000 values"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_refused_by_a_named_rule(text: bytes, rule: str) -> None:
    with pytest.raises(NotStrictJSON) as caught:
        strict_json.loads(text)
    assert rule in caught.value.cause
    assert len(caught.value.cause) < 120


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 0, -1])
def test_64_bit_integers_survive(number: int) -> None:
    value = strict_json.loads(str(number).encode())
    assert type(value) is int
    assert value == number


@pytest.mark.parametrize("text", [b"0.1", b"1e-300", b"1.7976931348623157e308", b"-0.0", b"5e-324"])
def test_doubles_survive(text: bytes) -> None:
    value = strict_json.loads(text)
    assert math.copysign(1, value) == math.copysign(1, float(text))
    assert strict_json.loads(strict_json.dumps(value)) == value


@pytest.mark.parametrize("depth", [1, 2, 64])
def test_the_deepest_document_allowed(depth: int) -> None:
    assert strict_json.loads(b"[" * depth + b"]" * depth, depth=depth) is not None
    with pytest.raises(NotStrictJSON, match="levels"):
        strict_json.loads(b"[" * (depth + 1) + b"]" * (depth + 1), depth=depth)


@pytest.mark.parametrize(
    "text",
    ["[" * 200, "]" * 200 + "[", '\\"[[[', ",", "[{" * 100 + '\\\\"', "\\", '"'],
)
def test_brackets_and_commas_inside_strings_count_for_nothing(text: str) -> None:
    value = {"text": text, "again": [text] * 3}
    assert strict_json.loads(json.dumps(value).encode(), depth=2, values=6) == value


def test_breadth_is_bounded_by_values() -> None:
    assert strict_json.loads(b"[1,2,3]", values=5) == [1, 2, 3]
    with pytest.raises(NotStrictJSON, match="more than 3 values"):
        strict_json.loads(b"[1,2,3]", values=3)


@pytest.mark.parametrize("hostile", ['"' + '\\"' * 2_000_000, '\\"' * 2_000_000, '"\\' * 2_000_000])
def test_unterminated_strings_cost_one_pass(hostile: str) -> None:
    # Quadratic work on 4 MB would be hours: that this ends is the assertion.
    with pytest.raises(NotStrictJSON):
        strict_json.loads(b"[" * 70 + hostile.encode())


@pytest.mark.parametrize("value", [math.nan, math.inf, "\ud800", {"a": -math.inf}])
def test_what_json_cannot_carry_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates"):
        strict_json.dumps(value)
