"""Wide patterns that are read only around small and rare ones, their anchors.

A pattern that joins twenty verbs to thirty objects costs Hyperscan seconds to compile and
milliseconds for each megabyte; its anchor costs little of either, and RE2 reads the few places.
Must never pass over a text for having too many of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fumehood.scan.detector import Match, too_many
from fumehood.scan.patterns import EVERY_END, MAX_PLACES, Found, Rule, database
from fumehood.scan.sieve import sieve

REACH: Final = 400
"""Bytes around an anchor's end within which its pattern begins and ends."""
MAX_ANCHORS: Final = 2048
"""Of one rule in one text; of more all of the text is read."""


class Anchored:
    """Rules with their anchors behind the detector protocol. Thread safe.

    An anchor fits within every fit of its rule.
    """

    def __init__(
        self, name: str, rules: Sequence[tuple[str, Rule]], cache: Path | None = None
    ) -> None:
        """cache: a directory of this user's own for the compiled database."""
        self.name = name
        self._anchors = [sieve(anchor).encode() for anchor, _ in rules]
        self._rules = [rule for _, rule in rules]
        self._cache = cache
        self._lock = threading.Lock()
        self._database: Any = None
        self._ends: dict[int, list[int]] = {}
        self._on_match = self._matched  # see `patterns`

    def load(self, cache: Path | None = None) -> None:
        """Compile the anchors now."""
        with self._lock:
            self._cache = cache or self._cache
            self._loaded()

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        if not data:
            return []
        with self._lock:
            anchors = self._loaded()
            self._ends = {}
            anchors.scan(data, match_event_handler=self._on_match)
            ends = self._ends
        deadline = time.thread_time() + seconds
        asked: dict[Any, bool] = {}
        return [
            match
            for number in sorted(ends)
            for match in _near(self._rules[number], data, ends[number], deadline, asked)
        ]

    def _matched(self, number: int, _start: int, end: int, _flags: int, _context: Any) -> None:
        ends = self._ends.setdefault(number, [])
        if len(ends) <= MAX_ANCHORS:
            ends.append(end)

    def _loaded(self) -> Any:
        if self._database is None:
            self._database = database(self._anchors, self._cache, EVERY_END)
        return self._database


def _near(
    rule: Rule, data: bytes, ends: Sequence[int], deadline: float, asked: dict[Any, bool]
) -> list[Match]:
    matches: list[Match] = []
    group = rule.groups.get("s", 0)
    for at, stop in _windows(ends, len(data)):
        if time.thread_time() > deadline:
            raise TimeoutError(f"{rule.name} has too many anchors")
        while (raw := rule.compiled.search(data, at, stop)) is not None:
            start, end = raw.span(group)
            at = max(end, raw.start() + 1)
            found = Found(data, raw, rule.groups, (start, end), asked)
            sure = rule.judge(found) if rule.judge else rule.confidence
            if sure is None or start >= end:
                continue
            matches.append(Match(rule.name, rule.kind, rule.severity, start, end, confidence=sure))
            if len(matches) > MAX_PLACES:
                return [*matches[:-1], too_many(matches[-1])]
    return matches


def _windows(ends: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Around the anchors, those that touch as one. Anchors come by their ends."""
    if len(ends) > MAX_ANCHORS:
        yield 0, size
        return
    begin, stop = max(0, ends[0] - REACH), min(size, ends[0] + REACH)
    for end in ends:
        if end - REACH > stop:
            yield begin, stop
            begin = end - REACH
        stop = min(size, end + REACH)
    yield begin, stop
