"""What the operator decides about incidents: the part `incidents` of the configuration.

Data only: `supervisor.incidents` applies it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from fumehood.model.document import shown
from fumehood.model.limits import bounds, whole
from fumehood.model.units import FieldError, Seconds, format_duration

MAX_RULES: Final = 64

Signal = Literal["tripwire", "canary", "injection", "withheld", "behaviour"]
Action = Literal["stop_tool", "suspend_caller", "stop_all", "notify"]


def _listed(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise FieldError(f"expected a list, got {shown(value)}")
    return tuple(value)


def _program(argv: tuple[str, ...]) -> tuple[str, ...]:
    if argv and not argv[0].startswith("/"):
        raise FieldError(f"{shown(argv[0])} is no absolute path", "name the program in full")
    return argv


def _show_seconds(seconds: float) -> str:
    return format_duration(round(seconds * 1000))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class IncidentRule(_Strict):
    """When a signal comes so often from one tool and caller, an incident is opened."""

    signal: Signal = Field(description="what was seen of a call")
    count: Annotated[int, *whole(1, 10_000)] = Field(
        default=1, description="how often, of one tool and caller"
    )
    within: Annotated[Seconds, bounds(1, 86_400, _show_seconds)] = Field(
        default=3_600.0, description="within this time"
    )
    actions: Annotated[tuple[Action, ...], BeforeValidator(_listed)] = Field(
        default=(), max_length=4, description="what is done besides opening the incident"
    )


DEFAULT_RULES: Final = (
    IncidentRule(signal="tripwire", actions=("notify",)),
    IncidentRule(signal="canary", actions=("notify",)),
    IncidentRule(signal="injection", count=3, actions=("notify",)),
)


class IncidentSpec(_Strict):
    """What becomes an incident, and what is done then."""

    rules: Annotated[tuple[IncidentRule, ...], BeforeValidator(_listed)] = Field(
        default=DEFAULT_RULES, max_length=MAX_RULES, description="which signals, and what is done"
    )
    notify: Annotated[tuple[str, ...], AfterValidator(_program), BeforeValidator(_listed)] = Field(
        default=(), max_length=64, description="program that gets the incident as JSON on stdin"
    )
