"""What the operator decides about incidents: the part `incidents` of the configuration.

Data only: `supervisor.incidents` applies it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fumehood.model.document import shown
from fumehood.model.forward import check_http
from fumehood.model.limits import bounds, whole
from fumehood.model.strict import Strict, listed
from fumehood.model.units import FieldError, Seconds, format_seconds

MAX_RULES: Final = 64

Signal = Literal[
    "tripwire", "egress", "canary", "injection", "withheld", "behaviour", "unusual", "integrity",
    "audit_gap", "stopped",
]  # fmt: skip
RuleSignal = Literal[
    "tripwire", "egress", "canary", "injection", "withheld", "behaviour", "unusual", "integrity",
    "audit_gap",
]  # fmt: skip
"""What rules may name; `stopped` is what an operator did."""
Action = Literal[
    "kill", "stop_tool", "quarantine_tool", "quarantine_version", "suspend_caller", "stop_all",
    "notify",
]  # fmt: skip
OF_A_CALL: Final = frozenset({"kill", "suspend_caller"})
OF_A_TOOL: Final = frozenset({"stop_tool", "quarantine_tool", "quarantine_version"})


def _program(argv: tuple[str, ...]) -> tuple[str, ...]:
    if argv and not argv[0].startswith("/"):
        raise FieldError(f"{shown(argv[0])} is no absolute path", "name the program in full")
    return argv


class IncidentRule(Strict):
    """When a signal comes so often from one tool and caller, an incident is opened."""

    signal: RuleSignal = Field(description="what was seen")
    count: Annotated[int, *whole(1, 10_000)] = Field(
        default=1, description="how often, of one tool and caller"
    )
    within: Annotated[Seconds, bounds(1, 86_400, format_seconds)] = Field(
        default=3_600.0, description="within this time"
    )
    actions: Annotated[tuple[Action, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=7, description="what is done besides opening the incident"
    )

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        lacking = OF_A_CALL | OF_A_TOOL if self.signal == "audit_gap" else frozenset[str]()
        lacking = OF_A_CALL if self.signal == "integrity" else lacking
        if found := sorted(lacking.intersection(self.actions)):
            about = "no call and no tool" if self.signal == "audit_gap" else "no call"
            raise FieldError(
                f"actions: {found[0]} cannot follow {self.signal}, which is about {about}",
                "write stop_all or notify",
            )
        return self


DEFAULT_RULES: Final = (
    IncidentRule(signal="tripwire", actions=("notify",)),
    IncidentRule(signal="egress", actions=("notify",)),
    IncidentRule(signal="canary", actions=("notify",)),
    IncidentRule(signal="injection", count=3, actions=("notify",)),
    IncidentRule(signal="integrity", actions=("notify",)),
    IncidentRule(signal="audit_gap", actions=("notify",)),
)


class IncidentSpec(Strict):
    """What becomes an incident, and what is done then."""

    rules: Annotated[tuple[IncidentRule, ...], BeforeValidator(listed)] = Field(
        default=DEFAULT_RULES, max_length=MAX_RULES, description="which signals, and what is done"
    )
    notify: Annotated[tuple[str, ...], AfterValidator(_program), BeforeValidator(listed)] = Field(
        default=(), max_length=64, description="program that gets the incident as JSON on stdin"
    )
    webhook: str = Field(
        default="", max_length=512, description="https://HOST/PATH; http:// to loopback only"
    )
    webhook_secret_file: str = Field(
        default="", max_length=4095, description="file of mode 0600 with the secret that signs"
    )
    webhook_ca: str = Field(
        default="", max_length=4095, description="file of the authorities that are trusted"
    )

    @model_validator(mode="after")
    def _can_be_trusted(self) -> Self:
        if not self.webhook:
            return self
        check_http(self.webhook, "webhook")
        if not self.webhook_secret_file:
            raise FieldError(
                "webhook_secret_file: is missing: the receiver could not tell who wrote",
                "name a file of mode 0600 with 32 random bytes or more",
            )
        return self
