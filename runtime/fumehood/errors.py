"""Every error Fumehood raises on purpose: a code, a cause, a remedy and an exit status.

Standard library only: the launcher imports this module. An error that is not one of
these, wherever it surfaces, is a bug in Fumehood and is reported as `engine_error`.
"""

from __future__ import annotations

from typing import ClassVar


class ExitStatus:
    """Exit statuses of `fumehood call` and `fumehood run`; other commands use OK, FAILED, USAGE,
    REJECTED when the daemon refused, and ENGINE without a daemon or a log to ask."""

    OK = 0
    TOOL_ERROR = 1
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    LIMIT = 4
    WITHHELD = 5
    ENGINE = 6
    CANCELLED = 130


class FumehoodError(Exception):
    """Base of all deliberate errors.

    Args:
        cause: what is wrong, in one sentence, naming the field or the control.
        remedy: what the reader can do about it; empty only where nothing can be done.
        detail: for the local log only, never sent to a caller (design: remote errors
            are generic, local logs are exact).
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = ExitStatus.FAILED
    jsonrpc_code: ClassVar[int] = -32603

    def __init__(self, cause: str, remedy: str = "", *, detail: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})" if self.remedy else self.cause

    @property
    def recorded(self) -> str:
        """The cause as it may stand in records and logs: nothing in it is from arguments."""
        return self.cause


class UsageError(FumehoodError):
    """A command line or a client call that cannot be understood."""

    code = "usage"
    exit_status = ExitStatus.USAGE
    jsonrpc_code = -32602


class ConfigError(FumehoodError):
    """The operator's configuration is missing, unsafe or contradicts itself.

    recorded: the cause without anything that the file holds, where `cause` quotes it.
    """

    code = "config"
    exit_status = ExitStatus.USAGE

    def __init__(
        self, cause: str, remedy: str = "", *, recorded: str = "", detail: str = ""
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self._recorded = recorded

    @property
    def recorded(self) -> str:
        return self._recorded or self.cause


class ManifestError(FumehoodError):
    """A manifest that breaks a rule. `field` is a dotted path such as `limits.memory`."""

    code = "manifest"
    exit_status = ExitStatus.USAGE
    jsonrpc_code = -32602

    def __init__(self, cause: str, remedy: str = "", *, field: str = "", detail: str = "") -> None:
        super().__init__(cause, remedy, detail=detail)
        self.field = field


class CatalogError(FumehoodError):
    """A registration that the catalog refuses: a conflict, a missing tool, a broken pin."""

    code = "catalog"
    exit_status = ExitStatus.REJECTED
    jsonrpc_code = -32602


class ImageError(FumehoodError):
    """An image that cannot be read, built, proven or found. `entry` names a part of an archive."""

    code = "image"
    jsonrpc_code = -32602

    def __init__(self, cause: str, remedy: str = "", *, entry: str = "", detail: str = "") -> None:
        super().__init__(cause, remedy, detail=detail)
        self.entry = entry


class Rejected(FumehoodError):
    """Admission refused a request; nothing was run. Subclasses say why."""

    code = "rejected"
    exit_status = ExitStatus.REJECTED
    jsonrpc_code = -32600


class UnknownTool(Rejected):
    """No such tool, or none that this caller may know of: the two look the same."""

    code = "unknown_tool"
    jsonrpc_code = -32602


class UnknownInvocation(FumehoodError):
    """No such invocation, or none that this caller may know of: the two look the same."""

    code = "unknown_invocation"
    exit_status = ExitStatus.REJECTED
    jsonrpc_code = -32602


class UnknownSession(Rejected):
    """No such session, or another principal's, or one that has ended: all look the same."""

    code = "unknown_session"
    jsonrpc_code = -32602


class UnknownApproval(FumehoodError):
    """No call of that id waits for approval, or none any more."""

    code = "unknown_approval"
    exit_status = ExitStatus.REJECTED
    jsonrpc_code = -32602


class InvalidArguments(Rejected):
    """Arguments that break the inputSchema, or are no strict JSON. `pointer` is a JSON pointer.

    recorded: the cause, with `*` for each name that the schema does not name.
    """

    code = "invalid_arguments"
    jsonrpc_code = -32602

    def __init__(
        self,
        cause: str,
        remedy: str = "",
        *,
        pointer: str = "",
        detail: str = "",
        recorded: str = "",
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self.pointer = pointer
        self._recorded = recorded

    @property
    def recorded(self) -> str:
        return self._recorded or self.cause


class Unauthorized(Rejected):
    """The caller is unknown, or may not do this."""

    code = "unauthorized"
    jsonrpc_code = -32003


class NotApproved(Rejected):
    """An operator had to approve the call, and did not. `expired`: nobody answered at all."""

    code = "not_approved"
    jsonrpc_code = -32003

    def __init__(
        self, cause: str, remedy: str = "", *, expired: bool = False, detail: str = ""
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self.expired = expired


class OverQuota(Rejected):
    """A rate, a concurrency limit, a budget or the queue is exhausted.

    `retry_after` is in seconds; `limit` is the configuration's key of what was reached.
    """

    code = "over_quota"
    jsonrpc_code = -32004

    def __init__(
        self,
        cause: str,
        remedy: str = "",
        *,
        retry_after: float = 1.0,
        limit: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self.retry_after = retry_after
        self.limit = limit


class Unavailable(Rejected):
    """No call is taken just now, whoever asks: the host is short of something, or the supervisor
    stops. `retry_after` is in seconds."""

    code = "unavailable"
    jsonrpc_code = -32005

    def __init__(
        self, cause: str, remedy: str = "", *, retry_after: float = 1.0, detail: str = ""
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self.retry_after = retry_after


class Stopped(Rejected):
    """An operator, or a rule for incidents, stopped this tool, this caller or everything."""

    code = "stopped"
    jsonrpc_code = -32003


class UnknownIncident(FumehoodError):
    """No such incident."""

    code = "unknown_incident"
    jsonrpc_code = -32602


class UnreadableIncident(UnknownIncident):
    """There is a file of this incident, and it cannot be read, or holds no incident."""

    code = "unreadable_incident"


class EngineError(FumehoodError):
    """The sandbox could not be made, or not proven. `control` names the promise that failed."""

    code = "engine_error"
    exit_status = ExitStatus.ENGINE

    def __init__(
        self, cause: str, remedy: str = "", *, control: str = "", detail: str = ""
    ) -> None:
        super().__init__(cause, remedy, detail=detail)
        self.control = control


class PlanRefused(EngineError):
    """The launcher, or an engine, refuses a plan: it breaks a ceiling or cannot be enforced."""

    code = "plan_refused"


class ScanFailed(FumehoodError):
    """A scanner crashed, stalled or exceeded its budget; the output is withheld."""

    code = "scan_failed"
    exit_status = ExitStatus.WITHHELD


class AuditError(FumehoodError):
    """The audit log cannot be written or does not verify. No record, no answer."""

    code = "audit"
    exit_status = ExitStatus.ENGINE


class KeyringError(FumehoodError):
    """A key is missing, damaged, expired or revoked, or a signature or seal does not hold."""

    code = "key"


class ProtocolError(FumehoodError):
    """A frame or message that breaks the protocol of the socket it came on."""

    code = "protocol"
    exit_status = ExitStatus.ENGINE
    jsonrpc_code = -32600


class BadFrame(ProtocolError):
    """A frame of a peer's that its receiver does not take: the sender's mistake, not ours."""

    code = "bad_frame"
    exit_status = ExitStatus.USAGE


class NotStrictJSON(BadFrame):
    """A document that is not JSON, or that JSON parsers would read in different ways."""

    code = "not_strict_json"
    jsonrpc_code = -32700


class Cancelled(FumehoodError):
    """The caller cancelled its request; nothing of it runs any more."""

    code = "cancelled"
    exit_status = ExitStatus.CANCELLED
    jsonrpc_code = -32800


class DaemonUnreachable(FumehoodError):
    """No supervisor answers on the socket."""

    code = "daemon_unreachable"
    exit_status = ExitStatus.ENGINE
