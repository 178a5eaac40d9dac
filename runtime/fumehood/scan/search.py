"""Runs the secret detectors over bytes of any size, within a budget; must never skip a byte.

The bytes are taken in overlapping chunks, because some rules cost more than their share of a
long text. Each is searched as it stands; with its tokens set apart, where they touch something
that no rule expects; and without its hidden characters, so that a secret does not pass for
being split by a colour or a zero-width space.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import re2

from fumehood.scan.control import STRIPPED, decode, is_plain
from fumehood.scan.detector import Detector, Match
from fumehood.scan.policy import Withhold

SCAN_SECONDS: Final = 10.0
"""For all output of one invocation. A clean 16 MiB takes 0.1 s."""

MAX_SECRETS: Final = 4096
"""In one invocation. Output with more of them is no result, it is a leak: it is withheld."""

CHUNK: Final = 64 * 1024
OVERLAP: Final = 16 * 1024
"""Longer than any secret that has a rule, private keys excepted, which are searched whole."""


# Many rules end in a quote, a space or the end of text: `sk_live_…)` or one before a comma, as
# in CSV, is none to them. What follows a token is therefore blanked, byte for byte.
_SEPARATORS: Final = bytes.maketrans(
    (punctuation := b",()<>[]{}|&#*!?" + bytes(range(0x80, 0x100))), b" " * len(punctuation)
)
_SENTENCE_END: Final = re.compile(rb"[.:](?=\s|\Z)")
_LATIN1 = re2.Options()
_LATIN1.encoding = re2.Options.Encoding.LATIN1
_GLUED: Final = re2.compile(
    rb"[A-Za-z0-9_+/=-]{16}(?:[,()<>\[\]{}|&#*!?\x80-\xff]|[.:](?:\s|\z))", _LATIN1
)


class Budget:
    """What looking at one invocation's output may still cost."""

    def __init__(self, seconds: float = SCAN_SECONDS, secrets: int = MAX_SECRETS) -> None:
        self._deadline = time.monotonic() + seconds
        self._secrets = secrets

    @property
    def seconds(self) -> float:
        """What is left; raises TimeoutError when nothing is."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for scanning is used up")
        return left

    def take(self, count: int) -> None:
        """Account for secrets found.

        Raises:
            Withhold: there are too many.
        """
        self._secrets -= count
        if self._secrets < 0:
            raise Withhold.too_many_secrets()


@dataclass(frozen=True, slots=True)
class Searcher:
    """The detectors of secrets: `chunked` see chunks, `whole` see all bytes at once."""

    chunked: Sequence[Detector]
    whole: Sequence[Detector]

    def find(self, data: bytes, budget: Budget) -> list[Match]:
        """All secrets in `data`, those inside a longer one left out.

        Raises:
            Withhold: a detector failed, or found too many.
        """
        if not data:
            return []
        found: list[Match] = []
        for detector in self.whole:
            found += guarded(detector, data, budget)
        budget.take(len(found))
        for at, chunk in chunks(data):
            matches = [m for d in self.chunked for m in self._every_way(d, chunk, budget)]
            # A token that begins where a later chunk begins may be the end of a longer one,
            # which the chunk before has seen whole.
            matches = [m for m in matches if at == 0 or m.start > 0]
            budget.take(len(matches))
            found += (replace(m, start=m.start + at, end=m.end + at) for m in matches)
        return outermost(found)

    def _every_way(self, detector: Detector, chunk: bytes, budget: Budget) -> Iterator[Match]:
        yield from _apart(detector, chunk, budget)
        if is_plain(chunk):
            return
        text = decode(chunk)
        stripped = STRIPPED.sub("", text)
        if len(stripped) == len(text):
            return
        bare = stripped.encode()
        matches = _apart(detector, bare, budget)
        if matches:
            offsets = _Offsets(text)
            for m in matches:
                start, end = offsets.of(m.start), offsets.of(m.end - 1) + 1
                value = m.value or bare[m.start : m.end]
                yield replace(m, start=start, end=end, value=value)


def _apart(detector: Detector, data: bytes, budget: Budget) -> list[Match]:
    """What is found as it stands, and with every token set apart from what follows it."""
    found = guarded(detector, data, budget)
    if _GLUED.search(data) is not None:
        apart = _SENTENCE_END.sub(b" ", data.translate(_SEPARATORS))
        found += guarded(detector, apart, budget)
    return found


def chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Overlapping pieces with their places; one piece when there is little."""
    at = 0
    while True:
        end = at + CHUNK + OVERLAP
        yield at, data[at:end] if at or end < len(data) else data
        if end >= len(data):
            return
        at += CHUNK


def outermost(matches: Iterable[Match]) -> list[Match]:
    """Sorted by place, without those that lie inside another one of the same rule."""
    kept: list[Match] = []
    reach: dict[str, int] = {}
    for match in sorted(matches, key=lambda m: (m.start, -m.end)):
        if match.end > reach.get(match.rule, -1):
            reach[match.rule] = match.end
            kept.append(match)
    return kept


def guarded(detector: Detector, data: bytes, budget: Budget) -> list[Match]:
    """What a detector finds. Raises Withhold when it fails, whatever it raises."""
    try:
        matches = detector.find(data, seconds=budget.seconds)
        _require_within(matches, len(data))
    except Exception as error:
        raise Withhold.failed(detector.name, error) from error
    return matches


def _require_within(matches: Sequence[Match], size: int) -> None:
    if not all(0 <= match.start < match.end <= size for match in matches):
        raise ValueError("a match lies outside of what was searched")


class _Offsets:
    """From a byte of the stripped chunk to the same byte of the chunk."""

    def __init__(self, text: str) -> None:
        self._stripped: list[int] = []
        self._raw: list[int] = []
        raw = stripped = at = 0
        for hidden in STRIPPED.finditer(text):
            if hidden.start() > at:
                self._stripped.append(stripped)
                self._raw.append(raw)
                length = len(text[at : hidden.start()].encode())
                stripped, raw = stripped + length, raw + length
            raw += len(hidden[0].encode("utf-8", "surrogateescape"))
            at = hidden.end()
        self._stripped.append(stripped)
        self._raw.append(raw)

    def of(self, offset: int) -> int:
        run = bisect_right(self._stripped, offset) - 1
        return self._raw[run] + offset - self._stripped[run]
