"""Looks rules over for what an operator would want to know before they hold. Pure.

It reports and never decides: a rule that is found fault with holds all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from fumehood.admission.policy import ORDER, Policy
from fumehood.config import Config, Principals
from fumehood.model.principal import Principal
from fumehood.model.request import RegisteredTool
from fumehood.model.rules import BUILT_IN, CALLERS, EVERYBODY, OPERATORS, Rule, glob

Severity = Literal["warning", "note"]
_LISTED: Final = 20
_TYPED: Final = frozenset(
    {
        "pattern", "format", "minLength", "maxLength",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems",
        "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
        "minProperties", "maxProperties", "dependentRequired",
    }
)  # fmt: skip
"""Keywords that say nothing of values of other types (JSON Schema 2020-12, validation, 6)."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the rules. rule: its number, from 1; 0 when it is about all of them.

    check: what was looked for, a stable name.
    """

    severity: Severity
    check: str
    rule: int
    text: str

    def to_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity, "check": self.check, "rule": self.rule, "text": self.text,
        }  # fmt: skip


def review(config: Config) -> list[Remark]:
    """What can be said of rules without knowing the tools."""
    if config.rules is None:
        who = "operators" if config.callers is None else "operators and callers"
        text = f"there are no rules: {who} may call every tool, and nobody else any"
        return [Remark("note", "no_rules", 0, text)]
    if not config.rules:
        return [Remark("warning", "empty", 0, "the list of rules is empty: nobody may call a tool")]
    remarks = list(_covered(config.rules))
    for number, rule in enumerate(config.rules, 1):
        remarks += _conditions(number, rule)
        if all(_is_empty(config.roles.get(name)) for name in rule.who):
            text = f"nobody has a role of its list: {', '.join(rule.who)}"
            remarks.append(Remark("warning", "matches_nobody", number, text))
    used = {name for rule in config.rules for name in rule.who}
    for name in sorted(set(config.roles) - used):
        remarks.append(Remark("note", "unused_role", 0, f"no rule names the role {name}"))
    return sorted(remarks, key=lambda remark: (remark.rule, remark.check))


def coverage(config: Config, policy: Policy, tools: Sequence[RegisteredTool]) -> list[Remark]:
    """What can be said of rules once the tools are known."""
    remarks = [
        Remark("note", "matches_no_tool", number, f"no tool is called {pattern}")
        for number, rule in enumerate(config.rules or (), 1)
        for pattern in rule.tools
        if tools and not any(glob(pattern, tool.manifest.name) for tool in tools)
    ]
    names = sorted({*config.roles, *BUILT_IN})
    people = [Principal(name, frozenset({EVERYBODY, CALLERS, name})) for name in names]
    people.append(Principal(OPERATORS, frozenset({EVERYBODY, OPERATORS})))
    anybody = Principal("anybody", frozenset({EVERYBODY, CALLERS}))
    active = [tool for tool in tools if tool.state == "active"]
    nobody = [t for t in active if not any(policy.knows(one, t) for one in people)]
    everybody = [t for t in active if policy.decide(anybody, t, {}).effect == "allow"]
    if nobody:
        remarks.append(Remark("note", "for_nobody", 0, f"nobody may call {_names(nobody)}"))
    if everybody and config.rules is not None:
        text = f"every caller may call {_names(everybody)}"
        remarks.append(Remark("note", "for_everybody", 0, text))
    return remarks


def covers(wide: Rule, narrow: Rule) -> bool:
    """Whether every call that `narrow` matches is matched by `wide`. False when not sure."""
    return (
        _covers_roles(wide.who, narrow.who)
        and _covers_globs(wide.tools, narrow.tools)
        and _covers_globs(wide.versions, narrow.versions)
        and wide.labels.items() <= narrow.labels.items()
        and wide.annotations.items() <= narrow.annotations.items()
        and (
            wide.publishers is None
            or (narrow.publishers is not None and set(narrow.publishers) <= set(wide.publishers))
        )
        and (wide.arguments is None or wide.arguments == narrow.arguments)
    )


def _covered(rules: Sequence[Rule]) -> Iterator[Remark]:
    """Rules that never decide, because another one always does first, or that add nothing."""
    for number, rule in enumerate(rules, 1):
        for other_number, other in enumerate(rules, 1):
            stronger = ORDER.index(other.effect) - ORDER.index(rule.effect)
            if number == other_number or stronger > 0 or not covers(other, rule):
                continue
            if stronger < 0:
                text = f"never decides: rule {other_number} ({other.effect}) covers all of it"
                yield Remark("warning", "unreachable", number, text)
                break
            if other_number < number or not covers(rule, other):
                text = f"adds nothing: rule {other_number} says the same of more"
                yield Remark("warning", "shadowed", number, text)
                break


def _conditions(number: int, rule: Rule) -> Iterator[Remark]:
    """Conditions that hold of more calls than they seem to. A deny errs on the safe side."""
    if rule.arguments is None or rule.effect == "deny":
        return
    properties = rule.arguments.get("properties")
    if not isinstance(properties, dict):
        return
    required = rule.arguments.get("required", [])
    for name, schema in properties.items():
        if name not in required:
            text = f"also matches calls without {name!r}: add it to `required`"
            yield Remark("warning", "not_required", number, text)
        if isinstance(schema, dict) and "type" not in schema and (of := _TYPED & schema.keys()):
            text = f"{min(of)!r} of {name!r} fits every value of another type: add `type`"
            yield Remark("warning", "untyped", number, text)
        pattern = schema.get("pattern") if isinstance(schema, dict) else None
        if isinstance(pattern, str) and not pattern.startswith(("^", "\\A")):
            text = f"the pattern of {name!r} may match anywhere in the text: begin it with ^"
            yield Remark("warning", "unanchored", number, text)


def _is_empty(members: Principals | None) -> bool:
    return members is not None and not members.users and not members.groups


def _covers_roles(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    if EVERYBODY in wide or set(wide) >= BUILT_IN:
        return True
    return set(narrow) <= set(wide)


def _covers_globs(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    # A star of `narrow` read as a letter can only be eaten by a star of `wide`.
    return all(any(glob(pattern, text) for pattern in wide) for text in narrow)


def _names(tools: Sequence[RegisteredTool]) -> str:
    names = sorted({tool.manifest.name for tool in tools})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
