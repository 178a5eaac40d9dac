"""Letters that look like others: found where a word mixes alphabets, and folded to what they
look like, so that `іgnоre prevіous` in Cyrillic letters reads as what a model reads.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from fumehood.scan.detector import Match
from fumehood.scan.views import View

# Of UTS #39's confusables those letters of Cyrillic and Greek that pass for Latin ones in running
# text; letters that merely resemble (`в`, `к`, `н`, `α`) are left out, or Russian would be full
# of them.
_LOOKALIKE: Final = dict(
    zip(
        "аеорсухіјѕԁһԛԝАВЕКМНОРСТХІЈЅνοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "aeopcyxijsdhqwABEKMHOPCTXIJSvoABEZHIKMNOPTYX",
        strict=True,
    )
)
_MIXED: Final = re.compile(
    rf"(?<![\w-])(?=[\w]*[A-Za-z])(?=[\w]*[{''.join(_LOOKALIKE)}])"
    rf"[A-Za-z0-9_{''.join(_LOOKALIKE)}]{{4,64}}(?![\w-])"
)
_MAY_MIX: Final = re.compile(
    rb"[A-Za-z](?:[\xce\xcf\xd0\xd1\xd2\xd4][\x80-\xbf])|[\xce\xcf\xd0\xd1\xd2\xd4][\x80-\xbf][A-Za-z]"
)
# Mathematical alphanumerics (U+1D400) and full-width letters and digits (U+FF10): styles of ASCII.
# Tag characters (U+E0020) stand for ASCII that nobody sees; spaces of all widths are spaces.
_UNSEEN: Final = rb"\xf3\xa0[\x80\x81][\x80-\xbf]"
_SPACES: Final = rb"\xc2\xa0|\xe2\x80[\x80-\x8a\xaf]|\xe3\x80\x80"
_STYLED: Final = rb"\xf0\x9d[\x90-\x9f][\x80-\xbf]|\xef\xbc[\x90-\x99\xa1-\xba]|\xef\xbd[\x81-\x9a]"
_MAY_FOLD: Final = re.compile(
    rb"(?:" + _STYLED + rb"|" + _UNSEEN + rb"){2}|" + _SPACES + rb"|" + _MAY_MIX.pattern,
)
_FOLDED: Final = re.compile(
    _STYLED
    + b"|"
    + _UNSEEN
    + b"|"
    + _SPACES
    + b"|"
    + b"|".join(sorted(letter.encode() for letter in _LOOKALIKE))
)


class MixedScriptDetector:
    """Words whose letters come from two alphabets, all of them passing for Latin."""

    name = "mixed-script"

    def load(self) -> None:
        """Nothing takes long here."""

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        if data.isascii() or _MAY_MIX.search(data) is None:
            return []
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return []
        found = list(_MIXED.finditer(text))
        if not found:
            return []
        start = len(text[: found[0].start()].encode("utf-8", "surrogateescape"))
        end = start + len(found[0][0].encode())
        return [Match("mixed-script", "hidden_text", "medium", start, end, count=len(found))]


def folded(original: bytes) -> View | None:
    """With every such letter as the one it looks like; None where there is nothing to fold."""
    if original.isascii() or _MAY_FOLD.search(original) is None:
        return None
    return View(original, _FOLDED, _plain)


def _plain(letter: bytes) -> bytes:
    text = letter.decode("utf-8", "replace")
    if "\U000e0020" <= text <= "\U000e007e":
        return bytes((ord(text) & 0x7F,))
    return _LOOKALIKE.get(text, unicodedata.normalize("NFKC", text)).encode()
