"""Text that steers a terminal or that nobody sees: escape sequences, control characters,
bidirectional controls, tag and zero-width characters. Finds them; `visible` rewrites them.

What is legitimate stays: variation selectors and joiners inside emoji, the three flags that are
spelled in tags, joiners inside words of Arabic and Indic scripts, spaces of no width between words
of scripts that have no others, marks of direction beside right-to-left text (Unicode 15.1, 23.2;
UTS #51), newline, tab, CR before LF, and CR that only draws a bar of progress again (`redraws`).
Joiners, spaces and marks one after the other are a code, and hidden.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from fumehood.scan.detector import Kind, Match, Severity
from fumehood.scan.redraws import settled

MAX_COUNT: Final = 10_000
"""A match counts its places up to this many."""

_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_TAG: Final = "\U000e0000-\U000e007f"
_JOINER: Final = "\u200c\u200d"
_SPACE: Final = "\u200b"
_MARKS: Final = "\u061c\u200e\u200f"
"""Of direction: they change what stands beside them, and begin no nesting."""
_ZERO_WIDTH: Final = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\u2028\u2029\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_PRIVATE: Final = "\U000f0000-\U000ffffd\U00100000-\U0010fffd"
"""Private use beyond the BMP."""
_ICON: Final = "\ue000-\uedff\uee0c-\uf8ff"
"""Private use of the BMP: fonts have icons there, which stand alone or by a few. Without the parts
of progress bars (Nerd Fonts)."""
_NARROW: Final = "\u2004-\u200a\u202f\u205f"
"""Spaces that are thinner than those of an indent."""
_SELECTOR: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_ESCAPE: Final = "\x1b\x80-\x9f"
_CONTROL: Final = "\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f"
_INVALID: Final = "\udc80-\udcff"
"""Bytes that are no UTF-8, as Python's surrogateescape carries them."""

_EMOJI: Final = "\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_EMOJI_BASE: Final = "#*0-9\u00a9\u00ae" + _EMOJI
_ARABIC: Final = "\u0600-\u061b\u061d-\u08ff\ufb50-\ufdff\ufe70-\ufefc"
_RIGHT_TO_LEFT: Final = (
    "\u0590-\u05ff\ufb1d-\ufb4f\U00010800-\U00010fff\U0001e800-\U0001efff" + _ARABIC
)
# Thai, Lao, Tibetan, Myanmar, Khmer, Tai scripts, Balinese, Javanese.
_UNSPACED: Final = (
    "\u0e01-\u0fff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff\u1950-\u19ff\u1a20-\u1b7f\ua980-\ua9ff"
    "\uaa60-\uaadf"
)
_JOINING: Final = (
    _ARABIC + "\u0900-\u0dff\u1000-\u109f\u1780-\u17b3\u17b6-\u17dd\u1820-\u18aa\u1b00-\u1bbf"
    "\ua8e0-\ua8ff\ua980-\ua9ff\uaa60-\uaa7f\U00011000-\U000114df"
)
_HAN: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MONGOLIAN: Final = "\u1800-\u180a\u1810-\u18aa"

_ALL: Final = (
    _CONTROL
    + _ESCAPE
    + _BIDI
    + _TAG
    + _ZERO_WIDTH
    + _INVALID
    + _JOINER
    + _SELECTOR
    + _PRIVATE
    + _ICON
    + _NARROW
    + "\r\f"
)
_UNSEEN: Final = _JOINER + _ZERO_WIDTH + _SELECTOR + _TAG + _BIDI

# Each pattern begins with its characters and looks back over them afterwards: `re` finds a
# leading set at 90 million characters a second, a leading look-around at 2 million.
_CODE: Final = f"[{_SPACE}{_JOINER}{_MARKS}]"
_IS_CODE: Final = f"(?:(?=(?:.{_CODE}){{3}})|(?<={_CODE}.{_CODE}.{_CODE}.{_CODE}))"
"""A letter between each two of them: no word is written so."""
_LEGITIMATE_JOINER: Final = (
    f"(?<=[{_JOINING}][{_JOINER}])(?![{_UNSEEN}])(?!{_IS_CODE})"
    f"|(?:(?<=[{_EMOJI}]\u200d)|(?<=[{_EMOJI}]\ufe0f\u200d))(?=[{_EMOJI}])"
)
_LEGITIMATE_SPACE: Final = (
    f"(?:(?<=[{_UNSPACED}]{_SPACE})|(?<=[^{_UNSEEN}]{_SPACE})(?=[{_UNSPACED}]))"
    f"(?![{_UNSEEN}])(?!{_IS_CODE})"
)
_MARK_REACH: Final = 32
"""Characters of a line to a letter that is read from right to left: digits, names, punctuation."""
# Beside such a letter, a blank or a bracket: no token is parted by them.
_AT_EDGE: Final = f'[\\s()<>"{_RIGHT_TO_LEFT}]'
_LEGITIMATE_MARK: Final = (
    f"(?<![{_UNSEEN}][{_MARKS}])(?![{_UNSEEN}])(?!{_IS_CODE})"
    rf"(?:(?<={_AT_EDGE}[{_MARKS}])|(?<=\A[{_MARKS}])|(?={_AT_EDGE}|\Z))"
    f"(?:(?=[^\n]{{0,{_MARK_REACH}}}[{_RIGHT_TO_LEFT}])|"
    + "|".join(f"(?<=[{_RIGHT_TO_LEFT}][^\n]{{{n}}}[{_MARKS}])" for n in range(_MARK_REACH))
    + ")"
)
_FLAGS: Final = [
    "".join(chr(0xE0000 + ord(letter)) for letter in f"{region}\x7f")
    for region in ("gbeng", "gbsct", "gbwls")
]
_LEGITIMATE_TAG: Final = (
    "(?:(?<=\U000e007f)|(?=[\U000e0061-\U000e007a]{0,4}\U000e007f))(?:"
    + "|".join(f"(?<=🏴{flag[:n]})(?={flag[n:]})" for flag in _FLAGS for n in range(1, 7))
    + ")"
)
_LEGITIMATE_SELECTOR: Final = (
    f"(?:(?<=[{_EMOJI_BASE}][\ufe0e\ufe0f])|(?<=[{_HAN}][\ufe00-\ufe02\U000e0100-\U000e01ef])"
    f"|(?<=[{_MONGOLIAN}][\u180b-\u180d\u180f]))(?![{_SELECTOR}])"
)
_LEGITIMATE_CR: Final = r"(?<=\r)(?=\n)|(?<=\n\f)|(?<=\f)(?=\n|\Z)|(?<=\A\f)"
"""CR before LF, and a form feed that begins or ends a line, as sources part their pages, and
programs that make text of documents."""

MIN_PRIVATE: Final = 6
"""Icons next to each other that are no icons any more."""
MIN_NARROW: Final = 8
"""The same of narrow spaces."""


def _few(characters: str, most: int) -> str:
    """Less than `most` of them next to each other, by the one before and what follows."""
    return (
        "(?!"
        + "|".join(
            f"(?<=[{characters}]{{{n}}})(?=[{characters}]{{{most - n}}})"
            for n in range(1, most + 1)
        )
        + ")"
    )


_ICONS: Final = rf"(?<=[{_ICON}]){_few(_ICON, MIN_PRIVATE)}"
_NARROWS: Final = rf"(?<=[{_NARROW}]){_few(_NARROW, MIN_NARROW)}"

_MARK: Final = r"(?<=\A\ufeff)"
"""The byte order mark that begins a text, as many editors and spreadsheets write it."""

HIDDEN: Final = re.compile(
    f"[{_ALL}](?!{_MARK}|{_LEGITIMATE_CR}|{_LEGITIMATE_JOINER}|{_LEGITIMATE_SELECTOR}"
    f"|(?<={_SPACE})(?:{_LEGITIMATE_SPACE})|(?<=[{_MARKS}]){_LEGITIMATE_MARK}"
    f"|(?<=[{_TAG}]){_LEGITIMATE_TAG}|{_ICONS}|{_NARROWS})"
)
"""One character that `visible` rewrites."""

RUN: Final = re.compile(rf"[\\{_ALL}][\\{_ALL}]*+")
"""Backslashes and what may be hidden, next to each other."""

IN_CONTEXT: Final = re.compile(
    rf"[\\{_JOINER}{_SELECTOR}{_SPACE}{_MARKS}{_TAG}{_ICON}{_NARROW}\ufeff\r\f]"
)
"""Characters that are rewritten or not by what stands beside them."""

CONTROLS: Final = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n\r\x1b")
"""The control bytes that are hidden whatever stands beside them, ESC excepted."""

CONTROL_SEQUENCE: Final = re.compile(
    "[\x1b\x9b](?:(?<=\x1b)\\[[0-?]{0,64}[ -/]{0,8}[@-~]|(?<=\x9b)[0-?]{0,64}[ -/]{0,8}[@-~])"
)
"""A CSI sequence (ECMA-48, 5.4): colours and cursor movements."""

_ALWAYS: Final = f"[{_CONTROL}{_ESCAPE}{_BIDI}{_TAG}{_ZERO_WIDTH}{_INVALID}{_PRIVATE}]"
HIDDEN_RUN: Final = re.compile(f"{_ALWAYS}{_ALWAYS}*")
"""Characters that no token has, whatever stands beside them."""

CONTEXTUAL: Final = re.compile(rf"[{_JOINER}{_SELECTOR}{_ICON}{_NARROW}\r\f]")
"""Characters that are hidden or not by what stands beside them."""

_PRINTED: Final = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"

_RULES: Final[tuple[tuple[str, Severity, re.Pattern[str]], ...]] = (
    ("terminal-escape", "medium", re.compile(f"[{_ESCAPE}]")),
    ("control-character", "low", re.compile(f"[{_CONTROL}\r\f](?!{_LEGITIMATE_CR})")),
    ("bidi-control", "high", re.compile(f"[{_BIDI}](?!(?<=[{_MARKS}]){_LEGITIMATE_MARK})")),
    ("tag-character", "high", re.compile(f"[{_TAG}](?!{_LEGITIMATE_TAG})")),
    (
        "zero-width",
        "medium",
        re.compile(
            f"[{_ZERO_WIDTH}{_JOINER}](?!{_MARK}|{_LEGITIMATE_JOINER}"
            f"|(?<={_SPACE})(?:{_LEGITIMATE_SPACE}))"
        ),
    ),
    ("private-use", "low", re.compile(f"[{_PRIVATE}{_ICON}](?!{_ICONS})")),
    ("narrow-spaces", "low", re.compile(f"[{_NARROW}](?!{_few(_NARROW, MIN_NARROW)})")),
    ("variation-selector", "medium", re.compile(f"[{_SELECTOR}](?!{_LEGITIMATE_SELECTOR})")),
)
_ASCII_RULES: Final = 2
"""The first rules are all that ASCII can break."""


def decode(data: bytes) -> str:
    """Text with every byte in it: what is no UTF-8 becomes a surrogate (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def is_plain(data: bytes) -> bool:
    """Whether `data` is ASCII in which nothing is hidden: 2 ms for 1 MiB, nothing decoded."""
    if data.translate(None, _PRINTED):
        return False
    if b"\f" in data and data.count(b"\f") != data.count(b"\n\f"):
        return False
    return b"\r" not in data or data.count(b"\r") == data.count(b"\r\n")


class ControlDetector:
    """One match for each rule that occurs: its first place, and how often."""

    name = "control"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        if is_plain(data):
            return []
        text = settled(decode(data))
        if HIDDEN.search(text) is None:
            return []
        rules = _RULES[:_ASCII_RULES] if text.isascii() else _RULES
        return [
            match
            for rule, severity, pattern in rules
            if (match := summary(rule, severity, pattern, text)) is not None
        ]


def summary(rule: str, severity: Severity, pattern: re.Pattern[str], text: str) -> Match | None:
    """The first place of `pattern`, in bytes, and how many there are; None when there is none."""
    first = pattern.search(text)
    if first is None:
        return None
    kind: Kind = "encoding" if rule == "invalid-utf8" else "hidden_text"
    start = _byte_length(text[: first.start()])
    count = sum(1 for _ in islice(pattern.finditer(text, first.start()), MAX_COUNT))
    return Match(rule, kind, severity, start, start + _byte_length(first[0]), count=count)


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
