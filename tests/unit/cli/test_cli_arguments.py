"""Arguments on a command line become one JSON object, by the schema's types."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fumehood.cli.arguments import Schema, parse
from fumehood.errors import UsageError
from fumehood.model.strict_json import ARGUMENT_DEPTH

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "any": {},
        "either": {"type": ["string", "null"]},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
}


def collect(
    document: str | None,
    pairs: Sequence[str],
    files: Sequence[str],
    schema: Callable[[], Schema],
) -> dict[str, object]:
    return parse(document, pairs, files).typed(schema)


def pairs(*given: str) -> dict[str, object]:
    return collect(None, given, (), lambda: SCHEMA)


def never() -> dict[str, Any]:
    raise AssertionError("the schema was asked for without need")


def test_nothing_given_is_an_empty_object() -> None:
    assert collect(None, (), (), never) == {}


def test_json_text_is_taken_as_it_is_without_asking_for_the_schema() -> None:
    assert collect('{"text": "a=b", "n": 1}', (), (), never) == {"text": "a=b", "n": 1}


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "text", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}'],
)
def test_what_is_no_strict_json_object_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        collect(text, (), (), never)


def test_stdin_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "x"}')))
    assert collect("-", (), (), never) == {"text": "x"}


def test_a_file_is_read_for_an_at_sign(tmp_path: Path) -> None:
    path = tmp_path / "arguments.json"
    path.write_text('{"text": "x"}')
    assert collect(f"@{path}", (), (), never) == {"text": "x"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        collect(f"@{tmp_path}/nowhere.json", (), (), never)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=12", "12"),
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("text=--force", "--force"),
        ("count=12", 12),
        ("ratio=0.5", 0.5),
        ("deep=true", True),
        ("words=one", ["one"]),
        ('words=["one", "two"]', ["one", "two"]),
        ("numbers=3", [3]),
        ('any={"a": 1}', {"a": 1}),
        ("any=plain", "plain"),
        ("either=null", None),
        ("either=12", "12"),
        ("unknown=5", 5),
        ("unknown=five", "five"),
    ],
)
def test_a_value_is_read_by_the_type_in_the_schema(pair: str, value: object) -> None:
    assert pairs(pair) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize("pair", ["count=many", "deep=yes", "numbers=x"])
def test_a_value_of_another_type_is_an_error_that_names_the_argument(pair: str) -> None:
    with pytest.raises(UsageError, match=pair.partition("=")[0]):
        pairs(pair)


@pytest.mark.parametrize("pair", ["text", "=x", ""])
def test_a_pair_needs_a_name_and_a_value(pair: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        pairs(pair)


def test_repeating_an_array_adds_to_it() -> None:
    assert pairs("words=one", "words=two") == {"words": ["one", "two"]}


def test_repeating_anything_else_is_an_error() -> None:
    with pytest.raises(UsageError, match="given twice"):
        pairs("text=one", "text=two")


def test_a_name_may_not_stand_in_the_document_and_in_a_pair() -> None:
    with pytest.raises(UsageError, match="given twice"):
        collect('{"text": "a"}', ("text=b",), (), lambda: SCHEMA)


def test_a_file_becomes_text_or_base64_as_the_schema_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"to be\n")
    assert collect(None, (), (f"text={path}", f"data={path}"), lambda: SCHEMA) == {
        "text": "to be\n",
        "data": "dG8gYmUK",
    }


def test_a_file_that_is_no_text_is_refused_where_text_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8 at byte 0"):
        collect(None, (), (f"text={path}",), lambda: SCHEMA)


@pytest.mark.parametrize(
    ("document", "given", "files"),
    [
        ("[1]", (), ()),
        ("{", (), ()),
        ('{"a": 1, "a": 2}', (), ()),
        ("@nowhere", (), ()),
        (None, ("text",), ()),
        (None, ("text=\udcff",), ()),
        (None, ("count=x",), ()),
        (None, ("text=1", "text=2"), ()),
        (None, (), ("text",)),
        (None, (), ("text=nowhere",)),
    ],
)
def test_every_refusal_says_what_to_do(
    document: str | None, given: tuple[str, ...], files: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as refused:
        collect(document, given, files, lambda: SCHEMA)
    assert refused.value.remedy
    assert "not JSON at" not in refused.value.remedy
    assert "codec" not in str(refused.value)


def test_arguments_may_be_as_deep_as_a_message_leaves_room_for() -> None:
    def nested(levels: int) -> str:
        return '{"a":' * levels + "1" + "}" * levels

    assert collect(nested(ARGUMENT_DEPTH), (), (), never)
    with pytest.raises(UsageError, match=f"nested more than {ARGUMENT_DEPTH}") as refused:
        collect(nested(ARGUMENT_DEPTH + 1), (), (), never)
    assert refused.value.remedy == "make it flatter"


def test_a_closed_stdin_is_said_to_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        collect("-", (), (), never)
