"""A text that is JSON is JSON once everything in it can be seen, and its strings are visible."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.scan import accept, admitted, outcome, plan

from fumehood.model.outcome import Artifact
from fumehood.model.result import Timing
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.shown import made_visible
from fumehood.scan.visible import is_clean, restore, visible

HIDDEN = "\u200b\u200f\u2028\x7f\u009b\U000e0041\ufeff\U000f0000"
PIECES = st.sampled_from(
    [*HIDDEN, "\\", "u{41}", "x41", '"', "\x1b", "\r", "\n", "é", "👩\u200d👩"]
)
STRINGS = st.lists(PIECES, max_size=6).map("".join)
DOCUMENTS = st.recursive(
    STRINGS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=8,
)


def strings(value: object) -> list[str]:
    """Those of a document, names among them, in order."""
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in (name, *strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@given(value=DOCUMENTS, indent=st.sampled_from([None, 2]), ascii_=st.booleans())
def test_each_string_of_a_document_decodes_to_its_visible_form(
    value: object, indent: int | None, *, ascii_: bool
) -> None:
    data = json.dumps([value], ensure_ascii=ascii_, indent=indent).encode()
    text, cut = made_visible(data)
    assert not cut
    assert is_clean(text.encode())
    before, after = strings([value]), strings(json.loads(text))
    if is_clean(data):
        assert after == before
    else:
        assert [restore(found).decode() for found in after] == before
        assert all(is_clean(found.encode()) for found in after)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("document", ['{"a": "%s", "n": 1}', '{"%s": [1]}', '"%s"', ' ["%s"]'])
def test_what_is_hidden_in_a_document_leaves_it_json(document: str, hidden: str) -> None:
    text, _ = made_visible((document % f"x{hidden}y").encode())
    shown, _ = visible(f"x{hidden}y".encode())
    assert strings(json.loads(text)) == strings(json.loads(document % shown.replace("\\", "\\\\")))


def test_only_the_strings_that_hide_something_are_written_anew() -> None:
    text, _ = made_visible('{ "a" : "\\/\\u00e4", "b":\t"\u200b\\n\\ud800" }\r\n'.encode())
    assert text == '{ "a" : "\\/\\u00e4", "b":\t"\\\\u{200B}\\n\\ud800" }\r\n'


def test_lines_that_are_json_stay_json_among_lines_that_are_text() -> None:
    data = 'a\u200bb "\u200b"\n{"m": "a\u200bb"}\n\ufeff{"m": "\u200b"\n[1,\r"\u200b"]\n\x1b'
    assert made_visible(data.encode())[0].split("\n") == [
        'a\\u{200B}b "\\u{200B}"', '{"m": "a\\\\u{200B}b"}', '\\u{FEFF}{"m": "\\u{200B}"',
        '[1, "\\\\u{200B}"]', "\\x1b",
    ]  # fmt: skip


@given(
    st.binary(max_size=40)
    | st.lists(PIECES | st.just("\n"), max_size=9).map(lambda p: "".join(p).encode())
)
def test_what_is_no_json_reads_as_any_text_does(data: bytes) -> None:
    if not {*b'[{"'} & {*data}:
        assert made_visible(data) == visible(data)


def test_a_bar_of_progress_is_left_as_it_is() -> None:
    bar = "10%\r20%\r100%\n{}\n"
    assert made_visible(bar.encode()) == (bar, False)


def test_a_document_is_cut_where_it_stops_being_text() -> None:
    text, cut = made_visible(('["' + "\u200b" * 5 + '"]').encode(), most=3)
    assert (text, cut) == ('["' + r"\u{200B}" * 3, True)


@pytest.mark.parametrize("schema", ["", "{type: object}"])
def test_stdout_stderr_and_files_stay_json(pipeline: Pipeline, schema: str) -> None:
    data = '{"a": "x\u200by", "\u202eb": "\x7f"}'
    given_ = outcome(data, data, artifacts=(Artifact("x.json", data.encode()),))
    check = accept if schema else None
    result = pipeline.release(admitted(schema), plan(), given_, timing=Timing(), check_output=check)
    texts: list[Any] = [
        result.content[0]["text"],
        result.stderr,
        result.content[1]["resource"]["text"],
    ]
    for text in texts:
        assert json.loads(text) == {"a": r"x\u{200B}y", r"\u{202E}b": r"\x7f"}


def test_what_only_an_escape_of_json_hides_is_shown_and_told(pipeline: Pipeline) -> None:
    given_ = outcome('{"a": "x\\u202ey", "b": "\\u00e4"}')
    result = pipeline.release(admitted(), plan(), given_, timing=Timing(), check_output=None)
    assert result.content[0]["text"] == '{"a": "x\\\\u{202E}y", "b": "\\u00e4"}'
    assert [(f.rule, f.action) for f in result.findings] == [("bidi-control", "redact")]
