"""Decides by the operator's rules who may know of a tool and call it, with which arguments. Pure.

`deny` wins over `ask`, `ask` over `allow`, and what no rule allows is denied. Must never let a
call pass because a condition could not be decided: what cannot be told counts as denied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from fumehood.admission.validate import Validator
from fumehood.model.manifest import ToolAnnotations
from fumehood.model.principal import Principal
from fumehood.model.request import RegisteredTool
from fumehood.model.rules import EVERYBODY, OPERATORS, Effect, Rule, glob

MAX_REMEMBERED: Final = 65_536
"""Pairs of roles and tools whose rules are remembered; then all are looked up again."""
ORDER: Final[tuple[Effect, ...]] = ("deny", "ask", "allow")
HINT_DEFAULTS: Final = {
    "readOnlyHint": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "openWorldHint": True,
}
"""What MCP takes a hint for that a tool leaves out (schema of 2025-06-18, ToolAnnotations)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say of one call. rule: its number, from 1; 0 when none decided."""

    effect: Effect
    rule: int
    why: str

    def __str__(self) -> str:
        return f"{self.effect}:{self.rule}" if self.rule else self.effect


@dataclass(frozen=True, slots=True)
class Traced:
    """One rule as `explain` shows it. fits: whether it matches; why: what decides that."""

    rule: int
    effect: Effect
    fits: bool
    why: str


@dataclass(frozen=True, slots=True)
class _Compiled:
    number: int
    rule: Rule
    arguments: Validator | None

    def mismatch(self, roles: frozenset[str], tool: RegisteredTool, publisher: str) -> str:
        """The first condition besides the arguments that does not hold; empty when all do."""
        rule, manifest = self.rule, tool.manifest
        if roles.isdisjoint(rule.who):
            return f"who: it is for {', '.join(rule.who)}"
        if not any(glob(pattern, manifest.name) for pattern in rule.tools):
            return f"tools: it is for {_short(rule.tools)}"
        if not any(glob(pattern, manifest.version) for pattern in rule.versions):
            return f"versions: it is for {_short(rule.versions)}"
        for key, value in rule.labels.items():
            if manifest.labels.get(key) != value:
                return f"labels: the tool has no {key}: {value}"
        for hint, wanted in rule.annotations.items():
            if hint_of(manifest.annotations, hint) is not wanted:
                return f"annotations: the tool's {hint} is {str(not wanted).lower()}"
        if rule.publishers is not None and publisher not in rule.publishers:
            signed = f"signed by {publisher}" if publisher else "not signed by a known publisher"
            return f"publishers: the tool is {signed}"
        return ""


class Policy:
    """The rules of one configuration, compiled.

    Args:
        rules: None lets operators call every tool, and callers too where they are `named`; an empty
            list lets nobody.
        publisher_of: the publisher of a tool by what is recorded of its signer, empty for none.
        named: the operator wrote down who the callers are. To be in a group is no such word.
    """

    def __init__(
        self,
        rules: Sequence[Rule] | None,
        publisher_of: Callable[[str], str] = lambda _signer: "",
        *,
        named: bool = False,
    ) -> None:
        self._publisher_of = publisher_of
        self.rules = unwritten(named=named) if rules is None else tuple(rules)
        self._compiled = tuple(_compile(i, rule) for i, rule in enumerate(self.rules, 1))
        self._remembered: dict[tuple[frozenset[str], str, str], tuple[_Compiled, ...]] = {}

    def knows(self, principal: Principal, tool: RegisteredTool) -> bool:
        """Whether the principal may learn that the tool exists: some call of it could pass."""
        found = self._for(principal, tool)
        if any(one.rule.effect == "deny" and one.arguments is None for one in found):
            return False
        return any(one.rule.effect != "deny" for one in found)

    def decide(
        self, principal: Principal, tool: RegisteredTool, arguments: dict[str, object]
    ) -> Decision:
        """What holds for this call; `arguments` fit the tool's inputSchema already."""
        for one in self._for(principal, tool):  # deny first, then ask, then allow
            fits = one.arguments.fits(arguments) if one.arguments else True
            if fits is None:
                return Decision("deny", one.number, "the arguments are too large for its schema")
            if fits:
                return Decision(one.rule.effect, one.number, one.rule.reason or "the rule matches")
        return Decision("deny", 0, "no rule allows it")

    def trace(
        self, principal: Principal, tool: RegisteredTool, arguments: dict[str, object]
    ) -> list[Traced]:
        """Every rule and whether it matches this call, those that match first by precedence."""
        traced, publisher = [], self._publisher_of(tool.signer)
        for one in self._compiled:
            why = one.mismatch(principal.roles, tool, publisher)
            if not why and one.arguments is not None:
                fault = one.arguments.fault(arguments)
                why = f"arguments: {fault}" if fault else ""
            traced.append(Traced(one.number, one.rule.effect, not why, why or "it matches"))
        return sorted(traced, key=lambda one: (not one.fits, ORDER.index(one.effect), one.rule))

    def _for(self, principal: Principal, tool: RegisteredTool) -> tuple[_Compiled, ...]:
        """The rules that match but for the arguments, in the order in which they decide."""
        key = (principal.roles, tool.digest, tool.signer)
        found = self._remembered.get(key)
        if found is None:
            publisher = self._publisher_of(tool.signer)
            fitting = (
                c for c in self._compiled if not c.mismatch(principal.roles, tool, publisher)
            )
            found = tuple(sorted(fitting, key=_precedence))
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found


def unwritten(*, named: bool) -> tuple[Rule, ...]:
    """What holds where the operator wrote no rules. named: but who the callers are."""
    return (Rule(effect="allow", who=(EVERYBODY if named else OPERATORS,)),)


def hint_of(annotations: ToolAnnotations, hint: str) -> bool:
    """A tool's hint, at MCP's default where it says nothing."""
    said: bool | None = getattr(annotations, hint)
    return HINT_DEFAULTS[hint] if said is None else said


def _compile(number: int, rule: Rule) -> _Compiled:
    schema = rule.arguments
    if schema is None:
        return _Compiled(number, rule, None)
    return _Compiled(number, rule, Validator(schema, key=f"rules[{number - 1}].arguments"))


def _precedence(one: _Compiled) -> tuple[int, bool, int]:
    # Within one effect a rule without a condition decides at once.
    return ORDER.index(one.rule.effect), one.arguments is not None, one.number


def _short(patterns: Sequence[str]) -> str:
    return ", ".join(patterns[:3]) + (" …" if len(patterns) > 3 else "")
