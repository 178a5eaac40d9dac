"""The rules that an operator writes: which principals may call which tools, with what arguments.

Frozen values and their checks, no I/O. Nothing here decides about a call: `admission.policy` does.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from fumehood.errors import ManifestError
from fumehood.model.document import shown
from fumehood.model.schema import check_schema
from fumehood.model.strict import listed
from fumehood.model.trust import PublisherName
from fumehood.model.units import FieldError

CALLERS: Final = "callers"
OPERATORS: Final = "operators"
EVERYBODY: Final = "*"
"""Whoever may connect, callers and operators alike."""
BUILT_IN: Final = frozenset({CALLERS, OPERATORS})
MAX_RULES: Final = 2_000
MAX_STARS: Final = 4

Effect = Literal["allow", "ask", "deny"]
Hint = Literal["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]

_ROLE = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
_TOOLS = re.compile(r"[a-z0-9*-]{1,64}", re.ASCII)
_VERSIONS = re.compile(r"[0-9A-Za-z.+*-]{1,64}", re.ASCII)


def _role(name: str) -> str:
    if name != EVERYBODY and _ROLE.fullmatch(name) is None:
        raise FieldError(f"{shown(name)} is no name of a role", "use [a-z][a-z0-9-]*, or '*'")
    return name


def role_name(name: str) -> str:
    """A role that may be defined; raises FieldError for others."""
    if name in BUILT_IN or name == EVERYBODY:
        raise FieldError(f"the role {shown(name)} is built in", "choose another name")
    return _role(name)


def label(text: str) -> str:
    """A key or value of a label; raises FieldError for others."""
    if _LABEL.fullmatch(text) is None:
        raise FieldError(f"{shown(text)} is no label", "use [a-z0-9._-], 1 to 63 characters")
    return text


def _globbing(allowed: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if allowed.fullmatch(text) is None:
            raise FieldError(f"{shown(text)} is no pattern of {what}", "only * stands for others")
        if text.count("*") > MAX_STARS:
            raise FieldError(f"{shown(text)} has more than {MAX_STARS} stars")
        return text

    return AfterValidator(check)


def _fragment(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        check_schema(schema, "arguments")
    except ManifestError as error:
        raise FieldError(error.cause.removeprefix("arguments: "), error.remedy) from None
    return schema


def _not_empty(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise FieldError("an empty list matches nothing", "leave the key or the rule out")
    return items


def glob(pattern: str, text: str) -> bool:
    """Whether `text` fits; `*` stands for any characters. Linear: no pattern makes it slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return first == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    if not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


Roles = Annotated[
    tuple[Annotated[str, AfterValidator(_role)], ...],
    AfterValidator(_not_empty),
    BeforeValidator(listed),
    Field(max_length=64),
]
ToolPatterns = Annotated[
    tuple[Annotated[str, _globbing(_TOOLS, "tools")], ...],
    AfterValidator(_not_empty),
    BeforeValidator(listed),
    Field(max_length=256),
]
Labels = Annotated[
    dict[Annotated[str, AfterValidator(label)], Annotated[str, AfterValidator(label)]],
    Field(max_length=16),
]


class Rule(BaseModel):
    """One rule. Everything it names must hold for it to match; what it leaves out always does.

    `deny` wins over `ask`, `ask` over `allow`; what no rule allows is denied. The order of rules
    means nothing.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    effect: Effect = Field(description="allow, ask (an operator approves each call) or deny")
    who: Roles = Field(
        default=(EVERYBODY,), description="roles; callers and operators are built in, * is both"
    )
    tools: ToolPatterns = Field(default=("*",), description="names; * stands for others")
    versions: Annotated[
        tuple[Annotated[str, _globbing(_VERSIONS, "versions")], ...],
        AfterValidator(_not_empty),
        BeforeValidator(listed),
    ] = Field(default=("*",), max_length=64, description="versions, such as 1.4.2 or 1.*")
    labels: Labels = Field(default_factory=dict, description="labels that a tool must have")
    annotations: dict[Hint, bool] = Field(
        default_factory=dict, description="MCP hints of the tool, unset ones at MCP's defaults"
    )
    publishers: (
        Annotated[tuple[PublisherName, ...], AfterValidator(_not_empty), BeforeValidator(listed)]
        | None
    ) = Field(
        default=None, max_length=64, description="publishers one of whom must have signed the tool"
    )
    arguments: Annotated[
        dict[str, Any] | None,
        AfterValidator(lambda schema: None if schema is None else _fragment(schema)),
        WithJsonSchema({"type": "object"}),
    ] = Field(default=None, description="JSON Schema that the call's arguments must fit")
    reason: Annotated[str, Field(max_length=200)] = Field(
        default="", description="for people: why the rule is there"
    )

    def scope(self) -> tuple[object, ...]:
        """What the rule matches, comparable: all of it but its effect and reason."""
        return (
            frozenset(self.who),
            frozenset(self.tools),
            frozenset(self.versions),
            frozenset(self.labels.items()),
            frozenset(self.annotations.items()),
            frozenset(self.publishers or ()),
            _frozen(self.arguments),
        )


def known_role(name: str, roles: Collection[str], *, at: tuple[str | int, ...]) -> None:
    """Raise FieldError, with its place, for a role that is neither defined nor built in."""
    if name not in roles and name not in BUILT_IN and name != EVERYBODY:
        known = ", ".join(sorted({*roles, *BUILT_IN, EVERYBODY}))
        raise FieldError(
            f"there is no role {shown(name)}",
            f"define it under roles; known here: {known}",
            at=at,
        )


def check_rules(
    rules: tuple[Rule, ...], roles: Collection[str], publishers: Collection[str] = ()
) -> None:
    """Refuse rules that name no role that there is, or contradict each other word for word.

    Raises:
        FieldError: with the place of the fault below `rules`.
    """
    seen: dict[tuple[object, ...], tuple[int, Effect]] = {}
    for index, rule in enumerate(rules):
        for place, name in enumerate(rule.who):
            known_role(name, roles, at=(index, "who", place))
        for place, name in enumerate(rule.publishers or ()):
            if name not in publishers:
                raise FieldError(
                    f"there is no publisher {shown(name)}",
                    "define it under publishers",
                    at=(index, "publishers", place),
                )
        other = seen.setdefault(rule.scope(), (index, rule.effect))
        if other[0] != index:
            said = "says the same as" if other[1] == rule.effect else "contradicts"
            raise FieldError(
                f"the rule {said} rule {other[0] + 1}: {rule.effect} against {other[1]} "
                "for the very same calls",
                "keep one of them",
                at=(index,),
            )


def _frozen(value: object) -> object:
    """A JSON value that can be compared and hashed; true is not 1."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return type(value).__name__, value
