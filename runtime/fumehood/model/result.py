"""What a caller gets: the machine-readable result, built only by the scan step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fumehood.model.codec import encode
from fumehood.model.marking import Marking
from fumehood.model.outcome import Breach, Status, Syscalls, Usage

Action = Literal["pass", "flag", "redact", "withhold"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a scanner saw; never the matched text itself.

    rule: the detector's rule id; kind: its class (`secret`, `personal_data`, `hidden_text`,
    `encoding`, `injection`, `payload`, `schema`, `artifact`, `behaviour`, `scanner`). place:
    `stdout`, `stderr`, `arguments`, `artifact:NAME`, optionally followed by `#<JSON pointer>` or
    `#bytes=START-END`. fingerprint: 8 hex characters keyed per installation, so that one secret
    can be correlated and never recovered. confidence: how sure the detector is. decoded: how it
    was read from that place, such as `base64>gzip`; empty where it stands there as it is.
    """

    rule: str
    kind: str
    severity: Literal["low", "medium", "high"]
    place: str
    action: Action
    fingerprint: str = ""
    message: str = ""
    confidence: Literal["low", "medium", "high"] = "high"
    decoded: str = ""


@dataclass(frozen=True, slots=True)
class Enforced:
    """What held for this sandbox. `limits` are the plan's, but for those that this host cannot
    enforce (`not_enforced`); `plan` is its digest.

    runtime: of a container; None where the engine has none. seccomp: the profile that is the
    kernel's filter. seccomp, no_new_privs, capabilities: None where nothing was read back, since
    the runtime hides its processes.
    """

    engine: str
    uid: int
    seccomp: str | None
    network: str
    no_new_privs: bool | None
    limits: dict[str, int]
    plan: str
    not_enforced: tuple[str, ...] = ()
    capabilities: tuple[str, ...] | None = ()
    runtime: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds spent in each step: waiting for a sandbox slot, opening and proving the
    sandbox, running the tool, scanning. ahead_ms: how long the tool's program had been running
    before the call came, when it was started ahead; 0 when it was started for the call."""

    queued_ms: float = 0.0
    started_ms: float = 0.0
    ran_ms: float = 0.0
    scanned_ms: float = 0.0
    ahead_ms: float = 0.0


NOTHING_RAN: Final = Timing()
"""Of a call that ended before it had a sandbox."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where the audit log says so: the record's number, and the SHA-384 of its line, which a
    receipt is of."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class Result:
    """The one answer to one invocation.

    content: MCP content blocks, as JSON objects. structured: the parsed result when the tool
    has an outputSchema. stderr: scanned diagnostics, shown to a person when the tool failed.
    message: one line for a person: why the status is what it is; empty when ok.
    record: its record in the audit log; None when nothing is on record.
    digest: keyed, of content and structured, for that record; never sent.
    marking: how text in `content` is marked as untrusted; None when it is not.
    retry_after: seconds after which a call that was refused for want of room may succeed.
    """

    invocation: str
    tool_name: str
    tool_version: str
    tool_digest: str
    status: Status
    exit_code: int | None = None
    signal: int | None = None
    content: tuple[dict[str, Any], ...] = ()
    structured: Any = None
    truncated: bool = False
    breach: Breach | None = None
    findings: tuple[Finding, ...] = ()
    usage: Usage = field(default_factory=Usage)
    enforced: Enforced | None = None
    syscalls: Syscalls | None = None
    timing: Timing = field(default_factory=Timing)
    stderr: str = ""
    message: str = ""
    retry_after: float | None = None
    record: Recorded | None = None
    digest: str = ""
    marking: Marking | None = None

    @property
    def is_error(self) -> bool:
        return self.status != "ok"

    def to_json(self) -> dict[str, Any]:
        """The object documented in docs/results.md, for `--json` and MCP `_meta`."""
        enforced = None
        if self.enforced is not None:
            e = self.enforced
            enforced = {
                "engine": e.engine,
                "runtime": e.runtime,
                "uid": e.uid,
                "seccomp": e.seccomp,
                "network": e.network,
                "capabilities": None if e.capabilities is None else list(e.capabilities),
                "no_new_privs": e.no_new_privs,
                "limits": dict(e.limits),
                "plan": e.plan,
                "not_enforced": list(e.not_enforced),
            }
        return {
            "invocation": self.invocation,
            "tool": {
                "name": self.tool_name,
                "version": self.tool_version,
                "digest": self.tool_digest,
            },
            "status": self.status,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "content": [dict(block) for block in self.content],
            "structured": self.structured,
            "truncated": self.truncated,
            "breach": encode(self.breach) if self.breach else None,
            "findings": [encode(f) for f in self.findings],
            "usage": encode(self.usage),
            "enforced": enforced,
            "syscalls": encode(self.syscalls) if self.syscalls else None,
            "timing": encode(self.timing),
            "stderr": self.stderr,
            "message": self.message,
            "retry_after": self.retry_after,
            "record": encode(self.record) if self.record else None,
            "marking": self.marking.to_json() if self.marking else None,
        }
