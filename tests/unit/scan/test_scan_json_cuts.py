"""JSON is JSON after redaction, whatever was cut out of it, and what was is gone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.errors import InvalidArguments
from fumehood.model.outcome import Artifact
from fumehood.model.result import Timing
from fumehood.scan import personal
from fumehood.scan.pipeline import Pipeline
from fumehood.scan.redact import Span, redact_text
from support.scan import KEY, admitted, outcome, plan

CARD = "4" + "1" * 15
LABEL = "[redacted:rule:0badcafe]"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(fingerprint_key=KEY, secrets=[personal.detector()])


def span(start: int, end: int) -> Span:
    return Span(start, end, "rule", "high", "0badcafe")


def cut(text: str, *gone: str) -> str:
    data = text.encode()
    places = [(data.index(g.encode()), len(g.encode())) for g in gone]
    return redact_text(data, [span(at, at + size) for at, size in places]).decode()


@pytest.mark.parametrize("indent", [None, 1])
def test_a_number_becomes_a_string(indent: int | None) -> None:
    value = {"id": int(CARD), "x": [1.5, None, True], "s": "ö"}
    left = json.loads(cut(json.dumps(value, indent=indent), CARD))
    assert left == {**value, "id": LABEL}


def test_part_of_a_number_takes_all_of_it_and_two_parts_take_it_once() -> None:
    assert json.loads(cut(f'{{"id": -{CARD}.5e3}}', CARD)) == {"id": LABEL}
    assert json.loads(cut('[123456, "y"]', "12", "56")) == [LABEL, "y"]


def test_numbers_of_json_lines_become_strings_and_other_lines_stay_text() -> None:
    text = f'{{"id": {CARD}}}\nid {CARD[::-1]} of\n[2]\n'
    first, second, third, _ = cut(text, CARD, CARD[::-1]).split("\n")
    assert json.loads(first) == {"id": LABEL}
    assert (second, third) == (f"id {LABEL} of", "[2]")


def test_what_stands_across_strings_leaves_them_strings() -> None:
    assert json.loads(cut('{"a": ["onesecret", "twosecret"], "b": 3}', 'secret", "two')) == {
        "a": [f"one{LABEL}", f"{LABEL}secret"], "b": 3,
    }  # fmt: skip


def test_an_escape_is_cut_out_whole() -> None:
    assert json.loads(cut(r'{"a": "x\u00e4y\\z"}', "e4y\\")) == {"a": f"x{LABEL}z"}


@pytest.mark.parametrize("text", [f"{{{CARD}", f"[{CARD}] and so on", CARD, f"x: {CARD}, y"])
def test_what_is_no_json_is_text(text: str) -> None:
    assert cut(text, CARD) == text.replace(CARD, LABEL)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    st.lists(_VALUES, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 20)), max_size=4),
    st.sampled_from((None, 1)),
    st.sampled_from(("escaped", "as it is")),
)
def test_any_document_stays_one(
    value: list[Any], places: list[tuple[int, int]], indent: int | None, spelled: str
) -> None:
    """Whatever is cut: marks alone, which no detector finds, excepted."""
    data = json.dumps(value, indent=indent, ensure_ascii=spelled == "escaped").encode()
    within = [(at, min(at + size, len(data))) for at, size in places if at < len(data)]
    spans = [span(*p) for p in within if data[p[0] : p[1]].strip(b'\n [{,:}]"')]
    json.loads(redact_text(data, spans))


def test_stdout_and_a_file_with_a_card_as_a_number_are_json_still(pipeline: Pipeline) -> None:
    data = f'{{"card": {CARD}, "x": 1}}'
    given_ = outcome(data, artifacts=(Artifact("x.json", data.encode()),))
    result = pipeline.release(admitted(), plan(), given_, timing=Timing(), check_output=None)
    stdout, file = result.content
    for text in (stdout["text"], file["resource"]["text"]):
        assert CARD not in text
        assert json.loads(text)["card"].startswith("[redacted:payment-card:")


def test_a_number_where_the_schema_wants_one_is_withheld_by_its_own_name(
    pipeline: Pipeline,
) -> None:
    def only_numbers(value: Any) -> None:
        if not isinstance(value["card"], int):
            raise InvalidArguments("no number", pointer="/card")

    result = pipeline.release(
        admitted('{"type": "object", "properties": {"card": {"type": "integer"}}}'), plan(),
        outcome(f'{{"card": {CARD}}}'), timing=Timing(), check_output=only_numbers,
    )  # fmt: skip
    assert result.status == "withheld"
    assert "personal data (`payment-card`) in it cannot be redacted" in result.message
    assert result.findings[0].kind == "personal_data"
