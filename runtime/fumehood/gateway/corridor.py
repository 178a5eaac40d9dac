"""What the gateway asks of the supervisor, and nothing more: the other side of the front door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from fumehood.catalog.store import ToolFile
from fumehood.errors import FumehoodError
from fumehood.model.live import Listener
from fumehood.model.request import Caller, RegisteredTool, Removed, Request
from fumehood.model.result import Result


class Report(Protocol):
    """Something that the supervisor tells: how it is, what runs, what it knows of a call."""

    def to_json(self) -> dict[str, Any]: ...


class Response(Protocol):
    """Stops and incidents, for operators: every method raises Unauthorized for others."""

    async def stop(
        self,
        caller: Caller,
        kind: Literal["all", "tool", "caller"],
        name: str,
        reason: str,
        *,
        capture: bool = False,
    ) -> Report:
        """Stop something, also what runs; returns when that is dead. capture: look first."""
        ...

    async def resume(
        self, caller: Caller, kind: Literal["all", "tool", "caller"], name: str
    ) -> Report: ...

    async def stopped(self, caller: Caller) -> Report: ...

    async def list_incidents(self, caller: Caller, *, closed: bool) -> Report: ...

    async def show_incident(self, caller: Caller, name: str) -> Report:
        """Raises UnknownIncident."""
        ...

    async def close_incident(self, caller: Caller, name: str, note: str) -> Report:
        """Raises UnknownIncident."""
        ...


class Releasing(Protocol):
    """Withheld output, for operators: both raise Unauthorized for others."""

    async def release(self, caller: Caller, invocation: str) -> Report:
        """What was withheld. Raises UnknownInvocation, KeyringError."""
        ...

    async def listed(self, caller: Caller) -> Report: ...


class Supervisor(Protocol):
    """Every method raises FumehoodError subclasses, and decides itself what `caller` may do."""

    @property
    def response(self) -> Response: ...

    @property
    def traced(self) -> bool:
        """Whether each invocation has a span of its own."""
        ...

    @property
    def releasing(self) -> Releasing: ...

    async def invoke(self, request: Request, listener: Listener | None = None) -> Result:
        """Run one invocation, and tell `listener` of it meanwhile. Cancelling the task cancels
        it: the sandbox is dead and that is recorded before CancelledError leaves.

        Raises:
            UnknownTool: other refusals are a Result with status `rejected`.
        """
        ...

    def tools(self, caller: Caller) -> Sequence[RegisteredTool]:
        """What `caller` may know of, in any order."""
        ...

    async def add_tool(
        self,
        caller: Caller,
        manifest_text: str,
        files: Mapping[str, ToolFile],
        accept: Sequence[str] = (),
        signature: Mapping[str, Any] | None = None,
    ) -> RegisteredTool:
        """Register a version; it may come out pending. accept: findings accepted by name.
        signature: a publisher's envelope."""
        ...

    async def approve_tool(
        self,
        caller: Caller,
        name: str,
        version: str,
        accept: Sequence[str] = (),
        by: str | None = None,
        digest: str | None = None,
    ) -> RegisteredTool:
        """Make a version the current one. by: who submitted it, where several did. digest: of
        what was looked at. Raises Unauthorized, CatalogError."""
        ...

    async def remove_tool(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Removed: ...

    async def attempted(self, caller: Caller, event: str, error: FumehoodError) -> None:
        """Put on record what the gateway itself refuses; floods are counted."""
        ...

    async def all_tools(self, caller: Caller) -> Sequence[RegisteredTool]:
        """Every version of every tool. Raises Unauthorized."""
        ...

    async def removed_tools(self, caller: Caller) -> Sequence[RegisteredTool]:
        """The removed versions whose quarantine is kept. Raises Unauthorized."""
        ...

    async def diff_tool(
        self,
        caller: Caller,
        name: str,
        old: str | None = None,
        new: str | None = None,
        by: str | None = None,
    ) -> Report:
        """What one version changes against another. Raises Unauthorized, UnknownTool."""
        ...

    async def tool_files(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> Report:
        """The digests of a version's files. Raises Unauthorized, UnknownTool, CatalogError."""
        ...

    async def show_tool(
        self, caller: Caller, name: str, version: str | None = None, by: str | None = None
    ) -> RegisteredTool: ...

    def status(self, caller: Caller) -> Report: ...

    def invocations(self, caller: Caller) -> Report:
        """What runs and waits, of those `caller` may know of."""
        ...

    async def cancel(self, caller: Caller, invocation: str) -> Report:
        """Cancel one; returns when it is dead and recorded. Raises UnknownInvocation."""
        ...

    async def logs(self, caller: Caller, invocation: str) -> Report:
        """What is known of one that runs or has run. Raises UnknownInvocation."""
        ...

    async def receipt(self, caller: Caller, invocation: str) -> Report:
        """The signed receipt of one that ended. Raises UnknownInvocation."""
        ...

    def approvals(self, caller: Caller) -> Report:
        """The calls that wait for an operator's approval, of those `caller` may know of."""
        ...

    async def asked_arguments(self, caller: Caller, approval: str, offset: int) -> Report:
        """A piece of the arguments of one. Raises UnknownApproval."""
        ...

    async def answer_approval(
        self, caller: Caller, approval: str, *, grant: bool, digest: str | None = None
    ) -> Report:
        """Approve or deny one. digest: of the arguments that were seen. Raises Unauthorized,
        UnknownApproval, UsageError."""
        ...

    async def explain_policy(
        self, caller: Caller, who: str, name: str, arguments: dict[str, object]
    ) -> Report:
        """Which rule decides about a call. Raises Unauthorized, UnknownTool, UsageError."""
        ...

    async def review_policy(self, caller: Caller, named: Sequence[str] | None = None) -> Report:
        """Remarks about the rules that hold. named: keys that a file names which may be loaded
        next. Raises Unauthorized."""
        ...

    async def show_caller(self, caller: Caller, who: str | None) -> Report:
        """What a caller may do now; None is itself. Raises Unauthorized, UsageError."""
        ...

    async def open_session(self, caller: Caller) -> Report:
        """A new session of the caller. Raises OverQuota."""
        ...

    async def close_session(self, caller: Caller, handle: str) -> Report:
        """End one of the caller's. Raises UnknownSession."""
        ...

    async def reload(self, caller: Caller) -> Report:
        """Read the configuration again. Raises Unauthorized, Unavailable, ConfigError."""
        ...
