"""Instructions to a model where a tool's data should be: by wording, by role markers, by templates.

Wording is a weak sign. What is found here is flagged, not blocked, unless the operator says
otherwise; and a text that talks about such attacks is told apart from one that is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fumehood.scan.anchored import Anchored
from fumehood.scan.detector import Confidence, Match, Severity
from fumehood.scan.grammar import GRAMMAR
from fumehood.scan.latin import LATIN
from fumehood.scan.letters import LETTERS
from fumehood.scan.markup import LINKS, HiddenMarkup
from fumehood.scan.mention import spoken
from fumehood.scan.patterns import Judge, PatternDetector, Rule
from fumehood.scan.phrases import PHRASES
from fumehood.scan.sieve import alternatives
from fumehood.scan.spelling import Respelling
from fumehood.scan.templates import TEMPLATES
from fumehood.scan.wordings import ORDERS

# A gap may not pass the full stop of Chinese and Japanese (U+3002), which no space follows.
_IN_SENTENCE: Final = r"(?:[^\n\xe3]|\xe3[^\x80]|\xe3\x80[^\x82])"
_BLANK: Final = re.compile(r"(\[\^?\]?(?:\\.|[^\]\\])*\]|\\.)|( )(\?)?")
"""A class or an escape, which stay as they are, or a blank."""


def _wrapped(pattern: str) -> str:
    """The pattern with each blank as any white space: text is wrapped between any two words."""

    def blank(found: re.Match[str]) -> str:
        return found[1] or (r"\s{0,8}" if found[3] else r"\s{1,8}")

    return _BLANK.sub(blank, pattern)


def _rules(
    name: str, pattern: str, judge: Judge | Confidence, severity: Severity = "medium"
) -> Iterator[Rule]:
    for one in alternatives(pattern):
        yield _rule(name, one, judge, severity)


def _rule(
    name: str, pattern: str, judge: Judge | Confidence, severity: Severity = "medium"
) -> Rule:
    decide = spoken(judge) if isinstance(judge, str) else judge
    pattern = pattern.replace(r"[^\n]{", _IN_SENTENCE + "{")
    return Rule(name, severity, pattern, judge=decide, kind="injection")


def _worded(phrases: Iterable[tuple[str, str, Confidence]]) -> Iterator[Rule]:
    for name, pattern, sure in phrases:
        yield from _rules(name, f"(?i){_wrapped(pattern)}", sure)


WORDED: Final = (*_worded(PHRASES), *_worded(ORDERS), *_worded(LATIN))
SCRIPTS: Final = tuple(_worded(LETTERS))
MARKED: Final = tuple(
    rule
    for name, pattern, judge in (*TEMPLATES, *LINKS)
    for rule in _rules(name, pattern, judge, "high")
)
COMPOSED: Final = tuple(
    (f"(?i){_wrapped(anchor)}", rule)
    for name, anchor, pattern, judge in GRAMMAR
    for rule in (_rule(name, f"(?i){_wrapped(pattern)}", judge),)
)
RULES: Final = (*WORDED, *SCRIPTS, *MARKED, *(rule for _, rule in COMPOSED))
_SCRIPTS_GATE: Final = (r"[\xd0-\xd3\xd6-\xdb\xe0\xe3-\xed]|\xe1[\xba\xbb]",)
"""First bytes of letters that are neither Latin nor Greek, and of those of Vietnamese."""


class InjectionDetector:
    """All of it behind the detector protocol."""

    name = "injection"

    def __init__(self, cache: Path | None = None) -> None:
        """cache: a directory of this user's own for compiled rules."""
        self._parts = (
            Respelling(PatternDetector(self.name, WORDED, cache)),
            Anchored(self.name, COMPOSED, cache),
            PatternDetector(self.name, SCRIPTS, cache, gate=_SCRIPTS_GATE),
            PatternDetector(self.name, MARKED, cache),
            HiddenMarkup(cache),
        )

    def load(self, cache: Path | None = None) -> None:
        """Compile the patterns now."""
        for part in self._parts:
            part.load(cache)

    def find(self, data: bytes, *, seconds: float) -> list[Match]:
        found = [match for part in self._parts for match in part.find(data, seconds=seconds)]
        return _apart(found) if len(found) > 1 else found


def _apart(matches: Iterable[Match]) -> list[Match]:
    """Without those that overlap one of the same rule: an order may be told in several ways."""
    kept: dict[str, Match] = {}
    apart: list[Match] = []
    for match in sorted(matches, key=lambda m: (m.start, -m.end)):
        last = kept.get(match.rule)
        if last is None or match.start >= last.end or _is_surer(match, last):
            kept[match.rule] = match
            apart.append(match)
    return apart


def _is_surer(match: Match, other: Match) -> bool:
    return other.confidence == "low" != match.confidence


def detector(cache: Path | None = None) -> InjectionDetector:
    return InjectionDetector(cache)
