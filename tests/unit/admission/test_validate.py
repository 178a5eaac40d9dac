"""Arguments against schemas: the same verdict as jsonschema, better words, bounded work."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fumehood.admission.validate import Validator
from fumehood.errors import InvalidArguments, ManifestError
from fumehood.model.schema import KEYWORDS
from support.refusals import refused

NAMES = ["a", "b", "ab"]
PATTERNS = ["^a", "b$", "a+b?", "."]


def refusal(schema: dict[str, Any], value: object) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        Validator({"type": "object", **schema}).validate(value)
    return caught.value


# --- the oracle -----------------------------------------------------------------------------

numbers = st.integers(-4, 4) | st.sampled_from([0.5, 1.0, -1.5, 2.5])
scalars = st.none() | st.booleans() | numbers | st.sampled_from(["", *NAMES, "ba", "abc"])
instances = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NAMES, "c"]), inner, max_size=4)
    ),
    max_leaves=12,
)
types = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])
naturals = st.integers(0, 3)
some_names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)
Values = Callable[[st.SearchStrategy[Any]], st.SearchStrategy[Any]]


def plain(values: st.SearchStrategy[Any]) -> Values:
    return lambda _: values


def one(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner


def several(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, min_size=1, max_size=3)


def named(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)


def matched(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2)


ASSERTING: dict[str, Values] = {
    "type": plain(types | st.lists(types, min_size=1, max_size=3, unique=True)),
    "const": plain(instances),
    "enum": plain(st.lists(instances, min_size=1, max_size=3)),
    "multipleOf": plain(st.sampled_from([1, 2, 0.5])),
    "maximum": plain(numbers),
    "exclusiveMaximum": plain(numbers),
    "minimum": plain(numbers),
    "exclusiveMinimum": plain(numbers),
    "maxLength": plain(naturals),
    "minLength": plain(naturals),
    "pattern": plain(st.sampled_from(PATTERNS)),
    "maxItems": plain(naturals),
    "minItems": plain(naturals),
    "uniqueItems": plain(st.booleans()),
    "maxContains": plain(naturals),
    "minContains": plain(naturals),
    "maxProperties": plain(naturals),
    "minProperties": plain(naturals),
    "required": plain(some_names),
    "dependentRequired": plain(st.dictionaries(st.sampled_from(NAMES), some_names, max_size=2)),
    "$ref": plain(st.sampled_from(["#/$defs/a", "#/$defs/b", "#"])),
    "contains": one,
    "items": one,
    "prefixItems": several,
    "additionalProperties": one,
    "propertyNames": one,
    "properties": named,
    "patternProperties": matched,
    "dependentSchemas": named,
    "allOf": several,
    "anyOf": several,
    "oneOf": several,
    "not": one,
    "if": one,
    "then": one,
    "else": one,
}
ANNOTATIONS = {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description"}
ANNOTATIONS |= {"default", "examples", "deprecated", "readOnly", "writeOnly", "format"}
ANNOTATIONS |= {"contentEncoding", "contentMediaType", "contentSchema"}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """A schema of a few keywords; related ones are drawn together more often than by chance."""
    inner = schemas(depth - 1) if depth else st.booleans()
    keys = draw(st.lists(st.sampled_from(sorted(ASSERTING)), max_size=3, unique=True))
    for group in (["if", "then", "else"], ["contains", "minContains", "maxContains"],
                  ["properties", "patternProperties", "additionalProperties"],
                  ["prefixItems", "items"]):  # fmt: skip
        if not set(group).isdisjoint(keys):
            keys = [*keys, *(key for key in group if key not in keys)]
    return {key: draw(ASSERTING[key](inner)) for key in keys}


roots = st.builds(
    lambda schema, one, two: {**schema, "$defs": {"a": one, "b": two}},
    schemas(),
    schemas(1),
    schemas(1),
)


@given(roots, instances)
def test_the_verdict_is_that_of_jsonschema(schema: dict[str, Any], value: object) -> None:
    error = refused(ManifestError, lambda: Validator(schema))
    assume(error is None or "circle" not in error.cause)
    assert error is None
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    refusal = refused(InvalidArguments, lambda: Validator(schema).validate(value))
    assert (refusal is None) == expected, refusal


def test_the_oracle_is_asked_about_every_keyword() -> None:
    assert set(ASSERTING) | ANNOTATIONS == KEYWORDS


# --- what a caller reads --------------------------------------------------------------------

WORDS = {
    "required": ["text"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "maxLength": 10, "minLength": 1, "pattern": "^[a-z]+$"},
        "mode": {"enum": ["fast", "slow"]},
        "level": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "uniqueItems": True},
        "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "a/b~c": {"type": "integer"},
        "one": {"const": 1},
    },
}


@pytest.mark.parametrize(
    ("value", "pointer", "cause"),
    [
        ({}, "", 'the property "text" is missing'),
        ([], "", "expected object, got an array"),
        (None, "", "expected object, got null"),
        ({"txt": "x"}, "", 'unknown property "txt"'),
        ({"text": 1}, "/text", "expected string, got an integer"),
        ({"text": True}, "/text", "expected string, got a boolean"),
        ({"text": "x" * 11}, "/text", "expected at most 10 characters, got 11"),
        ({"text": ""}, "/text", "expected at least 1 characters, got 0"),
        ({"text": "A"}, "/text", 'expected a match of the pattern "^[a-z]+$"'),
        ({"text": "x\n"}, "/text", "expected a match of the pattern"),
        ({"text": "x", "mode": "other"}, "/mode", 'expected one of "fast", "slow"'),
        ({"text": "x", "one": True}, "/one", "expected 1"),
        ({"text": "x", "level": 0}, "/level", "expected a number of at least 1"),
        ({"text": "x", "level": 10}, "/level", "expected a number below 10"),
        ({"text": "x", "level": 1.5}, "/level", "expected integer, got a number"),
        ({"text": "x", "level": True}, "/level", "expected integer, got a boolean"),
        ({"text": "x", "tags": ["a", 1]}, "/tags/1", "expected string, got an integer"),
        ({"text": "x", "tags": ["a", "a"]}, "/tags", "the items 0 and 1 are equal"),
        ({"text": "x", "tags": [""] * 3}, "/tags", "expected at most 2 items, got 3"),
        ({"text": "x", "a/b~c": ""}, "/a~1b~0c", "expected integer, got a string"),
        ({"text": "x", "either": 1}, "/either", "fits none of 2 alternatives"),
    ],
)
def test_a_refusal_says_where_and_what_is_expected(value: object, pointer: str, cause: str) -> None:
    error = refusal(WORDS, value)
    assert error.pointer == pointer
    assert cause in error.cause
    assert error.cause.startswith(pointer or "the arguments")


def test_an_unknown_property_names_the_nearest() -> None:
    assert refusal(WORDS, {"text": "x", "txet": "x"}).remedy == "did you mean 'text'?"


SECRET = "hunter2-" * 40


@given(roots)
def test_no_refusal_repeats_a_value_or_grows_long(schema: dict[str, Any]) -> None:
    assume(refused(ManifestError, lambda: Validator(schema)) is None)
    validator = Validator(schema)
    for value in ({"a": SECRET}, {"a": [SECRET, SECRET], "b": SECRET}, [SECRET] * 3, SECRET):
        error = refused(InvalidArguments, functools.partial(validator.validate, value))
        assert error is None or ("hunter" not in str(error) and len(str(error)) < 500)


def test_hostile_property_names_are_short_and_printable() -> None:
    schema = {"additionalProperties": {"type": "null"}}
    for name in ("x" * 10_000, "\x1b]52;c;x\x07", "\u202e", "a\nb"):
        error = refusal(schema, {name: 1})
        assert error.cause.isprintable()
        assert len(error.pointer) < 300
        assert len(refusal({"additionalProperties": False}, {name: 1}).cause) < 100


CHOSEN = "hunter2"
LOOSE: dict[str, Any] = {
    "properties": {
        "text": {"type": "string"},
        "closed": {"properties": {"a": True}, "additionalProperties": False},
        "map": {"additionalProperties": {"properties": {"n": {"type": "integer"}}}},
        "matched": {"patternProperties": {"^h": {"items": {"type": "null"}}}},
        "named": {"propertyNames": {"maxLength": 3}},
        "either": {
            "anyOf": [
                {"properties": {"x": True}, "additionalProperties": False},
                {"propertyNames": {"const": "y"}},
            ]
        },
        "deep": {"additionalProperties": {"additionalProperties": False}},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "told", "recorded"),
    [
        ({CHOSEN: 1}, 'unknown property "hunter2"', "the arguments: unknown property *"),
        ({"text": 1}, "/text", "/text: expected string, got an integer"),
        ({"closed": {CHOSEN: 1}}, 'unknown property "hunter2"', "/closed: unknown property *"),
        ({"map": {CHOSEN: {"n": ""}}}, "/map/hunter2/n", "/map/*/n: expected integer, got"),
        ({"matched": {CHOSEN: [1]}}, "/matched/hunter2/0", "/matched/*/0: expected null"),
        ({"named": {CHOSEN: 1}}, 'name "hunter2"', "/named: the property name *: expected at most"),
        ({"either": {CHOSEN: 1}}, 'property "hunter2"', "/either: fits none of 2 alternatives: "),
        ({"deep": {CHOSEN: {CHOSEN: 1}}}, "/deep/hunter2", "/deep/*: unknown property *"),
    ],
)  # fmt: skip
def test_a_name_that_the_schema_does_not_name_is_told_to_its_caller_alone(
    value: object, told: str, recorded: str
) -> None:
    error = refusal(LOOSE, value)
    assert told in error.cause
    assert error.recorded.startswith(recorded)
    assert CHOSEN not in error.recorded


@given(roots)
def test_nothing_recorded_of_a_refusal_is_a_callers_word(schema: dict[str, Any]) -> None:
    assume(refused(ManifestError, lambda: Validator(schema)) is None)
    validator = Validator(schema)
    for value in ({SECRET: 1}, {"a": {SECRET: [SECRET]}}, {"b": {SECRET: {SECRET: 1}}, "a": 1}):
        error = refused(InvalidArguments, functools.partial(validator.validate, value))
        assert error is None or "hunter" not in error.recorded


def test_the_subject_of_a_result_is_the_result() -> None:
    validator = Validator({"type": "object"}, key="outputSchema", subject="the result")
    with pytest.raises(InvalidArguments, match="the result: expected object"):
        validator.validate([])


def test_a_schema_that_is_not_enforced_is_no_validator() -> None:
    with pytest.raises(ManifestError, match="outputSchema"):
        Validator({"unevaluatedProperties": False}, key="outputSchema")


# --- bounded work ---------------------------------------------------------------------------


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"next": value}
    return value


def test_depth_is_bounded() -> None:
    tree = {"properties": {"next": {"$ref": "#"}}}
    Validator({"type": ["object", "integer"], **tree}).validate(nested(64))
    for depth in (65, 1000, 100_000):
        assert "more than 64 levels" in refusal({}, nested(depth)).cause


LISTS: dict[str, tuple[dict[str, Any], object]] = {
    "branches that double at each level": (
        {
            "$defs": {
                "n": {
                    "anyOf": [
                        {"type": "integer", "minimum": 2},
                        {"properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["x"]},
                        {"properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["y"]},
                    ]
                }
            },
            "$ref": "#/$defs/n",
        },
        nested(60),
    ),
    "references that double without going in": (
        {
            "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
            | {"d40": {}},
            "$ref": "#/$defs/d0",
        },
        {},
    ),
    "a long array": ({"properties": {"a": {"items": {}}}}, {"a": [0] * 3_000_000}),
    "a long object of names": ({"propertyNames": {}}, dict.fromkeys(map(str, range(2_100_000)))),
    "a chain of references longer than the stack": (
        {
            "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(5000)} | {"d5000": {}},
            "$ref": "#/$defs/d0",
        },
        {},
    ),
    "a slow pattern on a long text": (
        {"properties": {"a": {"pattern": "(?:a?){900}a{90}z"}}},
        {"a": "a" * 1_000_000},
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_what_costs_too_much_is_refused_in_bounded_time(name: str) -> None:
    schema, value = LISTS[name]
    validator = Validator(schema)
    started = time.process_time()
    with pytest.raises(InvalidArguments, match="too large to be checked"):
        validator.validate(value)
    assert time.process_time() - started < 10


def test_a_pattern_that_stalls_backtracking_engines_takes_no_time() -> None:
    started = time.process_time()
    error = refusal({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "a" * 100_000 + "!"})
    assert error.pointer == "/a"
    assert time.process_time() - started < 2


def test_unique_items_are_compared_in_linear_time() -> None:
    value = {"a": [{"k": [i, None, str(i)]} for i in range(50_000)]}
    started = time.process_time()
    Validator({"properties": {"a": {"uniqueItems": True}}}).validate(value)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True], True),
        ([0, False, None, ""], True),
        ([1, 1.0], False),
        ([[1], [True]], True),
        ([[], {}], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([["boolean", 1], True], True),
    ],
)
def test_equality_is_that_of_json(items: list[object], unique: bool) -> None:  # noqa: FBT001
    validator = Validator({"properties": {"a": {"uniqueItems": True}}})
    assert (refused(InvalidArguments, lambda: validator.validate({"a": items})) is None) == unique


@pytest.mark.parametrize(
    ("value", "divisor", "fits"),
    [
        (0.3, 0.1, True),
        (0.35, 0.1, False),
        (1e308, 0.1, True),
        (19.99, 0.01, True),
        (2**64 - 1, 3, True),
        (7, 2, False),
        (5e-324, 2, False),
    ],
)
def test_multiples_are_those_of_the_written_decimals(
    value: float,
    divisor: float,
    fits: bool,  # noqa: FBT001
) -> None:
    validator = Validator({"properties": {"a": {"multipleOf": divisor}}})
    assert (refused(InvalidArguments, lambda: validator.validate({"a": value})) is None) == fits


def test_a_validator_may_be_used_again_and_by_several_threads() -> None:
    validator = Validator({"properties": {"a": {"items": {"type": "integer"}}}}, max_steps=2_000)
    good, bad = {"a": [1] * 1000}, {"a": [*[1] * 999, "x"]}

    def once(index: int) -> bool:
        value = bad if index % 2 else good
        error = refused(InvalidArguments, lambda: validator.validate(value))
        return (error is not None and error.pointer == "/a/999") if index % 2 else error is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(once, range(200)))
