"""What is told of what was found, and when nothing may leave; nothing here looks.

What is done with a finding is for `decide`; what cannot be looked at or cannot be repaired is
withheld, whatever the operator wrote.
"""

from __future__ import annotations

from typing import Final, Self

from fumehood.errors import ScanFailed
from fumehood.model.result import Action, Finding
from fumehood.scan.detector import Confidence, Kind, Severity

MAX_LISTED: Final = 64
"""Findings in one result. What is not listed is redacted all the same."""

ACTIONS: Final[dict[Kind, Action]] = {
    "secret": "redact",
    "personal_data": "redact",
    "hidden_text": "redact",
    "encoding": "redact",
    "injection": "flag",
    "payload": "flag",
    "schema": "flag",
    "artifact": "withhold",
    "scanner": "withhold",
}


class Withhold(ScanFailed):
    """Nothing of this output may leave. `message` is for a person; `findings` say why.

    `detail` names an error's type and line, never its text: that may hold the output.
    """

    def __init__(self, message: str, *findings: Finding, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.message = message
        self.findings = findings

    @classmethod
    def failed(cls, detector: str, error: BaseException) -> Self:
        """A detector raised: it has not seen the output to its end."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
        late = isinstance(error, TimeoutError)
        return cls.reported(detector, f"{type(error).__name__} at {where}", late=late)

    @classmethod
    def reported(cls, detector: str, detail: str, *, late: bool = False) -> Self:
        """A scanner process says so of a detector, or ended while one was at work."""
        said = "took too long" if late else "failed"
        finding = Finding(detector, "scanner", "high", "output", "withhold", "", f"it {said}")
        message = f"The output was withheld: the scanner `{detector}` {said}."
        return cls(message, finding, detail=f"{detector}: {detail}")

    @classmethod
    def too_many_secrets(cls, most: int) -> Self:
        """There are more than `most`."""
        finding = Finding(
            "too-many-secrets",
            "secret",
            "high",
            "output",
            "withhold",
            "",
            f"more than {most}",
        )
        return cls("The output was withheld: it holds too many secrets.", finding)

    @classmethod
    def too_many(cls, rule: str, kind: Kind, severity: Severity, count: int) -> Self:
        """More of what has to be cut out than is looked at one by one: `rule` says of what."""
        said = f"at least {count} more than are looked at"
        finding = Finding(rule, kind, severity, "output", "withhold", "", said)
        return cls(f"The output was withheld: it holds {rule.replace('-', ' ')}.", finding)

    @classmethod
    def decided(cls, finding: Finding) -> Self:
        """The operator's policy has it so."""
        said = f"the policy withholds `{finding.rule}`"
        return cls(f"The output was withheld: {said}.", finding)

    @classmethod
    def not_located(cls, rule: str, kind: Kind, fingerprint: str) -> Self:
        """It was found, and stands in a number of a structured value, or in no string."""
        finding = Finding(
            rule,
            kind,
            "high",
            "stdout",
            "withhold",
            fingerprint,
            "it stands in no single string",
        )
        said = f"{kind.replace('_', ' ')} (`{rule}`) in it cannot be redacted"
        return cls(f"The output was withheld: {said}.", finding)

    @classmethod
    def not_redactable(cls, reason: str) -> Self:
        finding = Finding("not-redactable", "schema", "high", "stdout", "withhold", "", reason)
        return cls(f"The output was withheld: it cannot be redacted, because {reason}.", finding)


class Findings:
    """Collects what is told about one invocation."""

    def __init__(self) -> None:
        self._listed: list[Finding] = []
        self._more = 0

    def add(
        self,
        rule: str,
        kind: Kind,
        severity: Severity,
        place: str,
        *,
        action: Action | None = None,
        fingerprint: str = "",
        message: str = "",
        confidence: Confidence = "high",
        decoded: str = "",
    ) -> None:
        done = action or ACTIONS[kind]
        finding = Finding(
            rule, kind, severity, place, done, fingerprint, message, confidence, decoded
        )
        if finding in self._listed:
            return
        if len(self._listed) < MAX_LISTED:
            self._listed.append(finding)
        else:
            self._more += 1

    def listed(self) -> tuple[Finding, ...]:
        """At most MAX_LISTED; the last one says how many are not listed."""
        if not self._more:
            return tuple(self._listed)
        message = f"{self._more + 1} more findings are not listed; they are redacted, too"
        last = Finding("too-many-findings", "scanner", "medium", "output", "flag", "", message)
        return (*self._listed[: MAX_LISTED - 1], last)
