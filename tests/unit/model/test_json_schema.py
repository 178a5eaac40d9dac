"""Which JSON Schemas are let in."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import ManifestError
from fumehood.model.schema import KEYWORDS, MAX_PATTERNS, check_schema, resolve
from support.refusals import refused


def refusal(schema: dict[str, Any]) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        check_schema({"type": "object", **schema}, "inputSchema")
    return caught.value


@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/x",
        "https://example.org/schema",
        "file:///etc/passwd",
        "other.json",
        "other.json#/x",
        "//host/x",
        "urn:x",
        "",
    ],
)
def test_references_stay_inside_the_schema(reference: str) -> None:
    error = refusal({"properties": {"a": {"$ref": reference}}})
    assert error.field == "inputSchema.properties.a.$ref"
    assert "leads out of the schema" in error.cause


@pytest.mark.parametrize(
    "reference",
    [
        "#/$defs/none",
        "#name",
        "#/properties/a/enum/0",
        "#/x-own",
        "#/required",
        "#/properties",
        "#/properties/a/default",
        "#/$defs/a/",
        "#/properties/0",
    ],
)
def test_references_lead_to_schemas(reference: str) -> None:
    schema = {
        "properties": {"a": {"enum": [{"$ref": "#"}], "default": {}}, "b": {"$ref": reference}},
        "$defs": {"a": {}},
        "required": ["a"],
        "x-own": {},
    }
    assert "leads to no schema" in refusal(schema).cause


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"not": {"$ref": "#"}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$defs": {"a": {"anyOf": [True, {"oneOf": [{"$ref": "#/$defs/a"}]}]}}},
    ],
)
def test_references_that_go_round_without_going_in_are_refused(schema: dict[str, Any]) -> None:
    assert "circle" in refusal(schema).cause


def test_references_that_go_into_the_value_may_go_round() -> None:
    tree = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "all": {"items": {"$ref": "#"}}},
    }
    check_schema(tree, "inputSchema")


def test_a_diamond_of_references_is_no_circle() -> None:
    schema = {
        "type": "object",
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {"a": {"$ref": "#/$defs/c"}, "b": {"$ref": "#/$defs/c"}, "c": {}},
    }
    check_schema(schema, "inputSchema")


def test_references_may_be_spelled_with_escapes() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "$ref": "#/$defs/a~1b%20c",
        "$defs": {"a/b c": {"minProperties": 1}},
    }
    check_schema(schema, "inputSchema")
    assert resolve(schema, schema["$ref"]) == {"minProperties": 1}


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=x)",
        r"(a)\1",
        "(",
        "[z-a]",
        "a{1001}",
        r"(\pL{1,64} ?){1,10}@",
        "(?:a?){900}a{900}z",
        "a" * 1001,
    ],
)
def test_a_pattern_that_re2_refuses_is_named(pattern: str) -> None:
    schemas: list[dict[str, Any]] = [
        {"properties": {"p": {"pattern": pattern}}},
        {"patternProperties": {pattern: {}}},
    ]
    for schema in schemas:
        error = refusal(schema)
        assert "RE2 refuses the pattern" in error.cause
        assert pattern[:8].replace("\\", "\\\\") in error.cause
        assert len(str(error)) < 400


def test_a_pattern_that_stalls_other_engines_is_fine() -> None:
    assert set(check_schema({"type": "object", "propertyNames": {"pattern": "(a+)+$"}}, "x")) == {
        "(a+)+$"
    }


def test_the_number_of_patterns_is_bounded() -> None:
    many = {f"p{i}": {"pattern": f"x{i}"} for i in range(MAX_PATTERNS + 1)}
    assert f"more than {MAX_PATTERNS}" in refusal({"properties": many}).cause


@pytest.mark.parametrize(
    "keyword",
    [
        "$dynamicRef",
        "$dynamicAnchor",
        "$recursiveRef",
        "$anchor",
        "$vocabulary",
        "unevaluatedItems",
        "unevaluatedProperties",
        "additionalItems",
        "dependencies",
        "id",
    ],
)
def test_keywords_that_would_not_be_enforced_are_refused_with_what_to_use(keyword: str) -> None:
    error = refusal({"properties": {"a": {keyword: {}}}})
    assert f"the keyword {keyword} is refused" in error.cause
    assert error.remedy


@pytest.mark.parametrize(
    ("typo", "near"),
    [("propertees", "properties"), ("requierd", "required"), ("maxlength", "maxLength")],
)
def test_unknown_keywords_name_the_nearest(typo: str, near: str) -> None:
    assert f"did you mean {near!r}?" in refusal({typo: 1}).remedy


def test_own_extensions_are_allowed() -> None:
    check_schema({"type": "object", "x-order": 1}, "inputSchema")


@pytest.mark.parametrize(
    "schema",
    [
        {"minLength": -1},
        {"minLength": True},
        {"minLength": 1.5},
        {"maxItems": "1"},
        {"multipleOf": 0},
        {"multipleOf": -1},
        {"multipleOf": True},
        {"maximum": "1"},
        {"minimum": float("nan")},
        {"maximum": float("inf")},
        {"required": "a"},
        {"required": ["a", "a"]},
        {"required": [1]},
        {"type": "objekt"},
        {"type": []},
        {"type": ["string", "string"]},
        {"type": None},
        {"enum": []},
        {"enum": 1},
        {"pattern": 1},
        {"uniqueItems": 1},
        {"properties": []},
        {"properties": {"a": 1}},
        {"items": [{}]},
        {"prefixItems": []},
        {"allOf": []},
        {"allOf": {}},
        {"not": 1},
        {"patternProperties": 1},
        {"dependentRequired": {"a": 1}},
        {"$ref": 1},
        {"title": 1},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"properties": {"a": {"$schema": "https://json-schema.org/draft/2020-12/schema"}}},
        {"properties": {"a": {"$id": "x"}}},
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_keywords_are_refused(schema: dict[str, Any]) -> None:
    check = {key: value for key, value in schema.items() if key != "type"}
    with pytest.raises(ManifestError):
        check_schema({**check, **schema} if "type" in schema else {"type": "object", **schema}, "x")


@pytest.mark.parametrize(
    "schema",
    [
        {"description": "x\u202ey"},
        {"properties": {"a\u200b": {}}},
        {"properties": {"a": {"enum": ["x\U000e0041"]}}},
        {"x-own": {"deep": ["\x1b[31m"]}},
        {"properties": {"a": {"default": "\u2066"}}},
    ],
)
def test_schemas_hide_no_text_from_people(schema: dict[str, Any]) -> None:
    assert "people cannot see" in refusal(schema).cause


def test_a_large_schema_is_checked_in_linear_time() -> None:
    many = {f"p{i}": {"$ref": f"#/$defs/d{i}"} for i in range(3000)}
    chain = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)} | {"d3000": {}}
    check_schema({"type": "object", "properties": many, "$defs": chain}, "inputSchema")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["string", "object", "#", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*sorted(KEYWORDS), "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), anything, max_size=3))
def test_what_is_let_in_is_json_schema_2020_12(schema: dict[str, Any]) -> None:
    error = refused(ManifestError, lambda: check_schema(schema, "inputSchema"))
    if error is None:
        jsonschema.Draft202012Validator.check_schema(schema)
    else:
        assert error.cause.startswith("inputSchema")
        assert error.field.startswith("inputSchema")
