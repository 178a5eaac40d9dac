"""Many patterns in one pass: Hyperscan says which occur at all, RE2 says where.

Clean text costs one pass at gigabytes a second, however many patterns there are. Both engines
are linear in the text, whatever it is. Must never stop before the end of the text without saying
so: what takes too long is a TimeoutError.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeAlias

import hyperscan
import re2

from fumehood.scan.detector import Confidence, Kind, Match, Severity, too_many
from fumehood.scan.sieve import sieve

EVERY_END: Final[int] = hyperscan.HS_FLAG_MULTILINE
_ONCE: Final[int] = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_MULTILINE
_MEMORY: Final = 64 * 1024 * 1024
NEAR: Final = 80
"""Bytes before something in which a word may say what it is."""
_WIDE: Final = 256
"""Bytes around such a word: NEAR and the longest number, and room to pass over the next word."""
MAX_PLACES: Final = 2048
"""Of one rule in one text; a chunk of 272 KiB in which there are more is not searched further."""


class Found:
    """One place where a pattern fits: its groups by name."""

    __slots__ = ("_asked", "_groups", "_match", "data", "span")

    def __init__(
        self,
        data: bytes,
        match: Any,
        groups: dict[str, int],
        span: tuple[int, int],
        asked: dict[Any, bool],
    ) -> None:
        """span: of the group `s`, or of all of it. asked: answers of `anywhere`, shared by all that
        is found in one text."""
        self.data = data
        self.span = span
        self._match = match
        self._groups = groups
        self._asked = asked

    def __getitem__(self, name: str) -> bytes:
        if name == "s":
            return self.data[self.span[0] : self.span[1]]
        start, end = self.place(name)
        return self.data[start:end] if start >= 0 else b""

    def place(self, name: str) -> tuple[int, int]:
        """Of a group; (-1, -1) of one that has no part in it."""
        place: tuple[int, int] = self._match.span(self._groups.get(name, 0))
        return place

    def anywhere(self, pattern: Any) -> bool:
        """Whether `pattern` (see `linear`) fits anywhere in the text, which is read once for it
        however much is found there: read for each of 540 places, half a megabyte took 8 s."""
        if pattern not in self._asked:
            self._asked[pattern] = pattern.search(self.data) is not None
        return self._asked[pattern]


def linear(pattern: bytes) -> Any:
    """Compiled by RE2, over bytes, with the methods of `re.Pattern`. `(?i)` folds the letters of
    Latin-1, too: keep it away from parts of UTF-8."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _MEMORY
    options.log_errors = False
    return re2.compile(pattern, options)


Judge: TypeAlias = "Callable[[Found], Confidence | None]"
"""How sure it is that this is what the rule says, or None when it is nothing."""
Told: TypeAlias = "tuple[int, int, Confidence]"
Seek: TypeAlias = "Callable[[Found], Iterable[Told]]"
"""What there is, where the pattern only says where that begins: places, and how sure each is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern in the syntax that Hyperscan and RE2 share (no look-around), over bytes.

    What is found is the group `s`, or all of it; where that group has no part in it, what fits is
    passed over. The groups `lead` and `tail` are not asked of Hyperscan, see `sieve`. judge: None
    when the pattern alone decides. seek: in place of judge. near: words of which one stands within
    NEAR bytes of whatever counts; elsewhere nobody looks. first: what Hyperscan is asked for, which
    fits wherever the pattern does; the pattern itself when empty. Classes without a letter of their
    own cost it 2 ms for each megabyte.
    """

    name: str
    severity: Severity
    pattern: str
    confidence: Confidence = "high"
    judge: Judge | None = None
    kind: Kind = "secret"
    near: bytes = b""
    seek: Seek | None = None
    first: str = ""
    compiled: Any = field(init=False, compare=False, repr=False)
    groups: dict[str, int] = field(init=False, compare=False, repr=False)
    words: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        compiled = linear(b"(?m)" + self.pattern.encode())
        object.__setattr__(self, "compiled", compiled)
        groups = {name.decode(): number for name, number in compiled.groupindex.items()}
        object.__setattr__(self, "groups", groups)
        words = linear(b"(?i)" + self.near) if self.near else None
        object.__setattr__(self, "words", words)


class PatternDetector:
    """The rules of one family behind the detector protocol. Thread safe."""

    def __init__(
        self,
        name: str,
        rules: Sequence[Rule],
        cache: Path | None = None,
        *,
        gate: Sequence[str] = (),
    ) -> None:
        """cache: a directory of this user's own for the compiled database.

        gate: patterns of which one fits wherever a rule does. Few and plain ones cost a fifth of
            what the rules do, and most text holds nothing for them.
        """
        self.name = name
        self._gate = [pattern.encode() for pattern in gate]
        self._gate_database: Any = None
        self._rules = tuple(rules)
        self._cache = cache
        self._lock = threading.Lock()  # Hyperscan's scratch space is for one scan at a time
        self._database: Any = None
        self._seen: set[int] = set()
        # Hyperscan's binding does not keep its callback alive: a passing lambda crashes it.
        self._on_match = self._matched

    def load(self, cache: Path | None = None) -> None:
        """Compile the patterns now, so that no invocation waits for it.

        cache: in place of the one that this was made with.
        """
        with self._lock:
            self._cache = cache or self._cache
            self._loaded()

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        rules = self.occurring(data)
        if not rules:
            return []
        end = time.thread_time() + seconds
        asked: dict[Any, bool] = {}
        return [match for rule in rules for match in _places(rule, data, end, asked)]

    def occurring(self, data: bytes) -> list[Rule]:
        """The rules that may match somewhere in `data`; no other one does."""
        if not data:
            return []
        with self._lock:
            rules = self._loaded()
            self._seen.clear()
            if self._gate:
                self._gate_database.scan(data, match_event_handler=self._on_match)
                if not self._seen:
                    return []
                self._seen.clear()
            rules.scan(data, match_event_handler=self._on_match)
            if not self._seen:
                return []
            return [self._rules[number] for number in sorted(self._seen)]

    def _matched(self, number: int, _start: int, _end: int, _flags: int, _context: Any) -> None:
        self._seen.add(number)

    def _loaded(self) -> Any:
        if self._database is None:
            patterns = [sieve(rule.first or rule.pattern).encode() for rule in self._rules]
            if self._gate:
                self._gate_database = database(self._gate, self._cache)
            self._database = database(patterns, self._cache)
        return self._database


def _places(rule: Rule, data: bytes, deadline: float, asked: dict[Any, bool]) -> list[Match]:
    matches: list[Match] = []
    done = 0
    for count, (raw, (start, end)) in enumerate(_fitting(rule, data)):
        if count % 256 == 255 and time.thread_time() > deadline:
            raise TimeoutError(f"{rule.name} matches in too many places")
        if start < done:
            continue
        for place in _told(rule, Found(data, raw, rule.groups, (start, end), asked)):
            start, done, confidence = place
            matches.append(
                Match(rule.name, rule.kind, rule.severity, start, done, confidence=confidence)
            )
            if len(matches) > MAX_PLACES:
                surest = max(matches, key=lambda match: _SURE[match.confidence])
                return [*matches[:-1], too_many(replace(surest, start=start, end=done))]
    return matches


def _told(rule: Rule, found: Found) -> Iterable[Told]:
    if rule.seek is not None:
        return rule.seek(found)
    confidence = rule.judge(found) if rule.judge else rule.confidence
    start, end = found.span
    return [(start, end, confidence)] if confidence is not None and start < end else []


def _fitting(rule: Rule, data: bytes) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Wherever the rule's pattern fits, and where there what it looks for stands."""
    at, ahead, group = 0, -1, rule.groups.get("s", 0)
    for begin, stop in _windows(rule, data):
        if stop <= ahead:
            continue  # the next place lies behind: nobody searches one gap for each word in it
        at = max(at, begin)
        while (raw := rule.compiled.search(data, at)) is not None:
            start, place = raw.start(), raw.span(group)
            if start >= stop:
                ahead = start
                break
            if place[1] < 0:
                at = raw.end()
                continue
            # Not behind the whole match: what ends one token may be what the next one begins with.
            at = max(place[1], start + 1)
            yield raw, place
        if raw is None:
            return


def _windows(rule: Rule, data: bytes) -> Iterator[tuple[int, int]]:
    """Where something that counts may begin: all of it, or around the words that it needs."""
    if rule.words is None:
        yield 0, len(data) + 1
        return
    at = 0
    while (word := rule.words.search(data, at)) is not None:
        at = word.end() + _WIDE // 2
        yield max(0, word.start() - _WIDE), at + _WIDE


_SURE: Final = {"low": 0, "medium": 1, "high": 2}


def database(patterns: Sequence[bytes], cache: Path | None, flags: int = _ONCE) -> Any:
    """Compiled, or read from the cache: its name holds all that the compiled form depends on.

    flags: whether every end of a match is told, or one match of each pattern.
    """
    what = (_version(), b"%d" % flags, *patterns)
    wanted = hashlib.sha384(b"\0".join(what)).hexdigest()[:32]
    path = None if cache is None else cache / f"hyperscan-{wanted}"
    if path is not None and (stored := _stored(path)) is not None:
        return stored
    compiled = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    compiled.compile(
        expressions=list(patterns), ids=list(range(len(patterns))), elements=len(patterns),
        flags=flags,
    )  # fmt: skip
    if path is not None:
        _store(path, hyperscan.dumpb(compiled))
    return compiled


def _version() -> bytes:
    machine = os.uname()
    flags = _cpu_flags() if machine.machine == "x86_64" else ""
    return f"{version('hyperscan')} {machine.machine} {flags}".encode()


def _cpu_flags() -> str:
    """What of the processor a compiled database is built for (`hs_platform_info`)."""
    known = {"avx2", "avx512bw", "avx512vbmi"}
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return ""
    return ",".join(sorted(known & words))


def _stored(path: Path) -> Any:
    try:
        database = hyperscan.loadb(path.read_bytes(), hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except (OSError, hyperscan.error):
        return None  # it is compiled anew
    return database


def _store(path: Path, data: bytes) -> None:
    """In one step, so that nobody reads half of it. A cache that cannot be written is no fault."""
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        partial.touch(mode=0o600)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
