"""Private keys that no complete pattern fits: of any length, or cut off before their end."""

from __future__ import annotations

import re
from typing import Final

from fumehood.scan.detector import Match

MAX_KEY_BYTES: Final = 64 * 1024
"""From BEGIN to END; an OpenPGP key with many subkeys has about 30 KB."""

MIN_KEY_BYTES: Final = 40
"""Between BEGIN and END; Ed25519, the shortest, has 64. Less is somebody's documentation."""

_MAY_FOLLOW: Final = 256
"""Bytes behind key material that say nothing yet: the line may only have begun."""

_BEGIN: Final = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

# A line of key material, or a header (RFC 1421, OpenPGP's armor), after whatever stands
# between lines: a newline, its escape, quotes, a prompt.
_LINE: Final = re.compile(
    rb"[^A-Za-z0-9+/=]{0,16}(?:(?P<material>[A-Za-z0-9+/=]{16,})"
    rb"|(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset):[^\r\n\\\"]{0,200})"
)
# The same from behind: lines of nothing else, and a shorter last one.
_SHORT: Final = re.compile(rb"[^A-Za-z0-9+/=]{1,16}[A-Za-z0-9+/=]{1,76}(?=[^A-Za-z0-9+/=]|\Z)")
_WHOLE: Final = re.compile(rb"[^A-Za-z0-9+/=]{1,16}[A-Za-z0-9+/]{16,}(?=[\r\n\"'>]|n\\|\Z)")
_LAST_LINE: Final = re.compile(rb"[^A-Za-z0-9+/=-]{1,4}[A-Za-z0-9+/]{1,63}(?:={1,2}|\Z)")


class PrivateKeysDetector:
    """Finds from BEGIN to END, or, without an END, to where the key material ends."""

    name = "private-keys"

    def find(self, data: bytes, *, seconds: float) -> list[Match]:  # noqa: ARG002  (linear)
        matches: list[Match] = []
        at = 0
        while (begin := _next_begin(data, at)) is not None:
            at = _end_of_key(data, begin.end())
            if at > begin.end():
                matches.append(Match("private-key", "secret", "high", begin.start(), at))
        return sorted(matches + _ends(data, matches), key=lambda match: match.start)


def _ends(data: bytes, found: list[Match]) -> list[Match]:
    """Keys whose beginning is cut off: lines of material before an END."""
    matches: list[Match] = []
    taken = {match.end for match in found}
    at = reach = 0
    while (word := data.find(b"PRIVATE KEY", at)) >= 0:
        at = word + 11
        end = _END.search(data, max(reach, word - 60), word + 25)
        if end is None:
            continue
        # Each stretch is looked at once: from the last END on.
        start = _start_of_material(data, max(reach, end.start() - MAX_KEY_BYTES), end.start())
        if end.end() not in taken and end.start() - start >= MIN_KEY_BYTES:
            matches.append(Match("private-key", "secret", "high", start, end.end()))
        at = reach = end.end()
    return matches


def _start_of_material(data: bytes, least: int, end: int) -> int:
    backwards = data[least:end][::-1]
    at = 0
    if (last := _SHORT.match(backwards)) is not None:
        at = last.end()
    while (line := _WHOLE.match(backwards, at)) is not None:
        at = line.end()
    return end - at


def unfinished(data: bytes) -> int | None:
    """Where the last key begins when it may go on behind the end of `data`, else None."""
    last, at = None, 0
    while (begin := _next_begin(data, at)) is not None:
        last, at = begin, begin.end()
    if last is None or _END.search(data, last.end()) is not None:
        return None
    goes_on = _end_of_material(data, last.end()) >= len(data) - _MAY_FOLLOW
    return last.start() if goes_on else None


def _next_begin(data: bytes, at: int) -> re.Match[bytes] | None:
    # `find` of the rare words first: `re` alone would try at each dash of a Markdown table.
    while (word := data.find(b"PRIVATE KEY", at)) >= 0:
        found = _BEGIN.search(data, max(at, word - 60), word + 25)
        if found is not None:
            return found
        at = word + 11
    return None


def _end_of_key(data: bytes, start: int) -> int:
    begins = data.find(b"-----BEGIN", start, start + MAX_KEY_BYTES)
    limit = begins if begins >= 0 else start + MAX_KEY_BYTES
    if (end := _END.search(data, start, limit)) is not None:
        return end.end() if end.start() - start >= MIN_KEY_BYTES else start
    return _end_of_material(data, start)


def _end_of_material(data: bytes, start: int) -> int:
    at, seen = start, False
    while (line := _LINE.match(data, at)) is not None:
        at, seen = line.end(), seen or line["material"] is not None
    if not seen:
        return start
    last = _LAST_LINE.match(data, at)
    return last.end() if last else at
