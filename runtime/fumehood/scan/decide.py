"""Applies the operator's policy: what is done with one match. Pure; must never look for anything.

The first rule that fits counts: the tool's own, then those for all tools, then `DEFAULTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import re2

from fumehood.model.result import Action
from fumehood.model.scan_policy import Allow, PolicyRule, ScanSpec
from fumehood.scan.detector import Kind, Match
from fumehood.scan.policy import ACTIONS

DECIDED: Final[frozenset[Kind]] = frozenset(
    ("secret", "personal_data", "hidden_text", "injection", "payload")
)
"""Kinds that a policy decides about; the others have their fixed `ACTIONS`."""

_LEVELS: Final = {"low": 0, "medium": 1, "high": 2}

DEFAULTS: Final = (
    PolicyRule(kind="secret", confidence="medium", action="redact"),
    PolicyRule(kind="secret", action="pass"),
    PolicyRule(rule="email-address", action="pass"),
    PolicyRule(rule="phone-number", action="pass"),
    PolicyRule(rule="ip-address", action="pass"),
    PolicyRule(kind="personal_data", confidence="medium", action="redact"),
    PolicyRule(kind="personal_data", action="pass"),
    PolicyRule(rule="mixed-script", action="flag"),
    PolicyRule(kind="hidden_text", action="redact"),
    PolicyRule(kind="injection", confidence="medium", action="flag"),
    PolicyRule(kind="injection", action="pass"),
    PolicyRule(rule="decompression-bomb", action="withhold"),
    PolicyRule(kind="payload", severity="medium", action="flag"),
    PolicyRule(kind="payload", action="pass"),
)


@dataclass(slots=True)
class Policy:
    """For one tool. Thread safe: what it remembers is the same whoever works it out."""

    rules: tuple[PolicyRule, ...] = DEFAULTS
    allowed: tuple[_Allowed, ...] = ()
    _known: dict[tuple[str, ...], Action] = field(default_factory=dict)

    def action(self, match: Match, text: bytes, fingerprint: Callable[[], str]) -> Action:
        """What is done with a match whose text is `text`.

        fingerprint: of that text; worked out only where an allowlist asks.
        """
        if match.kind not in DECIDED:
            return ACTIONS[match.kind]
        if any(allowed.fits(match, text, fingerprint) for allowed in self.allowed):
            return "pass"
        key = (match.kind, match.rule, match.severity, match.confidence)
        if (action := self._known.get(key)) is None:
            found = next((rule for rule in self.rules if _fits(rule, match)), None)
            action = self._known.setdefault(key, found.action if found else "flag")
        return action


class Policies:
    """One policy for each tool, made when it is first asked for."""

    def __init__(self, spec: ScanSpec | None = None) -> None:
        spec = spec or ScanSpec()
        tools = spec.tools.items()
        self._tools = {name: _policy(own.policy, own.allow, spec) for name, own in tools}
        self._others = _policy((), (), spec)

    def of(self, tool: str) -> Policy:
        return self._tools.get(tool, self._others)


def _policy(rules: Iterable[PolicyRule], allow: Iterable[Allow], spec: ScanSpec) -> Policy:
    return Policy(
        (*rules, *spec.policy, *DEFAULTS), tuple(_Allowed(one) for one in (*allow, *spec.allow))
    )


def _fits(rule: PolicyRule, match: Match) -> bool:
    return (
        (rule.kind is None or rule.kind == match.kind)
        and _LEVELS[match.severity] >= _LEVELS[rule.severity]
        and _LEVELS[match.confidence] >= _LEVELS[rule.confidence]
        and (rule.rule is None or fits(rule.rule, match.rule))
    )


def fits(written: str, rule: str) -> bool:
    """Whether a rule's name is one that was written, `*` for any characters."""
    return _name(written).fullmatch(rule) is not None


@lru_cache(maxsize=1024)
def _name(written: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in written.split("*")))


class _Allowed:
    """One entry of an allowlist."""

    def __init__(self, spec: Allow) -> None:
        self._spec = spec
        self._exact = None if spec.exact is None else spec.exact.encode()
        self._word = None if spec.word is None else spec.word.encode().lower()
        self._regex: Any = None if spec.regex is None else re2.compile(spec.regex)

    def fits(self, match: Match, text: bytes, fingerprint: Callable[[], str]) -> bool:
        spec = self._spec
        return (
            (spec.kind is None or spec.kind == match.kind)
            and (spec.rule is None or fits(spec.rule, match.rule))
            and (self._exact is None or text == self._exact)
            and (self._word is None or self._word in text.lower())
            and (self._regex is None or self._regex.fullmatch(text) is not None)
            and (spec.fingerprint is None or spec.fingerprint == fingerprint())
        )
