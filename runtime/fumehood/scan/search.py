"""Runs the detectors over bytes of any size, within a budget; must never skip a byte.

The bytes are taken in overlapping chunks, because some rules cost more than their share of a
long text. Each is searched as it stands; without its hidden characters, so that a secret does
not pass for being split by a colour or a zero-width space; and with its escapes undone. What
stands encoded in it is decoded and searched the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from fumehood.scan import broken, decoding, parted
from fumehood.scan.detector import Detector, Match, too_many
from fumehood.scan.exchange import Subject
from fumehood.scan.folding import folded
from fumehood.scan.formats import is_tar
from fumehood.scan.given import GivenDetector
from fumehood.scan.payload import NamedFile, PayloadDetector
from fumehood.scan.policy import Withhold
from fumehood.scan.stripped import Stripped
from fumehood.scan.views import View, unescaped
from fumehood.scan.visible import is_clean

SCAN_SECONDS: Final = 10.0
"""CPU time for all output of one invocation; 16 MiB take 0.2 s (text) to 5 s (random bytes)."""

WALL_SECONDS: Final = 60.0
"""The same in wall time, which a busy host stretches and a stalled detector uses up."""

MAX_DECODED: Final = 64 * 1024 * 1024
"""Bytes that everything encoded in one invocation's output may become."""

MAX_SECRETS: Final = 4096
"""In one invocation. Output with more of them is no result, it is a leak: it is withheld."""

MAX_EVENTS: Final = 1024
"""Matches of one rule, secrets excepted, in one invocation; of more it is told that they are."""

CHUNK: Final = 256 * 1024
OVERLAP: Final = 16 * 1024
"""Longer than any secret that has a rule, private keys excepted, which are searched whole."""


class NotYet(Exception):
    """Nobody could look within the budget's patience; to be asked again with none."""


class Begun(Protocol):
    """A look at what will probably be asked for; see `Search.begin`."""

    def close(self) -> None:
        """It is not wanted any more, or was used. Harmless twice."""


class Search(Protocol):
    """What looks: `Searcher` here, or a scanner process."""

    def find_all(self, subjects: Sequence[Subject], budget: Budget) -> list[Sequence[Match]]:
        """What is in each of them. Raises Withhold."""

    def begin(self, subjects: Sequence[Subject], given: Sequence[bytes]) -> Begun | None:
        """Have somebody look meanwhile, where nobody else needs him: `find_all` takes over what he
        finds if it is asked for the very same with this as its budget's `begun`. Never waits; None
        where there is nobody."""


@dataclass(slots=True)
class Count:
    """What one detector did: seconds it looked, and what it found."""

    seconds: float = 0.0
    matches: int = 0


class Budget:
    """What looking at one invocation's output may still cost."""

    def __init__(
        self,
        seconds: float = SCAN_SECONDS,
        secrets: int = MAX_SECRETS,
        *,
        abandoned: Callable[[], bool] = lambda: False,
        entering: Callable[[str], None] = lambda _: None,
        patience: float | None = None,
        given: Sequence[bytes] = (),
        begun: Begun | None = None,
    ) -> None:
        """To be made, and used, by the thread that scans.

        abandoned: whether nobody waits for the output any more; nothing is left to spend then.
        entering: is told the name of each detector before it looks.
        patience: seconds that the calling thread can spare to wait for another process, which
            raises NotYet after them; None for one that can wait.
        given: exact values to be found, too.
        begun: what `Search.begin` gave.
        """
        self.given = tuple(given)
        self.begun = begun
        self.abandoned = abandoned
        self.entering = entering
        self.patience = patience
        self.known = GivenDetector(self.given) if self.given else None
        self.beginnings = self.known.beginnings if self.known else None
        self.counts: dict[str, Count] = {}
        """By detector."""
        self._cpu = time.thread_time() + seconds
        self._wall = time.monotonic() + WALL_SECONDS
        self._secrets = secrets
        self._events: dict[tuple[str, str], int] = {}
        self._decoded = MAX_DECODED

    @property
    def seconds(self) -> float:
        """What is left; raises TimeoutError when nothing is."""
        left = min(self._cpu - time.thread_time(), self._wall - time.monotonic())
        if left <= 0 or self.abandoned():
            raise TimeoutError("the time for scanning is used up")
        return left

    @property
    def wall_seconds(self) -> float:
        """What is left of wall time."""
        return max(0.0, self._wall - time.monotonic())

    def spend(self, seconds: float) -> None:
        """Account for CPU time that another process used."""
        self._cpu -= seconds

    def count(self, detector: str, seconds: float, matches: int) -> None:
        """Account for what a detector did."""
        counted = self.counts.get(detector)
        if counted is None:
            counted = self.counts[detector] = Count()
        counted.seconds += seconds
        counted.matches += matches

    def take(self, count: int) -> None:
        """Account for secrets found.

        Raises:
            Withhold: there are too many.
        """
        self._secrets -= count
        if self._secrets < 0:
            raise Withhold.too_many_secrets(MAX_SECRETS)

    def within(self, matches: Iterable[Match]) -> Iterator[Match]:
        """All secrets, and of each other rule what one invocation may have; for the rest of it one
        match that counts them."""
        more: dict[str, Match] = {}
        for match in matches:
            if match.kind == "secret":
                yield match
                continue
            key = (match.rule, match.confidence)
            self._events[key] = seen = self._events.get(key, 0) + 1
            if seen <= MAX_EVENTS:
                yield match
            else:
                before = more.get(match.rule)
                more[match.rule] = too_many(before or match, match.count)
        yield from more.values()

    def decode(self, count: int) -> None:
        """Account for bytes that were decoded. Raises Withhold when there are too many."""
        self._decoded -= count
        if self._decoded < 0:
            raise Withhold.failed("decoding", OverflowError("too much is encoded"))


@dataclass(frozen=True, slots=True)
class Searcher:
    """The detectors: `chunked` see chunks, `whole` see all bytes at once, and `hidden` all bytes
    as they are, only where something is hidden or not ASCII."""

    chunked: Sequence[Detector]
    whole: Sequence[Detector]
    hidden: Sequence[Detector] = ()
    payload: PayloadDetector | None = None
    beginnings: Any = None
    """What strings end in that hold the first part of a canary, see `broken`."""

    def find_all(self, subjects: Sequence[Subject], budget: Budget) -> list[Sequence[Match]]:
        """What is in each of them. Raises Withhold."""
        return [self.find(s.data, budget, clean=s.clean, name=s.name) for s in subjects]

    def begin(self, _subjects: Sequence[Subject], _given: Sequence[bytes]) -> None:
        """Whoever asks looks himself."""

    def find(self, data: bytes, budget: Budget, *, clean: bool, name: str = "") -> list[Match]:
        """Everything in `data`, what lies inside a longer match of the same rule left out.

        clean: nothing in it is hidden, see `visible.is_clean`. name: of a file, else empty.

        Raises:
            Withhold: a detector failed, or found too many.
        """
        if not data:
            return []
        found = [] if clean else [m for d in self.hidden for m in guarded(d, data, budget)]
        if self.payload is not None and name:
            found += guarded(NamedFile(name), data, budget)
        return found + outermost(self._deep(data, budget, decoding.MAX_DEPTH, clean=clean))

    def _deep(
        self, data: bytes, budget: Budget, depth: int, *, clean: bool, raw: bytes = b""
    ) -> list[Match]:
        """raw: what `data` is the text of; places in it are in neither."""
        found = self._shallow(data, budget, clean=clean) if data else []
        if self.payload is not None:
            found += guarded(self.payload, raw or data, budget)
        if depth:
            for blob in _blobs(raw or data, budget):
                found += self._in_blob(blob, budget, depth - 1)
        return found

    def _in_blob(self, blob: decoding.Blob, budget: Budget, depth: int) -> list[Match]:
        if blob.bomb:
            rule = "decompression-bomb"
            return [Match(rule, "payload", "high", blob.start, blob.end, decoded=(blob.step,))]
        found: list[Match] = []
        if blob.partial:
            rule, steps = "decoded-in-part", (blob.step,)
            found.append(Match(rule, "payload", "medium", blob.start, blob.end, decoded=steps))
        if blob.data or blob.raw:
            # `a.tar.gz` is one archive for everybody who reads it.
            depth += blob.step in decoding.COMPRESSED and is_tar(blob.raw)
            clean = is_clean(blob.data)
            inner = self._deep(blob.data, budget, depth, clean=clean, raw=blob.raw)
            found += (
                _decoded(match, blob)
                for match in inner
                # A dump is there to be read.
                if blob.step != "hexdump" or match.kind != "payload"
            )
        return found

    def _shallow(self, data: bytes, budget: Budget, *, clean: bool) -> list[Match]:
        found = [match for d in self.whole for match in guarded(d, data, budget)]
        budget.take(_secrets(found))
        for at, chunk in chunks(data):
            matches = self._plain(chunk, budget)
            if not clean:
                matches += self._bare(chunk, budget)
            matches += self._unescaped(chunk, budget)
            matches += self._folded(chunk, budget)
            matches = self._broken(chunk, matches, budget) + matches
            # A token that begins where a later chunk begins may be the end of a longer one,
            # which the chunk before has seen whole.
            matches = [m for m in matches if at == 0 or m.start > 0]
            budget.take(_secrets(matches))
            placed = (replace(m, start=m.start + at, end=m.end + at) for m in matches)
            found += budget.within(placed)
        return found

    def _plain(self, chunk: bytes, budget: Budget) -> list[Match]:
        found: list[Match] = []
        left = _left(budget)
        for detector in self.chunked:
            found += guarded(detector, chunk, budget, left)
        if budget.known is not None:
            found += guarded(budget.known, chunk, budget, left)
        return found

    def _bare(self, chunk: bytes, budget: Budget) -> list[Match]:
        stripped = Stripped(chunk)
        if not stripped.is_shorter:
            return []
        return [_in_view(match, stripped, ()) for match in self._plain(stripped.data, budget)]

    def _unescaped(self, chunk: bytes, budget: Budget) -> list[Match]:
        """As it reads once its escapes are undone, and theirs, too."""
        first = unescaped(chunk)
        if first is None:
            return []
        found = self._plain(first.data, budget) + self._folded(first.data, budget)
        second = unescaped(first.data)
        if second is not None:
            twice = self._plain(second.data, budget)
            found += (_in_view(match, second, ("escape",)) for match in twice)
        return [_in_view(match, first, ("escape",)) for match in found]

    def _broken(self, chunk: bytes, alone: Sequence[Match], budget: Budget) -> list[Match]:
        """With strings that follow one another put together."""
        strings = broken.joined(chunk, budget.beginnings, self.beginnings)
        if strings is None:
            return []
        (found,) = parted.parts(strings, self._plain(strings.data, budget), [chunk], [alone])
        return found

    def _folded(self, chunk: bytes, budget: Budget) -> list[Match]:
        """With letters as they look."""
        view = folded(chunk)
        if view is None:
            return []
        return [_in_view(match, view, ("look-alike",)) for match in self._plain(view.data, budget)]


def _secrets(matches: Sequence[Match]) -> int:
    return sum(1 for match in matches if match.kind == "secret")


def _in_view(match: Match, view: Stripped | View, step: tuple[str, ...]) -> Match:
    start, end = view.origin(match.start, match.end)
    value = match.value or view.data[match.start : match.end]
    return replace(match, start=start, end=end, value=value, decoded=(*step, *match.decoded))


def _decoded(match: Match, blob: decoding.Blob) -> Match:
    seen = blob.raw if blob.raw and match.kind == "payload" else blob.data
    value = match.value or seen[match.start : match.end]
    steps = (blob.step, *match.decoded)
    return replace(match, start=blob.start, end=blob.end, value=value, decoded=steps)


def _blobs(data: bytes, budget: Budget) -> Iterator[decoding.Blob]:
    try:
        for blob in decoding.blobs(data):
            budget.decode(len(blob.raw or blob.data))
            yield blob
    except (MemoryError, OverflowError) as error:
        raise Withhold.failed("decoding", error) from error


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


def guarded(
    detector: Detector, data: bytes, budget: Budget, left: float | None = None
) -> list[Match]:
    """What a detector finds. Raises Withhold when it fails, whatever it raises.

    left: seconds of the budget, where several look at one chunk: asking the kernel for each of
        them costs as much as they do.
    """
    name = detector.name
    budget.entering(name)
    began = time.perf_counter()
    try:
        matches = detector.find(data, seconds=budget.seconds if left is None else left)
        budget.count(name, time.perf_counter() - began, len(matches))
        if matches:
            _require_within(matches, len(data))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A panic in native code arrives as a BaseException (PyO3's PanicException).
        raise Withhold.failed(detector.name, error) from error
    return matches


def _left(budget: Budget) -> float:
    try:
        return budget.seconds
    except TimeoutError as error:
        raise Withhold.failed("time", error) from error


def _require_within(matches: Sequence[Match], size: int) -> None:
    if not all(0 <= match.start < match.end <= size for match in matches):
        raise ValueError("a match lies outside of what was searched")
