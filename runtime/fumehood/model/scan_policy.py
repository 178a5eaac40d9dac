"""What the operator decides about what scanners find: the part `scan` of the configuration.

Data only; must never look at output. `scan.policy` applies it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fumehood.model.classifier import ClassifierSpec
from fumehood.model.document import shown
from fumehood.model.limits import GIB, MIB, bounds
from fumehood.model.strict import Strict, listed
from fumehood.model.units import FieldError, Size, format_size

MAX_RULES: Final = 256
"""Rules of a policy, or of an allowlist."""

Level = Literal["low", "medium", "high"]
Decided = Literal["pass", "flag", "redact", "withhold"]
Mark = Literal["none", "delimit", "datamark", "base64"]
DecidedKind = Literal["secret", "personal_data", "hidden_text", "injection", "payload"]


def _pattern(text: str) -> str:
    import re2  # 2 ms that only a configuration with patterns pays

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        raise FieldError(
            f"{shown(text)} is no pattern: {error}", "write RE2's syntax, without look-around"
        ) from None
    return text


class PolicyRule(Strict):
    """What is done with findings that fit all that this rule names. The first that fits counts."""

    kind: DecidedKind | None = Field(default=None, description="class of findings; unset: any")
    rule: str | None = Field(
        default=None, max_length=128, description="name of a rule, `*` for any characters"
    )
    severity: Level = Field(default="low", description="at least so severe")
    confidence: Level = Field(default="low", description="at least so sure")
    action: Decided = Field(description="pass, flag, redact or withhold")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.kind is None and self.rule is None:
            raise FieldError("fits every finding", "name a kind or a rule")
        return self


class Allow(Strict):
    """A finding that is none: everything named must fit, and one of the last four must be named."""

    kind: DecidedKind | None = Field(default=None, description="class of findings; unset: any")
    rule: str | None = Field(
        default=None, max_length=128, description="name of a rule, `*` for any characters"
    )
    exact: str | None = Field(default=None, min_length=1, max_length=4096, description="the text")
    regex: str | None = Field(
        default=None, max_length=1024, description="a pattern (RE2) for all of the text"
    )
    word: str | None = Field(
        default=None, min_length=2, max_length=256, description="the text holds this word"
    )
    fingerprint: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{8}$", description="as a finding names it"
    )

    @model_validator(mode="after")
    def _names_a_text(self) -> Self:
        if all(v is None for v in (self.exact, self.regex, self.word, self.fingerprint)):
            raise FieldError("allows everything", "name exact, regex, word or fingerprint")
        if self.regex is not None:
            _pattern(self.regex)
        return self


PolicyRules = Annotated[tuple[PolicyRule, ...], BeforeValidator(listed)]
Allowed = Annotated[tuple[Allow, ...], BeforeValidator(listed)]


class ToolScan(Strict):
    """What holds for one tool, before what holds for all."""

    policy: PolicyRules = Field(
        default=(), max_length=MAX_RULES, description="rules that come before those for all tools"
    )
    allow: Allowed = Field(
        default=(), max_length=MAX_RULES, description="findings of this tool that are none"
    )
    mark: Mark | None = Field(
        default=None, description="how its text is marked as untrusted; unset: as for all tools"
    )


class ScanSpec(Strict):
    """How output is scanned. See docs/scanning.md."""

    policy: PolicyRules = Field(
        default=(), max_length=MAX_RULES, description="what is done with findings; see below"
    )
    allow: Allowed = Field(
        default=(), max_length=MAX_RULES, description="findings that are none, for all tools"
    )
    canaries: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=MAX_RULES, description="texts of yours that no output may hold"
    )
    rules: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=64, description="files of your own rules: .toml, .yar or .yara"
    )
    secrets: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=64, description="files whose contents no output may hold"
    )
    mark: Mark = Field(default="none", description="how text is marked as untrusted for a model")
    classifier: ClassifierSpec | None = Field(
        default=None, description="a classifier outside that is asked, too; see docs/scanning.md"
    )
    keep_withheld: Annotated[Size, bounds(0, 64 * GIB, format_size)] = Field(
        default=256 * MIB,
        description="withheld output kept for operators, encrypted, the oldest goes first; 0: none",
    )
    keep_withheld_days: int = Field(
        default=7, ge=1, le=3_650, description="how long withheld output is kept"
    )
    tools: dict[str, ToolScan] = Field(
        default_factory=dict, max_length=4096, description="by a tool's name"
    )

    @model_validator(mode="after")
    def _rules_are_files(self) -> Self:
        for path in self.rules:
            if not path.startswith("/") or not path.endswith((".toml", ".yar", ".yara")):
                raise FieldError(f"rules: {shown(path)} is no absolute path of a rule file")
        return self

    @model_validator(mode="after")
    def _secrets_are_files(self) -> Self:
        for path in self.secrets:
            if not path.startswith("/"):
                raise FieldError(f"secrets: {shown(path)} is no absolute path")
        return self

    @model_validator(mode="after")
    def _canaries_are_long(self) -> Self:
        if any(not 8 <= len(canary) <= 4096 for canary in self.canaries):
            raise FieldError("canaries: one has less than 8 characters, or more than 4096")
        return self

    def mark_of(self, tool: str) -> Mark:
        """How text of that tool is marked."""
        own = self.tools.get(tool)
        return self.mark if own is None or own.mark is None else own.mark
