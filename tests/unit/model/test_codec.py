"""The decoder on the privilege line: it builds exactly what was encoded and refuses the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ProtocolError
from fumehood.model.codec import INT64, _decode, _exact, _Otherwise, decode, encode
from fumehood.model.plan import Ceilings, Limits, Mount, Plan
from support.refusals import refused


@dataclass(frozen=True, slots=True)
class Inner:
    flag: bool
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, slots=True)
class Outer:
    number: int
    text: str
    ratio: float
    pair: tuple[int, str]
    inners: tuple[Inner, ...] = ()
    maybe: str | None = None
    inner: Inner | None = None


int64 = st.integers(-INT64, INT64 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]))
inners = st.builds(Inner, st.booleans(), st.sampled_from(["a", "b"]))
outers = st.builds(
    Outer,
    number=int64,
    text=text,
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    pair=st.tuples(int64, text),
    inners=st.lists(inners, max_size=3).map(tuple),
    maybe=st.none() | text,
    inner=st.none() | inners,
)
GOOD: dict[str, Any] = {"number": 1, "text": "x", "ratio": 0.5, "pair": [1, "x"]}


@given(outers)
def test_what_was_encoded_is_decoded(value: Outer) -> None:
    assert decode(Outer, json.loads(json.dumps(encode(value)))) == value


limits = st.builds(Limits, *[st.integers(0, 2**62)] * 7)
mounts = st.builds(Mount, st.sampled_from(["tool", "scratch"]), text, text, st.booleans())
plans = st.builds(
    Plan,
    engine=text,
    image=text,
    argv=st.lists(text, max_size=4).map(tuple),
    environment=st.lists(st.tuples(text, text), max_size=4).map(tuple),
    mounts=st.lists(mounts, max_size=3).map(tuple),
    uid=int64,
    gid=int64,
    seccomp=text,
    seccomp_digest=text,
    network=st.just("none"),
    limits=limits,
    accepted=st.lists(text, max_size=2).map(tuple),
)
ceilings = st.builds(
    Ceilings, int64, int64, int64, text, text, st.lists(text).map(tuple), limits, int64
)


@given(plans, ceilings)
def test_plans_and_ceilings_cross_the_line_unchanged(plan: Plan, most: Ceilings) -> None:
    assert decode(Plan, json.loads(json.dumps(encode(plan)))) == plan
    assert decode(Ceilings, json.loads(json.dumps(encode(most)))) == most


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "inner", "flag", "kind", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(json_values)
def test_anything_else_is_refused_and_never_crashes(raw: object) -> None:
    for cls in (Outer, Plan, Ceilings):
        try:
            value = decode(cls, raw)
        except ProtocolError:
            continue
        assert type(value) is cls
        assert decode(cls, encode(value)) == value


@given(plans, st.data())
def test_one_changed_field_is_refused_or_is_another_plan(plan: Plan, data: st.DataObject) -> None:
    raw = encode(plan)
    key = data.draw(st.sampled_from(sorted(raw)))
    raw[key] = data.draw(json_values)
    error = refused(ProtocolError, lambda: decode(Plan, raw))
    if error is None:
        assert encode(decode(Plan, raw)) == raw
    else:
        assert key in str(error)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"number": True}, "number: expected int"),
        ({"number": 1.0}, "number: expected int"),
        ({"number": "1"}, "number: expected int"),
        ({"number": 2**63}, "number: integer out of range"),
        ({"number": -(2**63) - 1}, "number: integer out of range"),
        ({"text": 1}, "text: expected str"),
        ({"text": None}, "text: expected str"),
        ({"ratio": "1"}, "ratio: expected float"),
        ({"ratio": True}, "ratio: expected float"),
        ({"ratio": 10**400}, "ratio: expected float"),
        ({"pair": [1]}, "pair: expected 2 items"),
        ({"pair": {"0": 1}}, "pair: expected a list"),
        ({"pair": [1, 2]}, r"pair\[1\]: expected str"),
        ({"inners": [{"flag": 1}]}, r"inners\[0\]\.flag: expected bool"),
        ({"inners": [{"flag": True, "kind": "c"}]}, r"inners\[0\]\.kind: not one of"),
        ({"inners": [[]]}, r"inners\[0\]: expected an object"),
        ({"inner": {}}, "missing key 'flag'"),
        ({"inner": 1}, "inner: expected an object"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"maybe": 1}, "maybe: expected str"),
    ],
)
def test_refusals_name_the_field(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        decode(Outer, GOOD | change)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ProtocolError, match="missing key 'number'"):
        decode(Outer, {})


def test_a_whole_number_is_a_float_where_one_is_declared() -> None:
    assert decode(Outer, GOOD | {"ratio": 1}).ratio == 1.0


@pytest.mark.parametrize("value", [object(), [1], {"a": 1}, {1}, b"x", 1j])
def test_only_messages_are_encoded(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
EDGES = st.sampled_from([INT64, -INT64 - 1, True, 1, "c", [1], [True], [{"flag": 1, "kind": "a"}]])
FIELDS = st.sampled_from([*GOOD, "inners", "maybe", "inner", "unknown"])


@given(outers, FIELDS, EDGES | anything)
def test_what_is_built_at_once_is_what_the_strict_way_builds(
    value: Outer, name: str, other: object
) -> None:
    raw = {**encode(value), name: other}
    try:
        built = _exact(Outer)(raw)
    except (_Otherwise, KeyError):
        return
    assert repr(built) == repr(_decode(Outer, raw)), "NaN is not equal to itself"


@given(outers)
def test_what_was_encoded_is_built_at_once(value: Outer) -> None:
    assert _exact(Outer)(json.loads(json.dumps(encode(value)))) == value
