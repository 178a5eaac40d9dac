"""What an operator allows over time: rates, and budgets of an hour or a day. Frozen values only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from fumehood.model.document import shown
from fumehood.model.limits import GIB, KIB, bounds, whole
from fumehood.model.rules import EVERYBODY, Roles, ToolPatterns, known_role
from fumehood.model.strict import Strict
from fumehood.model.units import FieldError, Seconds, Size, format_seconds, format_size

SECONDS_OF: Final = {"s": 1, "m": 60, "h": 3600}
WINDOWS: Final = {"hour": 3600, "day": 86_400}
_RATE = re.compile(r"([1-9][0-9]{0,6})/([smh])", re.ASCII)


def _rate(value: object) -> str:
    if isinstance(value, str) and _RATE.fullmatch(value):
        return value
    raise FieldError(f"{shown(value)} is no rate", "write it such as 10/s, 600/m or 5000/h")


Rate = Annotated[
    str, BeforeValidator(_rate), WithJsonSchema({"type": "string", "pattern": f"^{_RATE.pattern}$"})
]
"""`600/m`: a bucket of 600 that takes a minute to fill again."""


def parse_rate(rate: str) -> tuple[int, int]:
    """(calls, seconds) of a rate that was checked."""
    found = _RATE.fullmatch(rate)
    if found is None:
        raise FieldError(f"{shown(rate)} is no rate")
    return int(found[1]), SECONDS_OF[found[2]]


class Approvals(Strict):
    """Calls that a rule with `ask` holds until an operator approves them."""

    wait: Annotated[Seconds, bounds(0.1, 86_400, format_seconds)] = Field(
        default=300.0, description="unanswered by then, a call is refused"
    )
    pending: Annotated[int, *whole(1, 4_096)] = Field(
        default=64, description="calls that wait for approval at once; one more is refused"
    )
    per_caller: Annotated[int, *whole(1, 4_096)] = Field(
        default=8, description="of these, at most so many of one caller"
    )


class Sessions(Strict):
    """Handles by which a caller tells its own agents or conversations apart."""

    lifetime: Annotated[Seconds, bounds(1, 86_400, format_seconds)] = Field(
        default=3_600.0, description="a session ends so long after it was opened"
    )
    per_caller: Annotated[int, *whole(1, 4_096)] = Field(
        default=64, description="sessions of one caller at once"
    )


class Rates(Strict):
    """How often calls may arrive. Unset: as often as they like."""

    caller: Rate | None = Field(default=None, description="calls of one caller, such as 600/m")
    session: Rate | None = Field(default=None, description="calls of one session")
    tool: Rate | None = Field(default=None, description="calls of one tool, whoever makes them")
    all: Rate | None = Field(default=None, description="calls of everybody")


_DAYS: Final = 30 * 86_400


class Budget(Strict):
    """What calls may use within one hour or day, of UTC.

    per: what is counted together: the calls of one caller, of one tool, of one caller to one tool.
    who, tools: the calls that it is about, as in a rule.
    """

    per: Literal["caller", "tool", "caller_tool"] = "caller"
    window: Literal["hour", "day"]
    who: Roles = (EVERYBODY,)
    tools: ToolPatterns = ("*",)
    invocations: Annotated[int, *whole(1, 1_000_000_000)] | None = None
    cpu: Annotated[Seconds, bounds(1, _DAYS, format_seconds)] | None = None
    output: Annotated[Size, bounds(KIB, 1024 * 1024 * GIB, format_size)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if self.invocations is None and self.cpu is None and self.output is None:
            raise FieldError("the budget limits nothing", "set invocations, cpu or output")
        return self

    @property
    def key(self) -> str:
        """Names what is counted, whatever its limits and however it is written: neither a raised
        limit nor a role named twice forgets usage."""
        counted = [self.per, self.window, sorted(set(self.who)), sorted(set(self.tools))]
        return hashlib.sha384(json.dumps(counted).encode()).hexdigest()[:24]


def begun(before: tuple[Budget, ...], after: tuple[Budget, ...]) -> tuple[str, ...]:
    """Those of `after` that count something else than each of `before` did, as an operator finds
    them: `budgets[1]`. What was used until then does not count against them."""
    counted = {budget.key for budget in before}
    return tuple(f"budgets[{i}]" for i, budget in enumerate(after) if budget.key not in counted)


def check_budgets(budgets: tuple[Budget, ...], roles: Collection[str]) -> None:
    """Refuse budgets of unknown roles, or that count the same twice; raises FieldError."""
    seen: dict[str, int] = {}
    for index, budget in enumerate(budgets):
        for place, name in enumerate(budget.who):
            known_role(name, roles, at=(index, "who", place))
        other = seen.setdefault(budget.key, index)
        if other != index:
            cause = f"the budget counts the same as budget {other + 1}"
            raise FieldError(cause, "make one of them", at=(index,))
