"""What was found in pieces' ends that were put together, taken back to the pieces. Pure.

Each piece loses its own part of a secret, and all parts have one fingerprint: that of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fumehood.scan.detector import TOO_MANY, Match
from fumehood.scan.judging import UUID
from fumehood.scan.redact import BY_NAME
from fumehood.scan.seams import Joined, Part, is_plain
from fumehood.scan.tokens import is_placeholder, kinds

STEP: Final = "joined"
"""What a finding's `decoded` begins with: it was read over a seam."""

MAX_BEHIND: Final = 128
"""Bytes behind a seam where a secret may begin whose name stands before the seam."""

MIN_REST: Final = 12
"""Bytes that the end of a token has in the next string, where the string before it holds what is a
whole token by itself: `"tokenType": "Bearer"` stands behind many a one."""

_SLACK: Final = 4
"""Bytes by which two readings of one seam differ."""


def parts(
    joined: Joined,
    found: Sequence[Match],
    pieces: Sequence[bytes],
    alone: Sequence[Sequence[Match]],
    named: int | None = None,
) -> list[list[Match]]:
    """For each piece what of it belongs to a secret that stands in several.

    found: in what was joined. alone: what was found in each piece by itself. named: from which on
    pieces are the names of files, which are no values of what is named elsewhere, and name none.
    """
    over_names = {s.run for s in joined.segments if named is not None and s.piece >= named}
    secrets = [[match for match in matches if match.kind == "secret"] for matches in alone]
    kept: list[tuple[Match, list[Part]]] = []
    for match in found:
        if match.kind == "secret" and not match.rule.startswith(TOO_MANY):
            places = joined.parts(match.start, match.end)
            if match.rule in BY_NAME and any(part.segment.run in over_names for part in places):
                continue
            if places and _is_one(joined, match, places, pieces, secrets):
                kept.append((match, places))
    result: list[list[Match]] = [[] for _ in pieces]
    # Longer readings first; what holds a plain word last: that may be no part at all.
    kept.sort(key=lambda one: (_has_plain(one[1], pieces), one[0].start - one[0].end))
    for match, places in kept:
        if _is_told(places, pieces, result):
            continue
        value = match.value or joined.data[match.start : match.end]
        for part in places:
            steps = (STEP, *match.decoded)
            said = replace(match, start=part.start, end=part.end, value=value, decoded=steps)
            result[part.piece].append(said)
    return result


def _has_plain(places: Sequence[Part], pieces: Sequence[bytes]) -> bool:
    return any(_is_word(part, pieces) for part in places)


def _is_word(part: Part, pieces: Sequence[bytes]) -> bool:
    """Whether a piece begins with a word or a number there, which may be no part of anything."""
    text = pieces[part.piece][part.start : part.end]
    return part.start == part.segment.start and is_plain(text)


def _is_told(
    places: Sequence[Part], pieces: Sequence[bytes], told: Sequence[Sequence[Match]]
) -> bool:
    """Whether it only differs by white space at the seam, or by plain words, from what is told."""
    real = [part for part in places if not _is_word(part, pieces)] or places
    return all(
        any(m.start <= part.start + _SLACK and part.end <= m.end + _SLACK for m in told[part.piece])
        for part in real
    )


def _is_one(
    joined: Joined,
    match: Match,
    places: Sequence[Part],
    pieces: Sequence[bytes],
    alone: Sequence[Sequence[Match]],
) -> bool:
    """Whether it is more than what each piece shows by itself, and no accident of the seam."""
    if len(places) == 1:
        return _is_named_before(joined, places[0], alone[places[0].piece])
    first, last = places[0], places[-1]
    bare = all(part.segment.bare for part in places[1:])
    known = [_is_known(part, alone[part.piece]) for part in places]
    if all(known) and match.rule != "private-key":
        return False  # the end of a key is found by itself, too, and is none
    if not bare and any(_is_uuid(pieces[part.piece][part.start : part.end]) for part in places):
        return False  # a value of its own, and no part of a token
    if match.rule in BY_NAME:
        if first.piece == last.piece and known[0]:
            return False  # a string that holds the whole of it: the next one is another value
        named = first.start > first.segment.start
        if is_placeholder(pieces[first.piece][first.start : first.end]) or not (bare or named):
            return False
    if match.rule == "private-key" or not (any(known) or (match.rule in BY_NAME and not bare)):
        return True
    # `key=…` and a line's end behind it: the secret is over, and what follows is other text,
    # unless that is nothing but one token.
    ending = pieces[last.piece][last.start : last.end]
    if first.piece == last.piece and known[0] and (len(ending) < MIN_REST or kinds(ending) < 3):
        return False
    ends = last.segment.whole and last.end == last.segment.end
    return (bare or ends) and kinds(ending) >= 2


def _is_uuid(part: bytes) -> bool:
    return UUID.fullmatch(part) is not None


def _is_named_before(joined: Joined, part: Part, alone: Sequence[Match]) -> bool:
    """Whether only the name of a value stands on the other side, as in `password=` and `value`."""
    seam, behind = part.segment.at, part.start - part.segment.start
    if not part.segment.bare or behind > MAX_BEHIND or joined.data[seam - 1 : seam].isspace():
        return False
    return not any(m.start < part.end and part.start < m.end for m in alone)


def _is_known(part: Part, alone: Sequence[Match]) -> bool:
    return any(m.start <= part.start and part.end <= m.end for m in alone)
