"""Replaces secrets by labels; must never leave a byte of one, wherever else it stands.

A label is `[redacted:RULE:FINGERPRINT]`. The fingerprint is keyed per installation: one secret
can be followed through records, and nobody without the key can test a guess against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import re2
from cryptography.hazmat.primitives import hashes, hmac

from fumehood.scan import json_cuts
from fumehood.scan.detector import Confidence, Kind, Match, Severity

MIN_REPEATED: Final = 8
"""Bytes of a secret that is looked for in other places, too; shorter ones are words."""

_WORD: Final = re.compile(rb"[A-Za-z]?[a-z]{1,9}")
"""One word, as in `postgres:postgres@`: it stands in other text for itself."""

BY_NAME: Final = frozenset(("assigned-secret", "spoken-password", "table-secret"))
"""Rules for values that look like others: only what stands before one says that it is a secret."""
_IDENTIFIER: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*")
_WORDS: Final = re.compile(rb"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_RE2_MEMORY: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Span:
    """A secret at `start:end` of some bytes, and what will stand in its place."""

    start: int
    end: int
    rule: str
    severity: Severity
    fingerprint: str
    kind: Kind = "secret"
    confidence: Confidence = "high"
    decoded: str = ""

    @property
    def label(self) -> bytes:
        return f"[redacted:{self.rule}:{self.fingerprint}]".encode()


def is_repeated(literal: bytes) -> bool:
    """Whether a secret is looked for in other places, too."""
    return len(literal) >= MIN_REPEATED and _WORD.fullmatch(literal) is None


def spreads(match: Match, literal: bytes) -> bool:
    """Whether what was found is looked for in other places, too.

    What only its name tells from other text is not, where it reads like an identifier: one mistake
    would cut `PKCS7PrivateKeyTypes` out of a whole source file.
    """
    if match.confidence == "low" or match.rule == "table-secret" or not is_repeated(literal):
        return False
    return match.rule not in BY_NAME or not is_identifier(literal)


def is_identifier(literal: bytes) -> bool:
    """Whether it is made of words, as `tokenTypeName2` is; random text has a new one at every
    second byte."""
    if _IDENTIFIER.fullmatch(literal) is None:
        return False
    return len(_WORDS.findall(literal)) * 3 <= len(literal)


class Fingerprints:
    """Turns matches into spans."""

    def __init__(self, key: bytes) -> None:
        self._mac = hmac.HMAC(key, hashes.SHA384())

    def fingerprint(self, secret: bytes) -> str:
        """8 hex characters of HMAC-SHA-384."""
        mac = self._mac.copy()
        mac.update(secret)
        return mac.finalize()[:4].hex()

    def span(self, match: Match, data: bytes) -> Span:
        secret = match.value or data[match.start : match.end]
        return Span(
            match.start, match.end, match.rule, match.severity, self.fingerprint(secret),
            match.kind, match.confidence, ">".join(match.decoded),
        )  # fmt: skip


class Literals:
    """Every secret found so far, to be found again where no rule saw it."""

    def __init__(self) -> None:
        self._spans: dict[bytes, Span] = {}
        self._pattern: Any = None

    def add(self, literal: bytes, span: Span) -> None:
        self._spans.setdefault(literal, span)
        self._pattern = None

    def __contains__(self, literal: bytes) -> bool:
        return literal in self._spans

    def find(self, data: bytes) -> Iterator[Span]:
        """Each place of each secret; of two that begin together, the longer one."""
        if not self._spans:
            return
        if self._pattern is None:
            self._pattern = _alternatives(self._spans)
        for found in self._pattern.finditer(data):
            span = self._spans[found.group()]
            yield replace(span, start=found.start(), end=found.end(), decoded="")


def _alternatives(literals: Iterable[bytes]) -> Any:
    # RE2, because `re` tries one literal after the other at every byte: 256 of them took
    # 9 s for 16 MiB, against 0.05 s.
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _RE2_MEMORY
    options.log_errors = False
    ordered = sorted(literals, key=len, reverse=True)
    return re2.compile(b"|".join(re2.escape(literal) for literal in ordered), options)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Sorted, without overlaps: what overlaps becomes one span under the longest one's name."""
    result: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if not result or span.start >= result[-1].end:
            result.append(span)
            continue
        last = result[-1]
        named = last if last.end - last.start >= span.end - span.start else span
        end = max(last.end, span.end)
        result[-1] = replace(named, start=last.start, end=end)
    return result


def redact_text(data: bytes, spans: Iterable[Span]) -> bytes:
    """`data` with each span, widened to whole UTF-8 characters, replaced by its label.

    JSON, and lines of JSON, stay JSON: a number becomes a string that is the label.
    """
    gone = merged(spans)
    if not gone:
        return data
    parts: list[bytes] = []
    at = 0
    for cut in json_cuts.cuts(data, [(span.start, span.end) for span in gone]):
        start, end = max(at, _whole(data, cut.start, -1)), _whole(data, cut.end, 1)
        if cut.quoted and end <= at:
            continue  # one number holds two of them
        label = gone[cut.number].label
        parts += (data[at:start], b'"%b"' % label if cut.quoted else label)
        at = max(at, end)
    parts.append(data[at:])
    return b"".join(parts)


def redact_binary(data: bytes, spans: Iterable[Span]) -> bytes:
    """`data` with each span overwritten in place: what follows keeps its offset."""
    result = bytearray(data)
    for span in merged(spans):
        length = span.end - span.start
        label = span.label if len(span.label) <= length else b""
        result[span.start : span.end] = label.ljust(length, b"*")
    return bytes(result)


def _whole(data: bytes, at: int, step: int) -> int:
    """`at`, moved off the inside of a character (a character has at most 4 bytes)."""
    for _ in range(3):
        if not 0 < at < len(data) or data[at] & 0xC0 != 0x80:
            break
        at += step
    return at
