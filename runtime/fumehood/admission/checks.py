"""What each keyword of JSON Schema 2020-12 asks of a value, and must never echo the value.

A check is made once from a keyword's value and returns the first fault it finds. What may
multiply (elements, branches, patterns) is charged to a meter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from fumehood.model.document import shown
from fumehood.model.faults import nearest


class TooCostlyError(Exception):
    """The value needs more work than one validation may do. Never leaves this room."""


@dataclass(slots=True)
class Meter:
    """What one validation may still spend. steps: elements 1, branches and references
    BRANCH_STEPS; pattern_work: characters times RE2 instructions."""

    steps: int
    pattern_work: int

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooCostlyError

    def search(self, pattern: Any, text: str) -> bool:
        data = text.encode()
        self.pattern_work -= len(data) * pattern.programsize
        if self.pattern_work < 0:
            raise TooCostlyError
        return pattern.search(data) is not None


class Chosen(str):
    """A property's name that the schema does not name. It is the caller's, as its value is: told
    to nobody else."""

    __slots__ = ()


@dataclass(slots=True)
class Fault:
    """Why a value is refused. `path` leads to it from the root, innermost part first. `recorded`:
    the cause without names that are the caller's, where it has any."""

    cause: str
    remedy: str = ""
    path: list[str | int] = field(default_factory=list)
    recorded: str = ""

    @property
    def for_records(self) -> str:
        return self.recorded or self.cause


BRANCH_STEPS: Final = 5
"""A branch costs about as much as five elements of an array, measured with faults in each."""

Check = Callable[[Any, Meter], Fault | None]

TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
}
ALL_TYPES: Final = (type(None), bool, dict, list, str, int, float)
_NAMES: Final = {
    type(None): "null",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
}


class Node:
    """A compiled subschema. Made empty and filled later, so that references can go in circles."""

    __slots__ = ("checks",)

    def __init__(self) -> None:
        self.checks: Mapping[type, tuple[Check, ...]] = {}

    def check(self, value: Any, meter: Meter) -> Fault | None:
        for check in self.checks.get(type(value), ()):
            fault = check(value, meter)
            if fault is not None:
                return fault
        return None


# --- checks of one value -------------------------------------------------------------------


def never(_: Any, __: Meter) -> Fault:
    return Fault("no value is allowed here", "leave it out")


ANYTHING: Final = Node()
NOTHING: Final = Node()
NOTHING.checks = dict.fromkeys(ALL_TYPES, (never,))


def wrong_type(expected: str) -> Check:
    def check(value: Any, _: Meter) -> Fault:
        return Fault(f"expected {expected}, got {_NAMES[type(value)]}")

    return check


def whole(expected: str) -> Check:
    def check(value: Any, _: Meter) -> Fault | None:
        return None if value.is_integer() else Fault(f"expected {expected}, got a number")

    return check


def same(one: Any, two: Any) -> bool:
    """JSON equality: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


def enum(allowed: list[Any]) -> Check:
    names = ", ".join(shown(value) for value in allowed[:8]) + (" …" if len(allowed) > 8 else "")
    expected = f"expected {'' if len(allowed) == 1 else 'one of '}{names}"
    strings = frozenset(value for value in allowed if isinstance(value, str))

    def check(value: Any, meter: Meter) -> Fault | None:
        if isinstance(value, str):
            return None if value in strings else Fault(expected)
        meter.spend(len(allowed))
        return None if any(same(value, item) for item in allowed) else Fault(expected)

    return check


def _size(word: str, *, most: bool) -> Callable[[int], Check]:
    def make(limit: int) -> Check:
        expected = f"expected at {'most' if most else 'least'} {limit} {word}, got "

        def check(value: Any, _: Meter) -> Fault | None:
            size = len(value)
            fine = size <= limit if most else size >= limit
            return None if fine else Fault(f"{expected}{size}")

        return check

    return make


def _bound(words: str, fine: Callable[[Any, Any], bool]) -> Callable[[Any], Check]:
    def make(limit: Any) -> Check:
        expected = f"expected a number {words} {shown(limit)}"

        def check(value: Any, _: Meter) -> Fault | None:
            return None if fine(value, limit) else Fault(expected)

        return check

    return make


def _multiple_of(divisor: Any) -> Check:
    expected = f"expected a multiple of {shown(divisor)}"
    # The decimal text is what both sides wrote: 0.3 is a multiple of 0.1, as doubles it is not.
    exact = Fraction(repr(divisor))

    def check(value: Any, _: Meter) -> Fault | None:
        if isinstance(value, int) and isinstance(divisor, int):
            return None if value % divisor == 0 else Fault(expected)
        return None if (Fraction(repr(value)) / exact).denominator == 1 else Fault(expected)

    return check


def required(names: list[str]) -> Check:
    def check(value: Any, _: Meter) -> Fault | None:
        for name in names:
            if name not in value:
                return Fault(f"the property {shown(name)} is missing", "add it")
        return None

    return check


def dependent_required(needs: Mapping[str, list[str]]) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        for name, others in needs.items():
            if name in value and (fault := required(others)(value, meter)) is not None:
                fault.remedy = f"the property {shown(name)} needs it"
                return fault
        return None

    return check


def pattern(compiled: Any, text: str) -> Check:
    expected = f"expected a match of the pattern {shown(text)}"

    def check(value: Any, meter: Meter) -> Fault | None:
        return None if meter.search(compiled, value) else Fault(expected)

    return check


_NUMBER: Final = (int, float)
SIMPLE: Final[Mapping[str, tuple[tuple[type, ...], Callable[[Any], Check]]]] = {
    "maxLength": ((str,), _size("characters", most=True)),
    "minLength": ((str,), _size("characters", most=False)),
    "maxItems": ((list,), _size("items", most=True)),
    "minItems": ((list,), _size("items", most=False)),
    "maxProperties": ((dict,), _size("properties", most=True)),
    "minProperties": ((dict,), _size("properties", most=False)),
    "maximum": (_NUMBER, _bound("of at most", lambda value, limit: value <= limit)),
    "exclusiveMaximum": (_NUMBER, _bound("below", lambda value, limit: value < limit)),
    "minimum": (_NUMBER, _bound("of at least", lambda value, limit: value >= limit)),
    "exclusiveMinimum": (_NUMBER, _bound("above", lambda value, limit: value > limit)),
    "multipleOf": (_NUMBER, _multiple_of),
}


# --- checks that go into a value ------------------------------------------------------------


def _at(fault: Fault, part: str | int) -> Fault:
    fault.path.append(part)
    return fault


def properties(
    named: Mapping[str, Node], matched: list[tuple[Any, Node]], rest: Node | None
) -> Check:
    """properties, patternProperties and additionalProperties; `rest` None allows no other."""

    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(len(value) * (1 + len(matched)))
        for name, item in value.items():
            node = named.get(name)
            if node is not None and (fault := node.check(item, meter)) is not None:
                return _at(fault, name)
            known = node is not None
            part = name if known else Chosen(name)
            for pattern, other in matched:
                if meter.search(pattern, name):
                    known = True
                    if (fault := other.check(item, meter)) is not None:
                        return _at(fault, part)
            if not known:
                if rest is None:
                    cause, remedy = f"unknown property {shown(name)}", nearest(name, named)
                    return Fault(cause, remedy, recorded="unknown property *")
                if (fault := rest.check(item, meter)) is not None:
                    return _at(fault, part)
        return None

    return check


def property_names(node: Node) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(len(value))
        for name in value:
            if (fault := node.check(name, meter)) is not None:
                cause = f"the property name {shown(name)}: {fault.cause}"
                recorded = f"the property name *: {fault.for_records}"
                return Fault(cause, fault.remedy, recorded=recorded)
        return None

    return check


def dependent_schema(name: str, node: Node) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS)
        return node.check(value, meter) if name in value else None

    return check


def items(prefix: list[Node], rest: Node | None) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(len(value))
        for index, item in enumerate(value):
            node = prefix[index] if index < len(prefix) else rest
            if node is None:
                return Fault(f"expected at most {len(prefix)} items, got {len(value)}")
            if (fault := node.check(item, meter)) is not None:
                return _at(fault, index)
        return None

    return check


def contains(node: Node, least: int, most: int | None) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(len(value))
        found = sum(node.check(item, meter) is None for item in value)
        if found < least:
            return Fault(f"expected at least {least} items of a certain kind, got {found}")
        if most is not None and found > most:
            return Fault(f"expected at most {most} items of a certain kind, got {found}")
        return None

    return check


def unique(value: Any, meter: Meter) -> Fault | None:
    seen: dict[object, int] = {}
    for index, item in enumerate(value):
        first = seen.setdefault(_hashable(item, meter), index)
        if first != index:
            return Fault(f"the items {first} and {index} are equal; no two may be")
    return None


_BOOLEAN: Final = object()  # True == 1 in Python


def _hashable(value: Any, meter: Meter) -> object:
    """Equal for equal JSON values only; linear, where comparing each with each is quadratic."""
    meter.spend(1)
    if isinstance(value, bool):
        return (_BOOLEAN, value)
    if isinstance(value, list):
        return tuple(_hashable(item, meter) for item in value)
    if isinstance(value, dict):
        return frozenset((key, _hashable(item, meter)) for key, item in value.items())
    return value


# --- checks that branch ---------------------------------------------------------------------


def all_of(nodes: list[Node]) -> Check:
    """Also of one `$ref`."""

    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS * len(nodes))
        for node in nodes:
            if (fault := node.check(value, meter)) is not None:
                return fault
        return None

    return check


def any_of(nodes: list[Node]) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS * len(nodes))
        faults = []
        for node in nodes:
            fault = node.check(value, meter)
            if fault is None:
                return None
            faults.append(fault)
        return _closest(faults)

    return check


def one_of(nodes: list[Node]) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS * len(nodes))
        faults = [fault for node in nodes if (fault := node.check(value, meter)) is not None]
        matching = len(nodes) - len(faults)
        if matching == 1:
            return None
        if matching:
            return Fault(f"fits {matching} of {len(nodes)} alternatives; expected exactly one")
        return _closest(faults)

    return check


def _closest(faults: list[Fault]) -> Fault:
    """The alternative that held longest tells most, if it is one; otherwise all of them do."""
    deepest = max(len(fault.path) for fault in faults)
    best = [fault for fault in faults if len(fault.path) == deepest]
    if len(best) == 1:
        return best[0]
    causes = [fault.cause for fault in faults]
    recorded = [fault.for_records for fault in faults]
    return Fault(_none_of(causes), recorded=_none_of(recorded))


def _none_of(causes: list[str]) -> str:
    told = list(dict.fromkeys(causes))
    more = " …" if len(told) > 3 else ""
    return f"fits none of {len(causes)} alternatives: " + "; or ".join(told[:3]) + more


def negation(node: Node) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS)
        return Fault("is of a kind not allowed here") if node.check(value, meter) is None else None

    return check


def conditional(condition: Node, then: Node, other: Node) -> Check:
    def check(value: Any, meter: Meter) -> Fault | None:
        meter.spend(BRANCH_STEPS)
        return (then if condition.check(value, meter) is None else other).check(value, meter)

    return check
