"""Secrets, found in process by Kingfisher's rules; must never reach the network.

Only scanning is imported from the SDK: its validation would send a found secret to its provider.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import re2

from fumehood.scan.detector import Confidence, Match, Severity
from fumehood.scan.tokens import is_placeholder

if TYPE_CHECKING:
    from kingfisher_sdk import Finding, Scanner

_CATALOGUE: Final = re.compile(r"^(?:betterleaks\.|kingfisher\.|veles\.secrets/)")

# Kingfisher reports the parts of a pair as "not visible". Some are secrets (an AWS secret
# key), some only say whose secret it is. What these words do not name is taken as a secret.
_IDENTIFIER: Final = re.compile(
    r"-(?:id|url|host|domain|name|username|address|repository|public-key|application-key)(?:\.\d+)?$"
)

# Kingfisher takes text that begins with a byte order mark, or has NULs at every other byte,
# for UTF-16 and rewrites it before looking: two bytes would hide every secret after them.
_NO_NUL: Final = bytes.maketrans(b"\0", b"\1")
_BYTE_ORDER_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_GUARD: Final = b"\n"

# Many rules end in a quote, a space or the end of text: `sk_live_…)` or one before a comma, as
# in CSV, is none to them. What follows a token is therefore blanked, byte for byte.
_SEPARATORS: Final = bytes.maketrans(
    (punctuation := b",()<>[]{}|&#*!?" + bytes(range(0x80, 0x100))), b" " * len(punctuation)
)
# `replace` of two bytes takes a twentieth of what a pattern takes here.
_ENDS: Final = [bytes((mark, space)) for space in b" \n\r\t\v\f" for mark in b".:"]
_LATIN1 = re2.Options()
_LATIN1.encoding = re2.Options.Encoding.LATIN1
_GLUED: Final = re2.compile(
    rb"[A-Za-z0-9_+/=-]{16}(?:[,()<>\[\]{}|&#*!?\x80-\xff]|[.:](?:\s|\z))", _LATIN1
)


class SecretsDetector:
    """Kingfisher behind the detector protocol. Thread safe; the rules are loaded on first use.

    Loading takes 0.7 s from `cache`, 4 s (and about 1 MB written) the first time; a scan of
    1 KB takes 12 µs, and the interpreter lock is not held while it runs.
    """

    name = "secrets"

    def __init__(self, cache: Path | None = None) -> None:
        """cache: a directory of this user's own for the compiled rules; Kingfisher's default
        (the user's cache directory, else none) when None."""
        self._cache = cache
        self._lock = threading.Lock()
        self._scanner: Scanner | None = None

    def load(self) -> None:
        """Load the rules now, so that no invocation waits for them."""
        self._loaded()

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        """What is found as it stands, and with every token set apart from what follows it."""
        found = self._find(data, seconds)
        if _GLUED.search(data) is not None:
            apart = data.translate(_SEPARATORS)
            for end in _ENDS:
                apart = apart.replace(end, b" " + end[1:])
            if apart.endswith((b".", b":")):
                apart = apart[:-1] + b" "
            found += self._find(apart, seconds)
        return found

    def _find(self, data: bytes, seconds: float) -> list[Match]:
        scanned, shift = _guarded(data)
        found = self._loaded().scan(scanned, timeout=max(seconds, 0.001))
        return [
            _match(finding, scanned, shift)
            for finding in found
            if _is_secret(finding.rule_id, finding)
        ]

    def _loaded(self) -> Scanner:
        if self._scanner is None:
            with self._lock:
                if self._scanner is None:
                    self._scanner = _load(self._cache)
        return self._scanner


def _load(cache: Path | None) -> Scanner:
    from kingfisher_sdk import DetectionPolicy, Rules, Scanner

    # A tool must not be able to switch the scanner off by what it prints: no ignore
    # comments, no exemption for markup, no suppression of overlapping matches.
    policy = DetectionPolicy(
        inline_ignores=False,
        markup_context=False,
        cli_match_semantics=False,
        # Ours (`decoding`) undoes more, and costs less: with two levels here every text takes
        # twice as long.
        base64_max_depth=0,
        base64_max_input_bytes=None,
    )
    return Scanner(Rules(cache_dir=cache), policy=policy)


def _guarded(data: bytes) -> tuple[bytes, int]:
    if b"\0" in data:
        data = data.translate(_NO_NUL)
    if data.startswith(_BYTE_ORDER_MARKS):
        return _GUARD + data, len(_GUARD)
    return data, 0


def _is_secret(rule: str, finding: Finding) -> bool:
    return finding.visible or _IDENTIFIER.search(rule) is None


def _match(finding: Finding, scanned: bytes, shift: int) -> Match:
    location: dict[str, Any] = finding.location
    start, end = location["start_offset"], location["end_offset"]
    if "\ufffd" not in finding.secret and finding.secret.encode() != scanned[start:end]:
        raise ValueError("a finding's place does not hold what was found")
    return Match(
        rule=_CATALOGUE.sub("", finding.rule_id),
        kind="secret",
        severity=_severity(finding),
        start=start - shift,
        end=end - shift,
        confidence=_confidence(finding),
    )


def _confidence(finding: Finding) -> Confidence:
    secret = finding.secret.encode()
    if secret.endswith((b"EXAMPLE", b"EXAMPLEKEY")):
        return "low"  # as AWS's manuals have them
    if is_placeholder(secret) or is_placeholder(secret.rpartition(b":")[2]):
        return "low"
    return "high" if finding.confidence == "high" else "medium"


def _severity(finding: Finding) -> Severity:
    return "high" if finding.visible and finding.confidence == "high" else "medium"
