"""The pieces of one invocation's output, searched together: a secret found in one is redacted
in all. Must never be read before `search` has seen every piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from fumehood.model.result import Action
from fumehood.scan import file_names, json_cuts, parted, seams
from fumehood.scan.decide import Policy
from fumehood.scan.detector import TOO_MANY, Match
from fumehood.scan.exchange import Subject
from fumehood.scan.leaves import Leaf, Leaves
from fumehood.scan.policy import Withhold
from fumehood.scan.redact import Fingerprints, Literals, Span, merged, spreads
from fumehood.scan.search import Budget, Search
from fumehood.scan.visible import is_clean

MIN_LOCATED: Final = 4
"""Bytes of a secret of raw JSON that is looked for in the strings; shorter ones would be
found everywhere."""


NOT_CUT: Final = frozenset(("hidden_text", "encoding"))
"""Kinds whose places are not cut out: the whole text is rewritten by `visible`."""


@dataclass(slots=True)
class Piece:
    """Some bytes that leave, where they are, and what was found in them.

    name: of a file, empty for everything else. binary: it is a file that is no text. spans: what is
    redacted. told: what is only told, and what the text's visible form takes care of. withheld: why
    none of it may leave.
    """

    place: str
    data: bytes
    spans: list[Span] = field(default_factory=list)
    name: str = ""
    told: list[tuple[Match, Action]] = field(default_factory=list)
    withheld: Match | None = None
    binary: bool = False
    clean: bool = field(init=False)
    """Nothing in it is hidden, or the policy leaves it so."""

    def __post_init__(self) -> None:
        self.clean = is_clean(self.data)


class Secrets:
    """What is known about secrets in one invocation's output."""

    def __init__(
        self,
        search: Search,
        fingerprints: Fingerprints,
        budget: Budget,
        policy: Policy,
        *,
        tell_all: bool = False,
    ) -> None:
        """tell_all: what the policy passes is told, too."""
        self._tell_all = tell_all
        self._policy = policy
        self._search = search
        self._fingerprints = fingerprints
        self._budget = budget
        self._literals = Literals()

    def search(
        self,
        pieces: Sequence[Piece],
        apart: Sequence[Piece] = (),
        joined: Sequence[Piece] = (),
        named: Sequence[Piece] = (),
    ) -> None:
        """Fill every piece. Raises Withhold.

        apart: pieces that do not leave: their secrets are not looked for in the others.
        joined: those of `pieces` that are also searched over the seams between them, in the
            order in which they are read.
        named: those of `pieces` that are the names of files among `joined`, which may hold parts,
            too.
        """
        together = [*pieces, *apart]
        subjects, ends = asked(together, joined, named)
        found = self._search.find_all(subjects, self._budget)
        if ends is not None:
            alone = dict(zip(map(id, pieces), found[:-1], strict=False))
            self._decide_on_parts(ends, found.pop(), (joined, named), alone)
        for piece, matches in zip(together[: len(pieces)], found, strict=False):
            piece.spans += self._decided(piece, matches)
        for piece in pieces:
            again = list(self._literals.find(piece.data))
            self._budget.take(max(0, len(again) - len(piece.spans)))
            piece.spans = merged([*piece.spans, *again])
        known, self._literals = self._literals, Literals()
        for piece, matches in zip(apart, found[len(pieces) :], strict=True):
            piece.spans = merged(self._decided(piece, matches))
        self._literals = known

    def locate(self, raw: Piece, leaves: Leaves, texts: Piece) -> None:
        """Add what was found in JSON text as it was written to the strings it stands in.

        What covers more than one string, or marks between them, is cut to what of it they hold.

        Raises:
            Withhold: something stands in a number, or in no string.
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
                texts.spans += _cut_to_strings(raw.data, span, leaves)
        texts.spans = merged(texts.spans)

    def require_none(self, data: bytes) -> None:
        """Raises Withhold when a secret that was found anywhere stands in `data`."""
        for span in self._literals.find(data):
            raise Withhold.not_located(span.rule, span.kind, span.fingerprint)

    def _decide_on_parts(
        self,
        ends: seams.Joined,
        found: Sequence[Match],
        read: tuple[Sequence[Piece], Sequence[Piece]],
        alone: Mapping[int, Sequence[Match]],
    ) -> None:
        if not found:
            return
        pieces, named = read
        called = file_names.components([name.data for name in named])
        data = [*(piece.data for piece in pieces), *(part.text for part in called)]
        own = [alone[id(piece)] for piece in pieces]
        own += (_moved(alone[id(named[file])], -at) for file, at in (p.places[0] for p in called))
        parts = parted.parts(ends, found, data, own, len(pieces))
        for piece, matches in zip(pieces, parts, strict=False):
            piece.spans += self._decided(piece, matches)
        for part, matches in zip(called, parts[len(pieces) :], strict=True):
            for file, at in part.places:
                named[file].spans += self._decided(named[file], _moved(matches, at))

    def _decided(self, piece: Piece, matches: Sequence[Match]) -> list[Span]:
        data, spans = piece.data, []
        rewritten, left = False, False
        for match in matches:
            if match.rule.startswith(TOO_MANY):
                self._decide_on_many(piece, match)
                continue
            if piece.binary and match.kind in NOT_CUT and not match.decoded:
                continue
            text = match.value or data[match.start : match.end]
            action = self._policy.action(match, text, partial(self._fingerprints.fingerprint, text))
            if action == "withhold":
                piece.withheld = piece.withheld or match
            elif match.kind in NOT_CUT:
                rewritten |= action == "redact"
                left |= action != "redact"
            elif action == "redact":
                span = self._fingerprints.span(match, data)
                spans.append(span)
                for literal in (data[match.start : match.end], match.value):
                    if spreads(match, literal):
                        self._literals.add(literal, span)
                continue
            if action != "pass" or self._tell_all:
                piece.told.append((match, action))
        piece.clean |= left and not rewritten
        return spans

    def _decide_on_many(self, piece: Piece, many: Match) -> None:
        """As on one of them. What has to be cut out cannot be, where nobody has looked."""
        one = replace(many, rule=many.rule.removeprefix(TOO_MANY))
        action = self._policy.action(one, b"", str)
        if action == "withhold" or (action == "redact" and many.kind not in NOT_CUT):
            raise Withhold.too_many(many.rule, many.kind, many.severity, many.count)
        if action != "pass" or self._tell_all:
            piece.told.append((many, action))


def asked(
    together: Sequence[Piece], joined: Sequence[Piece], named: Sequence[Piece] = ()
) -> tuple[list[Subject], seams.Joined | None]:
    """What is looked at: the pieces, and what lies over the seams between `joined` and the names of
    files, if anything."""
    subjects = [Subject(piece.data, piece.clean, piece.name) for piece in together]
    called = file_names.components([name.data for name in named])
    ends = None
    if joined:
        ends = seams.joined([p.data for p in joined], [p.name for p in joined], called)
    if ends is not None:
        subjects.append(Subject(ends.data, is_clean(ends.data)))
    return subjects, ends


def _moved(matches: Iterable[Match], by: int) -> list[Match]:
    return [replace(match, start=match.start + by, end=match.end + by) for match in matches]


def within(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    """The parts of spans inside `start:end`, counted from `start`."""
    return [
        replace(s, start=max(s.start, start) - start, end=min(s.end, end) - start)
        for s in spans
        if s.start < end and start < s.end
    ]


def _cut_to_strings(data: bytes, span: Span, leaves: Leaves) -> list[Span]:
    """What of a span in a document's text lies in its strings. Raises Withhold."""
    parts = json_cuts.strings(data, (span.start, span.end))
    placed: list[tuple[Leaf, Span]] = []
    for part in parts or ():
        leaf = leaves.numbered(part.number)
        if leaf is None or leaves.data[leaf.start : leaf.end] != part.meaning:
            raise Withhold.not_located(span.rule, span.kind, span.fingerprint)
        start, end = leaf.start + part.start, leaf.start + part.end
        placed.append((leaf, replace(span, start=start, end=end)))
    if not placed:
        raise Withhold.not_located(span.rule, span.kind, span.fingerprint)
    values = [cut for leaf, cut in placed if not leaf.place.is_key]
    return values or [cut for _, cut in placed]


def _unescaped(literal: bytes) -> bytes:
    if b"\\" not in literal:
        return literal
    try:
        text: str = json.loads(b'"' + literal + b'"')
        return text.encode()
    except ValueError:
        return literal
