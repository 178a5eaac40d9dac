"""What may be shown of output that has not ended; must never show part of a secret in it.

Complete lines are shown, once they were searched together with what came before them. What is
a secret only because of something that is written later cannot be known; the whole output is
scanned again at its end, and that result counts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from fumehood.model.result import Finding
from fumehood.scan.decide import Policy
from fumehood.scan.detector import TOO_MANY
from fumehood.scan.exchange import Subject
from fumehood.scan.pieces import NOT_CUT, within
from fumehood.scan.policy import Withhold
from fumehood.scan.private_keys import MAX_KEY_BYTES, unfinished
from fumehood.scan.redact import (
    Fingerprints,
    Literals,
    Span,
    merged,
    redact_text,
    spreads,
)
from fumehood.scan.search import MAX_SECRETS, OVERLAP, Budget, Search
from fumehood.scan.shown import made_visible
from fumehood.scan.visible import is_clean

log = structlog.get_logger(__name__)

SECONDS: Final = 5.0
"""CPU time for all of one stream; then no more of it is shown before its end."""
FEED_SECONDS: Final = 2.0
"""The same for what is added at once."""
MAX_HELD: Final = 2 * (MAX_KEY_BYTES + OVERLAP)
"""Bytes that may wait for their line, or their key, to end."""
LONG_LINE: Final = 64 * 1024
"""A line of more bytes is shown before it ends, but for its last OVERLAP."""


class Partial:
    """One stream. To be used by one thread at a time."""

    def __init__(
        self,
        searcher: Search,
        fingerprints: Fingerprints,
        policy: Policy,
        given: Sequence[bytes] = (),
    ) -> None:
        """Use `Pipeline.partial`."""
        self._given = given
        self._policy = policy
        self._searcher = searcher
        self._fingerprints = fingerprints
        self._literals = Literals()
        self._secrets = 0
        self._spent = 0.0
        self._shown = b""
        self._held = b""
        self.over = False
        """Nothing more will be shown: a detector failed, or a bound was met."""
        self.why = ""
        """Why nothing is shown from the beginning; empty where something may be."""

    def feed(self, data: bytes) -> str:
        """More of the stream; what of it, and of what was held back, may be shown now."""
        if self.over:
            return ""
        self._held += data
        began = time.thread_time()
        text, withheld = "", None
        try:
            text = self._release()
        except Withhold as withhold:
            withheld = withhold
        except Exception as error:  # noqa: BLE001  (recorded: not looked at is not shown)
            withheld = Withhold.failed("partial", error)
        if withheld is not None:
            log.warning("partial output withheld", reason=withheld.message, detail=withheld.detail)
        self._spent += time.thread_time() - began
        if withheld is not None or self._spent > SECONDS or len(self._held) > MAX_HELD:
            self._give_up()
        return text

    def show_nothing(self, why: str) -> None:
        """Whatever is fed: what may leave is decided only once the output is whole."""
        self.why = why
        self._give_up()

    def _give_up(self) -> None:
        self.over = True
        self._shown = self._held = b""

    def _release(self) -> str:
        end = self._held.rfind(b"\n") + 1
        if not end and len(self._held) >= LONG_LINE:
            end = _between_characters(self._held, len(self._held) - OVERLAP)
        if not end:
            return ""
        window, base = self._shown + self._held, len(self._shown)
        spans = self._search(window)
        end = self._before_secrets(window, base + end, spans)
        if end <= base:
            return ""
        raw = window[base:end]
        self._shown, self._held = window[max(0, end - OVERLAP) : end], window[end:]
        return made_visible(redact_text(raw, within(spans, base, end)))[0]

    def _search(self, window: bytes) -> list[Span]:
        budget = Budget(FEED_SECONDS, given=self._given)
        spans = []
        (found,) = self._searcher.find_all([Subject(window, is_clean(window))], budget)
        for match in found:
            text = match.value or window[match.start : match.end]
            action = self._policy.action(match, text, partial(self._fingerprints.fingerprint, text))
            if match.rule.startswith(TOO_MANY) and action != "pass":
                raise Withhold.too_many(match.rule, match.kind, match.severity, match.count)
            if action == "withhold":
                raise Withhold.decided(Finding(match.rule, match.kind, match.severity, "output",
                                               "withhold"))  # fmt: skip
            if action != "redact" or match.kind in NOT_CUT:
                continue
            spans.append(span := self._fingerprints.span(match, window))
            for literal in (window[match.start : match.end], match.value):
                if spreads(match, literal) and literal not in self._literals:
                    self._secrets += 1
                    self._literals.add(literal, span)
        if self._secrets > MAX_SECRETS:
            raise Withhold.too_many_secrets(MAX_SECRETS)
        return merged([*spans, *self._literals.find(window)])

    def _before_secrets(self, window: bytes, end: int, spans: list[Span]) -> int:
        """`end`, moved before what it would cut in two: a secret, or a key that goes on."""
        begin = unfinished(window)
        if begin is not None:
            end = min(end, begin)
        for span in reversed(spans):
            if span.start < end < span.end:
                end = span.start
        return end


def tail(partial: Partial, data: bytes, most: int) -> str:
    """About the last `most` bytes of a stream, as they may be shown. `partial`: a fresh one."""
    start = max(0, len(data) - most - OVERLAP)
    if start:
        # What it begins with may be the end of a secret, and is not shown.
        partial.feed(data[start : start + OVERLAP])
        start += OVERLAP
    return partial.feed(data[start:])


def _between_characters(data: bytes, at: int) -> int:
    """`at`, moved back to where a UTF-8 character begins (one has at most 4 bytes)."""
    for _ in range(3):
        if data[at] & 0xC0 != 0x80:
            break
        at -= 1
    return at
