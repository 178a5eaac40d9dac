"""Everything can be seen, nothing is lost, and clean text is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.scan.control import ControlDetector, decode
from fumehood.scan.utf8 import Utf8Detector
from fumehood.scan.visible import is_clean, restore, visible


def flag(region: str) -> str:
    """A region as tag characters, and the one that ends them (UTS #51, ED-14a)."""
    return "".join(chr(0xE0000 + ord(letter)) for letter in f"{region}\x7f")


PIECES = st.sampled_from(
    [b"\\", b"x", b"4", b"1", b"u", b"{", b"}", b"\x1b", b"\r", b"\n", b"\xff", b"\x80", b"a"]
    + [
        c.encode()
        for c in "é안👩👩\u200b\u200d\ufe0f\u202e\U000e0041\u0645\u200c\u845b\U000e0100ไ\u200f🏴"
    ]
    + [("\ue001" * 5).encode(), ("\u2009" * 7).encode(), flag("gbeng").encode()]
)


@given(st.lists(PIECES, max_size=16).map(b"".join) | st.binary(max_size=60))
def test_what_is_rewritten_can_be_restored_to_the_byte(data: bytes) -> None:
    text, cut = visible(data)
    assert not cut
    assert text == decode(data) or restore(text) == data
    assert text == decode(data) or not is_clean(data)


@given(st.lists(PIECES, max_size=16).map(b"".join) | st.binary(max_size=60))
def test_what_is_visible_holds_nothing_hidden(data: bytes) -> None:
    # A mark of direction that stood near enough to its letter may be further away from it by what
    # is rewritten between them: it was legitimate, and stays.
    text, _ = visible(data.replace("\u200f".encode(), b""))
    detectors = (ControlDetector(), Utf8Detector())
    assert not any(detector.find(text.encode(), seconds=1) for detector in detectors)


@given(st.lists(PIECES, max_size=16).map(b"".join) | st.binary(max_size=60))
def test_the_detectors_find_something_exactly_when_something_is_rewritten(data: bytes) -> None:
    found = [m for d in (ControlDetector(), Utf8Detector()) for m in d.find(data, seconds=1)]
    shown, _ = visible(data)
    assert bool(found) == (shown != decode(data))
    assert found == [] or not is_clean(data)
    assert all(0 <= match.start < match.end <= len(data) for match in found)


@pytest.mark.parametrize(
    "text",
    [
        "plain\ttext\nlines\r\n",
        "Größe, naïve, 안녕하세요, 你好, Здравствуй",
        "👩\u200d👩\u200d👧\u200d👦 ✔\ufe0f 1\ufe0f\u20e3 👍🏽 👨🏽\u200d💻 ❤\ufe0f\u200d🔥",
        "می\u200cروم نمی\u200cخواهم",
        "क्\u200dष श्\u200dर",
        "葛\U000e0100城",
        "C:\\x41\\u{41}",
        "\u200fמחיר: 100\u200e\n(\u200fאב\u200e)",
        "\u200fالعدد 123\u200e والباقي\u061c",
        "ภาษา\u200bไทย\u200b 8 ตัว",
        "ភាសា\u200bខ្មែរ ພາສາ\u200bລາວ မြန်မာ\u200bစာ",
        "ប៊\u200cី ᠠ\u200d",
        "".join(f"🏴{flag(region)} " for region in ("gbeng", "gbsct", "gbwls")),
        "\ue0b0 ~/src \ue0a0 main \ue0b1\uf418\ue0b0 ★\uf005\uf005\uf005\uf005\uf005 \uf8ff",
        "\uee00" + "\uee04" * 20 + "\uee02",
        "12\u202f345\u2009km, «\u202foui\u202f»" + "\u2003" * 12,
    ],
)
def test_legitimate_text_is_left_alone(text: str) -> None:
    assert visible(text.encode()) == (text, False)


@pytest.mark.parametrize(
    ("data", "shown", "rule"),
    [
        (b"\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m", "terminal-escape"),
        (b"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07", "terminal-escape"),
        (b"\x1b]8;;http://x\x1b\\y", r"\x1b]8;;http://x\x1b\y", "terminal-escape"),
        ("\u009b2J".encode(), r"\u{009B}2J", "terminal-escape"),
        (b"over\rwritten", r"over\x0dwritten", "control-character"),
        (b"back\b\bspace\x00\x7f", r"back\x08\x08space\x00\x7f", "control-character"),
        ("a\u202eb\u2066c".encode(), r"a\u{202E}b\u{2066}c", "bidi-control"),
        ("\U000e0049\U000e0067".encode(), r"\u{E0049}\u{E0067}", "tag-character"),
        ("pass\u200bword\ufeff".encode(), r"pass\u{200B}word\u{FEFF}", "zero-width"),
        ("a\u200db".encode(), r"a\u{200D}b", "zero-width"),
        ("😀\ufe00\U000e0101".encode(), "😀" + r"\u{FE00}\u{E0101}", "variation-selector"),
        (b"caf\xe9", r"caf\xe9", "invalid-utf8"),
        (b"\xc0\xaf\xed\xa0\x80", r"\xc0\xaf\xed\xa0\x80", "invalid-utf8"),
        (b"\xff and \\xff", r"\xff and \\xff", "invalid-utf8"),
    ],
)
def test_hidden_text_is_shown_and_named(data: bytes, shown: str, rule: str) -> None:
    assert visible(data) == (shown, False)
    found = [m for d in (ControlDetector(), Utf8Detector()) for m in d.find(data, seconds=1)]
    assert rule in {match.rule for match in found}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("שלום \u200e\u200f\u200f\u200e", "bidi-control"),
        ("א\u200fב\u200eג\u200fד\u200fה", "bidi-control"),
        ("שלום gh\u200fp_abc", "bidi-control"),
        ("שלום sk-\u200fabc", "bidi-control"),
        ("a\u200eb\u200f c", "bidi-control"),
        ("שלום \u202eabc", "bidi-control"),
        ("ภาษา\u200b\u200cไทย", "zero-width"),
        ("ก\u200bข\u200bค\u200bง\u200bจ", "zero-width"),
        ("ไทย ab\u200bcd", "zero-width"),
        ("س\u200cل\u200dا\u200cم\u200c", "zero-width"),
        ("क\u200d\u200c\u200dष", "zero-width"),
        ("🏴" + flag("usca"), "tag-character"),
        ("🏴" + flag("gbengx"), "tag-character"),
        (flag("gbeng"), "tag-character"),
        ("🏴" + flag("gbeng") + "\U000e0041", "tag-character"),
        ("".join(chr(0xE000 + ord(c)) for c in "send the key"), "private-use"),
        ("a" + "\u2009\u202f\u2009\u2009" * 4 + "b", "narrow-spaces"),
    ],
)
def test_what_is_legitimate_elsewhere_hides_nothing(text: str, rule: str) -> None:
    shown, _ = visible(text.encode())
    assert shown != text
    assert rule in {match.rule for match in ControlDetector().find(text.encode(), seconds=1)}


def test_a_match_says_where_it_begins_and_how_often_it_occurs() -> None:
    data = "é\u202eabc\u202e".encode()
    (match,) = ControlDetector().find(data, seconds=1)
    assert (match.start, match.end, match.count) == (2, 5, 2)


def test_binary_is_cut_where_it_stops_being_text() -> None:
    text, cut = visible(b"begin" + b"\0" * 100, most=10)
    assert (text, cut) == ("begin" + r"\x00" * 10, True)
    text, cut = visible(b"\r\n" * 100 + b"\0", most=10)
    assert (text, cut) == ("\r\n" * 100 + r"\x00", False)
