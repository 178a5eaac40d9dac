"""The pieces of one invocation's output, searched together: a secret found in one is redacted
in all. Must never be read before `search` has seen every piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fumehood.scan.leaves import Leaves
from fumehood.scan.policy import Withhold
from fumehood.scan.redact import MIN_REPEATED, Fingerprints, Literals, Span, merged
from fumehood.scan.search import Budget, Searcher
from fumehood.scan.visible import is_clean

MIN_LOCATED: Final = 4
"""Bytes of a secret of raw JSON that is looked for in the strings; shorter ones would be
found everywhere."""


@dataclass(slots=True)
class Piece:
    """Some bytes that leave, where they are, and the secrets in them."""

    place: str
    data: bytes
    spans: list[Span] = field(default_factory=list)
    clean: bool = field(init=False)
    """Nothing in it is hidden."""

    def __post_init__(self) -> None:
        self.clean = is_clean(self.data)


class Secrets:
    """What is known about secrets in one invocation's output."""

    def __init__(self, searcher: Searcher, fingerprints: Fingerprints, budget: Budget) -> None:
        self._searcher = searcher
        self._fingerprints = fingerprints
        self._budget = budget
        self._literals = Literals()

    def search(self, pieces: Sequence[Piece]) -> None:
        """Fill the spans of each piece. Raises Withhold."""
        for piece in pieces:
            piece.spans += self._found(piece)
        for piece in pieces:
            again = list(self._literals.find(piece.data))
            self._budget.take(max(0, len(again) - len(piece.spans)))
            piece.spans = merged([*piece.spans, *again])

    def locate(self, raw: Piece, leaves: Leaves, texts: Piece) -> None:
        """Add what was found in JSON text as it was written to the strings it stands in.

        Raises:
            Withhold: something stands in no single string: in a number, or across strings.
        """
        wanted = Literals()
        missing: dict[bytes, Span] = {}
        for span in raw.spans:
            literal = _unescaped(raw.data[span.start : span.end])
            missing[literal] = span
            if len(literal) >= MIN_LOCATED:
                wanted.add(literal, span)
        seen: list[bytes] = []
        for span in wanted.find(texts.data):
            if leaves.leaf_of(span) is not None:
                texts.spans.append(span)
                literal = texts.data[span.start : span.end]
                if missing.pop(literal, None):
                    seen.append(literal)
        for literal, span in missing.items():
            if not any(literal in other for other in seen):
                raise Withhold.not_located(span.rule, span.fingerprint)
        texts.spans = merged(texts.spans)

    def require_none(self, data: bytes) -> None:
        """Raises Withhold when a secret that was found anywhere stands in `data`."""
        for span in self._literals.find(data):
            raise Withhold.not_located(span.rule, span.fingerprint)

    def _found(self, piece: Piece) -> list[Span]:
        data = piece.data
        spans = []
        for match in self._searcher.find(data, self._budget, clean=piece.clean):
            span = self._fingerprints.span(match, data)
            spans.append(span)
            self._remember(data[match.start : match.end], span)
            if match.value:
                self._remember(match.value, span)
        return spans

    def _remember(self, literal: bytes, span: Span) -> None:
        if len(literal) >= MIN_REPEATED:
            self._literals.add(literal, span)


def within(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """The parts of spans inside `start:end`, counted from `start`."""
    return [
        Span(
            max(s.start, start) - start, min(s.end, end) - start, s.rule, s.severity, s.fingerprint
        )
        for s in spans
        if s.start < end and start < s.end
    ]


def _unescaped(literal: bytes) -> bytes:
    if b"\\" not in literal:
        return literal
    try:
        text: str = json.loads(b'"' + literal + b'"')
        return text.encode()
    except ValueError:
        return literal
