"""Who asks, and what for: the first two types of an invocation's way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fumehood.model.manifest import Manifest
from fumehood.model.tracing import Trace


@dataclass(frozen=True, slots=True)
class Caller:
    """A local process proven by SO_PEERCRED when it connected. `name` is for records only."""

    uid: int
    gid: int
    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Request:
    """A bounded, strictly parsed call, before admission.

    invocation: UUIDv7, made by the gateway.
    arguments_json: the arguments object, re-encoded canonically by the gateway from what it
        parsed strictly: exactly these bytes reach the tool's stdin.
    arguments: the same, parsed: JSON values only.
    """

    invocation: str
    tool: str
    arguments: dict[str, object]
    arguments_json: bytes
    caller: Caller
    received: float
    """time.monotonic() when the frame was complete."""
    session: str | None = None
    """The handle of a session, as the caller gave it."""
    trace: Trace | None = None
    """The caller's trace, where it said so."""


Sealed = Literal["", "fs-verity", "copy", "none", "missing"]


@dataclass(frozen=True, slots=True)
class RegisteredTool:
    """A catalog entry: a manifest pinned by digest.

    digest: `sha384:<hex>` over the canonical manifest and the file tree's digest.
    files: `sha384:<hex>` of the tool's file tree in the store, or None when it has none.
    notes: what an operator should know of it, in words. added_by: the principal who did.
    signer: `<publisher>:<key id>` of who signed it, empty for nobody; `:<key id>` where a key is
        named that no publisher is known to have.
    state: `active`, `pending` until an operator approves it, `superseded` by another version,
        `quarantined`, or `removed` while it was.
    account: host UID (= GID) of the tool's service account.
    sealed: who can change its files, where that was asked: nobody, they can only be replaced by
        root (`fs-verity`); root (`copy`); the account of the supervisor (`none`, rootless); or they
        are not where they were stored (`missing`). Empty when there are no files.
    """

    manifest: Manifest
    digest: str
    files: str | None
    account: int
    state: str
    added: str
    notes: tuple[str, ...] = ()
    added_by: str = ""
    signer: str = ""
    sealed: Sealed = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed. quarantine_kept: the versions that stay quarantined all the same."""

    tool: RegisteredTool
    quarantine_kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asking:
    """A request that passes once an operator approves it. Only `admission` builds one.

    rule: the rule that asks, as it is recorded; reason: its own words. session: its id, empty
        for a call of none.
    """

    request: Request
    tool: RegisteredTool
    rule: str
    reason: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that passed admission. Only `admission` builds one; the planner takes only this.

    rule: what let it pass, as it is recorded. session: its id, empty for a call of none.
    """

    request: Request
    tool: RegisteredTool
    rule: str = ""
    session: str = ""
