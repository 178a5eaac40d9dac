"""Lines that a program draws again and again: progress bars, counters, spinners. Tells them from
text that is overwritten so that nobody sees it.

A terminal shows of `evil\\rgood` the second word only; whoever reads the bytes reads both. Must
never take a line for a bar in which more is overwritten than what the line says again, numbers,
and the words of such bars.
"""

from __future__ import annotations

import re
from typing import Final

MAX_REDRAWS: Final = 20_000
"""Carriage returns in one text; one with more is not looked at, and they are made visible."""
MAX_LENGTH: Final = 400
"""Characters of what is overwritten at once."""
MAX_OTHER: Final = 2
"""Words of a bar with a number in it that stand nowhere behind it: names of files and steps."""
MAX_OTHER_IN_LINE: Final = 3

_LONE: Final = re.compile(r"\r(?!\n)")
_LINE: Final = re.compile(r"[^\n]*\r(?!\n)[^\n]*")
_TERM: Final = re.compile(r"[^\W\d_]+")
# A share, a count, a time or a size, a bar, a spinner.
_SIGN: Final = re.compile(
    r"\d\s?%|\d\s?/\s?\d|\d:\d\d|\d\s?[kKMGT]?i?B\b|[#=.>\u2500-\u259f-]{4,}|[\u2800-\u28ff]"
)
_OF_BARS: Final = (
    "b k m g t s h d kb mb gb tb kib mib gib bytes byte ms sec secs seconds min mins minutes "
    "hour hours eta left remaining elapsed total speed rate time avg per it its of in at to "
    "from for with on and the as is files file objects object deltas packages package lists "
    "list headers sources items lines blocks rows records bits done ok complete completed "
    "finished progress working waiting connecting connected reading writing building loading "
    "loaded fetching fetched downloading downloaded uploading uploaded receiving received "
    "sending sent resolving resolved counting compressing compressed extracting unpacking "
    "installing installed preparing processing processed checking checked scanning scanned "
    "indexing copying copied updating verifying transferring transferred pulling pushing "
    "pushed analyzing generating creating compiling linking testing collecting training "
    "evaluating epoch step steps batch loss get hit ign err remote database information state "
    "tree inrelease"
)
_WORDS: Final = frozenset(_OF_BARS.split())


def settled(text: str) -> str:
    """The text with line feeds in place of the carriage returns that only draw bars, if all of
    them do; else as it is. Every character stays where it was."""
    lone = text.count("\r") - text.count("\r\n")
    if not 0 < lone <= MAX_REDRAWS:
        return text
    for line in _LINE.finditer(text):
        if not _is_bar(line[0], ended=line.end() < len(text)):
            return text
    return _LONE.sub("\n", text)


def _is_bar(line: str, *, ended: bool) -> bool:
    """ended: by a line feed; else more may follow that overwrites the rest."""
    parts = line.removesuffix("\r").split("\r") if ended else line.split("\r")
    kept: set[str] = set()
    other: set[str] = set()
    covered = not ended
    for part in reversed(parts):
        words = set(_TERM.findall(part.lower()))
        if covered and part is not parts[-1] and not part.isspace() and part:
            unknown = words - kept - _WORDS
            if len(part) > MAX_LENGTH or len(unknown) > MAX_OTHER:
                return False
            if unknown and _SIGN.search(part) is None:
                return False
            other |= unknown
        kept |= words
        covered |= bool(part.strip())
    return len(other) <= MAX_OTHER_IN_LINE
