"""What is left out and what is left are the whole, and every byte finds its way back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fumehood.scan.control import HIDDEN
from fumehood.scan.stripped import Stripped

_BYTES = b"a 7 m [ ; \0 \x07 \x1b \x1b[1m \xff \xc3".split(b" ")
_CHARACTERS = ["é", "안", "👩", "\x9b3A", "\u200b", "\u200d", "️", "\U000e0041", "\n", "\r"]
PIECES = st.lists(
    st.sampled_from([*_BYTES, *(text.encode() for text in _CHARACTERS)]), max_size=14
).map(b"".join)


@given(PIECES | st.binary(max_size=60))
def test_each_byte_left_stands_where_it_is_said_to_have_stood(data: bytes) -> None:
    stripped = Stripped(data)
    places = [stripped.origin(at, at + 1) for at in range(len(stripped.data))]
    assert all(end == start + 1 for start, end in places)
    assert bytes(data[start] for start, _ in places) == stripped.data
    assert places == sorted(set(places))


@given(PIECES | st.binary(max_size=60))
def test_nothing_hidden_is_left_after_control_bytes_are_gone(data: bytes) -> None:
    text = Stripped(data).data.decode()
    assert set(HIDDEN.findall(text)) <= set("\u200c\u200d\ufe0e\ufe0f\r")


def test_a_span_takes_in_what_was_left_out_inside_it() -> None:
    data = b"x\x1b[31mAB\0C\xe2\x80\x8bD\x1b[0my"
    stripped = Stripped(data)
    assert stripped.data == b"xABCDy"
    start, end = stripped.origin(1, 5)
    assert data[start:end] == b"AB\0C\xe2\x80\x8bD"


def test_clean_bytes_are_not_shorter() -> None:
    assert not Stripped("clean ☃\r\n".encode()).is_shorter
