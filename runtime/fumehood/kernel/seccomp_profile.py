"""Seccomp profiles as frozen values, and the strict reader of OCI seccomp JSON that makes them.

It must never guess: a key, action, operator or architecture that is not understood, and two
rules whose outcome would depend on their order, are refused by name. It opens no file.
Standard library only, because the privileged launcher imports it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from fumehood.errors import EngineError
from fumehood.kernel import libseccomp

MAX_RULES = 512
MAX_NAMES = 1024
"""Names in one rule; a kernel has about 470 calls."""
MAX_RULES_PER_CALL = 128
MAX_OVERLAPS = 8
"""Rules of one call that may hold together with one rule: libseccomp multiplies them out (10
rules of three arguments take 0.6 s, 25 more than ten minutes)."""
MAX_COMMENT_CHARS = 2048

_ARGUMENTS = 6
_UINT64 = 2**64
_MAX_ERRNO = 4095
_EPERM = 1

_CALL_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"
LOG = "SCMP_ACT_LOG"
_ACTIONS = frozenset({ALLOW, ERRNO, KILL_PROCESS, LOG})
_REFUSED_ACTIONS = {
    "SCMP_ACT_KILL": f"it ends one thread and leaves the others; write {KILL_PROCESS}",
    "SCMP_ACT_KILL_THREAD": f"it ends one thread and leaves the others; write {KILL_PROCESS}",
    "SCMP_ACT_TRAP": f"a program can catch SIGSYS and go on; write {KILL_PROCESS}",
    "SCMP_ACT_TRACE": "no tracer is attached to a sandbox",
    "SCMP_ACT_NOTIFY": "no listener is attached to a sandbox",
}

OPERATORS = {
    "SCMP_CMP_NE": libseccomp.SCMP_CMP_NE,
    "SCMP_CMP_EQ": libseccomp.SCMP_CMP_EQ,
    "SCMP_CMP_MASKED_EQ": libseccomp.SCMP_CMP_MASKED_EQ,
}
_REFUSED_OPERATORS = ("SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT")
"""Compiled wrongly by libseccomp 2.5.4 where a call has two of them: allow >= 2**63 beside deny
< 3 lets 2**32 - 1 through (docs/decisions/0002-libseccomp-binding.md)."""

ARCHITECTURES = {
    "SCMP_ARCH_X86_64": libseccomp.SCMP_ARCH_X86_64,
    "SCMP_ARCH_AARCH64": libseccomp.SCMP_ARCH_AARCH64,
}


@dataclass(frozen=True, slots=True)
class Action:
    """What the kernel does with a call. `errno` is 0 unless the action is SCMP_ACT_ERRNO."""

    name: str
    errno: int = 0

    @property
    def denies(self) -> bool:
        """Whether the call does not happen."""
        return self.name in (ERRNO, KILL_PROCESS)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of argument `index` (0 to 5), as an unsigned number of 64 bits.

    For SCMP_CMP_MASKED_EQ `value` is the mask and `value_two` what must remain under it;
    otherwise `value_two` is 0.
    """

    index: int
    op: str
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """`action` for each of `names` when every condition holds; always when there is none."""

    names: tuple[str, ...]
    action: Action
    conditions: tuple[Condition, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """A seccomp policy. `digest` is `sha384:<hex>` of the file it was read from."""

    name: str
    default: Action
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]
    comment: str
    digest: str


def narrowed(profile: Profile, denied: Mapping[str, int]) -> Profile:
    """The same profile, in which these calls fail with these errnos, whatever it says of them.

    It is no file's any more, so it has no digest.
    """
    kept = [
        replace(rule, names=names)
        for rule in profile.rules
        if (names := tuple(name for name in rule.names if name not in denied))
    ]
    added = [Rule((name,), Action(ERRNO, errno)) for name, errno in sorted(denied.items())]
    return replace(profile, rules=(*kept, *added), digest="")


def parse(data: bytes, *, name: str) -> Profile:
    """Build a Profile from the bytes of an OCI seccomp document.

    Raises:
        EngineError: control `seccomp`, naming the place (`syscalls[3].args[0].op`).
    """
    reader = _Reader(name)
    top = reader.table(
        reader.document(data),
        "",
        required={"defaultAction", "syscalls"},
        optional={"defaultErrnoRet", "architectures", "archMap", "comment"},
    )
    default = reader.action(top, "", action_key="defaultAction", errno_key="defaultErrnoRet")
    rules = tuple(
        reader.rule(item, f"syscalls[{i}]")
        for i, item in enumerate(reader.items(top["syscalls"], "syscalls", MAX_RULES))
    )
    reader.refuse_contradictions(rules)
    return Profile(
        name=name,
        default=default,
        architectures=reader.architectures(top),
        rules=rules,
        comment=reader.comment(top, ""),
        digest="sha384:" + hashlib.sha384(data).hexdigest(),
    )


class _Reader:
    """The parts of `parse`; an object only so that each error can name the profile."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, place: str, cause: str) -> NoReturn:
        where = f"{place}: " if place else ""
        raise EngineError(
            f"seccomp profile {self._name}: {where}{cause}",
            "correct the profile; docs/seccomp.md has the rules",
            control="seccomp",
        )

    def document(self, data: bytes) -> object:
        def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
            table: dict[str, Any] = {}
            for key, value in found:
                if key in table:
                    self.fail("", f"key {key!r} twice in one object")
                table[key] = value
            return table

        def refuse(text: str) -> NoReturn:
            self.fail("", f"{text} is no integer")

        try:
            parsed: object = json.loads(
                data.decode("utf-8"),
                object_pairs_hook=pairs,
                parse_float=refuse,
                parse_constant=refuse,
            )
        except UnicodeDecodeError:
            self.fail("", "not UTF-8")
        except RecursionError:
            self.fail("", "nested too deep")
        except ValueError as error:  # json.JSONDecodeError, and integers of thousands of digits
            self.fail("", f"not JSON: {error}")
        return parsed

    def table(
        self, raw: object, place: str, *, required: set[str], optional: set[str]
    ) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.fail(place, "expected an object")
        if unknown := set(raw) - required - optional:
            self.fail(place, f"key {min(unknown)!r} is not understood")
        if missing := required - set(raw):
            self.fail(place, f"key {min(missing)!r} is missing")
        return raw

    def items(self, raw: object, place: str, longest: int) -> list[Any]:
        if not isinstance(raw, list):
            self.fail(place, "expected a list")
        if len(raw) > longest:
            self.fail(place, f"more than {longest} entries")
        return raw

    def number(self, raw: object, place: str, *, below: int) -> int:
        if type(raw) is not int or not 0 <= raw < below:
            self.fail(place, f"expected an integer from 0 to {below - 1}")
        return raw

    def comment(self, entry: dict[str, Any], place: str) -> str:
        text = entry.get("comment", "")
        if not isinstance(text, str) or len(text) > MAX_COMMENT_CHARS:
            self.fail(place, f"comment: expected text of at most {MAX_COMMENT_CHARS} characters")
        return text

    def action(
        self, entry: dict[str, Any], place: str, *, action_key: str, errno_key: str
    ) -> Action:
        name = entry[action_key]
        here = f"{place}.{action_key}".lstrip(".")
        if not isinstance(name, str) or name not in _ACTIONS:
            why = _REFUSED_ACTIONS.get(name) if isinstance(name, str) else None
            self.fail(here, f"{name!r}: {why}" if why else f"unknown action {name!r}")
        if name != ERRNO:
            if errno_key in entry:
                self.fail(here, f"{errno_key} stands beside {name}, which gives no errno")
            return Action(name)
        there = f"{place}.{errno_key}".lstrip(".")
        errno = self.number(entry.get(errno_key, _EPERM), there, below=_MAX_ERRNO + 1)
        if errno == 0:
            self.fail(there, "0 would tell the program that the call succeeded")
        return Action(ERRNO, errno)

    def architectures(self, top: dict[str, Any]) -> tuple[str, ...]:
        if "architectures" in top and "archMap" in top:
            self.fail("archMap", "stands beside architectures; Docker takes only one of them")
        names = self.items(top.get("architectures", []), "architectures", len(ARCHITECTURES))
        for i, raw in enumerate(self.items(top.get("archMap", []), "archMap", 16)):
            place = f"archMap[{i}]"
            entry = self.table(raw, place, required={"architecture"}, optional={"subArchitectures"})
            if self.items(entry.get("subArchitectures", []), f"{place}.subArchitectures", 16):
                self.fail(f"{place}.subArchitectures", "a filter admits the native ABI only")
            names = [*names, entry["architecture"]]
        for name in names:
            if not isinstance(name, str) or name not in ARCHITECTURES:
                self.fail("architectures", f"{name!r} is unknown, or a foreign ABI")
        if len(set(names)) != len(names):
            self.fail("architectures", "one of them stands twice")
        return tuple(names) or tuple(ARCHITECTURES)

    def rule(self, raw: object, place: str) -> Rule:
        entry = self.table(
            raw,
            place,
            required={"names", "action"},
            optional={"errnoRet", "args", "comment"},
        )
        names = self.items(entry["names"], f"{place}.names", MAX_NAMES)
        if not names:
            self.fail(f"{place}.names", "empty")
        for name in names:
            if not isinstance(name, str) or not _CALL_NAME.fullmatch(name):
                self.fail(f"{place}.names", f"{name!r} is no system call's name")
        if len(set(names)) != len(names):
            self.fail(f"{place}.names", "one of them stands twice")
        arguments = self.items(entry.get("args", []), f"{place}.args", _ARGUMENTS)
        conditions = tuple(
            self.condition(item, f"{place}.args[{i}]") for i, item in enumerate(arguments)
        )
        if len(conditions) > 1 and any(c.op == "SCMP_CMP_NE" for c in conditions):
            self.fail(f"{place}.args", "SCMP_CMP_NE stands beside another comparison")
        if len({c.index for c in conditions}) != len(conditions):
            # runc would read this as two rules, either of which may hold.
            self.fail(f"{place}.args", "one argument is compared twice; write two rules")
        return Rule(
            names=tuple(names),
            action=self.action(entry, place, action_key="action", errno_key="errnoRet"),
            conditions=conditions,
            comment=self.comment(entry, place),
        )

    def condition(self, raw: object, place: str) -> Condition:
        entry = self.table(raw, place, required={"index", "value", "op"}, optional={"valueTwo"})
        op = entry["op"]
        if op in _REFUSED_OPERATORS:
            self.fail(f"{place}.op", f"{op}: libseccomp confuses ranges; use masks")
        if not isinstance(op, str) or op not in OPERATORS:
            self.fail(f"{place}.op", f"unknown operator {op!r}")
        value = self.number(entry["value"], f"{place}.value", below=_UINT64)
        value_two = self.number(entry.get("valueTwo", 0), f"{place}.valueTwo", below=_UINT64)
        if op == "SCMP_CMP_MASKED_EQ" and value_two & ~value:
            self.fail(f"{place}.valueTwo", "has bits outside the mask, so it never matches")
        if op != "SCMP_CMP_MASKED_EQ" and value_two:
            self.fail(f"{place}.valueTwo", f"{op} compares with one value")
        if op == "SCMP_CMP_MASKED_EQ" and value == 0:
            self.fail(f"{place}.value", "a mask of 0 holds for every argument")
        index = self.number(entry["index"], f"{place}.index", below=_ARGUMENTS)
        return Condition(index, op, value, value_two)

    def refuse_contradictions(self, rules: tuple[Rule, ...]) -> None:
        """Refuse rules of one call whose meaning libseccomp does not keep.

        It has no order between rules: an unconditional one swallows every other in silence,
        whichever came first. And NE is compiled wrongly beside comparisons of other arguments
        (both measured with 2.5.4, and seen by the kernel).
        """
        by_call: dict[str, list[Rule]] = {}
        for rule in rules:
            for name in rule.names:
                others = by_call.setdefault(name, [])
                if len(others) == MAX_RULES_PER_CALL:
                    self.fail("", f"more than {MAX_RULES_PER_CALL} rules for {name}")
                if fault := next(filter(None, (_conflict(rule, other) for other in others)), ""):
                    self.fail("", f"{name}: {fault}")
                if sum(not _disjoint(rule, other) for other in others) > MAX_OVERLAPS:
                    self.fail("", f"{name}: more than {MAX_OVERLAPS} rules overlap")
                others.append(rule)


def matches(condition: Condition, argument: int) -> bool:
    """Whether the condition holds for an unsigned argument of 64 bits."""
    return {
        "SCMP_CMP_NE": argument != condition.value,
        "SCMP_CMP_EQ": argument == condition.value,
        "SCMP_CMP_MASKED_EQ": argument & condition.value == condition.value_two,
    }[condition.op]


def _conflict(one: Rule, two: Rule) -> str:
    """Why two rules of one call cannot stand together; empty when they can."""
    if not one.conditions or not two.conditions:
        return "a rule without args must be its only rule"
    if set(one.conditions) == set(two.conditions):
        return "the same rule twice"
    if one.action != two.action and not _disjoint(one, two):
        return "two rules overlap and differ in action"
    if any(c.op == "SCMP_CMP_NE" for c in one.conditions + two.conditions):
        indexes = {c.index for c in one.conditions + two.conditions}
        if len(indexes) > 1:
            return "SCMP_CMP_NE stands beside a comparison of another argument"
    return ""


def _disjoint(one: Rule, two: Rule) -> bool:
    """True only if it is sure that no arguments satisfy both rules."""
    by_index = {c.index: c for c in two.conditions}
    return any(
        _exclusive(condition, by_index[condition.index])
        for condition in one.conditions
        if condition.index in by_index
    )


def _exclusive(a: Condition, b: Condition) -> bool:
    for point, other in ((a, b), (b, a)):
        if point.op == "SCMP_CMP_EQ":
            return not matches(other, point.value)
    if a.op == b.op == "SCMP_CMP_MASKED_EQ":
        return bool((a.value_two ^ b.value_two) & a.value & b.value)
    return False
