"""Words as a model reads them though they are not spelled so: `1gn0re`, `i_g_n_o_r_e`,
`ignore*all*rules`. Only short texts are read again this way; it doubles what wording costs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from fumehood.scan.detector import Match
from fumehood.scan.patterns import PatternDetector, Rule
from fumehood.scan.views import View

MOST: Final = 32 * 1024
"""Bytes of a text that is read again."""

# One byte for one byte, so that what is found keeps its place.
_JOINED: Final = bytes.maketrans(b"_*-~+=|", b" " * 7)
_DIGITS: Final = bytes.maketrans(b"0134578@$!", b"oieastbasi")
# Single letters with one separator between them; words are then two or more apart.
_SPACED: Final = re.compile(
    rb"(?:\b[A-Za-z][ ._*-]){5,}[A-Za-z]\b(?:[ ._*-]{2,4}(?:\b[A-Za-z][ ._*-])*[A-Za-z]\b)*"
)


# Hyperscan says in a microsecond that nothing of this is there; `re` takes a hundred.
_SIGNS: Final = PatternDetector(
    "spelling",
    (
        # With a letter that no hexadecimal has: identifiers and digests are full of the others.
        Rule(
            "digits", "low",
            r"[g-zG-Z][013457@$!]{1,2}[A-Za-z]|[A-Za-z][013457@$!]{1,2}[g-zG-Z]|\b[013457@$!][g-zG-Z]",
        ),
        Rule(
            "joined", "low",
            r"[A-Za-z]{3}[_*~+=|-]{1,3}[A-Za-z]{3,20}[_*~+=|-]{1,3}[A-Za-z]{2,20}[_*~+=|-]{1,3}[g-zG-Z]",
        ),
        Rule("spaced", "low", r"\b[A-Za-z][ ._*-][A-Za-z][ ._*-][A-Za-z][ ._*-][A-Za-z][ ._*-][A-Za-z][ ._*-][A-Za-z]\b"),
    ),
)  # fmt: skip


class Respelling:
    """A detector of wordings that also reads what is spelled in another way."""

    def __init__(self, wordings: PatternDetector) -> None:
        self.name = wordings.name
        self._wordings = wordings

    def load(self, cache: Path | None = None) -> None:
        """Compile the patterns now."""
        self._wordings.load(cache)
        _SIGNS.load(cache)

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        found = self._wordings.find(data, seconds=seconds)
        if len(data) > MOST:
            return found
        for text, view in _readings(data):
            for match in self._wordings.find(text, seconds=seconds):
                start, end = (
                    view.origin(match.start, match.end) if view else (match.start, match.end)
                )
                said = text[match.start : match.end]
                sure = "medium" if match.confidence == "high" else match.confidence
                if not any(m.rule == match.rule and m.start < end and start < m.end for m in found):
                    found.append(
                        replace(match, start=start, end=end, value=said, confidence=sure,
                                decoded=("spelling",))
                    )  # fmt: skip
        return found


def _readings(data: bytes) -> Iterator[tuple[bytes, View | None]]:
    """The text with its words put together again; with its way back where lengths differ."""
    signs = {rule.name for rule in _SIGNS.occurring(data)}
    if "digits" in signs:
        yield data.translate(_DIGITS), None
    if "joined" in signs:
        yield data.translate(_JOINED), None
    if "spaced" in signs:
        view = View(data, _SPACED, _closed)
        yield view.data, view


def _closed(spelled: bytes) -> bytes:
    """`i g n o r e   a l l` as `ignore all`."""
    words = re.split(rb"[ ._*-]{2,}", spelled)
    return b" ".join(re.sub(rb"[ ._*-]", b"", word) for word in words)
