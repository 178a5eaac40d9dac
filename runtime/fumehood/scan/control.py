"""Text that steers a terminal or that nobody sees: escape sequences, control characters,
bidirectional controls, tag and zero-width characters. Finds them; `visible` rewrites them.

What is legitimate stays: variation selectors and joiners inside emoji, joiners inside words of
Arabic and Indic scripts (Unicode 15.1, 23.2; UTS #51), newline, tab, CR before LF, and CR that
only draws a bar of progress again (`redraws`).
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
_ZERO_WIDTH: Final = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\u2028\u2029\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
_PRIVATE: Final = "\U000f0000-\U000ffffd\U00100000-\U0010fffd"
"""Private use beyond the BMP, whose own is used by fonts with icons."""
_SELECTOR: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_ESCAPE: Final = "\x1b\x80-\x9f"
_CONTROL: Final = "\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f"
_INVALID: Final = "\udc80-\udcff"
"""Bytes that are no UTF-8, as Python's surrogateescape carries them."""

_EMOJI: Final = "\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_EMOJI_BASE: Final = "#*0-9\u00a9\u00ae" + _EMOJI
_JOINING: Final = (
    "\u0600-\u061b\u061d-\u08ff\ufb50-\ufdff\ufe70-\ufefc\u0900-\u0dff\u1000-\u109f\u1780-\u17b3"
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
    + "\r\f"
)
_UNSEEN: Final = _JOINER + _ZERO_WIDTH + _SELECTOR + _TAG + _BIDI

# Each pattern begins with its characters and looks back over them afterwards: `re` finds a
# leading set at 90 million characters a second, a leading look-around at 2 million.
_LEGITIMATE_JOINER: Final = (
    f"(?<=[{_JOINING}][{_JOINER}])(?![{_UNSEEN}])"
    f"|(?:(?<=[{_EMOJI}]\u200d)|(?<=[{_EMOJI}]\ufe0f\u200d))(?=[{_EMOJI}])"
)
_LEGITIMATE_SELECTOR: Final = (
    f"(?:(?<=[{_EMOJI_BASE}][\ufe0e\ufe0f])|(?<=[{_HAN}][\ufe00-\ufe02\U000e0100-\U000e01ef])"
    f"|(?<=[{_MONGOLIAN}][\u180b-\u180d\u180f]))(?![{_SELECTOR}])"
)
_LEGITIMATE_CR: Final = r"(?<=\r)(?=\n)|(?<=\n\f)|(?<=\f)(?=\n|\Z)|(?<=\A\f)"
"""CR before LF, and a form feed that begins or ends a line, as sources part their pages, and
programs that make text of documents."""

_MARK: Final = r"(?<=\A\ufeff)"
"""The byte order mark that begins a text, as many editors and spreadsheets write it."""

HIDDEN: Final = re.compile(
    f"[{_ALL}](?!{_MARK}|{_LEGITIMATE_CR}|{_LEGITIMATE_JOINER}|{_LEGITIMATE_SELECTOR})"
)
"""One character that `visible` rewrites."""

RUN: Final = re.compile(rf"[\\{_ALL}][\\{_ALL}]*+")
"""Backslashes and what may be hidden, next to each other."""

IN_CONTEXT: Final = re.compile(rf"[\\{_JOINER}{_SELECTOR}\ufeff\r\f]")
"""Characters that are rewritten or not by what stands beside them."""

CONTROLS: Final = bytes(byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\n\r\x1b")
"""The control bytes that are hidden whatever stands beside them, ESC excepted."""

CONTROL_SEQUENCE: Final = re.compile(
    "[\x1b\x9b](?:(?<=\x1b)\\[[0-?]{0,64}[ -/]{0,8}[@-~]|(?<=\x9b)[0-?]{0,64}[ -/]{0,8}[@-~])"
)
"""A CSI sequence (ECMA-48, 5.4): colours and cursor movements."""

_ALWAYS: Final = f"[{_CONTROL}{_ESCAPE}{_BIDI}{_TAG}{_ZERO_WIDTH}{_INVALID}{_PRIVATE}]"
HIDDEN_RUN: Final = re.compile(f"{_ALWAYS}{_ALWAYS}*")
"""Characters that are hidden whatever stands beside them."""

CONTEXTUAL: Final = re.compile(rf"[{_JOINER}{_SELECTOR}\r\f]")
"""Characters that are hidden or not by what stands beside them."""

_PRINTED: Final = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"

_RULES: Final[tuple[tuple[str, Severity, re.Pattern[str]], ...]] = (
    ("terminal-escape", "medium", re.compile(f"[{_ESCAPE}]")),
    ("control-character", "low", re.compile(f"[{_CONTROL}\r\f](?!{_LEGITIMATE_CR})")),
    ("bidi-control", "high", re.compile(f"[{_BIDI}]")),
    ("tag-character", "high", re.compile(f"[{_TAG}]")),
    (
        "zero-width",
        "medium",
        re.compile(f"[{_ZERO_WIDTH}{_JOINER}](?!{_MARK}|{_LEGITIMATE_JOINER})"),
    ),
    ("private-use", "low", re.compile(f"[{_PRIVATE}]")),
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
