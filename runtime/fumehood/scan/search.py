"""Runs the secret detectors over bytes of any size, within a budget; must never skip a byte.

The bytes are taken in overlapping chunks, because some rules cost more than their share of a
long text. Each is searched as it stands; with its tokens set apart, where they touch something
that no rule expects; and without its hidden characters, so that a secret does not pass for
being split by a colour or a zero-width space.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import re2

from fumehood.scan.detector import Detector, Match
from fumehood.scan.policy import Withhold
from fumehood.scan.stripped import Stripped

SCAN_SECONDS: Final = 10.0
"""CPU time for all output of one invocation; 16 MiB take 0.2 s (text) to 5 s (random bytes)."""

WALL_SECONDS: Final = 60.0
"""The same in wall time, which a busy host stretches and a stalled detector uses up."""

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

    def __init__(
        self,
        seconds: float = SCAN_SECONDS,
        secrets: int = MAX_SECRETS,
        *,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        """To be made, and used, by the thread that scans.

        abandoned: whether nobody waits for the output any more; nothing is left to spend then.
        """
        self._abandoned = abandoned
        self._cpu = time.thread_time() + seconds
        self._wall = time.monotonic() + WALL_SECONDS
        self._secrets = secrets

    @property
    def seconds(self) -> float:
        """What is left; raises TimeoutError when nothing is."""
        left = min(self._cpu - time.thread_time(), self._wall - time.monotonic())
        if left <= 0 or self._abandoned():
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

    def find(self, data: bytes, budget: Budget, *, clean: bool) -> list[Match]:
        """All secrets in `data`, those inside a longer one left out.

        clean: nothing in it is hidden, see `visible.is_clean`.

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
            matches = [m for d in self.chunked for m in _apart(d, chunk, budget)]
            if not clean:
                matches += self._bare(chunk, budget)
            # A token that begins where a later chunk begins may be the end of a longer one,
            # which the chunk before has seen whole.
            matches = [m for m in matches if at == 0 or m.start > 0]
            budget.take(len(matches))
            found += (replace(m, start=m.start + at, end=m.end + at) for m in matches)
        return outermost(found)

    def _bare(self, chunk: bytes, budget: Budget) -> Iterator[Match]:
        stripped = Stripped(chunk)
        if not stripped.is_shorter:
            return
        for match in (m for d in self.chunked for m in _apart(d, stripped.data, budget)):
            start, end = stripped.origin(match.start, match.end)
            value = match.value or stripped.data[match.start : match.end]
            yield replace(match, start=start, end=end, value=value)


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
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A panic in native code arrives as a BaseException (PyO3's PanicException).
        raise Withhold.failed(detector.name, error) from error
    return matches


def _require_within(matches: Sequence[Match], size: int) -> None:
    if not all(0 <= match.start < match.end <= size for match in matches):
        raise ValueError("a match lies outside of what was searched")
