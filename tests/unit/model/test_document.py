"""The strict reader of YAML and JSON documents, and what it must refuse."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fumehood.model.document import MAX_DEPTH, DocumentError, dotted, parse, shown
from support.refusals import refused

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_json_is_read_as_json(value: dict[str, object]) -> None:
    assert parse(json.dumps(value)).value == value


@given(st.dictionaries(st.text("abcdef", min_size=1), values, max_size=4))
def test_what_a_yaml_writer_wrote_is_read_back(value: dict[str, object]) -> None:
    # YAML's writer refuses nothing; what it tags or cannot spell, the reader refuses.
    text = yaml.safe_dump(value, default_flow_style=False, allow_unicode=False)
    if "!!" in text or "\\" in text or text.startswith("{"):
        return
    error = refused(DocumentError, lambda: parse(text))
    if error is None:
        assert parse(text).value == value or any(c in text for c in ".:"), text
    else:
        assert "64 bits" in error.cause or "too large" in error.cause


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    error = refused(DocumentError, lambda: parse(text))
    assert error is None or len(str(error)) < 400


@given(st.text(alphabet="{}[]:,&*!|>%@`\"'#-? \n\tab0", max_size=200))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    error = refused(DocumentError, lambda: parse(text))
    assert error is None or len(str(error)) < 400


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a: &x 1\nb: *x", "anchor"),
        ("a: *x", "anchor"),
        ("a: &x [*x]", "anchor"),
        ("a: !!python/object/apply:os.system [id]", "tag"),
        ("a: !!str 1", "tag"),
        ("!!map {a: 1}", "tag"),
        ("a: !x 1", "tag"),
        ("%TAG ! tag:example.org,2026:\n---\na: 1", "TAG"),
        ("a: 1\na: 2", "twice"),
        ('{"a": 1, "a": 2}', "twice"),
        ("a: {b: 1, b: 2}", "twice"),
        ('"a": 1\n"\\x61": 2', "twice"),
        ("a: 1\n---\nb: 2", "second document"),
        ("1: a", "not a string"),
        ("null: a", "not a string"),
        ("? [a]\n: b", "plain string"),
        ("? {a: b}\n: c", "plain string"),
        ("a: [", "not well-formed"),
        ("a: b: c", "not well-formed"),
        ("a: \x00", "not well-formed"),
        ("a: \x1b[31m", "not well-formed"),
        ("a: " + "9" * 5000, "64 bits"),
        ("a: 18446744073709551616", "64 bits"),
        ('{"a": ' + "9" * 5000 + "}", "64 bits"),
        ("a: 1e999", "too large"),
        ('{"a": 1e999}', "too large"),
        ('{"a": NaN}', "NaN"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('a: "\\ud800"', "not well-formed"),
        ("a: \ud800", "surrogate"),
        ("a: " + "[" * 40, f"more than {MAX_DEPTH}"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", f"more than {MAX_DEPTH}"),
        ("\n".join(" " * i + "a:" for i in range(40)), f"more than {MAX_DEPTH}"),
        ("- " * 40 + "a", f"more than {MAX_DEPTH}"),
        ("a" * 300_000, "bytes"),
        ("é" * 200_000, "bytes"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_could_be_read_in_two_ways_or_never_ends_is_refused(text: str, cause: str) -> None:
    with pytest.raises(DocumentError, match=cause):
        parse(text)


def test_a_billion_laughs_costs_nothing() -> None:
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    with pytest.raises(DocumentError, match="anchor") as caught:
        parse("\n".join(lines))
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("1:30", "1:30"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".5", ".5"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("2026-11-21", "2026-11-21"),
        ("<<", "<<"),
        ("1.0.0", "1.0.0"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-12", -12),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ('"true"', "true"),
        ('"\\u202e"', "\u202e"),
        ("|-\n  two\n  lines", "two\nlines"),
    ],
)
def test_plain_words_mean_what_they_mean_in_json(written: str, meant: object) -> None:
    value: Any = parse(f"a: {written}\n").value
    assert value == {"a": meant}
    assert type(value["a"]) is type(meant)


def test_merge_keys_are_ordinary_keys() -> None:
    assert parse("a: {<<: {b: 1}}").value == {"a": {"<<": {"b": 1}}}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "~"])
def test_an_empty_text_is_null(text: str) -> None:
    assert parse(text).value is None


def test_lines_are_remembered_and_fall_back_to_what_is_around() -> None:
    document = parse("a: 1\nb:\n  c:\n    - x\n    - y\n")
    assert document.line_of(("a",)) == 1
    assert document.line_of(("b", "c")) == 3
    assert document.line_of(("b", "c", 1)) == 5
    assert document.line_of(("b", "nothing", "here")) == 2


def test_a_full_size_text_is_read_in_reasonable_time() -> None:
    started = time.process_time()
    for text in ("a: [" + "1, " * 80_000 + "1]", "\n".join(f"k{i}: v" for i in range(20_000))):
        parse(text)
    with pytest.raises(DocumentError):
        parse("a: [" + "{a: " * 60_000)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 1000, '"' + "x" * 39 + "…"),
        ("a\nb\x1b", '"a\\nb\\u001b"'),
        (True, "true"),
        (1, "1"),
        (None, "null"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "a mapping of 1"),
        (10**5000, "an integer beyond 64 bits"),
        (object(), "object"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_values_are_shown_short_and_printable(value: object, text: str) -> None:
    assert shown(value) == text


def test_paths_are_written_with_dots() -> None:
    assert dotted(("run", "command", 0)) == "run.command[0]"
    assert dotted(()) == ""
    assert dotted(("a", "\x1b[31m", "x" * 99)) == 'a."\\u001b[31m"."' + "x" * 39 + "…"
